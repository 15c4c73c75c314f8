"""`lake audit …`: the trail of what was done to quarantined records. Exit 0 sound, 1 tampered with, 2 wrong use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from command_line import quarantine_report as report
from command_line.catalog import WrongUse
from command_line.stewards import Json, Limit, show
from pipeline_xml.checked import Catalog
from resources.settings import Settings

if TYPE_CHECKING:
    from publishing.lake import Lake

app = typer.Typer(help="What was done to quarantined records, by whom.", no_args_is_help=True, add_completion=False)


@app.command("verify")
def verify_command(
    known: Annotated[
        str | None, typer.Option("--head", help="NUMBER:HASH that this command printed before: nothing older is gone.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether an entry was changed, removed, inserted, moved or cut off; exit 1 if so."""
    from stewardship import audit

    with _lake() as lake:
        found = audit.verify(lake, _head(known))
        number, digest = audit.head(lake)
    document = {"sound": not found, "entries": number, "head": f"{number}:{digest}", "findings": found}

    def print_it() -> None:
        for line in found:
            report.say(line)
        said = "tampered with" if found else "sound"
        report.say(f"{said}: {number} entries, head {number}:{digest}")

    show(as_json, document, print_it)
    raise typer.Exit(int(bool(found)))


@app.command("list")
def list_command(
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this person did.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this action, such as reveal.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Only of this batch: its key or id.")] = None,
    before: Annotated[int | None, typer.Option("--before", help="The number of the last entry of a page.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """The entries, the newest first."""
    from sqlalchemy import or_, select

    from publishing.ledger import Batch
    from stewardship import audit
    from stewardship.batches import page_size
    from stewardship.refused import Refused

    with _lake() as lake:
        subject = None
        if batch is not None:
            with lake.ledger.read() as session:
                subject = session.scalar(select(Batch.id).where(or_(Batch.key == batch, Batch.id == batch)))
            if subject is None:
                raise WrongUse(f"no batch '{batch}'; `lake quarantine list` names those with rejected records")
        try:
            size = page_size(limit)
        except Refused as refused:
            raise WrongUse(str(refused)) from refused
        found = audit.entries(lake, actor=actor, action=action, subject=subject, before=before, limit=size)
    show(as_json, {"entries": [entry.as_dict() for entry in found]}, lambda: report.print_audit(found))


def _head(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise WrongUse("--head needs the form NUMBER:HASH, as `lake audit verify` prints it")
    return int(number), digest


@contextmanager
def _lake() -> Iterator[Lake]:
    """Without the definitions: the trail can be verified whatever state they are in."""
    from publishing.lake import open_lake

    settings = Settings.from_environment()
    with open_lake(settings, Catalog(settings.config, ())) as lake:
        yield lake
