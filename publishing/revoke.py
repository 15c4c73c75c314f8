"""Taking an approved correction back: what it may not have done yet, and what becomes of the batches that wait with it.

It has taken effect once an attempt or a replay that obeys it was published, or began to publish. Before that, a replay
that waits with it is withdrawn, and the other corrections of that replay belong to the next one. A batch that is held
with it gets a new attempt, which reads its records without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from publishing.corrections import load_changes
from publishing.decide import FAILED, CannotDecide, Decider, withdraw
from publishing.decisions import APPROVED, DISCARD, PROPOSED, REVOKED, BatchDecision, Correction
from publishing.journal import attempt_entry
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch
from publishing.moved import entries_of
from publishing.quarantine import REPLAYED, RESOLVED
from publishing.replay import REPLAY

WAITING = ("open", FAILED, "held")  # a batch that has something to publish still


@dataclass(frozen=True, slots=True)
class Freed:
    """What followed in the ledger: decisions that withdraw replays, and batches that get a new attempt."""

    withdrawn: Sequence[BatchDecision]
    reopened: Sequence[Batch]


def revoke(lake: Lake, session: Session, corrections: Sequence[Correction], by: Decider) -> Freed:
    """All of them, of one pipeline, or CannotDecide; in the caller's transaction, who holds `lake.alone`."""
    for correction in corrections:
        _still_waits(lake, session, correction)
    replays: dict[str, Batch] = {}
    for correction in corrections:
        correction.state = REVOKED
        publishing = session.get(Batch, correction.replay_id) if correction.replay_id else None
        if publishing is not None and publishing.origin == REPLAY:
            replays[publishing.id] = publishing  # it keeps the correction until it is taken back
        else:
            correction.replay_id = None
    withdrawn = [withdraw(lake, session, replay, by, WAITING) for replay in replays.values()]
    ids = {correction.id for correction in corrections}
    reopened = [batch for batch in _held(session, corrections[0].pipeline) if ids & _obeyed(lake, batch)]
    for batch in reopened:
        batch.status, batch.attempt = "open", batch.attempt + 1
    journal_reopened(lake, corrections[0].pipeline, {batch.id: batch.attempt for batch in reopened})
    return Freed(withdrawn, reopened)


def _still_waits(lake: Lake, session: Session, correction: Correction) -> None:
    """CannotDecide where the correction is not approved, or has taken effect, or is about to."""
    name = f"correction {correction.id}"
    if correction.state != APPROVED:
        instead = "; reject it" if correction.state == PROPOSED else ""
        raise CannotDecide(f"{name} is {correction.state}: what is approved is revoked{instead}")
    if correction.kind == DISCARD:
        raise CannotDecide(f"{name} is a discard, which took effect when it was approved")
    if correction.fate is not None:
        raise CannotDecide(
            f"{name} has taken effect: correct anew what was rejected again, and un-publish the batch that brought the "
            f"others in"
        )
    for batch, attempt in _begun(session, correction.pipeline):
        entry = attempt_entry(batch.pipeline, batch.id, attempt.number, "manifest")
        if not lake.journal.exists(entry):
            continue
        # The manifest of a table's batch names only what it used up, and it may have read more.
        if batch.origin == "table" or correction.id in lake.journal.read(entry).get("corrections", ()):
            raise CannotDecide(
                f"{name}: attempt {attempt.number} of {batch.key} read it and was interrupted; bring it to its end "
                f"(lake run {batch.pipeline}) or, where it fails, withdraw it"
            )
    if count := _in_effect(lake, session, correction):
        raise CannotDecide(
            f"{name} has taken effect for {count} of its {correction.records} records, by another batch that read them"
        )


def _begun(session: Session, pipeline: str) -> list[tuple[Batch, Attempt]]:
    """Attempts that did not end, of batches that have something to publish."""
    chosen = select(Batch, Attempt).join(Attempt, Attempt.batch_id == Batch.id)
    chosen = chosen.where(Batch.pipeline == pipeline, Batch.status.in_(WAITING), Attempt.outcome.is_(None))
    return [(batch, attempt) for batch, attempt in session.execute(chosen)]


def _in_effect(lake: Lake, session: Session, correction: Correction) -> int:
    """How many of its records an attempt accepted already, or are in quarantine no more.

    What a held batch of files accepts it has not published, and nobody else reads its records.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    about = session.get_one(Batch, correction.batch_id)
    if about.origin == "files" and about.status == "held" and correction.id in _obeyed(lake, about):
        return 0
    records = load_changes(lake, correction)["record_id"].combine_chunks()
    entries = entries_of(lake, correction.pipeline, records)
    back = pc.is_in(entries["state"], value_set=pa.array([REPLAYED, RESOLVED]))
    return int(len(records) - entries.num_rows + (pc.sum(back).as_py() or 0))


def _held(session: Session, pipeline: str) -> list[Batch]:
    chosen = select(Batch).where(Batch.pipeline == pipeline, Batch.status == "held", Batch.origin != REPLAY)
    return list(session.scalars(chosen.order_by(Batch.arrival, Batch.id)))


def _obeyed(lake: Lake, batch: Batch) -> set[str]:
    """The decisions that the newest attempt of a batch read its records with."""
    entry = attempt_entry(batch.pipeline, batch.id, batch.attempt, "manifest")
    return set(lake.journal.read(entry).get("corrections", ())) if lake.journal.exists(entry) else set()
