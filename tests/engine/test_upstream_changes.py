"""A reader of changes where the table above took rows away: they came back as they were, or a person decides."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from publishing.outcome import BatchOutcome
from resources.engine import Engine
from stewardship import batch_decisions
from stewardship.refused import Refused
from tests.promised_feed import APPEND, COPY
from tests.steward_feed import APPROVER, StewardFeed

FIRST = '<deduplicate source="s" keys="id" keep="first"/>'


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    """Its replays are attempts of their batch: what they add stands in a commit that takes the batch's rows away."""
    found = StewardFeed(tmp_path, engine)
    found.define(APPEND, steps=FIRST)
    found.define_reader("changes")
    found.land("a.csv", "id,v", "a,1", "b,x", "c,y", "d,4")
    found.run()
    found.run("reader")
    assert found.rows("standardization.copy", "id") == ["a", "d"]
    return found


def read(feed: StewardFeed) -> list[tuple[str, int, int]]:
    return [(b.status, b.counts.in_, b.counts.accepted) for b in feed.run("reader")]


def test_rows_that_come_back_as_they_were_are_read_once(feed: StewardFeed) -> None:
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    assert read(feed) == [("published", 1, 1)]
    assert feed.rows("standardization.copy", "id", "v") == [("a", 1), ("b", 2), ("d", 4)]
    feed.decide({"a.csv:3": {"v": "3"}})
    feed.replay()
    feed.land("e.csv", "id,v", "e,5")
    feed.run()
    feed.run(reprocess=True)
    assert read(feed) == [("published", 2, 2)]
    assert feed.rows("standardization.copy", "id") == ["a", "b", "c", "d", "e"]
    assert feed.run("reader") == []


def test_the_same_rows_once_more_are_nothing_new(feed: StewardFeed) -> None:
    feed.run(reprocess=True)
    assert read(feed) == [("published", 0, 0)]
    assert feed.run("reader") == []
    assert [b.status for b in feed.run("reader", reprocess=True)] == ["published", "published"]
    assert feed.rows("standardization.copy", "id") == ["a", "d"]


def test_a_correction_of_what_the_reader_rejected_waits_while_its_row_only_comes_back(feed: StewardFeed) -> None:
    feed.define_reader("changes", steps='<filter source="t" condition="v &gt; 2"/>')
    feed.land("e.csv", "id,v", "e,1")
    feed.run()
    feed.run("reader")
    assert feed.states("reader") == {"e.csv:1": "open"}
    feed.decide({"e.csv:1": {"v": "9"}}, name="reader")
    feed.run(reprocess=True)
    feed.run("reader")
    assert feed.rows("standardization.copy", "id") == ["a", "d"]
    (done,) = feed.replay("reader")
    assert done.counts.accepted == 1
    assert feed.rows("standardization.copy", "id", "v") == [("a", 1), ("d", 4), ("e", 9)]


def changed(feed: StewardFeed) -> BatchOutcome:
    """The table above does not hold a record any more that was read."""
    feed.define(APPEND, steps=f'{FIRST}<filter source="s" condition="v &gt; 1" onReject="drop"/>')
    feed.run(reprocess=True)
    (held,) = feed.run("reader")
    assert held.status == "held"
    return held


def test_the_way_out_is_said_and_leads_out(feed: StewardFeed) -> None:
    held = changed(feed)
    reason = held.reason or ""
    assert reason.startswith("upstream_rewritten: version ")
    with feed.open("reader") as (lake, pipeline), pytest.raises(Refused, match="to read it anew: lake restore"):
        batch_decisions.release(lake, pipeline, APPROVER, held.key, {}, "r")
    feed.run(reprocess=True)
    assert feed.run("reader") == [], "one batch says it"
    restore, withdraw, run = reason.partition("to read it anew: ")[2].split(", ")
    _, _, table, _, version = shlex.split(restore)
    assert (table, withdraw, run) == (
        "app/standardization.copy", "lake batches withdraw app/reader of this one", "lake run app/reader",
    )  # fmt: skip
    with feed.open("reader") as (lake, pipeline):
        gone = batch_decisions.restore(lake, pipeline, 0, version, APPROVER, "the table was rewritten")
        batch_decisions.withdraw(lake, pipeline, APPROVER, held.key, "read anew")
    assert len(gone) == 1
    assert feed.rows("standardization.copy", "id") == []
    assert read(feed) == [("published", 1, 1)]
    assert feed.rows("standardization.copy", "id", "v") == feed.rows("staging.feed", "id", "v") == [("d", 4)]
    assert feed.run("reader") == []


def test_an_export_alone_names_the_batches(feed: StewardFeed) -> None:
    feed.define_reader("changes", targets='<csv path="out" mode="append"/>')
    feed.run("reader", reprocess=True)
    assert "lake batches unpublish app/reader BATCH of each" in (changed(feed).reason or "")


def test_a_merging_reader_reads_what_changed(engine: Engine, tmp_path: Path) -> None:
    feed = StewardFeed(tmp_path, engine)
    feed.define(APPEND, steps=FIRST)
    feed.define_reader("changes", COPY.replace('mode="append"', 'mode="merge" keys="id" orderBy="v"'))
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.run("reader")
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    assert [status for status, _, _ in read(feed)] == ["published"]
    assert feed.rows("standardization.copy", "id", "v") == [("a", 1), ("b", 2)]
