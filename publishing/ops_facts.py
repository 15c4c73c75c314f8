"""What an attempt's outcome says for the operations tables: whose run ended it, what it read, and its SLA.

It stands in the journal with the outcome, so that the tables can be made again from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.durations import parse_duration
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, Claim, LandedFile
from publishing.outcome import BatchOutcome
from publishing.quarantine import SUPERSEDED
from publishing.quarantined import count_entries

MET, MISSED, PENDING, NONE, OVER = "met", "missed", "pending", "none", "not_applicable"


def attempt_facts(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    files: Sequence[LandedFile],
    attempt: Attempt,
    outcome: BatchOutcome,
    superseded: Sequence[Batch] = (),
) -> dict[str, Any]:
    """Asked when the attempt is over and not yet journaled. `run` is the number of the run that is going on.

    `superseded`: the batches whose open entries became so by it.
    """
    metadata = pipeline.pipeline.metadata
    at = datetime.now(UTC)
    with lake.ledger.read() as session:
        since = [session.get_one(Claim, item.claim_id).claimed_at for item in {f.claim_id: f for f in files}.values()]
        earlier = session.scalars(
            select(Attempt).where(Attempt.batch_id == batch.id, Attempt.number < attempt.number)
        ).all()
    settled = max(since, default=batch.created_at).replace(tzinfo=UTC)
    published_before = any((each.outcome or {}).get("status") == "published" for each in earlier)
    return {
        "run": lake.run.number if lake.run else None,
        "run_id": lake.run.id if lake.run else attempt.run_id,
        "ended_at": at.isoformat(),
        "seconds": outcome.seconds,
        "bytes_read": _bytes_read(lake, pipeline, batch, files) if outcome.counts.in_ else 0,
        "layer": pipeline.pipeline.layer,
        "product_processor": metadata.product_processor,
        "window": {k: (batch.window or {}).get(k) for k in ("source",)},
        "rules": dict(outcome.quarantined_by_rule),
        "replaced": _replaced(lake, pipeline.key, superseded),
        "states": _states(lake, pipeline.key, batch) if earlier else {},
        "sla": metadata.sla,
        "settled_at": settled.isoformat(),
        "sla_status": sla_status(metadata.sla, (at - settled).total_seconds(), outcome.status, published_before),
    }


def sla_status(sla: str | None, age: float, status: str, published_before: bool) -> str:
    """met, missed, pending; none without an SLA, not_applicable where there is nothing to wait for.

    `age` is the seconds from the last settled file (of a table: from the moment its rows were found) to now.
    """
    if sla is None:
        return NONE
    if published_before or status == "nothing_to_do":
        return OVER
    late = age > parse_duration(sla).total_seconds()
    if late:
        return MISSED
    return MET if status == "published" else PENDING


def worst_sla(statuses: Sequence[str]) -> str:
    """The first of missed, pending, met, not_applicable, none that occurs."""
    return next((each for each in (MISSED, PENDING, MET, OVER) if each in statuses), NONE)


def _replaced(lake: Lake, pipeline: str, batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """Of the batches that gave way, how many of their entries are superseded: those without any left out."""
    table = lake.quarantine(pipeline)
    if not batches or not table.exists:
        return []
    snapshot = table.snapshot()
    files = [item for item in snapshot.files() if any(item.may_hold("batch_id", each.id) for each in batches)]
    counted = count_entries(snapshot, files)
    states = {each.id: counted[each.id].states.get(SUPERSEDED, 0) if each.id in counted else 0 for each in batches}
    return [
        {"batch": each.id, "key": each.key, "attempt": each.attempt, "records": states[each.id]}
        for each in batches
        if states[each.id]
    ]


def _states(lake: Lake, pipeline: str, batch: Batch) -> Mapping[str, int]:
    """The batch's quarantine entries by state, after the attempt."""
    table = lake.quarantine(pipeline)
    if not table.exists:
        return {}
    snapshot = table.snapshot()
    files = [item for item in snapshot.files() if item.may_hold("batch_id", batch.id)]
    counted = count_entries(snapshot, files, batch.id).get(batch.id)
    return dict(counted.states) if counted else {}


def _bytes_read(lake: Lake, pipeline: CheckedPipeline, batch: Batch, files: Sequence[LandedFile]) -> int:
    """The size of what the attempt was given to read."""
    window, upstream = batch.window or {}, pipeline.driving.upstream
    if files or upstream is None or "version" not in window:
        return sum(item.size for item in files)
    table = lake.table(upstream)
    if window.get("read") == "changes":
        paths = (table.root / path for path in window.get("files", ()))
        return sum(path.stat().st_size for path in paths if path.exists())
    day = batch.business_date.isoformat()
    live = table.snapshot(window["version"]).files()
    return sum(item.size for item in live if window.get("read") == "full" or item.may_hold("_business_date", day))
