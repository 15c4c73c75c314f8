"""`lake doctor`: what only the network and the machine can tell of the definitions. Exit 1 where something is wrong."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from command_line.catalog import WrongUse
from command_line.stewards import Json, desk, show


def doctor_command(
    application: Annotated[str | None, typer.Argument(metavar="APP", help="Only this application.")] = None,
    as_json: Json = False,
) -> None:
    """Look whether the ledger answers, secrets are there and landing zones let us in; changes nothing."""
    from publishing.doctor import examine

    with desk(as_json=as_json) as at:
        known = [each.name for each in at.catalog.applications]
        if application is not None and application not in known:
            raise WrongUse(f"no application '{application}'; there are: {', '.join(known)}")
        found = list(examine(at.lake, application))

    def tell() -> None:
        table = Table("", "what", "of", "found, or what to do")
        for each in found:
            table.add_row("ok" if each.ok else "WRONG", each.kind, each.subject, each.said)
        console = Console()
        (console if console.is_terminal else Console(width=200)).print(table)

    show(as_json, {"examined": [each.as_dict() for each in found]}, tell)
    raise typer.Exit(int(not all(each.ok for each in found)))
