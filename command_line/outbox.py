"""`lake outbox …`: what is told to people and programs outside, and what waits to be."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from command_line.catalog import WrongUse
from command_line.stewards import Json, show
from pipeline_xml.durations import parse_duration
from publishing.ledger import Ledger, now
from publishing.outbox import KEPT, LEAST_KEPT, STATES, WAITING, OutboxMessage, prune, waiting
from resources.settings import Settings

app = typer.Typer(help="Notifications of jobs: list, send, prune.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_command(
    state: Annotated[str | None, typer.Option("--state", help=f"One of {', '.join(STATES)}.")] = None,
    as_json: Json = False,
) -> None:
    """The messages with how often they were tried and why they wait; addresses are not shown."""
    if state is not None and state not in STATES:
        raise WrongUse(f"--state is '{state}'; valid: {', '.join(STATES)}")
    ledger = Ledger.of(Settings.from_environment())
    try:
        with ledger.read() as session:
            chosen = select(OutboxMessage).order_by(OutboxMessage.made_at, OutboxMessage.id)
            found = session.scalars(chosen.where(OutboxMessage.state == state) if state else chosen).all()
    finally:
        ledger.close()

    def tell() -> None:
        table = Table("id", "made at", "kind", "what", "state", "tries", "reason")
        for each in found:
            made = each.made_at.isoformat(sep=" ", timespec="seconds")
            table.add_row(
                each.id[:8], made, each.kind, each.subject, each.state, str(each.tries), each.reason or ""
            )  # fmt: skip
        console = Console()
        (console if console.is_terminal else Console(width=200)).print(table)

    names = ("id", "kind", "application", "subject", "state", "tries", "reason")
    moments = ("made_at", "due_at", "ended_at")
    rows = [
        {n: getattr(m, n) for n in names} | {n: v.isoformat() if (v := getattr(m, n)) else None for n in moments}
        for m in found
    ]
    show(as_json, {"messages": rows}, tell)


@app.command("send")
def send_command(as_json: Json = False) -> None:
    """Try now what is due; exit 1 where something is refused or waits still."""
    from publishing.deliver import deliver
    from resources.notifier import Notifier

    settings = Settings.from_environment()
    ledger = Ledger.of(settings)
    try:
        done = deliver(ledger, Notifier(settings).send)
        left = waiting(ledger)
    finally:
        ledger.close()
    document = {"sent": done.sent, "refused": done.refused, WAITING: left, "reasons": list(done.reasons)}
    said = "\n".join([f"{done.sent} sent, {done.refused} refused, {left} wait", *done.reasons])
    show(as_json, document, lambda: typer.echo(said))
    raise typer.Exit(int(bool(done.refused or left)))


@app.command("prune")
def prune_command(
    older_than: Annotated[str, typer.Option("--older-than", help="Age as an ISO 8601 duration.")] = f"P{KEPT.days}D",
    as_json: Json = False,
) -> None:
    """Forget what was sent, refused or expired so long ago; what waits stays. The maintenance does it once a day."""
    try:
        age = parse_duration(older_than)
    except ValueError as error:
        raise WrongUse(f"--older-than: {error}") from None
    if age < LEAST_KEPT:
        raise WrongUse(f"--older-than is at least P{LEAST_KEPT.days}D: what is forgotten sooner may be told once more")
    ledger = Ledger.of(Settings.from_environment())
    try:
        pruned = prune(ledger, now() - age)
    finally:
        ledger.close()
    show(as_json, {"pruned": pruned}, lambda: typer.echo(f"{pruned} forgotten"))
