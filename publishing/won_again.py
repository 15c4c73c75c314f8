"""Replayed records whose row had lost in a merge target and stands there now: their entries say so.

A rebuild lets a row win when what had won against it is forgotten. Its entry in quarantine was `superseded`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from processing import frame as f
from publishing.decisions import REPLAYED, SUPERSEDED, Correction, TouchedRecord, record_state
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.quarantined import refresh
from publishing.restate import restate, to_state
from resources.lake_table import Snapshot

CHUNK = 500  # ids in one statement


def restate_winners(lake: Lake, pipeline: CheckedPipeline, target: CheckedTarget, snapshot: Snapshot) -> None:
    """Entries and touched records of what stands in this snapshot by a replay become `replayed`. Idempotent."""
    with lake.ledger.read() as session:
        own = Batch.pipeline == pipeline.key, Batch.origin == "replay", Batch.status == "published"
        replays = set(session.scalars(select(Batch.id).where(*own)))
    if not replays:
        return
    records = _standing_by(snapshot, replays)
    holders = _holders(lake, pipeline.key, records)
    if not holders:
        return
    mark = {f"m:{target.asset[-1]}": snapshot.version}
    restated = restate(lake, pipeline.key, holders, mark, to_state(REPLAYED, [SUPERSEDED], records))
    if _touched(lake, pipeline.key, records.to_pylist()) or restated:
        for each in holders:
            refresh(lake, pipeline.key, each)


def _standing_by(snapshot: Snapshot, replays: set[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(replays), pa.string())
    found = [pa.array([], pa.string())]
    # Filtered here: a merge writes texts as views, which a filter of the reader cannot compare with a text.
    for rows in snapshot.dataset().to_batches(columns=[f.RECORD_ID, f.BATCH_ID]):
        found.append(rows[f.RECORD_ID].filter(pc.is_in(rows[f.BATCH_ID], value_set=wanted)).cast(pa.string()))
    return pa.concat_arrays(found)


def _holders(lake: Lake, pipeline: str, records: Any) -> list[str]:
    """The batches that hold entries of these records."""
    import pyarrow.dataset as ds

    table = lake.quarantine(pipeline)
    if not len(records) or not table.exists:
        return []
    rows = table.snapshot().dataset().to_table(columns=["batch_id"], filter=ds.field("record_id").isin(records))
    return sorted(rows["batch_id"].unique().to_pylist())


def _touched(lake: Lake, pipeline: str, records: list[str]) -> int:
    """How many touched records were superseded until now."""
    changed = 0
    with lake.ledger.write() as session:
        for start in range(0, len(records), CHUNK):
            some = TouchedRecord.pipeline == pipeline, TouchedRecord.record_id.in_(records[start : start + CHUNK])
            lost = select(TouchedRecord.record_id).join(Correction, Correction.id == TouchedRecord.correction_id)
            ids = session.scalars(lost.where(*some, record_state() == SUPERSEDED)).all()
            own = TouchedRecord.pipeline == pipeline, TouchedRecord.record_id.in_(ids)
            session.execute(update(TouchedRecord).where(*own).values(state=REPLAYED))
            changed += len(ids)
    return changed
