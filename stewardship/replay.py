"""Asking for replays: approved corrections become replay batches in one transaction with their audit, and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from publishing import failpoints
from publishing.decisions import Correction
from publishing.intake import journal_open_batches
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, now
from publishing.outcome import BatchOutcome, PipelineOutcome
from publishing.replay import persist_replays
from publishing.run import run_batches
from stewardship import audit
from stewardship.actors import Actor
from stewardship.batches import find_batch
from stewardship.stores import Replay


def replay(
    lake: Lake,
    pipeline: CheckedPipeline,
    actor: Actor,
    *,
    run_id: str,
    batch: str | None = None,
    announce: Callable[[BatchOutcome], None] | None = None,
) -> PipelineOutcome:
    """Replays what is approved, of one quarantined batch (its key or id) or of all; each record at most once.

    Also brings replays to their end that a crash left open. `nothing_to_do` where nothing is approved.
    """
    source = _named(lake, pipeline, batch) if batch is not None else None
    ids = ask(lake, pipeline, actor, source)
    wanted = {*ids, *_left_open(lake, pipeline.key, source)}
    outcome = run_batches(lake, pipeline, wanted, run_id=run_id, announce=announce)
    _count(lake, pipeline.key)
    return outcome


def ask(lake: Lake, pipeline: CheckedPipeline, actor: Actor, source: str | None = None) -> list[str]:
    """Persists the replays of what is approved, with who asked, and returns the batches that will publish them."""
    with lake.ledger.write() as session:
        made = persist_replays(lake, session, pipeline, source)
        for publishing, origin in made:
            session.add(
                Replay(
                    batch_id=publishing,
                    source_batch_id=origin,
                    actor=actor.name,
                    role=actor.role,
                    asked_at=now(),
                    counts=None,
                )
            )
            audit.append(session, lake, actor, "replay", origin, {"pipeline": pipeline.key, "batch": publishing})
        again = [session.get_one(Batch, publishing) for publishing, origin in made if publishing == origin]
        journal_reopened(lake, pipeline.key, {batch.id: batch.attempt for batch in again})
    failpoints.reached("replay.persisted")
    audit.journal_entries(lake)
    journal_open_batches(lake, pipeline.key, [publishing for publishing, _ in made])
    return [publishing for publishing, _ in made]


def _named(lake: Lake, pipeline: CheckedPipeline, name: str) -> str:
    with lake.ledger.read() as session:
        return find_batch(session, name, pipeline.key).batch_id


def _count(lake: Lake, pipeline: str) -> None:
    """What became of each replay that ended, also of those that another run ended."""
    with lake.ledger.write() as session:
        ended = (
            select(Replay, Attempt.outcome)
            .join(Batch, Batch.id == Replay.batch_id)
            .join(Attempt, (Attempt.batch_id == Batch.id) & (Attempt.number == Batch.attempt))
            .where(Batch.pipeline == pipeline, Replay.counts.is_(None), Attempt.outcome.is_not(None))
        )
        for row, outcome in session.execute(ended):
            row.counts = outcome["counts"]


def _left_open(lake: Lake, pipeline: str, source: str | None) -> Sequence[str]:
    """Batches that replay and did not end: those of their own, and the reopened ones that take corrections in."""
    chosen = (
        select(Batch.id)
        .join(Correction, Correction.replay_id == Batch.id)
        .where(Correction.pipeline == pipeline, Batch.status.in_(("open", "failed")))
        .distinct()
    )
    if source is not None:
        chosen = chosen.where(Correction.batch_id == source)
    with lake.ledger.read() as session:
        return session.scalars(chosen).all()
