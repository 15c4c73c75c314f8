"""`ops.pipeline_runs` and `ops.quarantine_events`: every run and every event once, the same when made again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publishing import ops, ops_table
from publishing.ops import write_down
from publishing.ops_facts import sla_status, worst_sla
from publishing.run_entries import newest_run, open_run
from resources.engine import Engine
from tests.faults import children
from tests.ops_rows import EVENTS, IDLE, RUNS, numbers, opened, rows, run_nothing
from tests.promised_feed import NUMBER, Feed

PROJECT = Path(__file__).resolve().parents[2]
CANARY = "canary-7f3a"


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    return Feed(tmp_path, engine)


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


LOOP = """
import sys
from pathlib import Path
from tests.ops_rows import IDLE, run_nothing
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
