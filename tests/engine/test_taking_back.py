"""Held batches released or withdrawn, published ones taken back, tables restored: what stands afterwards, and why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import select

from publishing import failpoints
from publishing.decisions import Rerun
from publishing.ledger import Batch
from resources.engine import Engine
from stewardship import batch_decisions
from stewardship.refused import Refused
from tests.promised_feed import APPEND, DATED, MERGE
from tests.steward_feed import APPROVER, StewardFeed

ORDERED = MERGE.replace('orderBy="v"', 'orderBy="at"')
INTEGERS = {"v": {"type": "integer"}, "at": {"type": "integer"}}


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def test_an_unpublished_batch_is_gone_and_its_file_can_be_loaded_again(feed: StewardFeed) -> None:
    feed.define(APPEND)
    for name, line in (("a.csv", "a,1"), ("b.csv", "b,1")):
        feed.land(name, "id,v", line, f"{name[0]}2,x")
        feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    assert feed.rows("staging.feed", "id") == ["a", "a2", "b"]
    feed.unpublish("a.csv")
    assert feed.rows("staging.feed", "id") == ["b"]
    assert feed.states() == {"a.csv:2": "withdrawn", "b.csv:2": "open"}
    assert feed.statuses() == ["withdrawn", "published"]
    assert feed.run() == []
    feed.land("again.csv", "id,v", "a,1", "a2,x")
    (done,) = feed.run()
    assert (done.status, done.counts.accepted) == ("published", 2)  # what was approved of it holds
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("a2", 2), ("b", 1)]
    assert feed.statuses() == ["withdrawn", "published", "published"]
    assert feed.run() == []


def test_a_merge_target_forgets_a_batch_and_what_had_lost_to_it_wins(feed: StewardFeed) -> None:
    feed.define(ORDERED, **INTEGERS)
    for number, lines in enumerate((["a,1,1", "b,1,1"], ["a,2,2", "c,2,2"], ["a,3,3"]), 1):
        feed.land(f"f{number}.csv", "id,v,at", *lines)
        feed.run()
    feed.unpublish("f3.csv")
    assert feed.rows("staging.feed", "id", "v") == [("a", 2), ("b", 1), ("c", 2)]
    feed.unpublish("f2.csv")
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 1)]
    assert [c["accepted"] for c in feed.counts()] == [2]
    feed.land("f2_again.csv", "id,v,at", "a,2,2", "c,2,2")
    feed.run()
    assert feed.rows("staging.feed", "id", "v") == [("a", 2), ("b", 1), ("c", 2)]


def test_a_rebuild_keeps_replays_and_what_they_belong_to(feed: StewardFeed) -> None:
    feed.define(ORDERED, **INTEGERS)
    feed.land("f1.csv", "id,v,at", "a,1,1", "b,x,1", "c,y,1")
    feed.run()
    feed.decide({"f1.csv:2": {"v": "7"}})
    feed.replay()
    feed.decide({"f1.csv:3": {"v": "8"}})  # approved, not replayed: a rebuild is no replay
    feed.land("f2.csv", "id,v,at", "a,2,2")
    feed.run()
    feed.unpublish("f2.csv")
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 7)]
    assert feed.states() == {"f1.csv:2": "replayed", "f1.csv:3": "open"}
    feed.replay()
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 7), ("c", 8)]


def test_an_unpublished_snapshot_gives_its_unit_back_to_the_one_before(feed: StewardFeed) -> None:
    feed.define('<hive table="staging.feed" mode="overwrite"/>', pattern=f".*_{DATED}.csv", snapshot=True)
    for name, line in (("a_20240101", "a,1"), ("b_20240101", "b,1"), ("c_20240102", "c,1")):
        feed.land(f"{name}.csv", "id,v", line, "x,x")
        feed.run()
    assert feed.states()["a_20240101.csv:2"] == "superseded"
    feed.unpublish("b_20240101.csv")
    assert feed.rows("staging.feed", "id") == ["c"]
    (done,) = feed.run()
    assert (done.status, done.attempt) == ("published", 2)
    assert feed.rows("staging.feed", "id") == ["a", "c"]
    assert feed.states()["a_20240101.csv:2"] == "open"
    assert feed.states()["b_20240101.csv:2"] == "withdrawn"


def test_a_replay_that_is_taken_back_leaves_its_records_waiting(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    (done,) = feed.replay()
    with feed.open() as (lake, pipeline):
        batch_decisions.unpublish(lake, pipeline, APPROVER, [done.key], "wrong")
    assert feed.rows("staging.feed", "id") == ["a"]
    assert feed.states() == {"a.csv:2": "open"}
    feed.replay()
    assert feed.rows("staging.feed", "id") == ["a", "b"]


def test_a_table_is_restored_to_a_batch_and_to_a_version(feed: StewardFeed) -> None:
    feed.define(APPEND)
    for name in "abcd":
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()
    with feed.open() as (lake, pipeline):
        plan = batch_decisions.plan_restore(lake, pipeline, 0, feed.batch_of("b.csv"))
        assert [key.split("_")[1] for key in plan.batches] == ["d", "c"]
        batch_decisions.restore(lake, pipeline, 0, feed.batch_of("b.csv"), APPROVER, "wrong")
    assert feed.rows("staging.feed", "id") == ["a", "b"]
    with feed.open() as (lake, pipeline):
        batch_decisions.restore(lake, pipeline, 0, "1", APPROVER, "wrong")
    assert feed.rows("staging.feed", "id") == ["a"]
    feed.land("e.csv", "id,v", "d,1")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["a", "d"]


def test_a_held_batch_is_released_with_a_waiver_and_held_again_where_it_is_worse(feed: StewardFeed) -> None:
    policy = '<errorPolicy onRecordError="quarantine" maxErrors="1"/>'
    feed.define(APPEND, policy=policy)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y")
    (held,) = feed.run()
    assert (held.status, feed.states()) == ("held", {"a.csv:2": "held", "a.csv:3": "held"})
    with feed.open() as (lake, pipeline):
        assert batch_decisions.holding(lake, pipeline, held.key) == {"maxErrors": 2.0}
        with pytest.raises(Refused, match="no waiver for maxErrors"):
            batch_decisions.release(lake, pipeline, APPROVER, held.key, {}, "known")
        batch_decisions.release(lake, pipeline, APPROVER, held.key, {"maxErrors": "two known ones"}, "known")
    (done,) = feed.run()
    assert (done.status, done.attempt, done.counts.accepted) == ("published", 2, 1)
    assert feed.states() == {"a.csv:2": "open", "a.csv:3": "open"}
    feed.define(APPEND, policy=policy, v={"type": "integer", "minimum": 2})
    (again,) = feed.run(reprocess=True)
    assert (again.status, again.counts.quarantined) == ("held", 3)


def test_a_withdrawn_batch_lets_its_file_come_again(feed: StewardFeed) -> None:
    feed.define(APPEND, policy='<errorPolicy onRecordError="quarantine" maxErrors="0"/>')
    feed.land("a.csv", "id,v", "a,1", "b,x")
    (held,) = feed.run()
    with feed.open() as (lake, pipeline):
        batch_decisions.withdraw(lake, pipeline, APPROVER, held.key, "sent by mistake")
    assert feed.states() == {"a.csv:2": "withdrawn"}
    assert feed.statuses() == ["withdrawn"]
    feed.define(APPEND)
    feed.land("b.csv", "id,v", "a,1", "b,x")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["a"]
    assert feed.states() == {"b.csv:2": "open"}


def test_a_reprocess_that_accepts_less_is_said_with_its_cost_and_done_by_a_release(feed: StewardFeed) -> None:
    feed.define(ORDERED, **INTEGERS)
    feed.land("f1.csv", "id,v,at", "a,1,1", "b,5,1")
    feed.run()
    feed.land("f2.csv", "id,v,at", "b,6,2")
    feed.run()
    feed.define(ORDERED, v={"type": "integer", "maximum": 5}, at={"type": "integer"})
    held = feed.run(reprocess=True)
    assert [(b.status, b.reason) for b in held][:1] == [("published", None)]
    assert held[1].status == "held"
    assert "1 records that stand in the merge target are no longer accepted" in str(held[1].reason)
    assert "2 batches, 2 files" in str(held[1].reason)
    with feed.open() as (lake, pipeline):
        batch_decisions.release(lake, pipeline, APPROVER, held[1].key, {"rebuild_needed": "known"}, "new limit")
    (done,) = feed.run()
    assert (done.status, done.counts.quarantined) == ("published", 1)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 5)]
    assert [(c["accepted"], c["superseded"]) for c in feed.counts()] == [(2, 0), (0, 0)]


def test_a_reader_is_asked_to_run_again(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.define_reader("full")
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    feed.run("reader")
    feed.unpublish("a.csv")
    with feed.open() as (lake, _), lake.ledger.read() as session:
        assert [r.pipeline for r in session.scalars(select(Rerun))] == ["app/reader"]
    feed.run("reader")
    assert feed.rows("standardization.copy", "id") == []


def test_withdrawing_a_held_snapshot_leaves_the_owner_of_its_unit_alone(feed: StewardFeed) -> None:
    policy = '<errorPolicy onRecordError="quarantine" maxErrors="1"/>'
    target = '<hive table="staging.feed" mode="overwrite"/>'
    feed.define(target, pattern=f".*_{DATED}.csv", snapshot=True, policy=policy)
    for name in ("aaa", "bbb"):
        feed.land(f"{name}_20240101.csv", "id,v", f"{name},1", "x,x")
        feed.run()
    feed.land("ccc_20240101.csv", "id,v", "ccc,1", "x,x", "y,y")
    (held,) = feed.run()
    with feed.open() as (lake, pipeline):
        batch_decisions.withdraw(lake, pipeline, APPROVER, held.key, "sent by mistake")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["bbb"]


def test_a_second_decision_brings_the_one_before_it_to_its_end(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.define(APPEND)
    for name in ("aaa", "bbb", "ccc"):
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()

    class Crash(BaseException):
        pass

    def dies(name: str) -> None:
        if name == "takeback.target":
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reached", dies)
        with pytest.raises(Crash):
            feed.unpublish("aaa.csv")
    feed.unpublish("bbb.csv")
    assert feed.rows("staging.feed", "id") == ["ccc"]
    assert sorted(status for _, status, _ in feed.batches()) == ["published", "unpublished", "unpublished"]


def test_a_reprocess_that_rejects_a_replayed_record_is_held_over_a_merge_target(feed: StewardFeed) -> None:
    feed.define(ORDERED, **INTEGERS)
    feed.land("f1.csv", "id,v,at", "a,1,1", "b,x,1")
    feed.run()
    feed.decide({"f1.csv:2": {"v": "7"}})
    feed.replay()
    feed.define(ORDERED, v={"type": "integer", "maximum": 5}, at={"type": "integer"})
    (held,) = feed.run(reprocess=True)
    assert held.status == "held"
    assert str(held.reason).startswith("rebuild_needed: 1 records")


def test_a_file_with_a_column_too_much_is_released(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v,zz", "a,1,q")
    (held,) = feed.run()
    with feed.open() as (lake, pipeline):
        waived = {"header_unknown_columns": "known"}
        batch_decisions.release(lake, pipeline, APPROVER, held.key, waived, "known")
    (done,) = feed.run()
    assert done.status == "published"
    assert feed.rows("staging.feed", "id", "v") == [("a", 1)]


def test_a_rebuild_holds_a_record_that_several_batches_read_once(feed: StewardFeed) -> None:
    feed.define(APPEND)
    target = '<hive table="standardization.copy" mode="merge" keys="id" orderBy="v"/>'
    feed.define_reader("partition", targets=target)
    for name, lines in (("aaa", ["a,1", "b,2"]), ("bbb", ["c,3"]), ("ccc", ["d,3"])):
        feed.land(f"{name}.csv", "id,v", *lines)
        feed.run()
        feed.run("reader")
    with feed.open("reader") as (lake, pipeline), lake.ledger.read() as session:
        tables = select(Batch.key).where(Batch.origin == "table")
        newest = session.scalars(tables.order_by(Batch.arrival.desc())).first()
    with feed.open("reader") as (lake, pipeline):
        batch_decisions.unpublish(lake, pipeline, APPROVER, [str(newest)], "wrong")
    assert feed.rows("standardization.copy", "id") == ["a", "b", "c"]


def test_a_reprocess_that_lowers_a_row_in_the_order_lets_the_row_win_that_had_lost_to_it(feed: StewardFeed) -> None:
    """Any split of the same records over batches gives the same table: in one batch `b` of f1 would stand."""
    ranked = '<derive source="s"><column name="rank" expression="cast({} as bigint)"/></derive>'
    target = MERGE.replace('orderBy="v"', 'orderBy="rank"')
    feed.define(target, steps=ranked.format("at"), **INTEGERS)
    feed.land("f1.csv", "id,v,at", "a,1,5", "b,1,5", "c,1,8")
    feed.run()
    feed.land("f2.csv", "id,v,at", "a,2,9", "b,2,7", "b,3,6")
    feed.run()
    assert feed.rows("staging.feed", "id", "v") == [("a", 2), ("b", 2), ("c", 1)]
    feed.define(target, steps=ranked.format("case when at = 9 then 8 when at = 5 then 5 else at - 4 end"), **INTEGERS)
    first, second = feed.run(reprocess=True)
    assert [str(b.reason).partition(" that")[0] for b in (first, second)] == [
        "rebuild_needed: 1 keys of the merge target have a row", "rebuild_needed: 2 keys of the merge target have a row"
    ]  # fmt: skip
    for held in (first, second):
        with feed.open() as (lake, pipeline):
            batch_decisions.release(lake, pipeline, APPROVER, held.key, {"rebuild_needed": "known"}, "new order")
        (done,) = feed.run()
        assert done.status == "published"
    assert feed.rows("staging.feed", "id", "v") == [("a", 2), ("b", 1), ("c", 1)]
    assert [(c["accepted"], c["superseded"]) for c in feed.counts()] == [(2, 1), (1, 2)]


def test_where_no_other_batch_stands_a_reprocess_may_lower_a_row_without_a_rebuild(feed: StewardFeed) -> None:
    ranked = '<derive source="s"><column name="rank" expression="cast({} as bigint)"/></derive>'
    target = MERGE.replace('orderBy="v"', 'orderBy="rank"')
    feed.define(target, steps=ranked.format("at"), **INTEGERS)
    feed.land("f1.csv", "id,v,at", "a,1,5", "a,2,6")
    feed.run()
    feed.define(target, steps=ranked.format("case when at = 6 then 1 else at end"), **INTEGERS)
    (done,) = feed.run(reprocess=True)
    assert (done.status, done.reason, feed.rows("staging.feed", "id", "v")) == ("published", None, [("a", 1)])


@pytest.mark.parametrize("read", ["partition", "changes"])
def test_a_merge_target_whose_table_forgot_its_versions_is_not_left_half_way(feed: StewardFeed, read: str) -> None:
    """What was read whole cannot be read again, and nothing is decided; changes are files, and still there."""
    from deltalake import DeltaTable

    feed.define(APPEND)
    target = '<hive table="standardization.copy" mode="merge" keys="id" orderBy="v"/>'
    feed.define_reader(read, targets=target)
    for name in ("aaa", "bbb", "ccc"):
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()
        feed.run("reader")
    folder = feed.folder("staging.feed")
    DeltaTable(str(folder)).create_checkpoint()
    for path in (folder / "_delta_log").glob("*.json"):
        os.utime(path, (0, 0))
    DeltaTable(str(folder)).cleanup_metadata()
    with feed.open("reader") as (lake, pipeline):
        with lake.ledger.read() as session:
            tables = select(Batch.key).where(Batch.origin == "table").order_by(Batch.arrival.desc())
            newest = session.scalars(tables).all()
        if read == "partition":
            with pytest.raises(Refused, match=r"cannot be computed again: .* the log of version 1 is gone; un-publish"):
                batch_decisions.unpublish(lake, pipeline, APPROVER, newest[:1], "wrong")
        else:
            batch_decisions.unpublish(lake, pipeline, APPROVER, newest[:1], "wrong")
    left = ["aaa", "bbb", "ccc"] if read == "partition" else ["aaa", "bbb"]
    assert feed.rows("standardization.copy", "id") == left
    if read == "partition":
        with feed.open("reader") as (lake, pipeline):
            batch_decisions.unpublish(lake, pipeline, APPROVER, newest, "wrong")
    feed.run("reader")
    assert feed.rows("standardization.copy", "id") == ["aaa", "bbb", "ccc"]


@pytest.mark.parametrize("grows", [True, False])
def test_a_merge_target_whose_definition_has_a_new_column_is_rebuilt_with_it_or_nothing_is_decided(
    feed: StewardFeed, grows: bool
) -> None:
    target = MERGE.replace("/>", ' schemaEvolution="addColumns"/>') if grows else MERGE
    feed.define(target)
    for name in ("aaa", "bbb"):
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()
    feed.define(target, steps='<derive source="s"><column name="w" expression="v + 1"/></derive>')
    if grows:
        feed.unpublish("bbb.csv")
        assert feed.rows("staging.feed", "id", "w") == [("aaa", 2)]
    else:
        with pytest.raises(Refused, match="the table has no w"):
            feed.unpublish("bbb.csv")
        assert feed.rows("staging.feed", "id") == ["aaa", "bbb"]
    feed.land("ccc.csv", "id,v", "ccc,1")
    assert [b.status for b in feed.run()] == ["published" if grows else "held"]
