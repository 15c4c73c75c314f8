"""The end of an attempt: its outcome in the journal, then in the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import HiveTarget
from publishing import failpoints
from publishing.journal import attempt_entry
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile
from publishing.ops_facts import attempt_facts
from publishing.outcome import BatchOutcome
from publishing.targets import replaces_unit


def end_attempt(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    files: Sequence[LandedFile],
    attempt: Attempt,
    outcome: BatchOutcome,
) -> BatchOutcome:
    """Journal first, then the ledger: the ledger can be made again from the journal."""
    facts = attempt_facts(lake, pipeline, batch, files, attempt, outcome)
    name = attempt_entry(batch.pipeline, batch.id, attempt.number, "outcome")
    document = lake.journal.write(name, {**outcome.as_dict(), "ops": facts})
    failpoints.reached("outcome.journaled")
    status = "superseded" if outcome.status == "nothing_to_do" else outcome.status
    with lake.ledger.write() as session:
        stored = session.get_one(Batch, batch.id)
        session.get_one(Attempt, (batch.id, attempt.number)).outcome = document
        if stored.attempt != attempt.number:  # a later one was opened meanwhile: the batch is its to end
            return outcome
        stored.status = status
        if outcome.status == "held":
            stored.reason = (outcome.reason or "")[:500]
        elif batch.origin == "files":
            stored.reason = None
        by_arrival = {item.arrival: line for item, line in zip(files, outcome.files, strict=False)}
        for item in files:
            landed = session.get_one(LandedFile, item.arrival)
            landed.status = by_arrival[item.arrival].status if item.arrival in by_arrival else status
            landed.reason = by_arrival[item.arrival].reason if item.arrival in by_arrival else None
            landed.facts = item.facts
        if status == "published" and any(_replaces(target, batch) for target in pipeline.targets):
            _replace_older(session, stored)
    failpoints.reached("ledger.ended")
    return outcome


def _replaces(target: CheckedTarget, batch: Batch) -> bool:
    return isinstance(target.target, HiveTarget) and replaces_unit(target, batch)


def _replace_older(session: Session, newest: Batch) -> None:
    """The batches whose unit this one replaced have no row in the target any more."""
    older = select(Batch).where(
        Batch.pipeline == newest.pipeline,
        Batch.business_date == newest.business_date,
        Batch.sender.is_not_distinct_from(newest.sender),
        Batch.arrival < newest.arrival,
        Batch.status == "published",
    )
    for batch in session.scalars(older):
        batch.status = "superseded"
        for landed in session.scalars(select(LandedFile).where(LandedFile.batch_id == batch.id)):
            landed.status = "superseded"
