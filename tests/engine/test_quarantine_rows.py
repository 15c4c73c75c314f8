"""A rejected record keeps its exact bytes, its place and the shape of what is wrong, however its file is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from processing.keys import unseal
from publishing import quarantine_rows
from resources.engine import Engine
from resources.quarantine_key import quarantine_key
from tests.delta_rows import delta_dataset
from tests.promised_feed import NUMBER, TEXT, Feed

LONG = "x" * 30
FIRST = ("a,1,n", 'b,"x,\n""y""",n', "c,NA,ä", ",2,n", "d", "e,3,n,more", f"f,{LONG},n")
SECOND = ("n,g,no", "n,h,5", "ö,i,6.5")  # under another order of columns


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    return Feed(tmp_path, engine)


def entries(feed: Feed, table: str) -> dict[tuple[str, int], tuple[str, dict[str, str], set[str]]]:
    """(file, record) -> (raw text, preview, rules)."""
    key = quarantine_key(feed.settings)
    found: list[dict[str, Any]] = delta_dataset(feed.folder(table)).to_table().to_pylist()
    return {
        (row["source_file"], row["source_record"]): (
            unseal(row["raw"], key.value, key.id, row["record_id"]).decode(),
            json.loads(row["preview"]),
            {error["rule"] for error in row["errors"]},
        )
        for row in found
    }


def test_rejects_of_several_files(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine_rows, "CHUNK", 4)
    feed.define(v=NUMBER, n={**TEXT, "x-classification": "pii"})
    contract = feed.root / "config/applications/app/staging/schemas/s.json"
    contract.write_text(contract.read_text().replace('{"type": "object"', '{"x-primaryKey": ["id"], "type": "object"'))
    feed.land("a.csv", "id,v,n", *FIRST)
    feed.land("b.csv", "n,id,v", *SECOND)
    (outcome,) = feed.run()
    assert (outcome.counts.in_, outcome.counts.quarantined) == (10, 8)
    assert entries(feed, "exceptions.feed") == {
        ("a.csv", 2): (FIRST[1], {"id": "a", "v": "a,??a?"}, {"contract.v.type"}),
        ("a.csv", 3): (FIRST[2], {"id": "a", "v": "aa"}, {"contract.v.type"}),
        ("a.csv", 4): (FIRST[3], {"id": ""}, {"contract.id.required"}),
        ("a.csv", 5): (FIRST[4], {"id": "a"}, {"record.ragged"}),
        ("a.csv", 6): (FIRST[5], {"id": "a"}, {"record.ragged"}),
        ("a.csv", 7): (FIRST[6], {"id": "a", "v": "a" * 24 + "…"}, {"contract.v.type"}),
        ("b.csv", 1): (SECOND[0], {"id": "a", "v": "aa"}, {"contract.v.type"}),
        ("b.csv", 3): (SECOND[2], {"id": "a", "v": "9.9"}, {"contract.v.type"}),
    }


def test_rejects_of_a_table_are_its_rows_as_json(feed: Feed) -> None:
    feed.define(v=NUMBER)
    feed.land("a.csv", "id,v", "a,1", "b,", "c,3")
    feed.run()
    merge = '<hive table="standardization.copy" mode="merge" keys="v" orderBy="id"/>'
    feed.define_reader("changes", merge)
    feed.run("reader")
    assert entries(feed, "exceptions.reader") == {("a.csv", 2): ('{"id": "b"}', {}, {"merge.keys"})}


def test_rejects_of_a_table_are_kept_as_they_came_whatever_steps_wrote_over_them(feed: Feed) -> None:
    feed.define(v=NUMBER)
    feed.land("a.csv", "id,v", "a,1", "b,2")
    feed.run()
    steps = """<rename source="t" columns="id=v2"/>
      <cast source="t"><column name="v" type="string"/></cast>
      <mask source="t" columns="v2" strategy="redact"/><filter source="t" condition="v = '1'"/>"""
    feed.define_reader("changes", steps=steps)
    feed.run("reader")
    found = entries(feed, "exceptions.reader")
    assert {at: text for at, (text, _, _) in found.items()} == {("a.csv", 2): '{"id": "b", "v": 2}'}
    accepted = delta_dataset(feed.folder("standardization.copy")).to_table(columns=["v2", "v"])
    assert accepted.to_pylist() == [{"v2": "***", "v": "1"}]


def test_rejects_of_a_partitioned_target(feed: Feed) -> None:
    feed.define('<hive table="staging.feed" mode="append" partitionBy="_business_date"/>')
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    assert entries(feed, "exceptions.feed") == {("a.csv", 2): ("b,x", {"v": "a"}, {"contract.v.type"})}
