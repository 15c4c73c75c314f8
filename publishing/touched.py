"""Touched records and their corrections in the ledger: what became of them when an attempt or a replay ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from processing import frame as f
from publishing.decisions import (
    APPROVED,
    CORRECT,
    DISCARD,
    DISCARDED,
    FAILED,
    REPLAYED,
    RESOLVED,
    SUPERSEDED,
    Correction,
    TouchedRecord,
)
from publishing.lake import Lake
from publishing.manifest import Manifest
from publishing.replay_fate import Fate, staged_ids

CHUNK = 500  # ids in one statement: SQLite of old takes 999 values


@dataclass(frozen=True, slots=True)
class Touched:
    """The decisions that an attempt obeyed, and what became of the records it read corrected.

    `usual` is the state of all but those in `others` (state: record ids).
    """

    corrections: Sequence[str]
    usual: str
    others: Mapping[str, Sequence[str]]


def touched_by_attempt(lake: Lake, manifest: Manifest) -> Touched:
    """Corrected records are resolved by the attempt that accepts them, or failed once more."""
    if not manifest.corrections:
        return Touched((), RESOLVED, {})
    return Touched(manifest.corrections, RESOLVED, {FAILED: staged_ids(lake, manifest, f.QUARANTINED).to_pylist()})


def touched_by_replay(manifest: Manifest, fate: Fate) -> Touched:
    groups: dict[str, Any] = {
        REPLAYED: fate.replayed, FAILED: fate.again, SUPERSEDED: fate.superseded, RESOLVED: fate.set_aside,
    }  # fmt: skip
    usual = max(groups, key=lambda state: len(groups[state]))
    others = {state: ids.to_pylist() for state, ids in groups.items() if state != usual}
    others[RESOLVED] = [*others.get(RESOLVED, []), *fate.known.to_pylist()] if usual != RESOLVED else []
    return Touched(manifest.corrections, usual, others)


def settle_touched(session: Session, pipeline: str, batch_id: str, found: Touched) -> None:
    """Marks the corrections as used by this batch, with what became of their records; those that fared otherwise have
    a state of their own.
    """
    if not found.corrections:
        return
    chosen = session.scalars(select(Correction).where(Correction.id.in_(found.corrections))).all()
    used = [c for c in chosen if c.kind == CORRECT and c.state == APPROVED and c.replay_id in (None, batch_id)]
    # One that ended without a replay, for its batch gave way, is alive where that comes back.
    back = [correction for correction in used if correction.fate == SUPERSEDED and correction.replay_id is None]
    same_fate(session, back, None)
    fresh = [correction for correction in used if correction.fate is None]
    for correction in used:
        correction.replay_id = batch_id
    for correction in (*fresh, *(c for c in chosen if c.kind == DISCARD)):
        correction.fate = DISCARDED if correction.kind == DISCARD else found.usual
    waiting = TouchedRecord.correction_id.in_([c.id for c in fresh])
    if found.usual == FAILED:
        tried = update(TouchedRecord).where(waiting, TouchedRecord.pipeline == pipeline)
        session.execute(tried.values(tries=TouchedRecord.tries + 1))
    for state, records in found.others.items():
        for start in range(0, len(records), CHUNK):
            some = TouchedRecord.record_id.in_(records[start : start + CHUNK])
            session.execute(
                update(TouchedRecord)
                .where(waiting, TouchedRecord.pipeline == pipeline, some)
                .values(state=state, tries=TouchedRecord.tries + (state == FAILED) - (found.usual == FAILED))
            )


def wait_again(session: Session, batch_id: str) -> None:
    """Corrections that were given to a batch which gave way, or is held: they belong to none until one publishes."""
    given = update(Correction).where(Correction.replay_id == batch_id, Correction.fate.is_(None))
    session.execute(given.values(replay_id=None))


def same_fate(session: Session, corrections: Sequence[Correction], fate: str | None) -> None:
    """Gives all records of these corrections this fate, whatever it was before; None: they wait once more."""
    own = TouchedRecord.correction_id.in_([correction.id for correction in corrections])
    session.execute(update(TouchedRecord).where(own, TouchedRecord.state.is_not(None)).values(state=None))
    for correction in corrections:
        correction.fate = fate
