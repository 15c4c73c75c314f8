"""Asking for replays: approved corrections become replay batches in one transaction with their audit, and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import func, or_, select

from pipeline_xml.checked import CheckedPipeline
from publishing import failpoints
from publishing.decisions import Correction, QuarantinedBatch
from publishing.lake import Lake
from publishing.ledger import Batch, now
from publishing.outcome import BatchOutcome, PipelineOutcome
from publishing.replay import persist_replays
from publishing.run import run_batches
from stewardship import audit
from stewardship.actors import Actor
from stewardship.stores import Replay


class UnknownBatch(Exception):
    """No quarantined batch has this key or id; says which there are."""


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
    source = find_batch(lake, pipeline.key, batch) if batch is not None else None
    ids = ask(lake, pipeline, actor, source)
    wanted = {*ids, *_left_open(lake, pipeline.key, source)}
    return run_batches(lake, pipeline, wanted, run_id=run_id, announce=announce)


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
    failpoints.reached("replay.persisted")
    audit.journal_entries(lake)
    return [publishing for publishing, _ in made]


def find_batch(lake: Lake, pipeline: str, name: str) -> str:
    """The id of the quarantined batch with this key or id, or the beginning of one that only it has."""
    with lake.ledger.read() as session:
        own = select(QuarantinedBatch).where(QuarantinedBatch.pipeline == pipeline)
        exact = or_(QuarantinedBatch.key == name, QuarantinedBatch.batch_id == name)
        key, identity = QuarantinedBatch.key, QuarantinedBatch.batch_id
        begins = or_(key.startswith(name, autoescape=True), identity.startswith(name, autoescape=True))
        found = session.scalars(own.where(exact)).all() or session.scalars(own.where(begins)).all()
        if len(found) == 1:
            return found[0].batch_id
        number = session.scalar(select(func.count()).select_from(own.subquery())) or 0
        some = session.scalars(own.order_by(QuarantinedBatch.quarantined_at.desc()).limit(5)).all()
    valid = ", ".join(each.key for each in (found or some))
    many = f"{len(found)} quarantined batches of {pipeline} begin with"
    what = many if found else f"no quarantined batch of {pipeline} is"
    raise UnknownBatch(f"{what} '{name}'; there are {number}: {valid or 'none'}")


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
