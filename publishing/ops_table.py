"""The operations tables of an application, `<data>/applications/<app>/ops/…`: their columns, and how rows get in.

One commit adds one small file. Many of them make a table slow, so every hundredth commit the library puts small files
together (a commit without data change: whoever follows the table sees no row twice).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from publishing import failpoints
from publishing.lake import Lake
from resources.durable import fsync
from resources.lake_table import LakeTable, Snapshot, describe_parquet

COMPACT_EVERY = 100
PIPELINE_RUNS = "pipeline_runs"
QUARANTINE_EVENTS = "quarantine_events"
DELIVERIES = "deliveries"
DESCRIPTIONS = {
    PIPELINE_RUNS: "One row a run of a pipeline: when, how it ended, what it counted, what it cost",
    QUARANTINE_EVENTS: "What happened to quarantined records, in numbers: one row a batch, event and rule",
    DELIVERIES: "Files that had not come when they were due, a row a business date and sender; files that came late",
}
COUNTS = ("in", "accepted", "quarantined", "deduplicated", "filtered", "superseded", "skipped")


def ops_table(lake: Lake, app: str, name: str) -> LakeTable:
    return lake.table((app, "ops", name))


def schema(name: str) -> Any:
    """The Arrow schema of `pipeline_runs`, `quarantine_events` or `deliveries`."""
    import pyarrow as pa

    text, number, moment = pa.string(), pa.int64(), pa.timestamp("us", tz="UTC")
    counts = [(f"rows_{term}", number) for term in COUNTS]
    if name == PIPELINE_RUNS:
        batch = pa.struct(
            [
                ("batch_id", text), ("attempt", pa.int32()), ("business_date", pa.date32()), ("origin", text),
                ("status", text), ("sla_status", text), ("seconds", pa.float64()), *counts, ("rows_written", number),
            ]
        )  # fmt: skip
        return pa.schema(
            [
                ("run_id", text), ("run_number", number), ("application", text), ("pipeline", text), ("layer", text),
                ("pipeline_version", text), ("definition_hash", text), ("product_processor", text), ("kind", text),
                ("started_at", moment), ("ended_at", moment), ("seconds", pa.float64()), ("status", text),
                ("success", pa.bool_()), ("error_type", text), ("error_reason", text), *counts,
                ("rows_written", number), ("files", number), ("files_duplicate", number), ("batches", pa.list_(batch)),
                ("sla", text), ("sla_status", text), ("engine", text), ("cores", pa.int32()),
                ("cpu_seconds", pa.float64()), ("utilisation", pa.float64()), ("peak_memory_bytes", number),
                ("bytes_read", number), ("cost_tags", pa.map_(text, text)),
            ]
        )  # fmt: skip
    if name == DELIVERIES:
        return pa.schema(
            [
                ("event_id", text), ("event", text), ("occurred_at", moment), ("application", text),
                ("pipeline", text), ("layer", text), ("product_processor", text), ("business_date", pa.date32()),
                ("sender", text), ("files_expected", number), ("files_arrived", number), ("due", moment),
            ]
        )  # fmt: skip
    return pa.schema(
        [
            ("event_id", text), ("event", text), ("occurred_at", moment), ("application", text), ("pipeline", text),
            ("layer", text), ("product_processor", text), ("batch_id", text), ("batch_key", text),
            ("business_date", pa.date32()), ("attempt", pa.int32()), ("replay_batch_id", text), ("rule_id", text),
            ("records", number), ("batch_records", number), ("remediation_status", text), ("run_id", text),
            ("decision_id", text), ("actor", text), ("role", text),
        ]
    )  # fmt: skip


def add_rows(
    snapshot: Snapshot, name: str, rows: Sequence[Mapping[str, Any]], transactions: Mapping[str, int]
) -> int:
    """Commits rows as one file against the snapshot; CommitConflict where the table moved on meanwhile."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = f"part-{uuid.uuid4().hex}.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), schema(name)), snapshot.root / path, compression="zstd")
    fsync(snapshot.root / path)
    failpoints.reached("ops.written")
    return snapshot.commit([describe_parquet(snapshot.root, path, ("pipeline",))], [], transactions, {})
