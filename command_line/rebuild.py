"""`lake rebuild`: makes a table again from raw and journal. Exit 0 done, 2 wrong use or refused."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.batches import Plans, Yes, agreed, named_table
from command_line.stewards import Json, Reason, Token, desk, show

if TYPE_CHECKING:
    from publishing.rebuild_table import RebuildPlan, RebuiltTable


def rebuild_command(
    table: Annotated[str, typer.Argument(metavar="APP/LAYER.TABLE")],
    reason: Reason = "",
    dry_run: Plans = False,
    yes: Yes = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Make a table again from raw and journal, equal to what was published in it; also where its folder is lost."""
    from stewardship.batch_decisions import writer_of
    from stewardship.rebuild import ACTION, plan, rebuild

    written = named_table(table)
    with desk(token, as_json) as at:
        checked, position = writer_of(at.catalog, *written)
        wanted = plan(at.lake, checked, position)
        actor = agreed(at, checked, ACTION, wanted, "Make it again?", _print_plan, dry_run, yes, as_json)
        if actor is None:
            return
        made = rebuild(at.lake, checked, position, actor, reason)
    show(as_json, {"table": wanted.table, **asdict(made)}, lambda: typer.echo(_said(wanted, made)))


def _print_plan(plan: RebuildPlan) -> None:
    typer.echo(f"{plan.table}{' is lost, and' if plan.lost else ''} is made again by {plan.pipeline}: {plan.cost}")
    if plan.otherwise:
        typer.echo(f"{len(plan.otherwise)} of the batches were published under another definition than that of now:")
        for key in plan.otherwise:
            typer.echo(f"  {key}")
        typer.echo("they are computed under that of now, and refused where they give another number of rows")


def _said(plan: RebuildPlan, made: RebuiltTable) -> str:
    before = "" if made.before is None else f", {made.before} before"
    return f"{plan.table} is made again: {made.rows} rows{before}, version {made.version}"
