"""`lake replay`: what was approved goes back into the targets, in a run that stands in the history of the UI."""

from __future__ import annotations

from typing import Annotated

import typer

from command_line.catalog import WrongUse
from command_line.stewards import Desk, Json, Token, desk, write_json
from pipeline_xml.checked import CheckedPipeline
from resources.settings import Settings


def replay_command(
    name: Annotated[str, typer.Argument(metavar="APP/PIPELINE")],
    batch: Annotated[str | None, typer.Option("--batch", help="Only this quarantined batch: its key or id.")] = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Replay what was approved of quarantined records, each at most once; of one batch, or of all."""
    from command_line.main import EXIT, wide_console
    from datalake_assets.execute import UnknownName, execute_replay

    with desk(token, as_json) as at:
        checked = at.pipeline(name)
        actor = at.actor(checked.key, "replay")
        key = _key(at, checked, batch) if batch is not None else None
    application = checked.pipeline.app
    try:
        outcome = execute_replay(
            Settings.from_environment(), application, checked.pipeline.id, key, actor, catalog=at.catalog
        )
    except UnknownName as unknown:
        raise WrongUse(str(unknown)) from unknown
    if as_json:
        write_json(outcome.as_dict())
    else:
        from command_line.report import print_run

        print_run(wide_console(), outcome)
    raise typer.Exit(EXIT[outcome.status])


def _key(at: Desk, checked: CheckedPipeline, name: str) -> str:
    """The key of a quarantined batch by its key or id, or by the beginning of one."""
    from stewardship.batches import find_batch
    from stewardship.refused import NotFound

    with at.lake.ledger.read() as session:
        try:
            return find_batch(session, name, checked.key).key
        except NotFound as unknown:
            raise WrongUse(f"--batch: {unknown}") from unknown
