"""What the commands of the way back share: the lake they look into, who asks, and refusals as messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from command_line.catalog import WrongUse, load, resolve
from command_line.token import HELP, given_token
from pipeline_xml.checked import Catalog, CheckedPipeline
from resources.settings import Settings

if TYPE_CHECKING:
    from publishing.lake import Lake
    from stewardship.actors import Actor

Token = Annotated[str | None, typer.Option("--token", help=HELP)]
Json = Annotated[bool, typer.Option("--json", help="Only a JSON document on standard output.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, masked, and save nothing.")]
State = Annotated[str | None, typer.Option("--state", help="Only records in this state, such as open.")]
Rule = Annotated[str | None, typer.Option("--rule", help="Only records that break this rule.")]
Limit = Annotated[int, typer.Option("--limit", help="Rows of a page.")]
BatchName = Annotated[str, typer.Argument(metavar="BATCH", help="The key or id of a quarantined batch.")]


@dataclass(frozen=True, slots=True)
class Desk:
    """An open lake, its definitions, and the token of who asks."""

    lake: Lake
    catalog: Catalog
    token: str | None

    def actor(self, pipeline: str, action: str) -> Actor:
        """Who asks for the action on a pipeline."""
        from stewardship.actors import actor_for

        return actor_for(self.catalog, pipeline, action, self.token, self.lake.secrets)

    def pipeline(self, name: str) -> CheckedPipeline:
        """The pipeline `APP/PIPELINE`."""
        application, wanted = resolve(self.catalog, name)
        found = self.catalog.pipeline(application, wanted)
        if found is None:
            raise WrongUse(f"'{name}' is a job; name one of its pipelines")
        return found

    def pipeline_of(self, batch: str) -> CheckedPipeline:
        """The pipeline that a quarantined batch belongs to."""
        from stewardship.batches import find_batch

        with self.lake.ledger.read() as session:
            return self.pipeline(find_batch(session, batch).pipeline)

    def pipeline_of_corrections(self, ids: Sequence[str]) -> CheckedPipeline:
        """The one pipeline that these corrections belong to."""
        from sqlalchemy import select

        from publishing.decisions import Correction

        with self.lake.ledger.read() as session:
            rows = session.scalars(select(Correction).where(Correction.id.in_(ids))).all()
        if missing := sorted(set(ids) - {row.id for row in rows}):
            raise WrongUse(f"no correction {', '.join(missing)}; `lake quarantine show --record` lists a record's")
        names = sorted({row.pipeline for row in rows})
        if len(names) > 1:
            raise WrongUse(f"these corrections are of {', '.join(names)}; decide them pipeline by pipeline")
        return self.pipeline(names[0])


@contextmanager
def desk(token: str | None = None, as_json: bool = False) -> Iterator[Desk]:
    """Opens the lake of the settings; what is refused becomes WrongUse, or a document of problems."""
    from processing.keys import SealBroken
    from publishing.lake import open_lake
    from stewardship.refused import Refused, Unfit

    settings = Settings.from_environment()
    catalog = load(settings)
    try:
        with open_lake(settings, catalog) as lake:
            yield Desk(lake, catalog, given_token(token))
    except Unfit as refused:
        if as_json:
            said = [{"record": p.record_id, "message": p.message} for p in refused.problems]
            write_json({"problems": said})
            raise typer.Exit(2) from refused
        raise WrongUse(str(refused)) from refused
    except Refused as refused:
        raise WrongUse(str(refused)) from refused
    except SealBroken as broken:
        typer.echo(str(broken), err=True)
        raise typer.Exit(1) from broken


def write_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """`column=text` options as {column: text}; the text may hold more signs of equality."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise WrongUse(f"{option} needs the form column=…")
        if name.strip() in found:
            raise WrongUse(f"{option} names the column '{name.strip()}' twice")
        found[name.strip()] = value
    return found


def show(as_json: bool, document: Any, print_it: Callable[[], None]) -> None:
    """The document for a script, or the tables for a person."""
    if as_json:
        write_json(document)
    else:
        print_it()
