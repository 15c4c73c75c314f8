"""Verdicts on corrections: by another person than the one who made them, and once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.corrections import load_changes
from publishing.decisions import APPROVED, DISCARD, PROPOSED, REJECTED, Correction
from publishing.lake import Lake
from publishing.ledger import now
from publishing.quarantine import HELD, OPEN
from stewardship import audit
from stewardship.actors import Actor, reason_of, require
from stewardship.batches import find_batch
from stewardship.journaled import journal_decided
from stewardship.refused import NotAllowed, NotFound, Refused
from stewardship.stores import Approval

ACTIONS = {"approve": APPROVED, "reject": REJECTED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided of one correction or discard, and over how many records."""

    correction: str
    batch: str
    kind: str
    verdict: str
    records: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, action: str, reason: str, *,
    corrections: Sequence[str] = (), batch: str | None = None,
) -> list[Verdict]:  # fmt: skip
    """`action` is approve or reject: of the corrections named, of what is proposed for a batch, or for the pipeline.

    All or none. NotAllowed where the actor made one of them. An approved correction waits for its replay; an approved
    discard takes effect at once.
    """
    require(catalog, pipeline.key, actor, action)
    reason = reason_of(reason)
    with lake.ledger.write() as session:
        chosen = _chosen(session, pipeline.key, corrections, batch)
        own = [row for row in chosen if actor.is_same_person(row.actor)]
        if own:
            raise NotAllowed(
                f"{actor.name} made {', '.join(row.id for row in own[:5])}: another person must {action} "
                f"{'it' if len(own) == 1 else 'them'}"
            )
        for row in chosen if ACTIONS[action] == APPROVED else ():
            _still_waiting(lake, row)
        for row in chosen:
            _decide(session, lake, actor, action, reason, row)
        verdicts = [Verdict(row.id, row.batch_id, row.kind, ACTIONS[action], row.records) for row in chosen]
    journal_decided(lake, pipeline.key)
    if any(v.kind == DISCARD and v.verdict == APPROVED for v in verdicts):
        from publishing.corrections import apply_discards

        apply_discards(lake, pipeline.key)
    return verdicts


def _chosen(session: Session, pipeline: str, ids: Sequence[str], batch: str | None) -> list[Correction]:
    query = select(Correction).where(Correction.pipeline == pipeline).order_by(Correction.made_at, Correction.id)
    if ids:
        found = {row.id: row for row in session.scalars(query.where(Correction.id.in_(ids)))}
        if missing := [each for each in ids if each not in found]:
            raise NotFound(f"no correction {', '.join(missing)} of {pipeline}; `lake quarantine show` lists a record's")
        if decided := [row for row in found.values() if row.state != PROPOSED]:
            told = ", ".join(f"{row.id} is {row.state}" for row in decided)
            raise Refused(f"a verdict falls once: {told}")
        return list(found.values())
    query = query.where(Correction.state == PROPOSED)
    where = pipeline
    if batch is not None:
        row = find_batch(session, batch)
        where = f"the batch {row.key}"
        query = query.where(Correction.batch_id == row.batch_id)
    chosen = list(session.scalars(query))
    if not chosen:
        raise NotFound(f"nothing is proposed for {where}")
    return chosen


def _still_waiting(lake: Lake, row: Correction) -> None:
    """Refused where a record was accepted, or taken over by another batch, since the correction was proposed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    records = load_changes(lake, row)["record_id"].combine_chunks()
    table = lake.quarantine(row.pipeline)
    waiting = pa.array([], pa.string())
    if table.exists:
        snapshot = table.snapshot()
        files = [item for item in snapshot.files() if item.may_hold("batch_id", row.batch_id)]
        entries = snapshot.dataset(files).to_table(columns=["record_id", "batch_id", "state"])
        here = pc.and_(pc.equal(entries["batch_id"], row.batch_id), pc.is_in(entries["state"], pa.array([OPEN, HELD])))
        waiting = entries.filter(here)["record_id"].combine_chunks()
    gone = len(records) - (pc.sum(pc.is_in(records, value_set=waiting)).as_py() or 0)
    if gone:
        raise Refused(
            f"correction {row.id}: {gone} of its {len(records)} records are not open in their batch any more: an "
            f"attempt accepted them or another batch read them since; reject it, and correct anew what is still open"
        )


def _decide(session: Session, lake: Lake, actor: Actor, action: str, reason: str, row: Correction) -> None:
    verdict = ACTIONS[action]
    row.state = verdict
    session.add(
        Approval(
            correction_id=row.id, verdict=verdict, actor=actor.name, role=actor.role, reason=reason, made_at=now()
        )
    )
    details = {"pipeline": row.pipeline, "correction": row.id, "kind": row.kind, "records": row.records}
    audit.append(session, lake, actor, action, row.batch_id, {**details, "reason": reason})
