"""A reader of changes where the table above took rows away: they came back as they were, or a person decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from publishing import failpoints
from publishing.export import read_manifest
from publishing.outcome import BatchOutcome
from resources.engine import Engine
from stewardship import audit, batch_decisions
from stewardship.refused import Refused
from tests.ledger_rows import made_again
from tests.promised_feed import APPEND, COPY
from tests.steward_feed import APPROVER, StewardFeed

FIRST = '<deduplicate source="s" keys="id" keep="first"/>'


class Killed(BaseException):
    """The process ends here."""


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
    with feed.open("reader") as (lake, pipeline), pytest.raises(Refused, match="lake batches reread app/reader BATCH"):
        batch_decisions.release(lake, pipeline, APPROVER, held.key, {}, "r")
    feed.run(reprocess=True)
    assert feed.run("reader") == [], "one batch says it"
    with feed.open("reader") as (lake, pipeline):
        plan = batch_decisions.plan_reread(lake, pipeline, held.key)
        assert (plan.batches[0], len(plan.batches), list(plan.upstream)) == (held.key, 2, ["app/staging/feed"])
        assert plan.upstream["app/staging/feed"].startswith("1 rows, 1 files, ")
        gone = batch_decisions.reread(lake, pipeline, APPROVER, held.key, "the table was rewritten")
        assert gone == list(plan.batches)
        assert "app/reader" in batch_decisions.asked_again(lake)
    assert feed.rows("standardization.copy", "id") == []
    made_again(feed)
    assert read(feed) == [("published", 1, 1)]
    assert feed.rows("standardization.copy", "id", "v") == feed.rows("staging.feed", "id", "v") == [("d", 4)]
    assert feed.run("reader") == []
    made_again(feed)


@pytest.mark.parametrize("point", ["decision.made", "takeback.target", "takeback.quarantine"])
def test_a_crash_while_a_table_is_read_anew_is_ended_by_the_next_run(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    held = changed(feed)

    def reached(name: str) -> None:
        if name == point:
            raise Killed

    with monkeypatch.context() as patch, feed.open("reader") as (lake, pipeline), pytest.raises(Killed):
        patch.setattr(failpoints, "reached", reached)
        batch_decisions.reread(lake, pipeline, APPROVER, held.key, "the table was rewritten")
    assert read(feed) == [("published", 1, 1)]
    assert feed.rows("standardization.copy", "id", "v") == [("d", 4)]
    with feed.open("reader") as (lake, _):
        audit.journal_entries(lake)  # as the next command of a steward does
    made_again(feed)


def test_corrections_hold_when_a_table_is_read_anew(feed: StewardFeed) -> None:
    """A replay goes with the batch of its records, and the new reading has its record corrected."""
    feed.define_reader("changes", steps='<filter source="t" condition="v &gt; 2" onReject="quarantine"/>')
    feed.land("e.csv", "id,v", "e,2")
    feed.run()
    feed.run("reader")
    feed.decide({"e.csv:1": {"v": "9"}}, name="reader")
    feed.replay("reader")
    assert feed.rows("standardization.copy", "id", "v") == [("a", 1), ("d", 4), ("e", 9)]
    held = changed(feed)
    with feed.open("reader") as (lake, pipeline):
        batch_decisions.reread(lake, pipeline, APPROVER, held.key, "the table was rewritten")
    assert feed.rows("standardization.copy", "id") == []
    feed.run("reader")
    assert feed.rows("standardization.copy", "id", "v") == [("d", 4), ("e", 9)]


def test_only_for_a_batch_that_is_held_by_its_upstream(feed: StewardFeed) -> None:
    with feed.open("reader") as (lake, pipeline):
        (line,) = batch_decisions.list_batches(lake, "app/reader", "published", 5)
        with pytest.raises(Refused, match="is published; a table is read anew for a batch that is held by"):
            batch_decisions.reread(lake, pipeline, APPROVER, line.key, "r")


def test_an_export_is_taken_back_and_written_anew(feed: StewardFeed) -> None:
    feed.define_reader("changes", targets='<csv path="out" mode="append"/>')
    feed.run("reader", reprocess=True)
    held = changed(feed)
    with feed.open("reader") as (lake, pipeline):
        batch_decisions.reread(lake, pipeline, APPROVER, held.key, "the table was rewritten")
    assert read(feed) == [("published", 1, 1)]
    manifest = read_manifest(feed.settings.application_data / "app" / "out") or {}
    assert [part["rows"] for part in manifest["parts"]] == [1]


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
