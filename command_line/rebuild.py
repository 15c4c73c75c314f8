"""`lake rebuild`: makes a table again from raw and journal. Exit 0 done, 2 wrong use or refused."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.batches import Plans, Yes
from command_line.catalog import WrongUse
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

    application, _, name = table.partition("/")
    layer, _, last = name.rpartition(".")
    if not application or not last:
        raise WrongUse(f"'{table}' is no table; valid: APP/LAYER.TABLE, or APP/TABLE where the name is the only one")
    with desk(token, as_json) as at:
        checked, position = writer_of(at.catalog, application, layer, last)
        wanted = plan(at.lake, checked, position)
        if dry_run:
            show(as_json, wanted.as_dict(), lambda: _print_plan(wanted))
            return
        actor = at.actor(checked.key, ACTION)
        if not yes:
            if as_json:
                raise WrongUse("with --json nobody can be asked: look at the plan with --dry-run, then say --yes")
            _print_plan(wanted)
            if not typer.confirm("Make it again?"):
                raise WrongUse("nothing was done")
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
