"""`lake ledger rebuild` of what people decided: after each story, and within, the ledger made again is the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from publishing.decisions import CORRECT, DISCARD, TouchedRecord
from publishing.journal_entries import journal_reopened
from publishing.ledger import Batch, now
from publishing.replay import persist_replays
from publishing.run import run_batches
from resources.engine import Engine
from sensors.remediation import breaches_in
from stewardship import batch_decisions
from stewardship.escalations import Deadline
from stewardship.journaled import journal_all
from stewardship.replay import ask
from stewardship.stores import Approval, Assignment
from tests.ledger_rows import made_again
from tests.promised_feed import APPEND, DATED, MERGE
from tests.steward_feed import APPROVER, STEWARD, StewardFeed


class Decided(StewardFeed):
    """Decisions as stewards make them: with a verdict, and in the journal."""

    def decide(
        self,
        wanted: Mapping[str, Mapping[str, str | None]],
        kind: str = CORRECT,
        name: str = "feed",
        apply: bool = True,
    ) -> str:
        with self.open(name) as (lake, _), lake.ledger.read() as session:
            tried = {row.record_id: row.tries for row in session.scalars(select(TouchedRecord))}
        correction = super().decide(wanted, kind, name, apply)
        with self.open(name) as (lake, pipeline):
            with lake.ledger.write() as session:
                for row in session.scalars(select(TouchedRecord)):
                    row.tries = tried.get(row.record_id, 0)
                verdict = {"verdict": "approved", "actor": "bob", "role": "approver", "reason": "seen"}
                session.add(Approval(correction_id=correction, made_at=now(), **verdict))
            journal_all(lake, pipeline.key)
        return correction

    def assign(self, batch: str, person: str) -> None:
        with self.open() as (lake, pipeline):
            with lake.ledger.write() as session:
                batch_id = session.scalars(select(Batch.id).where(Batch.key == batch)).one()
                standing = select(Assignment).where(Assignment.ended_at.is_(None))
                at = now()
                for row in session.scalars(standing):
                    row.ended_at = at
                session.add(Assignment(batch_id=batch_id, assignee=person, actor="eve", made_at=at))
            journal_all(lake, pipeline.key)


def corrected(feed: Decided) -> None:
    """Replayed, rejected again, superseded by a later attempt, given up; an assignment handed on."""
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,x", "d,x")
    feed.run()
    feed.assign(feed.batch_of("a.csv"), "carl")
    feed.assign(feed.batch_of("a.csv"), "dora")
    feed.decide({"a.csv:2": {"v": "2"}, "a.csv:3": {"v": "still wrong"}})
    feed.replay()
    feed.decide({"a.csv:4": {}}, kind=DISCARD)
    made_again(feed)
    feed.decide({"a.csv:3": {"v": "3"}})
    made_again(feed)
    feed.replay()
    made_again(feed)
    feed.run(reprocess=True)
    assert feed.rows("staging.feed", "id") == ["a", "b", "c"]


def taken_back(feed: Decided) -> None:
    """With the replay of its records; the same file again; a replay alone."""
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    feed.unpublish("a.csv")
    made_again(feed)
    feed.land("again.csv", "id,v", "a,1", "b,x")
    feed.land("c.csv", "id,v", "c,x")
    feed.run()
    feed.decide({"c.csv:1": {"v": "3"}})
    (done,) = feed.replay()
    with feed.open() as (lake, pipeline):
        batch_decisions.unpublish(lake, pipeline, APPROVER, [done.key], "wrong")
    made_again(feed)
    feed.replay()
    assert feed.rows("staging.feed", "id") == ["a", "b", "c"]


def units(feed: Decided) -> None:
    """A snapshot's unit goes back to the one before; records come back by the next attempt of their snapshot."""
    feed.define('<hive table="staging.feed" mode="overwrite"/>', pattern=f".*_{DATED}.csv", snapshot=True)
    for name in "abc":
        feed.land(f"{name}_20240101.csv", "id,v", f"{name},1", f"{name}2,x")
        feed.run()
    feed.unpublish("c_20240101.csv")
    made_again(feed)
    feed.run()
    feed.decide({"b_20240101.csv:2": {"v": "2"}})
    made_again(feed)
    feed.replay()
    assert feed.rows("staging.feed", "id") == ["b", "b2"]


def held(feed: Decided) -> None:
    """Late, released with a waiver; late, withdrawn."""
    feed.define(APPEND, policy='<errorPolicy onRecordError="quarantine" maxErrors="1"/>')
    for name in "ab":
        feed.land(f"{name}.csv", "id,v", f"{name}1,1", f"{name}2,x", f"{name}3,y")
        feed.run()
    due = {"app/feed": Deadline("app/feed", timedelta(hours=1), None, "desk")}
    raised = breaches_in(feed.settings, due, lambda: now() + timedelta(hours=2))
    assert [breach.held for breach in raised(None)] == [True, True]
    made_again(feed)
    assert [breach.told for breach in raised(None)] == ["desk", "desk"]
    with feed.open() as (lake, pipeline):
        batch_decisions.release(lake, pipeline, APPROVER, feed.batch_of("a.csv"), {"maxErrors": "known"}, "known")
        batch_decisions.withdraw(lake, pipeline, APPROVER, feed.batch_of("b.csv"), "wrong")
    made_again(feed)
    feed.run()
    assert feed.rows("staging.feed", "id") == ["a1"]


def merged(feed: Decided) -> None:
    """A merge target forgets a batch; what was approved of the other stays."""
    feed.define(MERGE)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "7"}})
    feed.replay()
    feed.land("b.csv", "id,v", "a,2", "c,2")
    feed.run()
    feed.unpublish("b.csv")
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 7)]


def moved(feed: Decided) -> None:
    """Of a correction over two records one is read again by a newer snapshot, and wrong again; the other is gone."""
    feed.define(APPEND)
    whole = '<hive table="standardization.copy" mode="overwrite"/>'
    feed.define_reader("full", targets=whole, steps='<filter source="t" condition="v &gt; 4"/>')
    feed.land("a.csv", "id,v", "a,1", "x,7")
    feed.land("b.csv", "id,v", "b,1")
    feed.run()
    feed.run("reader")
    feed.land("c.csv", "id,v", "c,1")
    feed.run()
    feed.run("reader")
    feed.decide({"a.csv:1": {"v": "2"}, "c.csv:1": {"v": "9"}}, name="reader")
    feed.unpublish("c.csv")
    feed.run("reader")
    made_again(feed)
    feed.replay("reader")
    made_again(feed)
    feed.decide({"a.csv:1": {"v": "8"}}, name="reader")
    feed.replay("reader")
    assert feed.rows("standardization.copy", "id", "v") == [("a", 8), ("x", 7)]


def a_replay_held(feed: Decided) -> None:
    """Its records wait; withdrawn, its corrections wait for another."""
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.define(APPEND, v={"type": "string"})
    (held,) = feed.replay()
    assert held.status == "held"
    made_again(feed)
    with feed.open() as (lake, pipeline):
        batch_decisions.withdraw(lake, pipeline, APPROVER, held.key, "wrong")
    made_again(feed)
    feed.define(APPEND)
    feed.replay()
    assert feed.rows("staging.feed", "id") == ["a", "b"]


def failed(feed: Decided) -> None:
    """What failed is withdrawn: nobody but the ledger ever knew why it failed."""
    feed.define(f'{APPEND}<csv path="exports/feed" mode="error"/>', snapshot=True)
    for name in "ab":
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()
    with feed.open() as (lake, pipeline):
        batch_decisions.withdraw(lake, pipeline, APPROVER, feed.batch_of("b.csv"), "wrong")
    assert feed.rows("staging.feed", "id") == ["a"]


def released_late(feed: Decided) -> None:
    """An older snapshot that is let pass when a newer one stands: it appends, and is superseded all the same."""
    targets = f'{APPEND.replace("feed", "all")}<hive table="staging.feed" mode="overwrite"/>'
    given = {"pattern": f".*_{DATED}.csv", "snapshot": True}
    feed.define(targets, policy='<errorPolicy maxErrors="0"/>', **given)
    feed.land("a_20240101.csv", "id,v", "a,1", "a2,x")
    feed.run()
    feed.land("b_20240101.csv", "id,v", "b,1")
    feed.run()
    with feed.open() as (lake, pipeline):
        waived = {"maxErrors": "known"}
        batch_decisions.release(lake, pipeline, APPROVER, feed.batch_of("a_20240101.csv"), waived, "known")
    (done,) = feed.run()
    assert done.status == "published"
    assert (feed.rows("staging.all", "id"), feed.rows("staging.feed", "id")) == (["a", "b"], ["b"])
    assert feed.statuses_of("a") == ["superseded"]
    made_again(feed)
    feed.unpublish("b_20240101.csv")
    made_again(feed)
    feed.run()
    assert (feed.rows("staging.all", "id"), feed.rows("staging.feed", "id")) == (["a"], ["a"])


def read_whole(feed: Decided) -> None:
    """A replay's rows go out with the unit when its partition is read again."""
    feed.define(APPEND)
    feed.define_reader("partition", steps='<filter source="t" condition="v &gt; 1" onReject="quarantine"/>')
    feed.land("a.csv", "id,v", "a,1", "b,2")
    feed.run()
    feed.run("reader")
    (entry,) = feed.entries("reader")
    feed.decide({entry: {"v": "5"}}, name="reader")
    feed.replay("reader")
    assert feed.rows("standardization.copy", "id") == ["a", "b"]
    made_again(feed)
    feed.land("c.csv", "id,v", "c,3")
    feed.run()
    feed.run("reader")
    assert feed.rows("standardization.copy", "id") == ["a", "b", "c"]


def an_attempt_held(feed: Decided) -> None:
    """A replay by the next attempt of its batch, which is held and let pass."""
    whole = '<hive table="staging.feed" mode="overwrite"/>'
    given = {"pattern": f".*_{DATED}.csv", "snapshot": True}
    feed.define(whole, **given)
    feed.land("a_20240101.csv", "id,v", "a,1", "b,x", "c,x")
    feed.run()
    feed.decide({"a_20240101.csv:2": {"v": "2"}})
    feed.define(whole, policy='<errorPolicy maxErrors="0"/>', **given)
    (done,) = feed.replay()
    assert done.status == "held"
    made_again(feed)
    with feed.open() as (lake, pipeline):
        batch_decisions.release(lake, pipeline, APPROVER, done.key, {"maxErrors": "known"}, "known")
    made_again(feed)
    feed.run()
    assert feed.rows("staging.feed", "id") == ["a", "b"]


def taken_back_while_held(feed: Decided) -> None:
    """A reprocess that is held, and what stood of the batch withdrawn."""
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    feed.define(APPEND, policy='<errorPolicy maxErrors="0"/>')
    (done,) = feed.run(reprocess=True)
    assert (done.status, feed.rows("staging.feed", "id")) == ("held", ["a", "b"])
    made_again(feed)
    with feed.open() as (lake, pipeline):
        batch_decisions.withdraw(lake, pipeline, APPROVER, done.key, "wrong")
    assert feed.rows("staging.feed", "id") == []


def won_again(feed: Decided) -> None:
    """A replayed record that had lost to a batch wins when that is taken back."""
    feed.define(MERGE)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,x")
    feed.run()
    feed.land("b.csv", "id,v", "b,9", "c,1")
    feed.run()
    feed.decide({"a.csv:2": {"v": "7"}, "a.csv:3": {"v": "7"}})
    feed.replay()
    assert feed.states() == {"a.csv:2": "superseded", "a.csv:3": "replayed"}
    feed.unpublish("b.csv")
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 7), ("c", 7)]
    assert feed.states() == {"a.csv:2": "replayed", "a.csv:3": "replayed"}


def rebuilt_with_replays(feed: Decided) -> None:
    """An attempt that is published by a rebuild has its replayed records itself."""
    feed.define(MERGE)
    feed.land("a.csv", "id,v", "a,8", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    feed.define(MERGE, v={"type": "integer", "maximum": 5})
    (held,) = feed.run(reprocess=True)
    with feed.open() as (lake, pipeline):
        batch_decisions.release(lake, pipeline, APPROVER, held.key, {"rebuild_needed": "known"}, "new limit")
    (done,) = feed.run()
    assert (done.status, done.counts.accepted, done.targets[0].rows_written) == ("published", 1, 1)
    assert feed.rows("staging.feed", "id", "_batch_id") == [("b", done.batch)]


def accepted_before_its_replay(feed: Decided) -> None:
    """What an attempt accepted stays so when the replay that came after it is taken back."""
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    with feed.open() as (lake, pipeline):
        with lake.ledger.write() as session:
            ((replay, source),) = persist_replays(lake, session, pipeline)
            batch = session.get_one(Batch, source)
            batch.status, batch.attempt = "open", 2
            journal_reopened(lake, pipeline.key, {source: 2})
        for each in (source, replay):
            run_batches(lake, pipeline, [each], run_id="test")
        with lake.ledger.read() as session:
            key = session.get_one(Batch, replay).key
    assert feed.states() == {"a.csv:2": "resolved"}
    made_again(feed)
    with feed.open() as (lake, pipeline):
        batch_decisions.unpublish(lake, pipeline, APPROVER, [key], "wrong")
    assert feed.states() == {"a.csv:2": "resolved"}
    assert feed.replay() == []
    assert feed.rows("staging.feed", "id", "_batch_id") == [("a", source), ("b", source)]


def another_mode(feed: Decided) -> None:
    """What was replaced under one definition stays so under the next, and what was not is not."""
    given = {"pattern": f".*_{DATED}.csv", "snapshot": True}
    whole = '<hive table="staging.feed" mode="overwrite"/>'
    for day, targets in ((1, APPEND), (2, whole), (3, APPEND)):
        feed.define(targets, **given)
        for name in "ab":
            feed.land(f"{name}_2024010{day}.csv", "id,v", f"{name}{day},1", "x,x")
            feed.run()
    assert feed.rows("staging.feed", "id") == ["a1", "a3", "b1", "b2", "b3"]
    assert feed.statuses().count("superseded") == 1


def asked_for(feed: Decided) -> None:
    """A replay by the next attempt that was asked for and not begun: the next that is asked for ends it."""
    feed.define('<hive table="staging.feed" mode="overwrite"/>', pattern=f".*_{DATED}.csv", snapshot=True)
    feed.land("a_20240101.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a_20240101.csv:2": {"v": "2"}})
    with feed.open() as (lake, pipeline):
        ask(lake, pipeline, STEWARD)
    made_again(feed)
    (done,) = feed.replay()
    assert (done.status, done.attempt) == ("published", 2)
    assert feed.rows("staging.feed", "id") == ["a", "b"]


def handed_over(feed: Decided) -> None:
    """A replay that was asked for as a batch of its own, and is the next attempt of its batch by a new definition."""
    feed.define(APPEND, snapshot=True)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    with feed.open() as (lake, pipeline):
        ask(lake, pipeline, STEWARD)
    made_again(feed)
    feed.define(f'{APPEND}<csv path="exports/feed" mode="overwrite"/>', snapshot=True)
    (done,) = feed.replay()
    assert (done.origin, done.status, done.attempt) == ("files", "published", 2)
    assert feed.rows("staging.feed", "id") == ["a", "b"]


STORIES = [corrected, taken_back, units, held, merged, moved, a_replay_held, failed, released_late, read_whole]
STORIES += [another_mode, asked_for, handed_over, an_attempt_held, taken_back_while_held, won_again]
STORIES += [rebuilt_with_replays, accepted_before_its_replay]


@pytest.mark.parametrize("story", STORIES)
def test_the_ledger_of_what_people_decided(engine: Engine, tmp_path: Path, story: Callable[[Decided], None]) -> None:
    feed = Decided(tmp_path, engine)
    story(feed)
    made_again(feed)
    assert feed.run() == []
