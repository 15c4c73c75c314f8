"""Counting the batches of a merge target anew: accepted are the records that stand there now, superseded the others.

What a batch accepted is counted when it is published, and newer batches that take its rows later change nothing of it.
But a rebuild, or a batch that comes again, may let any row win or lose: then every count is of the table as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import HiveTarget
from processing import frame as f
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile
from publishing.taken import takers
from publishing.won_again import restate_winners
from resources.lake_table import Snapshot

Stood = dict[str, dict[int, int]]  # {batch: {arrival: rows}}


def recount(lake: Lake, pipeline: CheckedPipeline, target: CheckedTarget) -> None:
    """Outcomes of the batches that stand, counted anew: after a rebuild a record that had lost may have won, and a
    batch that came again may have taken rows of the others.

    Entries of replayed records first; then the journal, `recount-<table>-<number>.json` of each batch that changed;
    then the ledger. The number is the sum of the versions of what was counted, so it rises with each of them.
    """
    snapshot = lake.table(target.asset).snapshot()
    restate_winners(lake, pipeline, target, snapshot)
    stood = by_batch(snapshot.dataset().to_table(columns=[f.BATCH_ID, f.ARRIVAL]))
    name, number = "/".join(target.asset), snapshot.version
    records = _all_hold_records(pipeline)
    accepted: Stood | None = stood if records and len(pipeline.targets) == 1 else None
    if accepted is None and records:
        others = [lake.table(pipeline.targets[position].asset) for position in takers(pipeline)]
        snapshots = [table.snapshot() for table in others if table.exists]
        accepted, number = _in_any(snapshots), sum(each.version for each in snapshots)
    with lake.ledger.write() as session:
        chosen = (
            select(Batch, Attempt)
            .join(Attempt, (Attempt.batch_id == Batch.id) & (Attempt.number == Batch.attempt))
            .where(Batch.pipeline == pipeline.key, Batch.status == "published")
        )
        arrivals = _arrivals(session, pipeline.key)
        for batch, attempt in session.execute(chosen):
            before = attempt.outcome or {}
            rows = sum(stood.get(batch.id, {}).values())
            kept = accepted.get(batch.id, {}) if accepted is not None else None
            after = _recounted(before, name, rows, kept, arrivals.get(batch.id, []))
            if after != before:
                entry = f"{batch.pipeline}/{batch.id}/recount-{target.asset[-1]}-{number:020d}.json"
                lake.journal.write(entry, {"batch": batch.id, "attempt": attempt.number, "outcome": after})
                attempt.outcome = after


def _arrivals(session: Session, pipeline: str) -> dict[str, list[int]]:
    """The files of each batch: asked for once, not for each of thousands."""
    chosen = select(LandedFile.batch_id, LandedFile.arrival).where(LandedFile.pipeline == pipeline)
    found: dict[str, list[int]] = {}
    for batch_id, arrival in session.execute(chosen.order_by(LandedFile.arrival)):
        if batch_id is not None:  # a copy of what was delivered before is in no batch
            found.setdefault(batch_id, []).append(arrival)
    return found


def _all_hold_records(pipeline: CheckedPipeline) -> bool:
    """Whether the tables say of each record if a target took it: not of groups, nor of files."""
    chosen = [pipeline.targets[position] for position in takers(pipeline)]
    return all(isinstance(each.target, HiveTarget) and each.dataset.per_record for each in chosen)


def _in_any(snapshots: Sequence[Snapshot]) -> Stood:
    """The records that stand in one of several tables at least, each once."""
    import pyarrow as pa

    columns = [f.RECORD_ID, f.BATCH_ID, f.ARRIVAL]
    schema = pa.schema([(f.RECORD_ID, pa.string()), (f.BATCH_ID, pa.string()), (f.ARRIVAL, pa.int64())])
    tables = [snapshot.dataset().to_table(columns=columns).select(columns).cast(schema) for snapshot in snapshots]
    return by_batch(pa.concat_tables(tables).group_by(columns).aggregate([]))


def _recounted(
    outcome: Mapping[str, Any], name: str, rows: int, stood: Mapping[int, int] | None, arrivals: Sequence[int]
) -> dict[str, Any]:
    """An outcome with the rows that stand now. `stood`: the records that stand in any target, by arrival, where the
    tables can tell; accepted and superseded follow them.
    """
    targets = [{**t, "rows_written": rows} if t["name"] == name else t for t in outcome.get("targets", ())]
    found = {**outcome, "targets": targets}
    if stood is None or "counts" not in outcome:
        return found
    found["counts"] = _moved(outcome["counts"], sum(stood.values()))
    lines = outcome.get("files", ())
    if len(lines) == len(arrivals):
        found["files"] = [
            {**line, "counts": _moved(line["counts"], stood.get(arrival, 0))}
            for line, arrival in zip(lines, arrivals, strict=True)
        ]
    return found


def _moved(counts: Mapping[str, int], rows: int) -> dict[str, int]:
    both = counts["accepted"] + counts["superseded"]
    return {**counts, "accepted": rows, "superseded": both - rows}


def by_batch(rows: Any) -> Stood:
    found: Stood = {}
    for entry in rows.group_by([f.BATCH_ID, f.ARRIVAL]).aggregate([([], "count_all")]).to_pylist():
        found.setdefault(entry[f.BATCH_ID], {})[entry[f.ARRIVAL]] = entry["count_all"]
    return found
