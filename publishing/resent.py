"""Files whose content or name came before, and what that means."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource
from publishing import decide
from publishing.arrived import Arrived
from publishing.lake import Lake
from publishing.ledger import Batch, LandedFile

DECIDER = decide.Decider("supersedes", "definition", "")
_GONE = ("withdrawn", "unpublished", "withdrawing", "unpublishing")


def duplicate_of(session: Session, pipeline: str, item: Arrived) -> str:
    """Why a file whose content stands in a batch is in none."""
    chosen = select(LandedFile).where(LandedFile.delivery_key == item.delivery_key, LandedFile.batch_id.is_not(None))
    first = session.scalars(chosen.where(LandedFile.pipeline == pipeline).order_by(LandedFile.arrival.desc())).first()
    if first is None:
        return "the same content was delivered before"
    under = "" if first.name == item.name else f" as {first.name}"
    return f"the same content was delivered before{under} (arrival {first.arrival})"[:500]


def resent(lake: Lake, session: Session, pipeline: CheckedPipeline, item: Arrived) -> Arrived:
    """The file with a note where its name came before with other content; by policy it takes that one's place.

    What it replaces is taken back by the decision that is added to the caller's transaction, before any batch of the
    claim is published.
    """
    chosen = select(LandedFile).where(LandedFile.pipeline == pipeline.key, LandedFile.name == item.name)
    chosen = chosen.where(LandedFile.batch_id.is_not(None), LandedFile.content_id != item.copy.content_id)
    before = session.scalars(chosen.order_by(LandedFile.arrival.desc())).first()
    if before is None:
        return item
    note = f"arrival {before.arrival} of this name had other content"
    source = pipeline.driving.source
    same = (before.business_date, before.sender) == (item.business_date, item.sender)
    batch = session.get(Batch, before.batch_id)
    if not (isinstance(source, FileSource) and source.supersedes == "name" and same and batch is not None):
        return replace(item, notes=(*item.notes, note))
    if item.fault:
        return replace(item, notes=(*item.notes, f"{note}; a broken file takes nobody's place"))
    if batch.status in _GONE:
        return replace(item, notes=(*item.notes, f"{note}, which is taken back"))
    members = set(session.scalars(select(LandedFile.name).where(LandedFile.batch_id == batch.id)))
    if len(members) > 1 or batch.status not in ("published", "held", "failed"):
        why = "is not at its end" if len(members) == 1 else "holds other files as well"
        return replace(item, notes=(*item.notes, f"{note}; its batch {why}, so both stand"))
    by = replace(DECIDER, reason=f"{item.name} was sent again with other content"[:500])
    if batch.status == "published":
        decide.unpublish(lake, session, [batch], by)
    else:
        decide.withdraw(lake, session, batch, by)
    return replace(item, notes=(*item.notes, f"supersedes arrival {before.arrival} of this name"))
