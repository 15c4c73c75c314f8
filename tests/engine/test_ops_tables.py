"""`ops.pipeline_runs` and `ops.quarantine_events`: every run and every event once, the same when made again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_xml.checked import CheckedPipeline
from publishing import ops, ops_table
from publishing.decisions import Correction
from publishing.lake import Lake, open_lake
from publishing.ledger import Batch, now
from publishing.ops import recorded_run, write_down
from publishing.ops_facts import sla_status, worst_sla
from publishing.run_entries import newest_run, open_run
from resources.engine import Engine
from stewardship.actors import Actor
from stewardship.assign import assign
from stewardship.stores import Approval
from tests.delta_rows import delta_dataset
from tests.faults import children
from tests.promised_feed import DATED, NUMBER, TEXT, Feed
from tests.steward_feed import StewardFeed

PROJECT = Path(__file__).resolve().parents[2]
RUNS, EVENTS = "ops.pipeline_runs", "ops.quarantine_events"
CANARY = "canary-7f3a"
IDLE = Engine("sail", None)  # type: ignore[arg-type]  # of feeds whose runs compute nothing


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    return Feed(tmp_path, engine)


@pytest.fixture
def idle(tmp_path: Path) -> Feed:
    feed = Feed(tmp_path, IDLE)
    feed.define()
    return feed


@contextmanager
def opened(feed: Feed) -> Iterator[tuple[Lake, CheckedPipeline]]:
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        yield lake, pipeline


def rows(feed: Feed, table: str) -> list[dict[str, Any]]:
    if not (feed.folder(table) / "_delta_log").is_dir():
        return []
    found: list[dict[str, Any]] = delta_dataset(feed.folder(table)).to_table().to_pylist()
    return sorted(found, key=lambda row: json.dumps(row, default=str, sort_keys=True))


def numbers(feed: Feed) -> list[int]:
    return sorted(row["run_number"] for row in rows(feed, RUNS))


def run_nothing(feed: Feed, fails: Exception | None = None) -> None:
    with (
        opened(feed) as (lake, pipeline),
        lake.alone(pipeline.key),
        recorded_run(lake, pipeline, "idle", "load", []),
    ):
        if fails is not None:
            raise fails


def test_a_run_says_what_it_counted_and_cost_and_quarantine_events_count_by_rule(feed: Feed) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1", "b,x", ",y", "c,4")
    feed.run()
    (run,) = rows(feed, RUNS)
    assert (run["status"], run["success"], run["kind"], run["files"]) == ("published", True, "load", 1)
    assert (run["rows_in"], run["rows_accepted"], run["rows_quarantined"], run["rows_written"]) == (4, 2, 2, 2)
    assert run["bytes_read"] == len("id,v\na,1\nb,x\n,y\nc,4\n")
    assert run["started_at"] < run["ended_at"] and run["seconds"] > 0
    assert 0 < run["utilisation"] <= 1 and run["cpu_seconds"] > 0 and run["peak_memory_bytes"] > 1_000_000
    assert dict(run["cost_tags"])["app_name"] == "app"
    (batch,) = run["batches"]
    assert (batch["attempt"], batch["status"], batch["rows_in"]) == (1, "published", 4)
    events = {(e["event"], e["rule_id"]): (e["records"], e["batch_records"]) for e in rows(feed, EVENTS)}
    assert events == {
        ("quarantined", "contract.id.required"): (1, 2),
        ("quarantined", "contract.v.type"): (2, 2),
    }
    assert {e["remediation_status"] for e in rows(feed, EVENTS)} == {"open"}


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


def test_a_held_batch_says_why_and_its_rejects_are_held(feed: Feed) -> None:
    feed.define(policy='<errorPolicy maxErrors="0"/>')
    feed.land("a.csv", "id,v", ",1")
    feed.run()
    (run,) = rows(feed, RUNS)
    assert (run["status"], run["success"]) == ("held", False)
    assert run["error_reason"].startswith("maxErrors")
    assert [e["remediation_status"] for e in rows(feed, EVENTS)] == ["held"]


def test_no_value_of_a_record_gets_in(feed: Feed) -> None:
    feed.define(v=NUMBER)
    feed.land("a.csv", "id,v", f"a,{CANARY}", f"{CANARY},1")
    feed.run()
    with pytest.raises(ValueError, match=CANARY):
        run_nothing(feed, ValueError(f"cannot read {CANARY}"))
    for table in (RUNS, EVENTS):
        assert rows(feed, table)
        assert CANARY not in json.dumps(rows(feed, table), default=str)
    assert CANARY not in "".join(p.read_text() for p in (feed.root / "data/journal/runs").rglob("*.json"))


def test_a_run_that_fails_before_any_batch_has_a_row(idle: Feed) -> None:
    with pytest.raises(PermissionError):
        run_nothing(idle, PermissionError(13, "Permission denied", "/somewhere"))
    (run,) = rows(idle, RUNS)
    assert (run["status"], run["success"], run["error_type"]) == ("failed", False, "PermissionError")
    assert run["error_reason"].startswith("NotWritable")
    assert run["batches"] == []


@pytest.mark.parametrize("point", ["run.ended", "ops.written", "events.committed", "run.recorded"])
def test_what_a_crash_left_out_is_written_by_the_next_run(idle: Feed, point: str) -> None:
    idle.land("a.csv", "id,v", "a,1", "b,x")
    assert children.start(idle, at=point).code() == -signal.SIGKILL
    children.run(idle)
    assert numbers(idle) == [1, 2]
    assert sum(row["rows_in"] for row in rows(idle, RUNS)) == 2
    assert [e["rule_id"] for e in rows(idle, EVENTS)] == ["contract.v.type"]


def test_a_killed_run_has_a_row_and_the_attempts_that_it_ended(idle: Feed) -> None:
    """Killed when the outcome is in the journal and the ledger does not know: the next run ends the same attempt."""
    idle.land("a.csv", "id,v", "a,1", "b,x")
    assert children.start(idle, at="outcome.journaled").code() == -signal.SIGKILL
    children.run(idle)
    first, second = sorted(rows(idle, RUNS), key=lambda row: row["run_number"])
    assert (first["status"], first["error_type"], first["ended_at"]) == ("killed", "killed", None)
    assert (first["rows_in"], second["rows_in"]) == (2, 0)
    assert (second["status"], second["success"]) == ("published", True)
    assert len(rows(idle, EVENTS)) == 1


@pytest.mark.parametrize("lost", [(RUNS,), (EVENTS,), (RUNS, EVENTS)])
def test_made_again_from_the_journal_the_tables_are_the_same(feed: Feed, lost: tuple[str, ...]) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.land("b.csv", "id,v", ",3")
    feed.run()
    feed.run(reprocess=True)
    with pytest.raises(OSError):
        run_nothing(feed, OSError("gone"))
    before = [rows(feed, table) for table in (RUNS, EVENTS)]
    for table in lost:
        shutil.rmtree(feed.folder(table))
    with opened(feed) as (lake, pipeline):
        write_down(lake, pipeline.key)
        write_down(lake, pipeline.key)
    assert [rows(feed, table) for table in (RUNS, EVENTS)] == before


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


LOOP = """
import sys
from pathlib import Path
from tests.engine.test_ops_tables import IDLE, run_nothing
from tests.promised_feed import Feed
for _ in range(5):
    run_nothing(Feed(Path(sys.argv[1]), IDLE))
"""


def test_runs_at_once_have_a_row_each(idle: Feed) -> None:
    command = [sys.executable, "-c", LOOP, str(idle.root)]
    started = [subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    failed = [child.communicate()[1] for child in started if child.wait()]
    assert not failed, failed[0][-2000:]
    assert numbers(idle) == list(range(1, 16))


def test_many_commits_are_put_together_and_no_row_is_lost_or_doubled(
    idle: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "COMPACT_EVERY", 5)
    for _ in range(12):
        run_nothing(idle)
    assert numbers(idle) == list(range(1, 13))
    with opened(idle) as (lake, pipeline):
        snapshot = ops_table.ops_table(lake, "app", "pipeline_runs").snapshot()
        assert len(snapshot.files()) < 6
        assert snapshot.transaction(f"r:{pipeline.key}") == 12


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(["run", "fails", "killed", "killed at its end", "written down", "lost"]), max_size=9))
def test_whatever_happens_each_run_has_one_row(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        feed = Feed(Path(folder), IDLE)
        feed.define()
        for step in [*steps, "run"]:
            _step(feed, step, patch)
        made = sum(step in ("run", "fails", "killed", "killed at its end") for step in steps) + 1
        assert numbers(feed) == list(range(1, made + 1))
        wanted = {"run": "nothing_to_do", "fails": "failed", "killed": "killed", "killed at its end": "nothing_to_do"}
        by_number = sorted(rows(feed, RUNS), key=lambda row: row["run_number"])
        assert [row["status"] for row in by_number] == [wanted[s] for s in [*steps, "run"] if s in wanted]


def _step(feed: Feed, step: str, patch: pytest.MonkeyPatch) -> None:
    if step == "run":
        run_nothing(feed)
    elif step == "fails":
        with pytest.raises(OSError):
            run_nothing(feed, OSError("gone"))
    elif step == "killed":
        with opened(feed) as (lake, pipeline):
            began = newest_run(lake.journal, pipeline.key)
            opening = ops._opening(lake, pipeline, "killed", "load")
            assert open_run(lake.journal, pipeline.key, opening) == began + 1
    elif step == "killed at its end":
        with patch.context() as inner, pytest.raises(Killed):
            inner.setattr(ops, "write_down", _killed)
            run_nothing(feed)
    elif step == "written down":
        with opened(feed) as (lake, pipeline):
            write_down(lake, pipeline.key)
    else:
        shutil.rmtree(feed.folder(RUNS), ignore_errors=True)


def _killed(*_: object) -> None:
    raise Killed


@pytest.mark.parametrize(
    ("sla", "age", "status", "before", "expected"),
    [
        (None, 10, "published", False, "none"),
        ("PT1H", 3600, "published", False, "met"),
        ("PT1H", 3601, "published", False, "missed"),
        ("PT1H", 10, "held", False, "pending"),
        ("PT1H", 3601, "held", False, "missed"),
        ("PT1H", 99999, "published", True, "not_applicable"),
        ("PT1H", 99999, "nothing_to_do", False, "not_applicable"),
    ],
)
def test_an_sla_runs_to_the_first_publication(
    sla: str | None, age: float, status: str, before: bool, expected: str
) -> None:
    assert sla_status(sla, age, status, before) == expected


def test_the_sla_of_a_run_is_the_worst_of_its_batches() -> None:
    assert worst_sla([]) == "none"
    assert worst_sla(["met", "not_applicable"]) == "met"
    assert worst_sla(["met", "missed", "pending"]) == "missed"


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
