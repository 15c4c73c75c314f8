"""Lists inside a text of JSON become rows, the same on both engines; what cannot is rejected before."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from processing.flattened import INVALID_ITEM, INVALID_JSON
from resources.engine import Engine
from tests.delta_rows import delta_dataset
from tests.promised_feed import NUMBER, TEXT, Feed
from tests.step_frames import INT, run
from tests.step_frames import TEXT as STRING

LINES = """<flatten source="s" column="lines" {}>
  <column name="sku" type="string"/>
  <column name="amount" path="price.amount" type="decimal(10,2)"/>
  <column name="due" type="date" format="dd.MM.yyyy"/>
  <column name="whole" path="." type="string"/>
</flatten>"""
A = '{"sku":"a","price":{"amount":1.10},"due":"31.01.2024"}'
B = '{"sku": "b", "price": {"amount": 1e1}, "more": [true, null]}'


def flattened(engine: Engine, root: Path, attributes: str, *lists: str | None) -> list[tuple[Any, ...]]:
    rows = [{"id": f"r{i}", "lines": text} for i, text in enumerate(lists, 1)]
    out = run(engine, root, LINES.format(attributes), {"id": STRING, "lines": STRING}, rows)
    assert list(out.types.values())[-4:] == ["string", "decimal128(10, 2)", "date32[day]", "string"]
    return [tuple(row.values()) for row in out.rows.values()]


def test_each_item_becomes_a_row(engine: Engine, tmp_path: Path) -> None:
    found = flattened(engine, tmp_path, 'position="line" as="l"', f"[{A}, {B}]", None, "[]", A, "null")
    due = date(2024, 1, 31)
    b = '{"sku":"b","price":{"amount":"10"},"more":[true,null]}'
    a = '{"sku":"a","price":{"amount":"1.10"},"due":"31.01.2024"}'
    assert sorted(found, key=str) == [
        ("r1", 1, "a", Decimal("1.10"), due, a),
        ("r1", 2, "b", Decimal("10.00"), None, b),
        ("r2", None, None, None, None, None),
        ("r3", None, None, None, None, None),
        ("r4", 1, "a", Decimal("1.10"), due, a),
        ("r5", None, None, None, None, None),
    ]


def test_empty_lists_may_go(engine: Engine, tmp_path: Path) -> None:
    found = flattened(engine, tmp_path, 'onEmpty="drop"', f"[{A}]", None, "[]", "null")
    assert [row[:2] for row in found] == [("r1", "a")]


def test_a_list_of_values(engine: Engine, tmp_path: Path) -> None:
    step = '<flatten source="s" column="t"><column name="n" path="." type="int"/></flatten>'
    out = run(engine, tmp_path, step, {"t": STRING, "k": INT}, [{"t": "[3, null, 1]", "k": 7}])
    assert [tuple(row.values()) for row in out.rows.values()] == [(7, 3), (7, None), (7, 1)]


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    return Feed(tmp_path, engine)


STEP = '<flatten source="{}" column="l"><column name="n" path="." type="int"/></flatten>'


def test_what_cannot_be_flattened_is_rejected_as_a_record(feed: Feed) -> None:
    feed.define(steps=STEP.format("s"), l=TEXT)
    bad = ['"[1,"', '"[1, ""x""]"', '"{""a"":1,""a"":2}"', "NaN"]
    feed.land("a.csv", "id,l", 'a,"[1,2]"', *(f"b{i},{text}" for i, text in enumerate(bad)))
    (outcome,) = feed.run()
    assert (outcome.counts.in_, outcome.counts.accepted, outcome.counts.quarantined) == (5, 1, 4)
    assert [(s.step, s.in_, s.out) for s in outcome.steps] == [("flatten", 1, 2)]
    rows = delta_dataset(feed.folder("staging.feed")).to_table(columns=["id", "n"]).to_pylist()
    assert sorted(rows, key=str) == [{"id": "a", "n": 1}, {"id": "a", "n": 2}]
    errors = delta_dataset(feed.folder("exceptions.feed")).to_table(columns=["source_record", "errors"]).to_pylist()
    codes = {row["source_record"]: [e["code"] for e in row["errors"]] for row in errors}
    assert codes == {2: [INVALID_JSON], 3: [INVALID_ITEM], 4: [INVALID_JSON], 5: [INVALID_JSON]}


def test_after_the_accounting_it_ends_the_batch_and_shows_no_value(feed: Feed) -> None:
    feed.define(l=TEXT, v=NUMBER)
    feed.land("a.csv", "id,l,v", 'a,"[1, ""secret""]",1')
    feed.run()
    steps = '<aggregate source="t" groupBy="v" metrics="max:l:l"/>' + STEP.format("t")
    feed.define_reader("partition", steps=steps)
    (outcome,) = feed.run("reader")
    assert outcome.status == "failed"
    assert "secret" not in str(outcome)
