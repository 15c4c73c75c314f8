"""An approved correction is taken back before it takes effect, and never after; its records are corrected anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from publishing import failpoints
from publishing.decisions import DISCARD
from publishing.replay import persist_replays
from resources.engine import Engine
from stewardship import audit, batch_decisions
from stewardship.actors import Actor
from stewardship.quarantine import show_record
from stewardship.refused import NotAllowed, NotFound, Refused
from stewardship.revoke import Revoked, revoke
from tests.engine.test_ledger_stories import Decided
from tests.ledger_rows import made_again
from tests.ops_rows import EVENTS, rows
from tests.promised_feed import APPEND, MERGE
from tests.steward_feed import APPROVER

UNIQUE = '<unique id="once" columns="id" severity="error" description="one row an id"/>'
DRIFTED = '<derive source="s"><column name="w" expression="1"/></derive>'


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Decided:
    return Decided(tmp_path, engine)


def taken_back(feed: Decided, *corrections: str, by: Actor = APPROVER, name: str = "feed", **which: Any) -> Revoked:
    with feed.open(name) as (lake, pipeline):
        return revoke(lake, lake.catalog, pipeline, by, "wrong payment", corrections=corrections, **which)


def killed(feed: Decided, monkeypatch: pytest.MonkeyPatch, point: str, work: Any) -> None:
    def reached(name: str) -> None:
        if name == point:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(failpoints, "reached", reached)
        work()


def wrong(feed: Decided, targets: str = APPEND) -> None:
    """Three records of a.csv are rejected."""
    feed.define(targets)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y", "d,z")
    feed.run()


@pytest.mark.parametrize("targets", [APPEND, MERGE], ids=["append", "merge"])
def test_what_waits_is_taken_back_and_corrected_anew(feed: Decided, targets: str) -> None:
    wrong(feed, targets)
    first = feed.decide({"a.csv:2": {"v": "22"}, "a.csv:3": {"v": "3"}})
    other = feed.decide({"a.csv:4": {"v": "4"}})
    done = taken_back(feed, first)
    assert (done.corrections, done.records, done.withdrawn, done.reopened) == ((first,), 2, (), ())
    made_again(feed)
    (replayed,) = feed.replay()
    assert replayed.counts.in_ == 1
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("d", 4)]
    feed.decide({"a.csv:2": {"v": "2"}, "a.csv:3": {"v": "3"}})
    feed.replay()
    feed.run(reprocess=True)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    made_again(feed)
    told = [e["event"] for e in rows(feed, EVENTS) if e["decision_id"] == first]
    assert sorted(told) == ["approved", "correction_proposed", "revoked"]
    assert other not in done.corrections


def test_another_person_takes_it_back_and_once(feed: Decided) -> None:
    wrong(feed)
    made = feed.decide({"a.csv:2": {"v": "2"}})
    with pytest.raises(NotAllowed, match=f"Ann made {made}: another person must revoke it"):
        taken_back(feed, made, by=Actor("Ann", "approver"))
    with pytest.raises(NotAllowed, match="revoke needs the role approver; bob acts as steward"):
        taken_back(feed, made, by=Actor("bob", "steward"))
    with pytest.raises(NotFound, match="no correction nothing of app/feed"):
        taken_back(feed, "nothing")
    with feed.open() as (lake, pipeline), pytest.raises(Refused, match="a reason is needed"):
        revoke(lake, lake.catalog, pipeline, APPROVER, " ", corrections=[made])
    taken_back(feed, batch=feed.batch_of("a.csv"))
    with pytest.raises(Refused, match=f"correction {made} is revoked: what is approved is revoked"):
        taken_back(feed, made)
    with pytest.raises(NotFound, match="no approved correction of the batch"):
        taken_back(feed, batch=feed.batch_of("a.csv"))
    record = feed.entries()["a.csv:2"]["record_id"]
    with feed.open() as (lake, _):
        (entry, *_) = audit.entries(lake)
        view = show_record(lake, lake.catalog, feed.batch_of("a.csv"), record)
        assert audit.verify(lake) == []
    assert (entry.action, entry.actor, entry.details["reason"]) == ("revoke", "bob", "wrong payment")
    assert entry.details["correction"] == made
    (line,) = view.corrections
    assert (line.state, (line.revoked or {})["actor"], view.record.decision) == ("revoked", "bob", "revoked")


def test_a_held_replay_is_withdrawn_with_it_and_the_others_wait_for_the_next(feed: Decided) -> None:
    wrong(feed)
    bad, good = feed.decide({"a.csv:2": {"v": "22"}}), feed.decide({"a.csv:3": {"v": "3"}})
    feed.define(APPEND, w={"type": "integer"}, v={"type": "string"})
    (held,) = feed.replay()
    assert (held.status, held.origin) == ("held", "replay")
    done = taken_back(feed, bad)
    assert (done.withdrawn, done.reopened) == ((held.key,), ())
    assert ("replay", "withdrawn", 1) in feed.batches()
    made_again(feed)
    feed.define(APPEND)
    (replayed,) = feed.replay()
    assert (replayed.status, replayed.counts.accepted) == ("published", 1)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("c", 3)]
    assert feed.states() == {"a.csv:2": "open", "a.csv:3": "replayed", "a.csv:4": "open"}
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", 3)]
    made_again(feed)
    with pytest.raises(Refused, match=f"correction {good} has taken effect: correct anew"):
        taken_back(feed, good)


@pytest.mark.parametrize("targets", [APPEND, MERGE], ids=["append", "merge"])
def test_a_batch_that_is_held_with_it_gets_a_new_attempt(feed: Decided, targets: str) -> None:
    """Two payments get one number by a wrong correction: the rule holds the batch, and no waiver would be right."""
    feed.define(targets, rules=UNIQUE)
    feed.land("a.csv", "id,v", "a,1", ",2", "c,x")
    feed.run()
    bad, good = feed.decide({"a.csv:2": {"id": "a"}}), feed.decide({"a.csv:3": {"v": "3"}})
    (held,) = feed.replay()
    assert (held.status, held.attempt) == ("held", 2)
    done = taken_back(feed, bad)
    assert (done.withdrawn, done.reopened) == ((), (held.key,))
    made_again(feed)
    (again,) = feed.run()
    assert (again.status, again.attempt) == ("published", 3)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("c", 3)]
    assert feed.states() == {"a.csv:2": "open", "a.csv:3": "resolved"}
    feed.decide({"a.csv:2": {"id": "b"}})
    feed.replay()
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", 3)]
    made_again(feed)
    with pytest.raises(Refused, match=f"correction {good} has taken effect: correct anew"):
        taken_back(feed, good)


def test_a_batch_that_is_held_for_another_reason_stays_held(feed: Decided) -> None:
    wrong(feed)
    feed.define(APPEND, w={"type": "integer"}, v={"type": "string"})  # the header has no w any more
    (held,) = feed.run(reprocess=True)
    made = feed.decide({"a.csv:2": {"v": "2"}})
    assert taken_back(feed, made).reopened == ()
    assert feed.batches() == [("files", "held", 2)]
    made_again(feed)
    assert held.status == "held"


def test_what_had_its_turn_or_took_effect_is_refused(feed: Decided) -> None:
    wrong(feed)
    tried, gone = feed.decide({"a.csv:2": {"v": "still x"}}), feed.decide({"a.csv:4": {}}, kind=DISCARD)
    done = feed.decide({"a.csv:3": {"v": "3"}})
    feed.replay()
    for correction, why in (
        (tried, "has taken effect: correct anew what was rejected again"),
        (gone, "is a discard, which took effect when it was approved"),
        (done, "has taken effect: correct anew"),
    ):
        with pytest.raises(Refused, match=why):
            taken_back(feed, correction)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("c", 3)]
    (replay,) = [key for key in keys(feed, "replay")]
    feed.unpublish_keys([replay])
    assert taken_back(feed, tried, done).records == 2
    assert feed.replay() == []
    made_again(feed)


def keys(feed: Decided, origin: str) -> list[str]:
    with feed.open() as (lake, _):
        return [b.key for b in batch_decisions.list_batches(lake, "app/feed", "published", 10) if b.origin == origin]


def test_a_replay_that_was_asked_for_and_never_began_is_withdrawn(feed: Decided) -> None:
    wrong(feed)
    made = feed.decide({"a.csv:2": {"v": "2"}})
    with feed.open() as (lake, pipeline), lake.ledger.write() as session:
        persist_replays(lake, session, pipeline)
    assert len(taken_back(feed, made).withdrawn) == 1
    made_again(feed)
    assert feed.replay() == []


@pytest.mark.parametrize("rules", ["", UNIQUE], ids=["alone", "next attempt"])
def test_what_a_crash_interrupted_is_brought_to_its_end_first(
    feed: Decided, monkeypatch: pytest.MonkeyPatch, rules: str
) -> None:
    feed.define(APPEND, rules=rules)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    made = feed.decide({"a.csv:2": {"v": "2"}})
    killed(feed, monkeypatch, "target.committed", feed.replay)
    with pytest.raises(Refused, match=r"read it and was interrupted; bring it to its end \(lake run app/feed\)"):
        taken_back(feed, made)
    feed.run()
    with pytest.raises(Refused, match="has taken effect"):
        taken_back(feed, made)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("point", ["decision.made", "takeback.target", "takeback.quarantine"])
def test_a_crash_loses_no_revocation(feed: Decided, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    wrong(feed)
    bad = feed.decide({"a.csv:2": {"v": "22"}})
    feed.decide({"a.csv:3": {"v": "3"}})
    feed.define(APPEND, w={"type": "integer"}, v={"type": "string"})
    (held,) = feed.replay()
    assert held.status == "held"
    killed(feed, monkeypatch, point, lambda: taken_back(feed, bad))
    feed.define(APPEND)
    feed.run()
    with feed.open() as (lake, _):
        audit.journal_entries(lake)  # as the next command of a steward does
    made_again(feed)
    feed.replay()
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("c", 3)]
    assert feed.states() == {"a.csv:2": "open", "a.csv:3": "replayed", "a.csv:4": "open"}
    with feed.open() as (lake, _):
        assert audit.verify(lake) == []
