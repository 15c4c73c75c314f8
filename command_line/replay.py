"""`lake replay`: what was approved goes back into the targets, in a run that stands in the history of the UI."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from command_line.catalog import WrongUse, load, resolve
from command_line.token import HELP, given_token
from pipeline_xml.checked import Catalog, CheckedPipeline
from resources.settings import Settings


def replay_command(
    name: Annotated[str, typer.Argument(metavar="APP/PIPELINE")],
    batch: Annotated[str | None, typer.Option("--batch", help="Only this quarantined batch: its key or id.")] = None,
    token: Annotated[str | None, typer.Option("--token", help=HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only a JSON document on standard output.")] = False,
) -> None:
    """Replay what was approved of quarantined records, each at most once; of one batch, or of all."""
    from command_line.main import EXIT, wide_console
    from datalake_assets.execute import UnknownName, execute_replay
    from resources.secrets import SecretResolver
    from stewardship.actors import actor_for
    from stewardship.refused import Refused

    settings = Settings.from_environment()
    catalog = load(settings)
    application, wanted = resolve(catalog, name)
    checked = catalog.pipeline(application, wanted)
    if checked is None:
        raise WrongUse(f"'{name}' is a job; a replay is of one pipeline")
    try:
        actor = actor_for(catalog, checked.key, "replay", given_token(token), SecretResolver(settings.secrets))
        key = _key(settings, catalog, checked, batch) if batch is not None else None
        outcome = execute_replay(settings, application, wanted, key, actor, catalog=catalog)
    except (Refused, UnknownName) as refused:
        raise WrongUse(str(refused)) from refused
    if as_json:
        sys.stdout.write(json.dumps(outcome.as_dict(), indent=1) + "\n")
    else:
        from command_line.report import print_run

        print_run(wide_console(), outcome)
    raise typer.Exit(EXIT[outcome.status])


def _key(settings: Settings, catalog: Catalog, checked: CheckedPipeline, name: str) -> str:
    """The key of a quarantined batch by its key or id, or by the beginning of one."""
    from publishing.lake import open_lake
    from publishing.standing import standings
    from stewardship.replay import UnknownBatch, find_batch

    with open_lake(settings, catalog) as lake:
        try:
            found = find_batch(lake, checked.key, name)
        except UnknownBatch as unknown:
            raise WrongUse(f"--batch: {unknown}") from unknown
        return next(standing.key for standing in standings(lake.ledger, checked.key) if standing.batch == found)
