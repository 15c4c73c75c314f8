"""A steward's desk: a lake with five rejected payments, and what is done to them by the services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.corrections import load_changes
from publishing.decisions import Correction, TouchedRecord, record_state
from publishing.lake import Lake, open_lake
from publishing.quarantined import refresh_all
from resources.engine import Engine
from stewardship.actors import APPROVER, AUDITOR, STEWARD, Actor
from stewardship.approve import decide
from stewardship.correct import Proposal, correct_by_expression, correct_values
from stewardship.new_values import Named
from stewardship.quarantine import show_batch
from stewardship.refused import Unfit
from stewardship.selection import Scope
from tests.promised_feed import Feed

ANA, BEN = Actor("ana", STEWARD), Actor("ben", APPROVER)
CLEO = Actor("cleo", AUDITOR, signed=True)
FEED = "app/feed"
COLUMNS: dict[str, Any] = {
    "amount": {"type": "number", "x-type": "decimal(9,2)", "minimum": 0},
    "paid": {"type": "string", "format": "date", "x-format": "dd.MM.yyyy"},
    "note": {"type": "string", "x-classification": "pii"},
}
LINES = (
    "id,amount,paid,note",
    "a,1.50,01.02.2024,fine",
    "b,-2.50,01.02.2024,secret-b",
    'c,"3,5",01.02.2024,"two\nlines"',
    "d,-4,2024-02-01,",
    "e,-5.00",
    ",6.00,01.02.2024,no id",
)


@dataclass
class Desk:
    """A lake with rejected records, and what a steward does there."""

    feed: Feed
    lake: Lake
    catalog: Catalog
    pipeline: CheckedPipeline
    key: str = ""
    ids: dict[str, str] = field(default_factory=dict)

    def batch(self) -> Scope:
        return Scope(self.key)

    def values(self, values: dict[str, dict[str, str | None]], **more: Any) -> Proposal:
        named = Named({self.ids.get(name, name): cells for name, cells in values.items()})
        scope = more.pop("scope", self.batch())
        return correct_values(self.lake, self.catalog, self.pipeline, ANA, "as agreed", scope, named, **more)

    def express(self, sets: dict[str, str], where: str | None = None, **more: Any) -> Proposal:
        scope = more.pop("scope", self.batch())
        return correct_by_expression(
            self.lake, self.catalog, self.pipeline, ANA, "as agreed", scope, sets, where, **more
        )

    def changes(self, proposal: Proposal) -> dict[str, dict[str, tuple[str | None, str | None]]]:
        """{id as in the file: {column: (before, after)}} of the proposal's sealed sets."""
        names = {record: name for name, record in self.ids.items()}
        found: dict[str, dict[str, tuple[str | None, str | None]]] = {}
        for made in proposal.corrections:
            with self.lake.ledger.read() as session:
                row = session.get_one(Correction, made.correction)
            for line in load_changes(self.lake, row).to_pylist():
                columns = [c.removeprefix("set:") for c in line if c.startswith("set:") and line[c]]
                record = names.get(line["record_id"], line["record_id"])
                found[record] = {c: (line["was:" + c], line["new:" + c]) for c in columns}
        return found

    def decide(self, action: str, actor: Actor = BEN, **which: Any) -> Any:
        return decide(self.lake, self.catalog, self.pipeline, actor, action, "checked", **which)

    def touched(self) -> dict[str, str]:
        names = {record: name for name, record in self.ids.items()}
        with self.lake.ledger.read() as session:
            told = select(TouchedRecord.record_id, record_state())
            rows = session.execute(told.join(Correction, Correction.id == TouchedRecord.correction_id)).all()
        return {names[record]: state for record, state in rows}


@contextmanager
def steward_desk(root: Path, engine: Engine) -> Iterator[Desk]:
    """A batch `pay.csv` of LINES: the records b to e, and one without an id, `-`, are rejected."""
    feed = Feed(root, engine)
    feed.define(**COLUMNS)
    feed.land("pay.csv", *LINES)
    (outcome,) = feed.run()
    assert (outcome.status, outcome.counts.quarantined) == ("published", 5)
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    with open_lake(feed.settings, catalog, engine) as lake:
        refresh_all(lake, FEED)
        made = Desk(feed, lake, catalog, pipeline, outcome.key)
        for line in show_batch(lake, catalog, outcome.key).records:
            name = "abcde-"[line.entry.source_record - 1]
            made.ids[name] = line.entry.record_id
        assert sorted(made.ids) == ["-", "b", "c", "d", "e"]
        yield made


def problems(raised: pytest.ExceptionInfo[Unfit], desk: Desk) -> dict[str, list[str]]:
    names = {record: name for name, record in desk.ids.items()}
    found: dict[str, list[str]] = {}
    for problem in raised.value.problems:
        record = problem.record_id or ""
        found.setdefault(names.get(record, record), []).append(problem.message)
    return found
