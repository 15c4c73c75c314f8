"""The operations tables as the harness compares them: what must be the same however many runs it took."""

from __future__ import annotations

import json
from typing import Any

from publishing.lake import Lake
from publishing.ops_table import PIPELINE_RUNS, QUARANTINE_EVENTS, ops_table
from publishing.run_entries import newest_run

MOMENTS = {"occurred_at", "run_id"}


def ops_document(lake: Lake, app: str) -> dict[str, Any]:
    """Every event; every attempt, in exactly one run's row; and every run that was opened has exactly one row."""
    runs, events = _rows(lake, app, PIPELINE_RUNS), _rows(lake, app, QUARANTINE_EVENTS)
    opened = {row["pipeline"]: newest_run(lake.journal, row["pipeline"]) for row in runs}
    attempts = [{**batch, "pipeline": row["pipeline"], "seconds": 0} for row in runs for batch in row["batches"]]
    return {
        "events": _lines([_comparable(row) for row in events]),
        "each event is told once": len({row["event_id"] for row in events}) == len(events),
        "attempts": _lines(attempts),
        "rows": {pipeline: sum(row["rows_in"] for row in runs if row["pipeline"] == pipeline) for pipeline in opened},
        "each run has one row": sorted((row["pipeline"], row["run_number"]) for row in runs)
        == sorted((pipeline, number) for pipeline, newest in opened.items() for number in range(1, newest + 1)),
    }


def _comparable(event: dict[str, Any]) -> dict[str, Any]:
    """Without moments. The id of a decision is made anew in each world, and a replay's id of those it obeys."""
    kept = {k: v for k, v in event.items() if k not in MOMENTS}
    if event["decision_id"] or event["replay_batch_id"]:
        kept |= {"event_id": "", "decision_id": bool(event["decision_id"]), "replay_batch_id": ""}
    return kept


def _rows(lake: Lake, app: str, name: str) -> list[dict[str, Any]]:
    table = ops_table(lake, app, name)
    rows: list[dict[str, Any]] = table.snapshot().dataset().to_table().to_pylist() if table.exists else []
    return rows


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
