"""Which quarantined records an action is about: named ones, all open ones of a batch, or of one rule of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from publishing.decisions import APPROVED, PROPOSED, Correction, QuarantinedBatch, TouchedRecord, record_state
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.quarantine import OPEN
from resources.lake_table import Snapshot
from stewardship.batches import find_batch
from stewardship.entries import scan
from stewardship.payloads import SEALED
from stewardship.refused import NotFound, Problem, Refused

PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Scope:
    """A batch by key or id, or all batches of the pipeline; `rule` narrows to records that broke it."""

    batch: str | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The table and the batches in scope. `keys`: {batch id: its key}; `closed`: {id: status}, if not published."""

    snapshot: Snapshot
    keys: dict[str, str]
    closed: dict[str, str]


def standing(lake: Lake, pipeline: CheckedPipeline, scope: Scope) -> Standing:
    """NotFound where the batch is not of the pipeline, or nothing of it is in quarantine."""
    with lake.ledger.read() as session:
        if scope.batch is not None:
            found = [find_batch(session, scope.batch)]
            if found[0].pipeline != pipeline.key:
                raise NotFound(f"the batch {found[0].key} is of {found[0].pipeline}, not of {pipeline.key}")
        else:
            own = select(QuarantinedBatch).where(QuarantinedBatch.pipeline == pipeline.key)
            found = list(session.scalars(own))
        ids = [batch.batch_id for batch in found]
        statuses = dict(session.execute(select(Batch.id, Batch.status).where(Batch.id.in_(ids))).all())
    table = lake.quarantine(pipeline.key)
    if not found or not table.exists:
        raise NotFound(f"nothing of {pipeline.key} is in quarantine")
    closed = {each: status for each, status in statuses.items() if status != PUBLISHED}
    return Standing(table.snapshot(), {batch.batch_id: batch.key for batch in found}, closed)


def open_records(at: Standing, scope: Scope) -> Iterator[Any]:
    """The open entries in scope of batches that are published, as Arrow tables of SEALED."""
    ready = [batch for batch in at.keys if batch not in at.closed]
    if not ready and scope.batch is not None:
        batch, status = next(iter(at.closed.items()))
        raise Refused(f"the batch {at.keys[batch]} is {status}: records can be acted on once it is published")
    if ready:
        yield from scan(at.snapshot, ready, SEALED, rule=scope.rule, state=OPEN)


def named_records(at: Standing, record_ids: Sequence[str]) -> tuple[Any, list[Problem]]:
    """(the open entries of these records as an Arrow table of SEALED, what is wrong with the others)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = (*SEALED, "state")
    found = list(scan(at.snapshot, list(at.keys), columns, record_ids=record_ids))
    empty = pa.table({name: pa.array([], pa.binary() if name == "raw" else pa.string()) for name in columns})
    entries = pa.concat_tables(found) if found else empty
    problems = []
    asked = pa.array(record_ids, pa.string())
    missing = asked.filter(pc.invert(pc.is_in(asked, value_set=entries["record_id"].combine_chunks())))
    where = f"the batch {next(iter(at.keys.values()))}" if len(at.keys) == 1 else "the pipeline"
    problems += [Problem(record, f"is not in quarantine of {where}") for record in missing.to_pylist()]
    for row in entries.filter(pc.not_equal(entries["state"], OPEN)).select(["record_id", "state"]).to_pylist():
        problems.append(Problem(row["record_id"], f"is {row['state']}: only open records are acted on"))
    for batch, status in at.closed.items():
        records = entries.filter(pc.equal(entries["batch_id"], batch))["record_id"].to_pylist()
        message = f"is of the batch {at.keys[batch]}, which is {status}: it can be acted on once that is published"
        problems += [Problem(record, message) for record in records]
    bad = pa.array([p.record_id for p in problems], pa.string())
    kept = entries.filter(pc.invert(pc.is_in(entries["record_id"], value_set=bad)))
    return kept.select(list(SEALED)).combine_chunks(), problems


def undecided(session: Session, pipeline: str) -> dict[str, str]:
    """{record id: proposed, or approved and not replayed} of records that wait for somebody already."""
    undecided = Correction.state.in_((PROPOSED, APPROVED)) & Correction.fate.is_(None)
    ids = select(Correction.id).where(Correction.pipeline == pipeline, undecided)
    if session.scalars(ids.limit(1)).first() is None:
        return {}
    waiting = (
        select(TouchedRecord.record_id, record_state())
        .join(Correction, Correction.id == TouchedRecord.correction_id)
        .where(TouchedRecord.pipeline == pipeline, TouchedRecord.state.is_(None), undecided)
    )
    return dict(session.execute(waiting).all())


def not_free(record_id: str, state: str) -> Problem:
    what = "a verdict on it comes first" if state == PROPOSED else "it comes back with the next replay"
    return Problem(record_id, f"has a correction that is {state} already: {what}")
