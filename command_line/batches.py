"""`lake batches …` and `lake restore`: decisions over whole batches. Exit 0 done, 2 wrong use or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from command_line.catalog import WrongUse
from command_line.stewards import Desk, Json, Limit, Reason, Token, desk, pairs, show, write_json
from pipeline_xml.checked import CheckedPipeline

if TYPE_CHECKING:
    from stewardship.actors import Actor
    from stewardship.batch_decisions import Plan

app = typer.Typer(help="Batches: list, release, withdraw, un-publish.", no_args_is_help=True, add_completion=False)
Of = Annotated[str, typer.Argument(metavar="APP/PIPELINE")]
Named = Annotated[str, typer.Argument(metavar="BATCH", help="The key or id of a batch, or the beginning of one.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: the plan is known.")]
Plans = Annotated[bool, typer.Option("--dry-run", help="Say what would go and what it costs, and do nothing.")]

TAKE_BACK = "Take them back?"


class Planned(Protocol):
    """What would be done, as a document."""

    def as_dict(self) -> dict[str, Any]: ...


P = TypeVar("P", bound=Planned)


@app.command("list")
def list_command(
    pipeline: Annotated[str | None, typer.Option("--pipeline", metavar="APP/PIPELINE")] = None,
    status: Annotated[str | None, typer.Option("--status", help="Only batches in this status, such as held.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Batches with their status and, where they are held, what holds them; the newest first."""
    from stewardship.batch_decisions import STATUSES, list_batches

    if status is not None and status not in STATUSES:
        raise WrongUse(f"--status is '{status}'; valid: {', '.join(STATUSES)}")
    with desk(as_json=as_json) as at:
        key = at.pipeline(pipeline).key if pipeline else None
        found = list_batches(at.lake, key, status, limit)
    rows = [asdict(line) for line in found]
    show(as_json, rows, lambda: _print(rows))


@app.command("release")
def release_command(
    pipeline: Of,
    batch: Named,
    waive: Annotated[list[str] | None, typer.Option("--waive", help="WHAT=why it may be; once for each.")] = None,
    reason: Reason = "",
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Let a held batch pass: the next run computes it anew; what is worse then holds it again."""
    from stewardship.batch_decisions import release

    with desk(token, as_json) as at:
        checked = at.pipeline(pipeline)
        actor = at.actor(checked.key, "release")
        key = release(at.lake, checked, actor, batch, pairs("--waive", waive or []), reason)
    said = f"{key} is released: lake run {checked.key} computes its next attempt"
    show(as_json, {"batch": key, "status": "open"}, lambda: typer.echo(said))


@app.command("withdraw")
def withdraw_command(
    pipeline: Of, batch: Named, reason: Reason = "", token: Token = None, as_json: Json = False
) -> None:
    """Close a held batch; its files may be delivered again."""
    from stewardship.batch_decisions import withdraw

    with desk(token, as_json) as at:
        checked = at.pipeline(pipeline)
        key = withdraw(at.lake, checked, at.actor(checked.key, "withdraw"), batch, reason)
    show(as_json, {"batch": key, "status": "withdrawn"}, lambda: typer.echo(f"{key} is withdrawn"))


@app.command("unpublish")
def unpublish_command(
    pipeline: Of,
    batch: Named,
    reason: Reason = "",
    dry_run: Plans = False,
    yes: Yes = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Take a published batch back out of every target, with the replays of its records."""
    from stewardship.batch_decisions import plan_unpublish, unpublish

    with desk(token, as_json) as at:
        checked = at.pipeline(pipeline)
        plan = plan_unpublish(at.lake, checked, [batch])
        if actor := agreed(at, checked, "unpublish", plan, TAKE_BACK, _print_plan, dry_run, yes, as_json):
            _told(at, checked, unpublish(at.lake, checked, actor, [batch], reason), as_json)


@app.command("reread")
def reread_command(
    pipeline: Of,
    batch: Named,
    reason: Reason = "",
    dry_run: Plans = False,
    yes: Yes = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """For a batch held by upstream_rewritten: take back all that came from its table; the next run reads it whole."""
    from stewardship.batch_decisions import plan_reread, reread

    with desk(token, as_json) as at:
        checked = at.pipeline(pipeline)
        plan = plan_reread(at.lake, checked, batch)
        if actor := agreed(at, checked, "reread", plan, TAKE_BACK, _print_plan, dry_run, yes, as_json):
            _told(at, checked, reread(at.lake, checked, actor, batch, reason), as_json)


def restore_command(
    table: Annotated[str, typer.Argument(metavar="APP/LAYER.TABLE")],
    to: Annotated[str, typer.Option("--to", help="A version of the table, or the last batch that stays: key or id.")],
    reason: Reason = "",
    dry_run: Plans = False,
    yes: Yes = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Un-publish every batch that came into a table after a version or a batch; their files can be loaded again."""
    from stewardship.batch_decisions import plan_restore, restore, writer_of

    written = named_table(table)
    with desk(token, as_json) as at:
        checked, position = writer_of(at.catalog, *written)
        plan = plan_restore(at.lake, checked, position, to)
        if actor := agreed(at, checked, "restore", plan, TAKE_BACK, _print_plan, dry_run, yes, as_json):
            _told(at, checked, restore(at.lake, checked, position, to, actor, reason), as_json)


def named_table(table: str) -> tuple[str, str, str]:
    """Application, layer (empty where the name is enough) and name of a table on the command line."""
    application, _, name = table.partition("/")
    layer, _, last = name.rpartition(".")
    if not application or not last:
        raise WrongUse(f"'{table}' is no table; valid: APP/LAYER.TABLE, or APP/TABLE where the name is the only one")
    return application, layer, last


def agreed(
    at: Desk, checked: CheckedPipeline, action: str, plan: P, question: str, printed: Callable[[P], None],
    dry_run: bool, yes: bool, as_json: bool,
) -> Actor | None:  # fmt: skip
    """Who does it, once what it does and what that costs was said and agreed to; None where that is all."""
    if dry_run:
        show(as_json, plan.as_dict(), lambda: printed(plan))
        return None
    actor = at.actor(checked.key, action)
    if yes:
        return actor
    if as_json:
        raise WrongUse("with --json nobody can be asked: look at the plan with --dry-run, then say --yes")
    printed(plan)
    if not typer.confirm(question):
        raise WrongUse("nothing was done")
    return actor


def _told(at: Desk, checked: CheckedPipeline, keys: list[str], as_json: bool) -> None:
    from stewardship.batch_decisions import asked_again

    again = asked_again(at.lake)
    if as_json:
        write_json({"pipeline": checked.key, "unpublished": keys, "asked_to_run_again": again})
        return
    typer.echo(f"taken back: {', '.join(keys) or 'nothing was published after that'}")
    if again:
        typer.echo(f"asked to run again: {', '.join(again)} (the sensor of reruns starts them; or lake run)")


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("batch", "pipeline", "status", "attempt", "origin", "held by", "reason")
    for row in rows:
        holds = ", ".join(f"{name} ({observed:g})" for name, observed in row["holding"].items())
        table.add_row(
            row["key"], row["pipeline"], row["status"], str(row["attempt"]), row["origin"], holds, row["reason"] or ""
        )
    Console(width=None if Console().is_terminal else 200).print(table)


def _print_plan(plan: Plan) -> None:
    typer.echo(f"{len(plan.batches)} batches of {plan.pipeline} leave {', '.join(plan.targets)}:")
    for key in plan.batches:
        typer.echo(f"  {key}")
    for name, cost in plan.rebuilds.items():
        typer.echo(f"{name} is rebuilt: {cost}")
    for name, read in plan.upstream.items():
        typer.echo(f"{name} is read anew by the next run: {read}")
    for key in plan.newer:
        typer.echo(f"{key} stays, as of a later attempt than the one that stood there then")
