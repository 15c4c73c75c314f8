"""Tables that are united and followed by their changes: each row is read once, and what is rewritten holds all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_xml.load import check_path
from processing.transformations import registry
from publishing.rebuild_ledger import rebuild
from publishing.verify import verify
from resources.engine import Engine
from stewardship import batch_decisions
from tests.engine.test_beside import killed_at
from tests.promised_feed import APPEND, COPY, DATED, NUMBER, pipeline_xml
from tests.steward_feed import APPROVER, StewardFeed

SIDE = '<csv id="x" path="side/*.csv" schemaRef="schemas/s.json"/>'
SIDE_TABLE = '<hive table="staging.side" mode="append"/>'
SOURCES = '<hive id="t" table="staging.feed" read="{0}"/><hive id="side" table="staging.side" read="{1}"/>'
UNION = '<union sources="t, side" as="both"/>'


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> StewardFeed:
    found = StewardFeed(tmp_path, engine)
    found.define(pattern=f"{DATED}.*", v=NUMBER)
    found._write("staging", "pipelines", "side.xml", pipeline_xml("side", "staging", SIDE, "", SIDE_TABLE))
    reading(found)
    (found.settings.data / "side").mkdir()
    return found


def reading(feed: StewardFeed, steps: str = UNION, read: tuple[str, str] = ("changes", "changes")) -> None:
    text = pipeline_xml("reader", "standardization", SOURCES.format(*read), steps, COPY)
    feed._write("standardization", "pipelines", "reader.xml", text)


def land(feed: StewardFeed, name: str, *lines: str) -> None:
    feed.land(name, "id,v", *lines)
    assert {b.status for b in feed.run()} == {"published"}


def beside(feed: StewardFeed, name: str, *lines: str) -> None:
    (feed.settings.data / "side" / name).write_text("".join(f"{line}\n" for line in ("id,v", *lines)))
    assert {b.status for b in feed.run("side")} == {"published"}


def read(feed: StewardFeed) -> list[tuple[str, int, int]]:
    return [(b.status, b.counts.in_, b.counts.accepted) for b in feed.run("reader")]


def ids(feed: StewardFeed) -> list[str]:
    found: list[str] = feed.rows("standardization.copy", "id")
    return found


def clean(feed: StewardFeed) -> None:
    with feed.open("reader") as (lake, _):
        assert verify(lake, lake.catalog) == []


def test_new_rows_of_any_are_read_once(feed: StewardFeed) -> None:
    land(feed, "20240105.csv", "a,1")
    assert read(feed) == []  # one of them was never published
    beside(feed, "1.csv", "x,1")
    assert sorted(read(feed)) == [("published", 1, 1), ("published", 1, 1)]  # each of its business date
    assert read(feed) == []
    land(feed, "20240106.csv", "b,2", "c,3")
    assert read(feed) == [("published", 2, 2)]
    beside(feed, "2.csv", "y,2")
    assert read(feed) == [("published", 1, 1)]
    land(feed, "20240105_more.csv", "d,4")
    beside(feed, "3.csv", "z,3")
    assert sorted(read(feed)) == [("published", 1, 1), ("published", 1, 1)]
    assert ids(feed) == ["a", "b", "c", "d", "x", "y", "z"]
    before = feed.counts("reader")
    assert {b.status for b in feed.run("reader", reprocess=True)} == {"published"}
    assert ids(feed) == ["a", "b", "c", "d", "x", "y", "z"]
    clean(feed)
    with feed.open("reader") as (lake, _):
        rebuild(lake, lake.catalog)
    assert feed.counts("reader") == before
    assert read(feed) == []  # the journal knows the position in each


@pytest.mark.parametrize("point", ["journal.batch", "attempt.opened", "manifest.written", "target.committed"])
def test_a_crash_reads_nothing_twice(feed: StewardFeed, point: str) -> None:
    land(feed, "20240105.csv", "a,1")
    beside(feed, "1.csv", "x,1")
    with killed_at(point):
        feed.run("reader")
    read(feed)
    land(feed, "20240106.csv", "b,1")
    read(feed)
    assert ids(feed) == ["a", "b", "x"]
    clean(feed)


def test_what_is_taken_back_is_read_again(feed: StewardFeed) -> None:
    land(feed, "20240105.csv", "a,1")
    beside(feed, "1.csv", "x,1")
    read(feed)
    land(feed, "20240106.csv", "b,1")
    (batch,) = feed.run("reader")
    feed.unpublish_keys([batch.key], "reader")
    assert ids(feed) == ["a", "x"]
    assert read(feed) == [("published", 1, 1)]
    assert ids(feed) == ["a", "b", "x"]
    clean(feed)


def test_a_table_that_was_rewritten_holds_all_until_it_is_read_anew(feed: StewardFeed) -> None:
    land(feed, "20240105.csv", "a,1", "b,2")
    beside(feed, "1.csv", "x,1")
    read(feed)
    feed.define(steps='<filter source="s" condition="v &gt; 1" onReject="drop"/>', pattern=f"{DATED}.*", v=NUMBER)
    feed.run(reprocess=True)  # a is gone from the table above
    beside(feed, "2.csv", "y,1")
    (held,) = feed.run("reader")
    assert held.status == "held" and held.reason is not None
    assert held.reason.startswith("upstream_rewritten: app.staging.feed: version") and "side" not in held.reason
    assert ids(feed) == ["a", "b", "x"]
    with feed.open("reader") as (lake, pipeline):
        plan = batch_decisions.plan_reread(lake, pipeline, held.key)
        assert [cost[:7] for cost in plan.upstream.values()] == ["1 rows,", "2 rows,"]
        batch_decisions.reread(lake, pipeline, APPROVER, held.key, "as it is now")
    read(feed)
    assert ids(feed) == ["b", "x", "y"]
    assert read(feed) == []
    clean(feed)


def test_a_rejected_record_of_either_comes_back(feed: StewardFeed) -> None:
    reading(feed, UNION + '<filter source="both" condition="v &gt; 1"/>')
    land(feed, "20240105.csv", "a,1", "b,2")
    beside(feed, "1.csv", "x,1", "y,2")
    feed.run("reader")
    assert set(feed.states("reader")) == {"20240105.csv:1", "1.csv:1"}
    feed.decide({"1.csv:1": {"v": "7"}}, name="reader")
    feed.replay("reader")
    assert ids(feed) == ["b", "x", "y"]
    clean(feed)


def test_a_record_that_comes_by_two_tables_is_told(feed: StewardFeed) -> None:
    small = '<filter source="s" condition="v &lt; 10" onReject="drop" as="small"/>'
    both = APPEND.replace("/>", ' source="s"/>') + '<hive table="staging.side" source="small" mode="append"/>'
    feed.define(both, small, pattern=f"{DATED}.*", v=NUMBER)
    (feed.settings.config / "applications/app/staging/pipelines/side.xml").unlink()
    land(feed, "20240105.csv", "a,1", "b,20")
    (batch,) = feed.run("reader")
    assert batch.status == "failed" and batch.reason is not None
    assert "1 records are in more than one of t, side" in batch.reason
    reading(feed, '<filter source="t" condition="v &gt;= 10" onReject="drop"/>' + UNION)
    assert [(b.status, b.counts.accepted) for b in feed.run("reader")] == [("published", 2)]
    assert ids(feed) == ["a", "b"]


def test_what_the_check_says(feed: StewardFeed) -> None:
    def codes(steps: str, read: tuple[str, str]) -> list[str]:
        reading(feed, steps, read=read)
        return [each.code for each in check_path(feed.settings.config, registry()) if each.severity == "error"]

    merge = '<merge sources="t, side" keys="id" as="both"/>'
    assert codes(UNION, ("changes", "changes")) == []
    assert codes(UNION, ("changes", "full")) == ["LK511", "LK511"]
    assert codes(merge, ("changes", "changes")) == ["LK511", "LK511"]
    assert codes(merge, ("partition", "partition")) == []
