"""Taking an approved correction back before it takes effect: by another person than the one who made it, on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.decide import CannotDecide, Decider
from publishing.decisions import APPROVED, CORRECT, Correction
from publishing.intake import journal_open_batches
from publishing.lake import Lake
from publishing.ledger import Batch, now
from publishing.revoke import Freed
from publishing.revoke import revoke as revoked
from publishing.taking_back import finish_taking_back
from stewardship import audit
from stewardship.actors import Actor, reason_of, require
from stewardship.batches import find_batch
from stewardship.journaled import journal_decided
from stewardship.refused import NotAllowed, NotFound, Refused
from stewardship.stores import Revocation


@dataclass(frozen=True, slots=True)
class Revoked:
    """The corrections that were taken back, and how many records they were over.

    `withdrawn` are keys of the replays that waited with them, `reopened` those of held batches that get a new attempt.
    """

    pipeline: str
    corrections: tuple[str, ...]
    records: int
    withdrawn: tuple[str, ...]
    reopened: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def revoke(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, reason: str, *,
    corrections: Sequence[str] = (), batch: str | None = None,
) -> Revoked:  # fmt: skip
    """The corrections named, or all approved ones of a batch that wait. All or none.

    NotAllowed where the actor made one of them; Refused where one has taken effect. The records are free to be
    corrected anew: at once, or where their batch was held with them once its new attempt is published. Waits for a run
    that goes on, which may be about to obey them.
    """
    require(catalog, pipeline.key, actor, "revoke")
    reason = reason_of(reason)
    with lake.alone(pipeline.key):
        finish_taking_back(lake, pipeline)  # what a crash left of an earlier decision comes first
        journal_open_batches(lake, pipeline.key)  # a replay that never began is withdrawn by its entry
        with lake.ledger.write() as session:
            chosen = _chosen(session, pipeline.key, corrections, batch)
            own = [row.id for row in chosen if actor.is_same_person(row.actor)]
            if own:
                raise NotAllowed(f"{actor.name} made {', '.join(own[:5])}: another person must revoke it")
            try:
                freed = revoked(lake, session, chosen, Decider(actor.name, actor.role, reason))
            except CannotDecide as wrong:
                raise Refused(str(wrong)) from wrong
            done = _recorded(session, lake, pipeline.key, actor, reason, chosen, freed)
        journal_decided(lake, pipeline.key)
        finish_taking_back(lake, pipeline)
    return done


def _chosen(session: Session, pipeline: str, ids: Sequence[str], batch: str | None) -> list[Correction]:
    query = select(Correction).where(Correction.pipeline == pipeline).order_by(Correction.made_at, Correction.id)
    if batch is not None:
        row = find_batch(session, batch, pipeline)
        waits = Correction.state == APPROVED, Correction.kind == CORRECT, Correction.fate.is_(None)
        chosen = list(session.scalars(query.where(Correction.batch_id == row.batch_id, *waits)))
        if not chosen:
            raise NotFound(f"no approved correction of the batch {row.key} waits to take effect")
        return chosen
    chosen = list(session.scalars(query.where(Correction.id.in_(ids))))
    missing = sorted(set(ids) - {row.id for row in chosen})
    if missing or not chosen:
        raise NotFound(f"no correction {', '.join(missing)} of {pipeline}; `lake quarantine show` lists a record's")
    return chosen


def _recorded(
    session: Session, lake: Lake, pipeline: str, actor: Actor, reason: str, chosen: Sequence[Correction], freed: Freed
) -> Revoked:
    for row in chosen:
        by = {"actor": actor.name, "role": actor.role, "reason": reason}
        session.add(Revocation(correction_id=row.id, made_at=now(), **by))
        details = {"pipeline": pipeline, "correction": row.id, "records": row.records, "reason": reason}
        audit.append(session, lake, actor, "revoke", row.batch_id, details)
    replays = [session.get_one(Batch, decision.batch_id) for decision in freed.withdrawn]
    for replay in replays:
        details = {"batch": replay.key, "reason": reason, "waivers": {}}
        audit.append(session, lake, actor, "withdraw", replay.id, details)
    return Revoked(
        pipeline,
        tuple(row.id for row in chosen),
        sum(row.records for row in chosen),
        tuple(replay.key for replay in replays),
        tuple(each.key for each in freed.reopened),
    )
