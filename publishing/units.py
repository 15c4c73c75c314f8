"""Units: what a newer snapshot replaces whole. Which batches share one, and which of them a newer one has replaced.

A batch is replaced once a later arrival of its unit was published and is not taken back, in whatever order the two
were published: of a pipeline that appends as well, both have rows there, and the older one is superseded all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import HiveTarget
from publishing.ledger import Attempt, Batch
from publishing.targets import replaces_unit, unit_name

GONE = ("withdrawn", "unpublished")
WHOLE_TABLE = "g:*"


def unit_targets(pipeline: CheckedPipeline, batch: Batch) -> list[CheckedTarget]:
    """The targets in which the batch is the whole of its unit."""
    return [t for t in pipeline.targets if isinstance(t.target, HiveTarget) and replaces_unit(t, batch)]


def of_unit(pipeline: CheckedPipeline, batch: Batch) -> ColumnElement[bool]:
    """Batches of the same unit, itself and replays among them."""
    if any(unit_name(target, batch) == WHOLE_TABLE for target in unit_targets(pipeline, batch)):
        return Batch.pipeline == batch.pipeline
    sender = Batch.sender.is_not_distinct_from(batch.sender)
    return and_(Batch.pipeline == batch.pipeline, Batch.business_date == batch.business_date, sender)


def published_once() -> ColumnElement[bool]:
    """Batches of which an attempt was published."""
    published = Attempt.outcome["status"].as_string() == "published"
    return select(Attempt.number).where(Attempt.batch_id == Batch.id, published).exists()


def replaced_by(session: Session, pipeline: CheckedPipeline, newest: Batch) -> list[Batch]:
    """The batches and replays whose rows went out when this one was published; held ones too: what stood is gone."""
    if not unit_targets(pipeline, newest):
        return []
    stood = Batch.status.in_(("published", "held")) & published_once()
    older = select(Batch).where(of_unit(pipeline, newest), Batch.arrival < newest.arrival, stood)
    return list(session.scalars(older.order_by(Batch.arrival, Batch.id)))


def is_replaced(session: Session, pipeline: CheckedPipeline, batch: Batch) -> bool:
    """Whether a newer batch of its unit was published and is not taken back."""
    if not unit_targets(pipeline, batch):
        return False
    stays = Batch.origin != "replay", Batch.status.not_in(GONE)
    newer = select(Batch.id).where(of_unit(pipeline, batch), Batch.arrival > batch.arrival, *stays)
    return session.scalars(newer.where(published_once()).limit(1)).first() is not None


def heir_of(session: Session, pipeline: CheckedPipeline, batch: Batch, going: Sequence[str]) -> Batch | None:
    """The newest batch whose unit this one replaced and that stays."""
    older = select(Batch).where(
        of_unit(pipeline, batch), Batch.origin != "replay", Batch.status == "superseded", Batch.id.not_in(going)
    )
    return session.scalars(older.order_by(Batch.arrival.desc()).limit(1)).first()
