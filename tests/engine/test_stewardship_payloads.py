"""Cells of rejected records come out of their seals as the reader reads them, of files and of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from publishing.corrections import load_changes
from publishing.decisions import Correction
from publishing.lake import Lake, open_lake
from publishing.quarantined import refresh_all
from resources.engine import Engine
from stewardship.actors import STEWARD, Actor
from stewardship.correct import Proposal, correct_by_expression, correct_values
from stewardship.entries import SHOWN, read_page, scan
from stewardship.new_values import Named
from stewardship.payloads import SEALED, Payloads, cells_by_record
from stewardship.quarantine import show_batch
from stewardship.selection import Scope
from tests.promised_feed import Feed

ANA = Actor("ana", STEWARD)
DIVIDED = '<derive source="t"><column name="w" expression="100 / v"/></derive>'


def new_texts(lake: Lake, proposal: Proposal) -> list[tuple[str | None, str | None]]:
    """(before, after) of the only column that changes, in the order of the records."""
    (made,) = proposal.corrections
    with lake.ledger.read() as session:
        row = session.scalars(select(Correction).where(Correction.id == made.correction)).one()
    return [(line["was:v"], line["new:v"]) for line in load_changes(lake, row).to_pylist()]


def test_records_of_a_table_are_corrected_by_their_payload(tmp_path: Path, engine: Engine) -> None:
    feed = Feed(tmp_path, engine)
    feed.define(v={"type": "integer"}, price={"type": "number", "x-type": "decimal(20,10)"})
    feed.define_reader("full", targets='<hive table="standardization.copy" mode="append"/>', steps=DIVIDED)
    feed.land("one.csv", "id,v,price", "a,0,0.0000000001", "b,0,-2.5", "c,5,1")
    feed.run()
    (outcome,) = feed.run("reader")
    assert outcome.counts.quarantined == 2
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "reader")
    assert pipeline is not None
    with open_lake(feed.settings, catalog, engine) as lake:
        refresh_all(lake, pipeline.key)
        view = show_batch(lake, catalog, outcome.key)
        ids = [line.entry.record_id for line in view.records]
        entries = next(scan(lake.quarantine(pipeline.key).snapshot(), [outcome.batch], SEALED))
        cells = cells_by_record(Payloads(lake, pipeline).cells(entries))
        prices = {"0.0000000001", "-2.5000000000"}
        assert {own["price"] for own in cells.values()} == prices, "no exponent, which no cell may have"
        scope = Scope(outcome.key)
        tried = correct_by_expression(lake, catalog, pipeline, ANA, "", scope, {"v": "v + 4"}, dry_run=True)
        assert tried.trial is not None
        assert (tried.trial.records, tried.trial.would_pass) == (2, 2)
        one = correct_values(lake, catalog, pipeline, ANA, "r", scope, Named({ids[0]: {"v": "7"}}))
        assert new_texts(lake, one) == [("0", "7")]
        rest = correct_by_expression(lake, catalog, pipeline, ANA, "r", scope, {"v": "v + 4"})
        assert (new_texts(lake, rest), rest.left_out) == ([("0", "4")], {"undecided": 1})


LETTERS = st.sampled_from(['"', ",", "\n", "é", "ß", "x", " ", "'", "0"])
CELLS = st.text(LETTERS, max_size=6)


@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_cells_are_those_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, rows: list[tuple[str, str]]
) -> None:
    """Columns in another order than the contract's, quotes, line breaks within cells, Latin-1."""
    feed = Feed(tmp_path_factory.mktemp("cells"), engine)
    feed.define(pattern=".*", v={"type": "integer"}, note={"type": "string"}, other={"type": "string"})
    path = feed.root / "config/applications/app/staging/pipelines/feed.xml"
    path.write_text(path.read_text().replace('header="true"', 'header="true" encoding="latin-1"'))

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    lines = [f"{quoted(note)},bad,k{i},{quoted(other)}" for i, (note, other) in enumerate(rows)]
    (feed.settings.data / "landing" / "one.csv").write_bytes(
        "".join(f"{line}\n" for line in ("note,v,id,other", *lines)).encode("latin-1")
    )
    (outcome,) = feed.run()
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None and outcome.counts.quarantined == len(rows)
    with open_lake(feed.settings, catalog, engine) as lake:
        snapshot = lake.quarantine(pipeline.key).snapshot()
        payloads = Payloads(lake, pipeline)
        whole = [part for part in scan(snapshot, [outcome.batch], SEALED)]
        cells = [own for part in whole for own in cells_by_record(payloads.cells(part)).values()]
        assert payloads.texts(whole[0]) == lines[: whole[0].num_rows]
        expected = [{"id": f"k{i}", "v": "bad", "note": n or None, "other": o or None} for i, (n, o) in enumerate(rows)]
        assert sorted(cells, key=_number) == expected
        seen, after = [], None
        while len(page := read_page(snapshot, outcome.batch, SHOWN, after=after, limit=3)):
            seen += page["record_id"].to_pylist()
            after = seen[-1]
        assert seen == sorted(set(seen)) and len(seen) == len(rows)


def _number(cells: dict[str, Any]) -> int:
    return int(cells["id"][1:])
