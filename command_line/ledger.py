"""`lake ledger …`: hold the ledger against what it speaks of, make it again, sweep. Exit 1 where something differs."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from command_line.catalog import WrongUse
from command_line.stewards import Json, desk, show
from pipeline_xml.durations import parse_duration

app = typer.Typer(help="The ledger: verify, rebuild, sweep.", no_args_is_help=True, add_completion=False)


@app.command("verify")
def verify_command(
    application: Annotated[str | None, typer.Argument(metavar="APP", help="Only this application.")] = None,
    no_hash: Annotated[bool, typer.Option("--no-hash", help="Tell raw files by their size, not their bytes.")] = False,
    as_json: Json = False,
) -> None:
    """Reconcile ledger, raw, journal, tables, quarantine and exports; every difference has a name. Exit 1 with any."""
    from publishing.verify import verify

    with desk(as_json=as_json) as at:
        known = [each.name for each in at.catalog.applications]
        if application is not None and application not in known:
            raise WrongUse(f"no application '{application}'; there are: {', '.join(known)}")
        found = verify(at.lake, at.catalog, application, hashes=not no_hash)

    def tell() -> None:
        if not found:
            typer.echo("ledger, raw, journal, tables, quarantine and exports agree")
            return
        table = Table("difference", "of", "found", "expected", "what to do")
        for each in found:
            table.add_row(f"{each.code}: {each.meaning}", each.subject, each.found, each.expected, each.todo)
        console = Console()
        (console if console.is_terminal else Console(width=200)).print(table)

    show(as_json, {"differences": [each.as_dict() for each in found]}, tell)
    raise typer.Exit(int(bool(found)))


@app.command("rebuild")
def rebuild_command(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; the old ledger is kept all the same.")] = False,
    as_json: Json = False,
) -> None:
    """Make the ledger again from raw, journal and tables; the old one is kept beside it."""
    from publishing.outbox import kept_outbox, outbox_from
    from publishing.rebuild_ledger import PipelineRuns, rebuild
    from stewardship.rebuild_stores import restore_stores

    if not yes and (as_json or not typer.confirm("Make the ledger again? Nothing may run meanwhile.")):
        raise WrongUse("nothing was done; say --yes where nobody can be asked")
    with desk(as_json=as_json) as at:
        try:
            made = rebuild(at.lake, at.catalog, [restore_stores, outbox_from(kept_outbox(at.lake.settings))])
        except PipelineRuns as runs:
            raise WrongUse(str(runs)) from runs
    numbers = f"{made.batches} batches ({made.open} open), {made.attempts} attempts, {made.files} files"
    kept = f"; the old one is {made.kept}" if made.kept else ""
    show(as_json, made.as_dict(), lambda: typer.echo(f"the ledger is made again: {numbers}{kept}"))


@app.command("sweep")
def sweep_command(
    older_than: Annotated[str, typer.Option("--older-than", help="Nothing younger, such as PT1H.")] = "PT1H",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what lies there, and remove nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what crashes left behind: never anything of an open batch, nor what a table's log refers to."""
    from publishing.leftovers import sweep

    with desk(as_json=as_json) as at:
        swept = sweep(at.lake, at.catalog, _duration(older_than), dry_run)
    document = {
        "found": [{"kind": item.kind, "path": item.path, "size": item.size} for item in swept.found],
        "left": len(swept.left),
        "bytes": swept.size,
    }
    kinds = ", ".join(f"{number} {kind}" for kind, number in swept.by_kind().items()) or "nothing"
    verb = "found" if dry_run else "removed"
    show(as_json, document, lambda: typer.echo(f"{verb}: {kinds}, {swept.size:,} bytes; {len(swept.left)} left"))


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise WrongUse(f"--older-than: {error}") from None
