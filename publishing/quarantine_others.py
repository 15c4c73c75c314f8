"""What an attempt that rejects records leaves to others: entries of later batches, corrections that had their turn."""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select

from processing import frame as f
from publishing.decisions import APPROVED, CORRECT, Correction, TouchedRecord, record_state
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.manifest import Manifest
from resources.lake_table import Snapshot


def later_entries(lake: Lake, batch: Batch, snapshot: Snapshot, seen: Any) -> Any:
    """Of the record ids `seen`, those whose entry is of a batch that read them later and stands, as an Arrow array.

    A record has one entry, and it tells of the newest that read it: an attempt of an older batch leaves it there.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    none = pa.array([], pa.string())
    if seen is None or not len(seen):
        return none
    with lake.ledger.read() as session:
        later = select(Batch.id).where(Batch.pipeline == batch.pipeline, Batch.arrival > batch.arrival)
        stands = Batch.status.in_(("published", "superseded")) & (Batch.origin == batch.origin)
        ids = list(session.scalars(later.where(stands)))
    if not ids:
        return none
    theirs = ds.field("batch_id").isin(ids) & ds.field("record_id").isin(seen)
    return snapshot.dataset().to_table(columns=["record_id"], filter=theirs)["record_id"].combine_chunks()


def without(records: Any, others: Any) -> Any:
    """The record ids that are not among `others`; None stays None."""
    import pyarrow.compute as pc

    return records if records is None else records.filter(pc.invert(pc.is_in(records, value_set=others)))


def without_rows(rows: Any, others: Any) -> Any:
    import pyarrow.compute as pc

    return rows.filter(pc.invert(pc.is_in(rows["record_id"], value_set=others))) if len(others) else rows


def tried_now(lake: Lake, batch: Batch, manifest: Manifest) -> Any:
    """Record ids whose correction takes effect by this attempt, if it rejects any; of one that is held none does."""
    import pyarrow as pa

    chosen = (
        select(TouchedRecord.record_id)
        .join(Correction, Correction.id == TouchedRecord.correction_id)
        .where(record_state() == APPROVED, Correction.kind == CORRECT)
        .where(TouchedRecord.pipeline == batch.pipeline, Correction.id.in_(manifest.corrections))
        .where(or_(Correction.replay_id.is_(None), Correction.replay_id == batch.id))  # else that replay counts it
    )
    if manifest.held or not manifest.corrections or not manifest.records.get(f.QUARANTINED):
        return pa.array([], pa.string())
    with lake.ledger.read() as session:
        return pa.array(session.scalars(chosen), pa.string())


