"""How the way back stands, as the ledger knows it: quarantined batches, replays that wait, pipelines to run again.

A query or two each, and no table is opened: sensors ask with every tick.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import aliased

from publishing.decisions import APPROVED, CORRECT, Correction, QuarantinedBatch, Rerun, TouchedRecord
from publishing.journal import Journal
from publishing.journal_entries import journal_rerun_done
from publishing.ledger import Batch, Ledger
from publishing.moved import GAVE_WAY

UNENDED = ("open", "failed")  # a batch that a run has still to bring to its end


@dataclass(frozen=True, slots=True)
class Standing:
    """One quarantined batch: its entries by state, and how often replays rejected records of it again (`tries`).

    `key` is its partition; `quarantined_at` is UTC without zone.
    """

    batch: str
    key: str
    business_date: str
    records: int
    states: Mapping[str, int]
    tries: int
    quarantined_at: datetime

    @property
    def open(self) -> int:
        return self.states.get("open", 0)

    def age_hours(self, at: datetime) -> float:
        """How long its oldest record has waited; 0 where none is open."""
        return max(0.0, (at - self.quarantined_at).total_seconds() / 3600) if self.open else 0.0


def standings(ledger: Ledger, pipeline: str, keys: Collection[str] | None = None) -> tuple[Standing, ...]:
    """Every quarantined batch of a pipeline, or those with these keys, the oldest business date first."""
    tries = select(Correction.batch_id, func.sum(TouchedRecord.tries).label("tries")).join_from(
        TouchedRecord, Correction, Correction.id == TouchedRecord.correction_id
    )
    tried = tries.where(TouchedRecord.pipeline == pipeline).group_by(Correction.batch_id).subquery()
    chosen = (
        select(QuarantinedBatch, func.coalesce(tried.c.tries, 0))
        .join(tried, tried.c.batch_id == QuarantinedBatch.batch_id, isouter=True)
        .where(QuarantinedBatch.pipeline == pipeline)
        .order_by(QuarantinedBatch.business_date, QuarantinedBatch.key)
    )
    if keys is not None:
        chosen = chosen.where(QuarantinedBatch.key.in_(keys))
    with ledger.read() as session:
        return tuple(
            Standing(
                batch=row.batch_id,
                key=row.key,
                business_date=row.business_date.isoformat(),
                records=row.records,
                states=row.states,
                tries=int(count),
                quarantined_at=row.quarantined_at,
            )
            for row, count in session.execute(chosen)
        )


@dataclass(frozen=True, slots=True)
class WaitingReplay:
    """Approved corrections of one quarantined batch that no replay has brought to its end.

    `key` is None where the batch gave way to another: a replay of the whole pipeline finds where their records are.
    """

    pipeline: str
    key: str | None
    corrections: tuple[str, ...]


def waiting_replays(ledger: Ledger, pipelines: Collection[str]) -> list[WaitingReplay]:
    """The batches of these pipelines with approved corrections to replay, those that waited longest first."""
    replay = aliased(Batch)
    chosen = (
        select(Correction.pipeline, Batch.key, Batch.status, Correction.id)
        .join(Batch, Batch.id == Correction.batch_id)
        .join(replay, replay.id == Correction.replay_id, isouter=True)
        .where(
            Correction.pipeline.in_(pipelines),
            Correction.state == APPROVED,
            Correction.kind == CORRECT,
            # A batch that is not published yet is waited for: its records may not be acted on.
            or_(
                Correction.replay_id.is_(None) & Correction.fate.is_(None) & Batch.status.in_(("published", GAVE_WAY)),
                replay.status.in_(UNENDED),
            ),
        )
        .order_by(Correction.made_at, Correction.id)
    )
    found: dict[tuple[str, str | None], list[str]] = {}
    with ledger.read() as session:
        for pipeline, key, status, correction in session.execute(chosen):
            found.setdefault((pipeline, None if status == GAVE_WAY else key), []).append(correction)
    return [WaitingReplay(pipeline, key, tuple(ids)) for (pipeline, key), ids in found.items()]


def asked_reruns(ledger: Ledger, pipelines: Collection[str]) -> dict[str, Sequence[int]]:
    """{pipeline: ids of the reruns asked for and not seen to}, ascending."""
    chosen = (
        select(Rerun.pipeline, Rerun.id).where(Rerun.done.is_(False), Rerun.pipeline.in_(pipelines)).order_by(Rerun.id)
    )
    found: dict[str, list[int]] = {}
    with ledger.read() as session:
        for pipeline, number in session.execute(chosen):
            found.setdefault(pipeline, []).append(number)
    return dict(found)


def reruns_done(ledger: Ledger, journal: Journal, up_to: Mapping[str, int]) -> None:
    """Marks the reruns of each pipeline as seen to, up to and with that id; in the journal first.

    A ledger that is made again asks for none of them once more, and counts on from there.
    """
    with ledger.read() as session:
        for pipeline, number in up_to.items():
            seen = Rerun.pipeline == pipeline, Rerun.id <= number, Rerun.done.is_(False)
            newest = session.scalar(select(Rerun).where(*seen).order_by(Rerun.id.desc()).limit(1))
            if newest is not None:
                journal_rerun_done(journal, newest)
    with ledger.write() as session:
        for pipeline, number in up_to.items():
            session.execute(
                update(Rerun)
                .where(Rerun.pipeline == pipeline, Rerun.id <= number, Rerun.done.is_(False))
                .values(done=True)
            )
