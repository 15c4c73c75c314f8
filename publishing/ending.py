"""The end of an attempt: its outcome in the journal, then in the ledger, with all that follows from it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing import failpoints
from publishing.decisions import Correction, Rerun
from publishing.journal import attempt_entry
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile, now
from publishing.ops_facts import attempt_facts
from publishing.outcome import BatchOutcome
from publishing.quarantine import HELD, OPEN, SUPERSEDED, changed_batches, read_before
from publishing.quarantined import refresh
from publishing.restate import restate, to_state
from publishing.touched import CHUNK, Touched, settle_touched, wait_again
from publishing.units import is_replaced, published_once, replaced_by

NOTHING_TOUCHED = Touched((), "", {})


def end_attempt(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    files: Sequence[LandedFile],
    attempt: Attempt,
    outcome: BatchOutcome,
    touched: Touched = NOTHING_TOUCHED,
) -> BatchOutcome:
    """Journal first, then the ledger: the ledger can be made again from the journal."""
    with lake.ledger.read() as session:
        older = replaced_by(session, pipeline, batch) if outcome.status == "published" else []
        replaced = [each.id for each in older]
        late = _comes_late(session, pipeline, batch, outcome.status)
    _supersede_entries(lake, pipeline, batch, attempt, [*replaced, *([batch.id] if late else ())])
    facts = attempt_facts(lake, pipeline, batch, files, attempt, outcome, [*older, *([batch] if late else ())])
    name = attempt_entry(batch.pipeline, batch.id, attempt.number, "outcome")
    ended = {**outcome.as_dict(), "ops": facts, "replaced": replaced, "late": late}
    document = lake.journal.write(name, ended)
    failpoints.reached("outcome.journaled")
    status = "superseded" if late else outcome.status
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
        own = {landed.arrival: landed for landed in _landed(session, files)}
        by_arrival = {item.arrival: line for item, line in zip(files, outcome.files, strict=False)}
        for item in files:
            landed = own[item.arrival]
            landed.status = by_arrival[item.arrival].status if item.arrival in by_arrival and not late else status
            landed.reason = by_arrival[item.arrival].reason if item.arrival in by_arrival else None
            landed.facts = item.facts
        gives_way = status == "superseded" and outcome.status != "published"
        if gives_way or (status == "held" and batch.origin != "replay"):
            wait_again(session, batch.id)
        if outcome.status == "published":
            _end_replaced(session, replaced)
            _end_replays(session, batch)
            settle_touched(session, pipeline.key, batch.id, touched)
            if attempt.number > 1 or batch.origin == "replay":
                what = "a replay" if batch.origin == "replay" else f"attempt {attempt.number}"
                ask_downstream(session, lake.catalog, pipeline, batch.business_date, f"{what} of {batch.key}")
    failpoints.reached("ledger.ended")
    source = (batch.window or {}).get("source", batch.id)
    rejected = outcome.quarantine is not None and outcome.quarantine.records > 0
    if rejected or batch.origin == "replay" or attempt.number > 1:
        refresh(lake, pipeline.key, source)
    again = batch.origin != "replay" and read_before(lake, batch)
    taken_over = changed_batches(lake, pipeline.key, batch.id, attempt.number) if again else []
    for each in (*replaced, *taken_over):
        refresh(lake, pipeline.key, each)
    return outcome


def _landed(session: Session, files: Sequence[LandedFile]) -> Iterator[LandedFile]:
    """The files as the ledger has them now; some hundred at a time instead of one by one."""
    arrivals = [item.arrival for item in files]
    for start in range(0, len(arrivals), CHUNK):
        some = LandedFile.arrival.in_(arrivals[start : start + CHUNK])
        yield from session.scalars(select(LandedFile).where(some))


def ask_downstream(session: Session, catalog: Catalog, pipeline: CheckedPipeline, day: date, cause: str) -> list[str]:
    """Asks the pipelines that read what this one writes to run again; the sensor of reruns starts them."""
    written = {target.asset for target in pipeline.targets}
    readers = [
        other
        for application in catalog.applications
        for other in application.pipelines
        if any(source.upstream in written for source in other.sources)
    ]
    for reader in readers:
        session.add(Rerun(pipeline=reader.key, business_date=day, cause=cause[:500], asked_at=now()))
    return [reader.key for reader in readers]


def _comes_late(session: Session, pipeline: CheckedPipeline, batch: Batch, status: str) -> bool:
    """Whether a newer snapshot stands in the batch's place: it published nothing, or what it published goes for old.

    A held batch is released as long as it waits for its first publication.
    """
    if status == "nothing_to_do":
        return True
    waits = status == "held" and session.scalar(select(Batch.id).where(Batch.id == batch.id, published_once())) is None
    return batch.origin != "replay" and not waits and is_replaced(session, pipeline, batch)


def _supersede_entries(
    lake: Lake, pipeline: CheckedPipeline, batch: Batch, attempt: Attempt, batches: Sequence[str]
) -> None:
    """What those batches rejected is nobody's work any more: a newer snapshot stands in its place."""
    if batches:
        mark = {f"s:{batch.id}": attempt.number}
        restate(lake, pipeline.key, batches, mark, to_state(SUPERSEDED, [OPEN, HELD]))


def _end_replaced(session: Session, batches: Sequence[str]) -> None:
    for batch in session.scalars(select(Batch).where(Batch.id.in_(batches))):
        batch.status = "superseded"
        for landed in session.scalars(select(LandedFile).where(LandedFile.batch_id == batch.id)):
            landed.status = "superseded"


def _end_replays(session: Session, batch: Batch) -> None:
    """An attempt that published took the rows of the batch's replays out: it read their records corrected itself."""
    replays = select(Correction.replay_id).where(Correction.batch_id == batch.id, Correction.replay_id != batch.id)
    published = select(Batch).where(Batch.id.in_(replays), Batch.status == "published")
    for replay in session.scalars(published):
        replay.status = "superseded"
        replay.reason = f"attempt {batch.attempt} of {batch.key} read its records corrected"
