"""Sources of JSON and Parquet: every record is accounted for, and what is rejected keeps its text and comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from processing.keys import unseal
from publishing import failpoints
from resources.engine import Engine
from resources.quarantine_key import quarantine_key
from stewardship.payloads import SEALED, Payloads, cells_by_record
from tests.promised_feed import APPEND, MERGE, NUMBER
from tests.steward_feed import StewardFeed

LINES = ('{"id":"a","v":1}', '{"id":"b","v":"x"}', '{"id":"c","v":', ' {"v":4 , "id":"d"} ')


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def payloads(feed: StewardFeed) -> dict[str, str]:
    """The unsealed text of each quarantined record."""
    key = quarantine_key(feed.settings)
    return {
        name: unseal(entry["raw"], key.value, entry["key_id"], entry["record_id"]).decode()
        for name, entry in feed.entries().items()
    }


def cells(feed: StewardFeed) -> list[dict[str, str | None]]:
    """What a steward is shown of them."""
    with feed.open() as (lake, pipeline):
        entries = lake.quarantine(pipeline.key).snapshot().dataset().to_table(columns=list(SEALED))
        return sorted(cells_by_record(Payloads(lake, pipeline).cells(entries)).values(), key=str)


def test_json_records_are_counted_kept_and_replayed(feed: StewardFeed) -> None:
    feed.define(APPEND, kind="json")
    feed.land("lines.jsonl", *LINES)
    feed.land("array.json", f"[{LINES[0].replace('a', 'e')},", '{"id":"f","v":"y"} , what]')
    (batch,) = feed.run()
    assert (batch.status, batch.counts.in_, batch.counts.accepted, batch.counts.quarantined) == ("published", 7, 3, 4)
    assert payloads(feed) == {
        "lines.jsonl:2": LINES[1], "lines.jsonl:3": LINES[2], "array.json:2": '{"id":"f","v":"y"}',
        "array.json:3": "what",
    }  # fmt: skip
    assert cells(feed) == [
        {"id": "b", "v": "x"}, {"id": "f", "v": "y"}, {"id": None, "v": None}, {"id": None, "v": None},
    ]  # fmt: skip
    previews = {name: json.loads(entry["preview"]) for name, entry in feed.entries().items()}
    assert previews["lines.jsonl:2"] == {"v": "a"} and previews["lines.jsonl:3"] == {}
    feed.decide({"lines.jsonl:2": {"v": "2"}, "lines.jsonl:3": {"id": "c", "v": "3"}, "array.json:2": {"v": None}})
    (done,) = feed.replay()
    assert (done.counts.in_, done.counts.accepted) == (3, 3)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 1), ("f", None)]
    (again,) = [b for b in feed.run(reprocess=True) if b.origin == "files"]
    assert (again.counts.accepted, again.counts.quarantined) == (6, 1)
    assert len(feed.rows("staging.feed", "id", "v")) == 6


def test_an_empty_text_is_a_value_in_json(feed: StewardFeed) -> None:
    feed.define(APPEND, kind="json", t={"type": "string", "minLength": 1})
    feed.land("a.json", '[{"id":"","t":null},{"id":"b","t":""}]')
    (batch,) = feed.run()
    assert (batch.counts.accepted, batch.counts.quarantined) == (1, 1)
    assert feed.rows("staging.feed", "id", "t") == [("", None)]


def test_parquet_rows_are_counted_kept_and_replayed(feed: StewardFeed) -> None:
    feed.define(MERGE, kind="parquet", v=NUMBER)
    table = pa.table({"v": pa.array([1, 2**40, None, 4, 5]), "id": ["a", "b", "c", None, "e"]})
    pq.write_table(table, feed.settings.data / "landing" / "t.parquet", row_group_size=2)
    (batch,) = feed.run()
    assert (batch.counts.in_, batch.counts.accepted, batch.counts.quarantined) == (5, 3, 2)
    told = {name: json.loads(text) for name, text in payloads(feed).items()}
    assert told == {"t.parquet:2": {"v": "1099511627776", "id": "b"}, "t.parquet:4": {"v": "4", "id": None}}
    assert cells(feed) == [{"id": "b", "v": "1099511627776"}, {"id": None, "v": "4"}]
    feed.decide({"t.parquet:2": {"v": "2"}, "t.parquet:4": {"id": "d"}})
    (done,) = feed.replay()
    assert (done.counts.in_, done.counts.accepted) == (2, 2)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", None), ("d", 4), ("e", 5)]


def test_a_broken_file_is_held_and_the_others_go_on(feed: StewardFeed) -> None:
    feed.define(APPEND, kind="json")
    feed.land("good.json", '{"id":"a","v":1}')
    feed.land("cut.json", '[{"id":"b","v":1},')
    statuses = {b.status: b.reason for b in feed.run()}
    assert statuses == {"published": None, "held": "truncated: the file ends inside the array that opens it"}
    assert feed.rows("staging.feed", "id") == ["a"]


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_an_empty_file_is_held_or_a_delivery_of_no_records(feed: StewardFeed, kind: str) -> None:
    feed.define(APPEND, kind=kind)
    feed.land("nothing")
    (held,) = feed.run()
    assert (held.status, held.reason) == ("held", "empty_file: the file holds no record")
    feed.define(APPEND, kind=kind, source='emptyFile="accept"')
    (accepted,) = feed.run(reprocess=True)
    assert (accepted.status, accepted.counts.in_) == ("published", 0)


def test_large_files_are_read_in_ranges(feed: StewardFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processing.scan_json.JsonScanner.__init__.__defaults__", (False, 4096))
    feed.define(APPEND, kind="json")
    rows = [f'{{"id": "r{n}", "v": {n if n % 100 else json.dumps("odd")}}}' for n in range(1, 5001)]
    feed.land("lines.json", *rows)
    feed.land("array.json", "[" + ",\n".join(rows).replace('"r', '"s') + "]")
    (batch,) = feed.run()
    assert (batch.counts.in_, batch.counts.accepted, batch.counts.quarantined) == (10_000, 9_900, 100)
    texts = payloads(feed)
    assert texts["lines.json:200"] == rows[199] and texts["array.json:200"] == rows[199].replace('"r', '"s')


class Killed(BaseException):
    """As a crash: nothing catches it."""


POINTS = (
    "raw.copied", "claim.copied", "intake.persisted", "attempt.opened", "stage.records", "stage.finished",
    "manifest.written", "quarantine.written", "quarantine.committed", "target.linked", "target.committed",
    "outcome.journaled", "ledger.ended",
)  # fmt: skip


def land_some(feed: StewardFeed, kind: str) -> None:
    if kind == "json":
        feed.define(APPEND, kind="json")
        feed.land("lines.jsonl", *LINES)
        feed.land("array.json", '[{"id":"e","v":1}, oh]')
    else:
        feed.define(APPEND, kind="parquet")
        table = pa.table({"v": pa.array([1, 2**40, 3]), "id": ["a", "b", "c"]})
        pq.write_table(table, feed.settings.data / "landing" / "t.parquet", row_group_size=2)


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_a_crash_anywhere_ends_as_no_crash(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    whole = StewardFeed(tmp_path / "whole", engine)
    land_some(whole, kind)
    (expected,) = whole.run()
    assert expected.counts.closes and expected.counts.quarantined
    for point in POINTS:
        feed = StewardFeed(tmp_path / point, engine)
        land_some(feed, kind)

        def dies(name: str, at: str = point) -> None:
            if name == at:
                raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(failpoints, "reached", dies)
            feed.run()
        feed.run()
        assert feed.run() == []
        assert feed.rows("staging.feed", "id", "v") == whole.rows("staging.feed", "id", "v"), point
        assert payloads(feed) == payloads(whole), point
        (counts,) = feed.counts()
        assert counts == expected.counts.as_dict(), point


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_no_value_of_a_rejected_record_is_told_in_clear(
    feed: StewardFeed, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    feed.define(APPEND, kind=kind, v=NUMBER)
    if kind == "json":
        feed.land("a.json", '{"id":"a","v":"HUSH"}', '{"id":"HUSH",', '{"HUSH":1}', '{"id":1,"id":"HUSH"}')
    else:
        table = pa.table({"id": ["a", None], "v": ["HUSH", "HUSH"]})
        pq.write_table(table, feed.settings.data / "landing" / "a.parquet")
    (batch,) = feed.run()
    assert batch.counts.accepted == 0 and batch.counts.quarantined == batch.counts.in_ > 0
    told = json.dumps(batch.as_dict()) + caplog.text + json.dumps(list(feed.entries().values()), default=repr)
    told += "".join(path.read_text() for path in (feed.settings.data / "journal").rglob("*.json"))
    assert "HUSH" not in told
