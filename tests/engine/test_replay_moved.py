"""A correction follows its record where another batch took that over, or says how it ended; a discard likewise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from publishing import failpoints
from publishing.corrections import apply_discards
from publishing.decisions import DISCARD
from publishing.replay import persist_replays
from publishing.standing import waiting_replays
from resources.engine import Engine
from stewardship.batches import Wanted, list_batches
from stewardship.selection import undecided
from tests.promised_feed import APPEND, DATED
from tests.steward_feed import StewardFeed

WHOLE = '<hive table="standardization.copy" mode="overwrite"/>'
LOW = '<filter source="t" condition="v &gt; 4"/>'


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    """The reader's only batch has rejected `a` and `b`, which came from two files."""
    found = StewardFeed(tmp_path, engine)
    found.define(APPEND)
    found.define_reader("full", targets=WHOLE, steps=LOW)
    found.land("a.csv", "id,v", "a,1", "x,7")
    found.land("b.csv", "id,v", "b,2")
    found.run()
    found.run("reader")
    assert found.states("reader") == {"a.csv:1": "open", "b.csv:1": "open"}
    return found


def at_once(monkeypatch: pytest.MonkeyPatch, place: str, act: Callable[[], object]) -> None:
    """`act` when a run reaches the place for the first time, beside it as another process would."""
    reached, done = failpoints.reached, []

    def looked(name: str) -> None:
        reached(name)
        if name == place and not done:
            done.append(name)
            act()

    monkeypatch.setattr(failpoints, "reached", looked)


def waits(feed: StewardFeed) -> tuple[int, int]:
    """(corrections that a sensor would replay, records that nobody may correct anew)"""
    with feed.open("reader") as (lake, pipeline):
        with lake.ledger.read() as session:
            bound = len(undecided(session, pipeline.key))
        return sum(len(each.corrections) for each in waiting_replays(lake.ledger, [pipeline.key])), bound


def approved(feed: StewardFeed) -> int:
    with feed.open("reader") as (lake, _):
        return sum(line.approved for line in list_batches(lake, feed.catalog(), Wanted(pipeline="app/reader")).batches)


def test_one_record_of_two_is_read_again(feed: StewardFeed) -> None:
    """What the newer batch reads is corrected there; the other is gone with the old snapshot: the correction ended."""
    feed.land("c.csv", "id,v", "c,1")
    feed.run()
    feed.run("reader")
    feed.decide({"a.csv:1": {"v": "8"}, "c.csv:1": {"v": "9"}}, name="reader")
    feed.unpublish("c.csv")
    (done,) = feed.run("reader")
    assert (done.counts.accepted, done.counts.quarantined) == (2, 1)
    assert feed.rows("standardization.copy", "id", "v") == [("a", 8), ("x", 7)]
    assert feed.states("reader") == {"a.csv:1": "resolved", "b.csv:1": "open", "c.csv:1": "superseded"}
    assert (waits(feed), approved(feed)) == ((0, 0), 0)
    assert feed.replay("reader") == []


def test_a_correction_approved_while_a_batch_took_its_record_over(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.land("c.csv", "id,v", "c,9")
    feed.run()
    at_once(monkeypatch, "manifest.written", lambda: feed.decide({"a.csv:1": {"v": "8"}}, name="reader"))
    (taken,) = feed.run("reader")
    assert feed.rows("standardization.copy", "id") == ["c", "x"]
    entry = feed.entries("reader")["a.csv:1"]
    assert (entry["state"], entry["batch_id"]) == ("open", taken.batch)
    assert waits(feed) == (1, 1)
    (done,) = feed.replay("reader")
    assert (done.batch, done.attempt, done.status) == (taken.batch, 2, "published")
    assert feed.rows("standardization.copy", "id", "v") == [("a", 8), ("c", 9), ("x", 7)]
    assert feed.states("reader") == {"a.csv:1": "resolved", "b.csv:1": "open"}
    assert waits(feed) == (0, 0)
    assert feed.replay("reader") == []


def test_a_correction_given_to_a_batch_that_gave_way_meanwhile(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for by one process while another publishes what replaces the batch."""
    feed.land("c.csv", "id,v", "c,9")
    feed.run()

    def asked() -> None:
        feed.decide({"a.csv:1": {"v": "8"}}, name="reader")
        with feed.open("reader") as (lake, pipeline), lake.ledger.write() as session:
            assert len(persist_replays(lake, session, pipeline)) == 1

    at_once(monkeypatch, "manifest.written", asked)
    taken, late = feed.run("reader")  # the run also ends what was opened beside it
    assert (taken.status, late.status) == ("published", "nothing_to_do")
    found = {key: (row["state"], row["batch_id"]) for key, row in feed.entries("reader").items()}
    assert found == {"a.csv:1": ("open", taken.batch), "b.csv:1": ("open", taken.batch)}, "of the newest that read them"
    assert waits(feed) == (1, 1)
    (done,) = feed.replay("reader")
    assert (done.batch, done.attempt) == (taken.batch, 2)
    assert feed.rows("standardization.copy", "id", "v") == [("a", 8), ("c", 9), ("x", 7)]
    assert feed.states("reader") == {"a.csv:1": "resolved", "b.csv:1": "open"}
    assert waits(feed) == (0, 0)


def test_a_discard_holds_in_the_batch_that_took_its_record_over(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.land("c.csv", "id,v", "c,1")
    feed.run()
    feed.run("reader")
    feed.decide({"a.csv:1": {}, "c.csv:1": {}}, DISCARD, "reader")
    feed.unpublish("c.csv")
    feed.run("reader")
    states = feed.states("reader")
    assert (states["a.csv:1"], states["b.csv:1"]) == ("discarded", "open")

    def discarded() -> None:
        feed.decide({"b.csv:1": {}}, DISCARD, "reader", apply=False)

    feed.land("d.csv", "id,v", "d,9")
    feed.run()
    at_once(monkeypatch, "manifest.written", discarded)
    feed.run("reader")
    assert feed.states("reader")["b.csv:1"] == "open"
    with feed.open("reader") as (lake, pipeline):
        apply_discards(lake, pipeline.key)
    assert feed.states("reader")["b.csv:1"] == "discarded"


def test_a_newer_snapshot_ends_the_corrections_of_the_one_before_it(engine: Engine, tmp_path: Path) -> None:
    feed = StewardFeed(tmp_path, engine)
    feed.define('<hive table="staging.feed" mode="overwrite"/>', pattern=f"{DATED}_[0-9].csv", snapshot=True)
    feed.land("20240131_1.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"20240131_1.csv:2": {"v": "2"}})
    with feed.open() as (lake, pipeline):
        assert len(waiting_replays(lake.ledger, [pipeline.key])) == 1
    feed.land("20240131_2.csv", "id,v", "a,3")
    feed.run()
    with feed.open() as (lake, pipeline):
        assert waiting_replays(lake.ledger, [pipeline.key]) == []
        with lake.ledger.read() as session:
            assert undecided(session, pipeline.key) == {}
    assert feed.replay() == []
    feed.unpublish("20240131_2.csv")
    feed.run()  # the snapshot before is back, and what was approved of it holds
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2)]
    assert feed.replay() == []
