"""`lake ledger rebuild`: the ledger made from journal and tables is the ledger, row by row."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from publishing.decisions import (
    CORRECT,
    DISCARD,
    BatchDecision,
    Correction,
    QuarantinedBatch,
    TouchedRecord,
    record_state,
)
from publishing.lake import open_lake
from publishing.ledger import Attempt, Base, Batch, Claim, Delivery, LandedFile, Look, now
from publishing.ledger_errors import LedgerGone
from publishing.rebuild_ledger import PipelineRuns, Rebuilt, rebuild
from publishing.verify import verify
from resources.engine import Engine
from stewardship import batch_decisions
from stewardship.journaled import journal_all
from stewardship.rebuild_stores import restore_stores
from stewardship.stores import Approval, Assignment, Audit
from tests.promised_feed import APPEND, DATED, MERGE, Feed
from tests.steward_feed import APPROVER, StewardFeed

# Every table; what is numbered by the database, and what says only when it was told, is no part of what is compared.
COMPARED: tuple[tuple[type[Base], Sequence[str]], ...] = (
    (Claim, ()), (Look, ("id",)), (LandedFile, ()), (Delivery, ()), (Batch, ()), (Attempt, ()),
    (QuarantinedBatch, ()), (Correction, ("fate",)), (BatchDecision, ()), (Assignment, ("id",)),
    (Approval, ()), (Audit, ()),
)  # fmt: skip


def ledger_rows(feed: Feed) -> dict[str, list[str]]:
    """Every row of every table as text. A claim that took nothing is left out: nothing of it is journaled."""
    found = {}
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.read() as session:
        filled = set(session.scalars(select(LandedFile.claim_id)))
        for kind, without in COMPARED:
            names = [c.key for c in kind.__mapper__.column_attrs if c.key not in without]
            rows = [{name: getattr(row, name) for name in names} for row in session.scalars(select(kind))]
            if kind is Claim:
                rows = [row for row in rows if row["id"] in filled]
            found[kind.__tablename__] = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
        touched = select(TouchedRecord.record_id, TouchedRecord.correction_id, record_state(), TouchedRecord.tries)
        states = session.execute(touched.join(Correction, Correction.id == TouchedRecord.correction_id))
        found["touched_record"] = sorted(str(tuple(row)) for row in states)
    return found


def rebuilt(feed: Feed) -> Rebuilt:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        return rebuild(lake, feed.catalog(), (restore_stores,))


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Feed:
    return Feed(tmp_path, engine)


def test_the_ledger_of_everything_that_can_become_of_files(feed: Feed) -> None:
    """Published, reprocessed, held, a copy, a broken file, superseded snapshots, a reader, a failed batch."""
    feed.define(f'{MERGE}<csv path="exports/feed" mode="append"/>', pattern=f"feed_{DATED}.*")
    feed.define_reader("partition", '<hive table="standardization.copy" mode="overwrite"/>')
    feed.land("feed_20240105.csv", "id,v", "a,1", "b,x")
    feed.land("feed_20240106.csv", "id,w", "d,x")
    feed.run()
    feed.run("reader")
    feed.land("feed_20240105_copy.csv", "id,v", "a,1", "b,x")
    feed.land("feed_20240105_more.csv", "id,v", "c,7")
    feed.run()
    feed.run("reader")
    feed.run(reprocess=True)
    before = ledger_rows(feed)
    statuses = {json.loads(row)["status"] for row in before["batch"] + before["landed_file"]}
    assert statuses == {"published", "held", "duplicate", "superseded"}
    found = rebuilt(feed)
    assert ledger_rows(feed) == before
    assert (found.files, found.open) == (4, 0)
    assert Path(str(found.kept)).exists()


@pytest.mark.parametrize("removed", [True, False])
def test_what_was_taken_is_not_taken_again_and_arrivals_go_on(feed: Feed, removed: bool) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.land("b.csv", "id,v", "a,1")  # the same content: a duplicate
    feed.run()
    if removed:
        for path in feed.settings.data.glob("ledger.db*"):
            path.unlink()
    found = rebuilt(feed)
    assert (found.kept is None) == removed
    assert feed.run() == [], "both files still lie in the zone, and both are known"
    feed.land("c.csv", "id,v", "c,3")
    feed.run()
    assert feed.statuses() == ["duplicate", "published", "published"]
    assert feed.rows("staging.feed", "id", "_arrival") == [("a", 2), ("c", 3)]


def test_it_refuses_while_a_pipeline_runs_and_leaves_the_ledger_alone(feed: Feed) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    before = ledger_rows(feed)
    with (feed.settings.data / "locks" / "app" / "feed").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(PipelineRuns, match="app/feed runs now"):
            rebuilt(feed)
    assert ledger_rows(feed) == before
    assert not list(feed.settings.data.glob("ledger.db.*"))


def test_a_ledger_that_is_no_database_any_more_is_replaced_and_kept(feed: Feed) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    before = ledger_rows(feed)
    path = feed.settings.data / "ledger.db"
    path.write_bytes(b"no database")
    path.with_name("ledger.db-wal").write_bytes(b"the log of another")
    found = rebuilt(feed)
    assert ledger_rows(feed) == before
    assert Path(str(found.kept)).read_bytes() == b"no database"


def test_a_lake_whose_journal_knew_no_claims_yet(feed: Feed) -> None:
    """Its files are taken for new ones once more, and told by their content: nothing is doubled."""
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    shutil.rmtree(feed.settings.data / "journal" / "claims")
    rebuilt(feed)
    feed.run()
    assert feed.statuses() == ["published", "duplicate"]
    assert feed.rows("staging.feed", "id") == ["a"]


@pytest.mark.parametrize("entry", ["*.copied.json", "*[0-9a-f].json"])
def test_a_run_does_not_take_files_again_that_only_the_journal_knows(feed: Feed, entry: str) -> None:
    """As a crash left it, before the ledger was lost: the claim is in the journal, and no batch of it is."""
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    shutil.rmtree(feed.settings.data / "journal" / "app")
    shutil.rmtree(feed.settings.data / "applications")
    for path in [*feed.settings.data.glob("ledger.db*"), *(feed.settings.data / "journal" / "claims").rglob("*.json")]:
        if path.name.startswith("ledger") or not path.match(entry):
            path.unlink()
    with pytest.raises(LedgerGone, match="lacks 1 claims of app/feed"):
        feed.run()
    assert rebuilt(feed).claims == 1
    feed.run()
    assert (feed.statuses(), feed.rows("staging.feed", "id")) == (["published"], ["a"])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("land"), st.integers(0, 3), st.integers(0, 4)),
        st.tuples(st.sampled_from(["run", "reprocess", "read", "rebuild"]), st.just(0), st.just(0)),
    ),
    min_size=3,
    max_size=9,
)


LIMITS = st.sampled_from(["", '<errorPolicy maxErrors="1"/>'])


@settings(max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(steps=STEPS, target=st.sampled_from([APPEND, MERGE]), limit=LIMITS)
def test_the_ledger_made_again_is_the_ledger(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, steps: list[Any], target: str, limit: str
) -> None:
    """Whatever was landed, run, reprocessed and read, and however often the ledger was made again on the way."""
    feed = Feed(tmp_path_factory.mktemp("steps"), engine)
    feed.define(target, pattern=f"feed_{DATED}.*", policy=limit)
    feed.define_reader("partition", '<hive table="standardization.copy" mode="overwrite"/>')
    for number, (what, day, content) in enumerate(steps):
        if what == "land":
            lines = [f"k{each},{'x' if (each + content) % 3 == 0 else content}" for each in range(content)]
            feed.land(f"feed_2024010{day + 1}_{number}.csv", "id,v", *lines)
        elif what == "rebuild":
            rebuilt(feed)
        elif what == "read":
            feed.run("reader")
        else:
            feed.run(reprocess=what == "reprocess")
    feed.run()
    before = ledger_rows(feed)
    rebuilt(feed)
    assert ledger_rows(feed) == before
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        assert verify(lake, feed.catalog()) == []
        with lake.ledger.read() as session:
            assert session.scalar(select(func.count()).select_from(Batch).where(Batch.status == "open")) == 0


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
    """Released with a waiver; withdrawn."""
    feed.define(APPEND, policy='<errorPolicy onRecordError="quarantine" maxErrors="1"/>')
    for name in "ab":
        feed.land(f"{name}.csv", "id,v", f"{name}1,1", f"{name}2,x", f"{name}3,y")
        feed.run()
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


def made_again(feed: Feed) -> None:
    """The ledger made again is the ledger, and nothing differs between it and the rest of the lake."""
    before = ledger_rows(feed)
    rebuilt(feed)
    after = ledger_rows(feed)
    assert {name: sorted(set(after[name]) ^ set(before[name])) for name in before} == {name: [] for name in before}
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        assert verify(lake, feed.catalog()) == []


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


STORIES = [corrected, taken_back, units, held, merged, moved, a_replay_held, failed, released_late, read_whole]
STORIES += [an_attempt_held, taken_back_while_held]


@pytest.mark.parametrize("story", STORIES)
def test_the_ledger_of_what_people_decided(engine: Engine, tmp_path: Path, story: Callable[[Decided], None]) -> None:
    feed = Decided(tmp_path, engine)
    story(feed)
    made_again(feed)
    assert feed.run() == []
