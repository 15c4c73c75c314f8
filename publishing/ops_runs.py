"""Rows of `ops.pipeline_runs`, made from the journal alone: the same whenever they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from publishing.ops_facts import worst_sla
from publishing.ops_table import COUNTS

SUCCESS = ("published", "nothing_to_do")


def run_row(
    opened: Mapping[str, Any], ended: Mapping[str, Any], outcomes: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The row of a run: how it began, how it ended, and the outcomes that it was the first to journal."""
    batches = [_batch(outcome) for outcome in outcomes]
    numbers = [*(f"rows_{term}" for term in COUNTS), "rows_written"]
    return {
        "run_id": opened["run_id"],
        "run_number": opened["number"],
        "application": opened["pipeline"].partition("/")[0],
        "pipeline": opened["pipeline"],
        **{k: opened[k] for k in ("layer", "pipeline_version", "definition_hash", "product_processor", "kind")},
        "started_at": datetime.fromisoformat(opened["started_at"]),
        "ended_at": moment(ended.get("ended_at")),
        "seconds": ended.get("seconds"),
        "status": ended["status"],
        "success": ended["status"] in SUCCESS,
        "error_type": ended.get("error_type"),
        "error_reason": ended.get("reason"),
        **{name: sum(batch[name] for batch in batches) for name in numbers},
        "files": sum(len(outcome["files"]) for outcome in outcomes),
        "files_duplicate": ended.get("files_duplicate"),
        "batches": batches,
        "sla": opened["sla"],
        "sla_status": worst_sla([batch["sla_status"] for batch in batches]),
        **{k: opened[k] for k in ("engine", "cores")},
        **{k: ended.get(k) for k in ("cpu_seconds", "utilisation", "peak_memory_bytes")},
        "bytes_read": sum(outcome["ops"]["bytes_read"] for outcome in outcomes),
        "cost_tags": sorted(opened["cost_tags"].items()),
    }


def _batch(outcome: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "batch_id": outcome["batch"],
        "attempt": outcome["attempt"],
        "business_date": date.fromisoformat(outcome["business_date"]),
        "origin": outcome["origin"],
        "status": outcome["status"],
        "sla_status": outcome["ops"]["sla_status"],
        "seconds": outcome["ops"]["seconds"],
        **{f"rows_{term}": outcome["counts"][term] for term in COUNTS},
        "rows_written": sum(target["rows_written"] for target in outcome["targets"]),
    }


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
