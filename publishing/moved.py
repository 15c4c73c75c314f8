"""Corrections whose records moved on: another batch read them again, or a newer snapshot stands in their batch's place.

A correction is about entries of one batch. Where that batch gives way to another, the correction follows the entries
that are still open there; where none is, it has ended, and says how.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from publishing.corrections import load_changes, unplayed
from publishing.decisions import Correction, TouchedRecord
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.quarantine import HELD, OPEN

GAVE_WAY = "superseded"  # the status of a batch that no attempt of its own will bring to another end
CHUNK = 500  # ids in one statement


def entries_of(lake: Lake, pipeline: str, records: Any) -> Any:
    """`record_id`, `batch_id` and `state` of the entries of these record ids, of whatever batch, as an Arrow table."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    columns = ["record_id", "batch_id", "state"]
    table = lake.quarantine(pipeline)
    if not table.exists:
        return pa.table({name: pa.array([], pa.string()) for name in columns})
    return table.snapshot().dataset().to_table(columns=columns, filter=ds.field("record_id").isin(records))


def holder_of(lake: Lake, session: Session, correction: Correction) -> Batch | None:
    """The newest published batch in which a record of the correction is open; None where there is none."""
    import pyarrow.compute as pc

    entries = entries_of(lake, correction.pipeline, _records(lake, correction))
    ids = entries.filter(pc.equal(entries["state"], OPEN))["batch_id"].unique().to_pylist()
    holders = select(Batch).where(Batch.id.in_(ids), Batch.status == "published")
    return session.scalars(holders.order_by(Batch.arrival.desc(), Batch.id).limit(1)).first()


def settle_moved(lake: Lake, pipeline: str) -> None:
    """Corrections whose batch gave way: records that wait for nobody any more get the state of their entry.

    Where none of its records waits the correction has ended. Asked again it says the same.
    """
    with lake.ledger.read() as session:
        gone = {batch.id for batch in _gave_way(session, pipeline)}
        found = [each for each in unplayed(session, pipeline, None) if each.batch_id in gone]
    for correction in found:
        entries = entries_of(lake, pipeline, _records(lake, correction))
        states: dict[str, list[str]] = {}
        for record, state in zip(entries["record_id"].to_pylist(), entries["state"].to_pylist(), strict=True):
            states.setdefault(state, []).append(record)
        waits = bool(states.pop(OPEN, None)) | bool(states.pop(HELD, None))
        if not states:
            continue
        fate = None if waits else Counter({state: len(ids) for state, ids in states.items()}).most_common(1)[0][0]
        with lake.ledger.write() as session:
            session.get_one(Correction, correction.id).fate = fate
            for state, records in states.items():
                _own_state(session, correction, records, None if state == fate else state)


def _records(lake: Lake, correction: Correction) -> Any:
    return load_changes(lake, correction)["record_id"].combine_chunks()


def _gave_way(session: Session, pipeline: str) -> Sequence[Batch]:
    chosen = select(Batch).where(Batch.pipeline == pipeline, Batch.status == GAVE_WAY, Batch.origin != "replay")
    return session.scalars(chosen.where(Batch.id.in_(select(Correction.batch_id)))).all()


def _own_state(session: Session, correction: Correction, records: Sequence[str], state: str | None) -> None:
    for start in range(0, len(records), CHUNK):
        own = TouchedRecord.record_id.in_(records[start : start + CHUNK])
        chosen = update(TouchedRecord).where(own, TouchedRecord.correction_id == correction.id)
        session.execute(chosen.where(TouchedRecord.pipeline == correction.pipeline).values(state=state))
