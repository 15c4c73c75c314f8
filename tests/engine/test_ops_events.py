"""`ops.quarantine_events`: what happened to rejected records and who decided, told once, the same when made again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from publishing import ops
from publishing.decisions import Correction
from publishing.journal import Journal
from publishing.ledger import Batch, now
from publishing.ops import write_down
from resources.engine import Engine
from stewardship.actors import Actor
from stewardship.assign import assign
from stewardship.stores import Approval
from tests.ops_rows import EVENTS, RUNS, opened, rows
from tests.promised_feed import DATED, NUMBER, TEXT, Feed
from tests.steward_feed import StewardFeed


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    return Feed(tmp_path, engine)


def test_a_reprocess_tells_what_it_resolved_and_counts_its_attempt_in_its_own_run(feed: Feed) -> None:
    feed.define(v=TEXT)
    feed.land("a.csv", "id,v", "a,1", ",2")
    feed.run()
    text = (feed.root / "config/applications/app/staging/schemas/s.json").read_text()
    (feed.root / "config/applications/app/staging/schemas/s.json").write_text(text.replace('"required": ["id"], ', ""))
    feed.run(reprocess=True)
    by_event = [(e["attempt"], e["event"], e["records"], e["remediation_status"]) for e in rows(feed, EVENTS)]
    assert sorted(by_event) == [(1, "quarantined", 1, "open"), (2, "resolved", 1, "resolved")]
    kinds = {(row["kind"], tuple(b["attempt"] for b in row["batches"])) for row in rows(feed, RUNS)}
    assert kinds == {("load", (1,)), ("reprocess", (2,))}


def test_a_stewards_decision_is_told_once(idle: Feed) -> None:
    with opened(idle) as (lake, pipeline):
        day = now().date()
        with lake.ledger.write() as session:
            session.add(
                Batch(
                    id="b" * 32, key="day_a", pipeline=pipeline.key, business_date=day, origin="files", sender=None,
                    arrival=1, window=None, status="published", reason=None, attempt=1, created_at=now(),
                )
            )  # fmt: skip
            session.flush()
            session.add(
                Correction(
                    id="c1", pipeline=pipeline.key, batch_id="b" * 32, kind="correct", state="proposed", records=3,
                    actor="ann", role="steward", reason="typo", made_at=now(), sealed="", replay_id=None,
                )
            )  # fmt: skip
        folder = f"{pipeline.key}/{'b' * 32}"
        lake.journal.write(f"{folder}/batch.json", {"key": "day_a", "business_date": day.isoformat()})
        for _ in range(2):
            write_down(lake, pipeline.key)
        verdict = {"actor": "ben", "role": "approver", "reason": "seen", "verdict": "approved"}
        with lake.ledger.write() as session:
            session.add(Approval(correction_id="c1", made_at=now(), **verdict))
        for _ in range(2):
            write_down(lake, pipeline.key)
    told = {(e["event_id"], e["actor"], e["records"], e["batch_key"]) for e in rows(idle, EVENTS)}
    assert told == {("c1/correction_proposed", "ann", 3, "day_a"), ("c1/approved", "ben", 3, "day_a")}
    assert len(rows(idle, EVENTS)) == 2


def test_a_replay_tells_what_became_of_its_records(tmp_path: Path, engine: Engine) -> None:
    feed = StewardFeed(tmp_path, engine)
    feed.define(v=NUMBER)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y", "d,z")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}, "a.csv:3": {"v": "no"}})
    feed.replay()
    (batch,) = {row["batch_id"] for row in feed.entries().values()}
    told = {(e["event"], e["rule_id"], e["records"], e["remediation_status"]) for e in rows(feed, EVENTS)}
    assert told == {
        ("quarantined", "contract.v.type", 3, "open"),
        ("correction_proposed", None, 2, "correction_proposed"),
        ("replayed", None, 1, "replayed"),
        ("rejected_again", "contract.v.type", 1, "open"),
    }
    assert {e["batch_id"] for e in rows(feed, EVENTS)} == {batch}
    assert len({e["replay_batch_id"] for e in rows(feed, EVENTS)} - {None}) == 1
    assert [row["kind"] for row in sorted(rows(feed, RUNS), key=lambda row: row["run_number"])] == ["load", "replay"]
    feed.unpublish("a.csv")
    with feed.open() as (lake, pipeline):
        write_down(lake, pipeline.key)
    assert "unpublished" in {e["event"] for e in rows(feed, EVENTS)}


def test_what_a_newer_snapshot_supersedes_and_who_was_assigned_are_told(tmp_path: Path, engine: Engine) -> None:
    feed = StewardFeed(tmp_path, engine)
    feed.define('<hive table="staging.feed" mode="overwrite"/>', pattern=f"{DATED}_[0-9].csv", snapshot=True)
    feed.land("20240131_1.csv", "id,v", "a,1", "b,x", "c,y")
    (first,) = feed.run()
    ann, record = Actor("ann", "steward"), feed.entries()["20240131_1.csv:2"]["record_id"]
    with feed.open() as (lake, _):
        assign(lake, feed.catalog(), ann, first.key, "dora")
        assign(lake, feed.catalog(), ann, first.key, "emil", record)
    feed.land("20240131_2.csv", "id,v", "a,2")
    feed.run()
    told = [e for e in rows(feed, EVENTS) if e["event"] in ("assigned", "superseded")]
    gone = [(e["batch_id"], e["batch_key"], e["records"]) for e in told if e["event"] == "superseded"]
    assert gone == [(first.batch, first.key, 2)]
    assert {(e["batch_key"], e["actor"], e["records"]) for e in told if e["event"] == "assigned"} == {
        (first.key, "ann", None), (first.key, "ann", 1),
    }  # fmt: skip
    before = rows(feed, EVENTS)
    shutil.rmtree(feed.folder(EVENTS))
    shutil.rmtree(feed.folder(RUNS))
    with feed.open() as (lake, pipeline):
        write_down(lake, pipeline.key)
        write_down(lake, pipeline.key)
    assert sorted(rows(feed, EVENTS), key=str) == sorted(before, key=str)


def test_decisions_that_were_told_are_not_looked_at_by_every_run(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = StewardFeed(tmp_path, engine)
    feed.define(v=NUMBER)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y")
    (first,) = feed.run()
    with feed.open() as (lake, _):
        assign(lake, feed.catalog(), Actor("ann", "steward"), first.key, "dora")
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.run()
    looked: list[str] = []
    for name in ("journal_decisions", "decision_events"):
        before = getattr(ops, name)

        def looking(*given: Any, name: str = name, before: Any = before) -> Any:
            looked.append(name)
            return before(*given)

        monkeypatch.setattr(ops, name, looking)
    feed.run()
    feed.run()
    assert looked == []
    feed.decide({"a.csv:3": {"v": "3"}})
    feed.run()
    assert looked == ["journal_decisions", "decision_events"]
    told = [e["event"] for e in rows(feed, EVENTS) if e["decision_id"]]
    assert sorted(told) == ["assigned", "correction_proposed", "correction_proposed"]
    shutil.rmtree(feed.folder(EVENTS))
    feed.run()
    assert sorted(e["event"] for e in rows(feed, EVENTS) if e["decision_id"]) == sorted(told)


def test_what_was_told_is_not_read_again_when_somebody_decides(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A steward's command costs what it decides, and not what was decided before."""
    feed = StewardFeed(tmp_path, engine)
    feed.define(v=NUMBER)
    feed.land("a.csv", "id,v", *(f"r{number},x" for number in range(30)))
    (first,) = feed.run()
    for number in range(1, 30):
        feed.decide({f"a.csv:{number}": {"v": "2"}})
    ann = Actor("ann", "steward")
    with feed.open() as (lake, _):
        assign(lake, feed.catalog(), ann, first.key, "dora")
        told = len([e for e in rows(feed, EVENTS) if e["decision_id"]])
        read: list[str] = []
        before = Journal.read
        monkeypatch.setattr(Journal, "read", lambda self, name: read.append(name) or before(self, name))
        assign(lake, feed.catalog(), ann, first.key, "emil")
    assert told == 30
    assert len([e for e in rows(feed, EVENTS) if e["decision_id"]]) == 31
    own = [name for name in read if f"/{first.batch}/" in name]
    # What was just written, the decision, its batch and the batch's first outcome.
    assert len(own) <= 4, own
