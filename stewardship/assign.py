"""Who looks after a quarantined batch, or one record of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import Catalog
from publishing.lake import Lake
from publishing.ledger import now
from stewardship import audit
from stewardship.actors import LONGEST_NAME, Actor, require
from stewardship.batches import find_batch
from stewardship.entries import entry_of
from stewardship.journaled import journal_all
from stewardship.refused import NotFound, Refused
from stewardship.sla import moment
from stewardship.stores import Assignment


@dataclass(frozen=True, slots=True)
class Assigned:
    """The assignment that stands now; `before` looked after it until then."""

    batch: str
    key: str
    record: str | None
    assignee: str
    before: str | None
    made_at: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def assign(
    lake: Lake, catalog: Catalog, actor: Actor, name: str, assignee: str, record_id: str | None = None
) -> Assigned:
    """Assigns a batch by key or id, or one of its records. An earlier assignment of the same ends."""
    person = assignee.strip()
    if not person or len(person) > LONGEST_NAME or not person.isprintable():
        raise Refused(f"an assignee is a name of 1 to {LONGEST_NAME} printable characters")
    with lake.ledger.read() as session:
        batch = find_batch(session, name)
    require(catalog, batch.pipeline, actor, "assign")
    if record_id is not None and entry_of(lake, batch.pipeline, batch.batch_id, record_id) is None:
        raise NotFound(f"the batch {batch.key} has no record '{record_id}' in quarantine")
    with lake.ledger.write() as session:
        standing = select(Assignment).where(
            Assignment.batch_id == batch.batch_id,
            Assignment.record_id.is_not_distinct_from(record_id),
            Assignment.ended_at.is_(None),
        )
        at, before = now(), None
        for row in session.scalars(standing.order_by(Assignment.id)):
            before, row.ended_at = row.assignee, at
        session.add(
            Assignment(
                batch_id=batch.batch_id, record_id=record_id, assignee=person, actor=actor.name, made_at=at,
                ended_at=None,
            )
        )  # fmt: skip
        about = {"pipeline": batch.pipeline, "key": batch.key, "record": record_id, "assignee": person}
        audit.append(session, lake, actor, "assign", batch.batch_id, about)
    journal_all(lake, batch.pipeline)
    return Assigned(batch.batch_id, batch.key, record_id, person, before, moment(at))
