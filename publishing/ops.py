"""`ops.pipeline_runs` and `ops.quarantine_events`: written once for every run, whatever crashes in between.

A run and its end stand in the journal first (publishing/run_entries.py); from there the rows are made. `r:<pipeline>`
is the transaction of both tables, the number of the newest run that is in: whoever ends next writes what is missing.
Events go in before the runs they belong to. A steward's decision is looked up in the table by its event's id, and only
where there are others than were told: decisions are never unmade, so `d:<pipeline>` is how many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from publishing import failpoints
from publishing.commit import until_committed
from publishing.decisions_journal import decisions_made, journal_decisions
from publishing.journal import attempt_entry
from publishing.lake import Lake, RunNumber
from publishing.ops_events import attempt_events, decision_events
from publishing.ops_runs import run_row
from publishing.ops_table import COMPACT_EVERY, DESCRIPTIONS, PIPELINE_RUNS, QUARANTINE_EVENTS, add_rows, ops_table
from publishing.ops_table import schema as ops_schema
from publishing.outcome import BatchOutcome, worst
from publishing.run_entries import end_run, finished_run, newest_run, open_run, outcomes_of
from publishing.usage import Usage, cores
from resources.failures import named, told
from resources.lake_table import LakeTable, Snapshot

REASON = 500  # characters


@contextmanager
def recorded_run(
    lake: Lake,
    pipeline: CheckedPipeline,
    run_id: str,
    kind: str,
    outcomes: Sequence[BatchOutcome],
    parameters: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Around everything a run does, inside `lake.alone`. `outcomes` is what ended so far; `kind`: load, replay, …"""
    before = Usage.now()
    given = dict(parameters or {})
    opening = {**_opening(lake, pipeline, run_id, kind), "parameters": given}
    number = open_run(lake.journal, pipeline.key, opening)
    failpoints.reached("run.opened")
    lake.run = RunNumber(run_id, number, given)
    try:
        yield
    except BaseException as error:
        try:
            _end(lake, pipeline.key, number, before, outcomes, error)
        except Exception as second:  # noqa: BLE001 - the run's own error must come out; the next run writes the row
            error.add_note(f"the run is not in {PIPELINE_RUNS} yet: {told(named(second))}")
        raise
    finally:
        lake.run = None
    _end(lake, pipeline.key, number, before, outcomes, None)


def _opening(lake: Lake, pipeline: CheckedPipeline, run_id: str, kind: str) -> dict[str, Any]:
    """What is known before the run does anything, and pinned with it."""
    metadata, settings = pipeline.pipeline.metadata, lake.settings
    tags = {
        "app_name": metadata.app_name,
        "product_processor": metadata.product_processor,
        "environment": settings.environment,
        "engine": settings.engine,
        "cores": str(cores()),
        "tags": ",".join(metadata.tags),
    }
    return {
        "run_id": run_id,
        "kind": kind,
        "started_at": datetime.now(UTC).isoformat(),
        "layer": pipeline.pipeline.layer,
        "pipeline_version": pipeline.pipeline.version,
        "definition_hash": pipeline.definition_hash,
        "product_processor": metadata.product_processor,
        "sla": metadata.sla,
        "engine": settings.engine,
        "cores": cores(),
        "cost_tags": {k: v for k, v in tags.items() if v},
    }


def _end(
    lake: Lake,
    pipeline: str,
    number: int,
    before: Usage,
    outcomes: Sequence[BatchOutcome],
    error: BaseException | None,
) -> None:
    bad = [o for o in outcomes if o.status in ("failed", "held")]
    reasons = [told(named(error))] if error is not None else []
    reasons += [o.reason for o in bad if o.reason]
    failed = next((o.reason for o in bad if o.status == "failed" and o.reason), None)
    facts = {
        "status": "failed" if error is not None else worst(o.status for o in outcomes),
        "error_type": type(error).__name__ if error is not None else failed and failed.partition(":")[0],
        "reason": "; ".join(dict.fromkeys(reasons))[:REASON] or None,
        "ended_at": datetime.now(UTC).isoformat(),
        "files_duplicate": sum(file.status == "duplicate" for o in outcomes for file in o.files),
        "attempts": [[o.batch, o.attempt] for o in outcomes if o.batch],
        **before.since(),
    }
    end_run(lake, pipeline, number, facts)
    failpoints.reached("run.ended")
    write_down(lake, pipeline)


def write_down(lake: Lake, pipeline: str, journaled: int | None = None) -> None:
    """Brings both tables up to the newest run of the pipeline that is over, and to every decision. Idempotent.

    `journaled`: how many decisions there were before the caller wrote all of them to the journal.
    """
    app = pipeline.partition("/")[0]
    with lake.ledger.read() as session:
        made = decisions_made(session, pipeline) if journaled is None else journaled
    with lake.alone(f"{app}/.ops"):
        newest = newest_run(lake.journal, pipeline)
        runs, events = _opened(lake, app, PIPELINE_RUNS), _opened(lake, app, QUARANTINE_EVENTS)
        known = runs[1].transaction(f"r:{pipeline}") if events[2] else 0
        _write_events(lake, pipeline, events[0], known, newest)
        if events[1].transaction(f"d:{pipeline}") != made:
            if journaled is None:
                journal_decisions(lake, pipeline)
            _write_decisions(lake, pipeline, events[0], made)
        _write_runs(lake, pipeline, runs[0], newest)


def _opened(lake: Lake, app: str, name: str) -> tuple[LakeTable, Snapshot, bool]:
    """The table, its snapshot, and whether it was there before."""
    table = ops_table(lake, app, name)
    existed = table.exists
    return table, table.open_or_create(ops_schema(name), (), DESCRIPTIONS[name]), existed


def _write_events(lake: Lake, pipeline: str, table: LakeTable, known: int, newest: int) -> None:
    """The events of the runs after `known`, the newest run whose events are surely in."""

    def commit(snapshot: Snapshot) -> int | None:
        first = max(known, snapshot.transaction(f"r:{pipeline}")) + 1
        rows, last = [], first - 1
        for number, _, outcomes in _finished(lake, pipeline, first, newest):
            last = number
            for outcome in outcomes:
                rows += attempt_events(pipeline, outcome, _outcome_before(lake, pipeline, outcome))
        if not rows:
            return None
        return add_rows(snapshot, QUARANTINE_EVENTS, rows, {f"r:{pipeline}": last})

    _committed(table, until_committed(table, commit))
    failpoints.reached("events.committed")


def _write_decisions(lake: Lake, pipeline: str, table: LakeTable, number: int) -> None:
    """The events of decisions that lack one; `number` of them were made when it was asked, and are all told then."""

    def commit(snapshot: Snapshot) -> int | None:
        import pyarrow.dataset as ds

        files = [item for item in snapshot.files() if item.may_hold("pipeline", pipeline)]
        decisions = (ds.field("pipeline") == pipeline) & ds.field("decision_id").is_valid()
        told = snapshot.dataset(files).to_table(columns=["event_id"], filter=decisions)["event_id"]
        rows = decision_events(lake, pipeline, set(told.to_pylist()))
        told_all = {f"d:{pipeline}": number}
        return add_rows(snapshot, QUARANTINE_EVENTS, rows, told_all) if rows else snapshot.commit([], [], told_all, {})

    _committed(table, until_committed(table, commit))


def _write_runs(lake: Lake, pipeline: str, table: LakeTable, newest: int) -> None:
    def commit(snapshot: Snapshot) -> int | None:
        first = snapshot.transaction(f"r:{pipeline}") + 1
        found = list(_finished(lake, pipeline, first, newest))
        if not found:
            return None
        rows = [run_row(opened, ended, outcomes) for _, (opened, ended), outcomes in found]
        return add_rows(snapshot, PIPELINE_RUNS, rows, {f"r:{pipeline}": found[-1][0]})

    _committed(table, until_committed(table, commit))
    failpoints.reached("run.recorded")


def _committed(table: LakeTable, version: int | None) -> None:
    if version and version % COMPACT_EVERY == 0:
        table.snapshot().compact()


def _finished(
    lake: Lake, pipeline: str, first: int, last: int
) -> Iterator[tuple[int, tuple[dict[str, Any], dict[str, Any]], list[dict[str, Any]]]]:
    """(number, (how it began, how it ended), its outcomes) of the runs that are over, up to one that is not."""
    for number in range(first, last + 1):
        found = finished_run(lake, pipeline, number)
        if found is None:
            return
        yield number, found, outcomes_of(lake.journal, pipeline, number, found[1]["attempts"])


def _outcome_before(lake: Lake, pipeline: str, outcome: dict[str, Any]) -> dict[str, Any] | None:
    for number in range(outcome["attempt"] - 1, 0, -1):
        name = attempt_entry(pipeline, outcome["batch"], number, "outcome")
        if lake.journal.exists(name):
            return lake.journal.read(name)
    return None
