"""Rows that are no records: merged by their key, taken back, read as records by others, deduplicated as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline_xml.load import check_path
from processing.transformations import registry
from publishing.outcome import BatchOutcome
from publishing.rebuild_ledger import rebuild
from publishing.rebuild_table import rebuild_table
from publishing.verify import verify
from resources.engine import Engine
from stewardship import batch_decisions
from tests.engine.test_beside import killed_at
from tests.promised_feed import DATED, NUMBER, TEXT
from tests.steward_feed import APPROVER, StewardFeed

GROUPED = '<aggregate source="s" groupBy="shop" metrics="count:n, sum:v:total, max:v:newest"/>'
MERGED = '<hive table="staging.feed" mode="merge" keys="shop" orderBy="newest"/>'
COPY = '<hive table="standardization.copy" mode="append"/>'


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> StewardFeed:
    found = StewardFeed(tmp_path, engine)
    define(found)
    return found


def define(feed: StewardFeed, targets: str = MERGED, steps: str = GROUPED) -> None:
    feed.define(targets, steps, pattern=f"{DATED}.*", shop=TEXT, v=NUMBER)


def land(feed: StewardFeed, day: str, *lines: str) -> BatchOutcome:
    feed.land(f"{day}.csv", "id,shop,v", *lines)
    (batch,) = feed.run()
    return batch


def groups(feed: StewardFeed) -> list[tuple[str, int, int]]:
    return feed.rows("staging.feed", "shop", "n", "total")


def clean(feed: StewardFeed) -> None:
    with feed.open() as (lake, _):
        assert verify(lake, lake.catalog) == []


def test_a_newer_row_takes_the_place_of_its_key(feed: StewardFeed) -> None:
    first = land(feed, "20240105", "a,x,1", "b,x,2", "c,y,50")
    assert (first.counts.accepted, first.counts.superseded) == (3, 0)
    second = land(feed, "20240106", "d,x,5", "e,y,4", "f,z,1")
    assert (second.counts.accepted, second.counts.superseded) == (3, 0)  # records are counted, groups are not
    assert [t.rows_written for t in second.targets] == [2]  # y stands higher in its order
    assert groups(feed) == [("x", 1, 5), ("y", 1, 50), ("z", 1, 1)]
    assert [(s.step, s.in_, s.out) for s in second.steps] == [("aggregate", 3, 3)]
    assert feed.run() == []
    clean(feed)


@pytest.mark.parametrize("point", ["stage.finished", "merge.contested", "merge.committed", "outcome.journaled"])
def test_a_crash_changes_nothing(feed: StewardFeed, point: str) -> None:
    land(feed, "20240105", "a,x,1", "c,y,50")
    feed.land("20240106.csv", "id,shop,v", "d,x,5", "f,z,1")
    with killed_at(point):
        feed.run()
    feed.run()
    assert groups(feed) == [("x", 1, 5), ("y", 1, 50), ("z", 1, 1)]
    clean(feed)


def test_what_is_taken_back_lets_the_older_row_stand_again(feed: StewardFeed) -> None:
    land(feed, "20240105", "a,x,1", "c,y,50")
    second = land(feed, "20240106", "d,x,5", "f,z,1")
    feed.unpublish_keys([second.key])
    assert groups(feed) == [("x", 1, 1), ("y", 1, 50)]
    before = feed.counts()
    clean(feed)
    with feed.open() as (lake, pipeline):
        rebuild(lake, lake.catalog)
        with lake.alone(pipeline.key):
            rebuild_table(lake, pipeline, 0)
    assert feed.counts() == before
    assert groups(feed) == [("x", 1, 1), ("y", 1, 50)]
    clean(feed)


def test_a_reprocess_that_makes_a_key_no_more_waits_for_a_release(feed: StewardFeed) -> None:
    batch = land(feed, "20240105", "a,x,1", "b,x,2", "c,y,50")
    (again,) = feed.run(reprocess=True)
    assert (again.status, again.reason) == ("published", None)
    assert groups(feed) == [("x", 2, 3), ("y", 1, 50)]
    define(feed, steps='<filter source="s" condition="v &lt; 10" onReject="drop"/>' + GROUPED)
    (again,) = feed.run(reprocess=True)
    assert again.status == "held" and again.reason is not None and again.reason.startswith("rebuild")
    assert groups(feed) == [("x", 2, 3), ("y", 1, 50)]
    with feed.open() as (lake, pipeline):
        batch_decisions.release(lake, pipeline, APPROVER, batch.key, {"rebuild_needed": "y is gone"}, "y is gone")
    feed.run()
    assert groups(feed) == [("x", 2, 3)]
    clean(feed)


def test_a_row_without_its_key_holds_the_batch(feed: StewardFeed) -> None:
    batch = land(feed, "20240105", "a,x,1", "b,,2")
    assert (batch.status, batch.reason) == ("held", "merge_keys: 1 rows of 's' have no shop, by which they are merged")
    define(feed, steps='<filter source="s" condition="shop is not null" onReject="drop"/>' + GROUPED)
    (again,) = feed.run(reprocess=True)
    assert again.status == "published"
    assert groups(feed) == [("x", 1, 1)]
    clean(feed)


def test_their_rows_are_records_to_whoever_reads_the_table(feed: StewardFeed) -> None:
    define(feed, '<hive table="staging.feed" mode="append"/>')
    feed.define_reader("partition", COPY, '<filter source="t" condition="total &gt; 5"/>')
    land(feed, "20240105", "a,x,1", "b,y,50")
    (read,) = feed.run("reader")
    assert (read.counts.accepted, read.counts.quarantined) == (1, 1)
    (entry,) = feed.entries("reader").values()
    assert entry["record_id"] and entry["state"] == "open"
    (key,) = feed.entries("reader")
    feed.decide({key: {"total": "6"}}, name="reader")
    (replay,) = feed.replay("reader")
    assert replay.counts.accepted == 1
    assert feed.rows("standardization.copy", "shop", "total") == [("x", 6), ("y", 50)]
    assert feed.run(reprocess=True)[0].status == "published"  # and their ids are the same when they are made again
    (read,) = feed.run("reader")
    assert feed.rows("standardization.copy", "shop", "total") == [("x", 6), ("y", 50)]
    clean(feed)


def test_items_of_a_list_are_deduplicated_as_they_are(feed: StewardFeed) -> None:
    flat = """<flatten source="s" column="shop"><column name="sku" path="sku" type="string"/>
      <column name="n" path="n" type="int"/></flatten>
      <deduplicate source="s" keys="id, sku" keep="latest" orderBy="n"/>"""
    define(feed, '<hive table="staging.feed" mode="merge" keys="id, sku" orderBy="n"/>', flat)
    items = '"[{""sku"": ""k"", ""n"": 1}, {""sku"": ""k"", ""n"": 3}, {""sku"": ""m"", ""n"": 2}]"'
    batch = land(feed, "20240105", f"a,{items},1", f"b,{items},1")
    assert [(s.step, s.in_, s.out) for s in batch.steps] == [("flatten", 2, 6), ("deduplicate", 6, 4)]
    assert feed.rows("staging.feed", "id", "sku", "n") == [("a", "k", 3), ("a", "m", 2), ("b", "k", 3), ("b", "m", 2)]
    clean(feed)


def test_what_the_check_says(feed: StewardFeed) -> None:
    def codes(targets: str, steps: str = GROUPED) -> list[str]:
        define(feed, targets, steps)
        return [each.code for each in check_path(feed.settings.config, registry()) if each.severity == "error"]

    assert codes(MERGED) == []
    assert codes(MERGED.replace('keys="shop"', 'keys="n"')) == ["LK514"]
    assert codes(MERGED, GROUPED.replace("/>", ' rollup="true"/>')) == ["LK514"]
    assert codes(MERGED, GROUPED + '<deduplicate source="s" keys="shop" keep="first"/>') == ["LK302"]


def test_a_table_of_groups_from_before_they_had_an_identity_goes_on(feed: StewardFeed) -> None:
    define(feed, '<hive table="staging.feed" mode="append"/>')
    land(feed, "20240105", "a,x,1")
    table = DeltaTable(str(feed.folder("staging.feed")))
    gone = ["_record_id", "_sender", "_arrival", "_source_file", "_source_record"]
    rows = table.to_pyarrow_table().drop_columns(gone)
    write_deltalake(table, rows, mode="overwrite", schema_mode="overwrite")
    assert land(feed, "20240106", "b,y,50").status == "published"
    assert groups(feed) == [("x", 1, 1), ("y", 1, 50)]
    assert [record is None for record in feed.rows("staging.feed", "_record_id")].count(True) == 1
