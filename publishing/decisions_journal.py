"""Decisions over records and batches, written to the journal once their transaction is committed.

Whatever a crash left out is written by the next that looks: entries are immutable and the first writer wins, so anybody
may write them again at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Integer, String, column, func, select, table
from sqlalchemy.orm import Session

from publishing.decisions import CORRECT, DISCARD, RELEASE, UNPUBLISH, WITHDRAW, BatchDecision, Correction
from publishing.lake import Lake
from publishing.ledger import Batch

PROPOSED_AS = {CORRECT: "correction_proposed", DISCARD: "discard_proposed"}
DECIDED_AS = {RELEASE: "released", WITHDRAW: "withdrawn", UNPUBLISH: "unpublished"}
# Verdicts and assignments are tables of the room below, which is not imported here.
_VERDICT = table(
    "approval",
    column("correction_id", String), column("verdict", String), column("actor", String), column("role", String),
    column("reason", String), column("made_at", DateTime),
)  # fmt: skip
_REVOCATION = table(
    "revocation",
    column("correction_id", String), column("actor", String), column("role", String), column("reason", String),
    column("made_at", DateTime),
)  # fmt: skip
ASSIGNMENT = table(
    "assignment",
    column("id", Integer), column("batch_id", String), column("record_id", String), column("assignee", String),
    column("actor", String), column("made_at", DateTime),
)  # fmt: skip


def assignments(session: Session, pipeline: str | None = None) -> Sequence[Any]:
    """Rows of who was to look after what, with the `pipeline` of each, in the order they were made."""
    chosen = select(ASSIGNMENT, Batch.pipeline).join(Batch, Batch.id == ASSIGNMENT.c.batch_id)
    if pipeline is not None:
        chosen = chosen.where(Batch.pipeline == pipeline)
    return session.execute(chosen.order_by(ASSIGNMENT.c.id)).all()


def decisions_made(session: Session, pipeline: str) -> int:
    """How many corrections, verdicts, revocations, assignments and decisions over batches there are of a pipeline."""
    own = select(Batch.id).where(Batch.pipeline == pipeline)
    corrections = select(Correction.id).where(Correction.pipeline == pipeline)
    counted = [
        select(func.count()).select_from(Correction).where(Correction.pipeline == pipeline),
        select(func.count()).select_from(_VERDICT).where(_VERDICT.c.correction_id.in_(corrections)),
        select(func.count()).select_from(_REVOCATION).where(_REVOCATION.c.correction_id.in_(corrections)),
        select(func.count()).select_from(ASSIGNMENT).where(ASSIGNMENT.c.batch_id.in_(own)),
        select(func.count()).select_from(BatchDecision).where(BatchDecision.batch_id.in_(own)),
    ]
    return sum(session.scalar(each) or 0 for each in counted)


def journal_decisions(lake: Lake, pipeline: str | None = None) -> None:
    """Writes the corrections, verdicts, revocations, assignments and decisions that the journal lacks, of one pipeline
    or of all. All are looked through: as rows of the ledger and names of a folder, which costs little.
    """
    about = Correction.pipeline, Correction.batch_id
    with lake.ledger.read() as session:
        corrections = select(*Correction.__table__.columns)
        verdicts = select(*about, *_VERDICT.c).join(Correction, _VERDICT.c.correction_id == Correction.id)
        revocations = select(*about, *_REVOCATION.c).join(Correction, _REVOCATION.c.correction_id == Correction.id)
        decisions = select(BatchDecision, Batch.pipeline).join(Batch, Batch.id == BatchDecision.batch_id)
        if pipeline is not None:
            corrections = corrections.where(Correction.pipeline == pipeline)
            verdicts = verdicts.where(Correction.pipeline == pipeline)
            revocations = revocations.where(Correction.pipeline == pipeline)
            decisions = decisions.where(Batch.pipeline == pipeline)
        found: list[tuple[str, Callable[[Any], dict[str, Any]], Any]] = []
        for row in session.execute(corrections):
            found.append((correction_entry(row, row.id), _correction, row))
        for row in session.execute(verdicts):
            found.append((correction_entry(row, row.correction_id, ".verdict"), _verdict, row))
        for row in session.execute(revocations):
            found.append((correction_entry(row, row.correction_id, ".revoked"), _revocation, row))
        for decision, of in session.execute(decisions):
            found.append((decision_entry(of, decision), _decision, decision))
        for row in assignments(session, pipeline):
            found.append((assignment_entry(row.pipeline, row), _assignment, row))
    standing: dict[str, set[str]] = {}
    for name, document, row in found:
        folder, _, file = name.rpartition("/")
        if folder not in standing:
            root = lake.journal.root / folder
            standing[folder] = {each.name for each in root.iterdir()} if root.is_dir() else set()
        if file not in standing[folder]:
            lake.journal.write(name, document(row))


@dataclass(frozen=True, slots=True)
class Decided:
    """Something that was decided: its event, the entry that tells it, and the one that says of how many records."""

    batch: str
    id: str
    event: str
    entry: str
    proposal: str | None = None

    @property
    def event_id(self) -> str:
        return f"{self.id}/{self.event}"


def decided(session: Session, pipeline: str) -> list[Decided]:
    """All that was decided about a pipeline's records and batches, by batch and decision."""
    corrections = select(Correction.id, Correction.pipeline, Correction.batch_id, Correction.kind)
    of = Correction.id, Correction.pipeline, Correction.batch_id
    verdicts = select(*of, _VERDICT.c.verdict).join(_VERDICT, _VERDICT.c.correction_id == Correction.id)
    revocations = select(*of).join(_REVOCATION, _REVOCATION.c.correction_id == Correction.id)
    decisions = select(BatchDecision.id, BatchDecision.batch_id, BatchDecision.kind)
    decisions = decisions.join(Batch, BatchDecision.batch_id == Batch.id).where(Batch.pipeline == pipeline)

    def about(row: Any, event: str, what: str = "") -> Decided:
        entry = correction_entry(row, row.id, what)
        return Decided(row.batch_id, row.id, event, entry, correction_entry(row, row.id))

    own = Correction.pipeline == pipeline
    found = [about(row, PROPOSED_AS[row.kind]) for row in session.execute(corrections.where(own))]
    found += [about(row, row.verdict, ".verdict") for row in session.execute(verdicts.where(own))]
    found += [about(row, "revoked", ".revoked") for row in session.execute(revocations.where(own))]
    for made in session.execute(decisions):
        event = DECIDED_AS.get(made.kind, made.kind)
        found.append(Decided(made.batch_id, made.id, event, decision_entry(pipeline, made)))
    for row in assignments(session, pipeline):
        entry = assignment_entry(pipeline, row)
        identity = entry.rpartition("assignment-")[2].removesuffix(".json")
        found.append(Decided(row.batch_id, identity, "assigned", entry))
    return sorted(found, key=lambda each: (each.batch, each.event_id))


def assignment_entry(pipeline: str, row: Any) -> str:
    """By what the entry says: a ledger made again numbers its rows anew."""
    parts = (row.batch_id, row.record_id or "", row.assignee, row.actor, row.made_at.isoformat())
    digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]
    return f"{pipeline}/{row.batch_id}/assignment-{digest}.json"


def correction_entry(about: Any, identity: str, what: str = "") -> str:
    """The name of a correction's entry; of its verdict or revocation with `what` .verdict or .revoked."""
    return f"{about.pipeline}/{about.batch_id}/correction-{identity}{what}.json"


def decision_entry(pipeline: str, decision: Any) -> str:
    return f"{pipeline}/{decision.batch_id}/decision-{decision.id}.json"


def _correction(row: Any) -> dict[str, Any]:
    return {
        "correction": row.id,
        "pipeline": row.pipeline,
        "batch": row.batch_id,
        "kind": row.kind,
        "records": row.records,
        "actor": row.actor,
        "role": row.role,
        "reason": row.reason,
        "made_at": row.made_at.isoformat(),
        "sealed": row.sealed,
    }


def _verdict(row: Any) -> dict[str, Any]:
    made_at: datetime = row.made_at
    return {
        "correction": row.correction_id,
        "verdict": row.verdict,
        "actor": row.actor,
        "role": row.role,
        "reason": row.reason,
        "made_at": made_at.isoformat(),
    }


def _revocation(row: Any) -> dict[str, Any]:
    return {
        "correction": row.correction_id,
        "actor": row.actor,
        "role": row.role,
        "reason": row.reason,
        "made_at": row.made_at.isoformat(),
    }


def _assignment(row: Any) -> dict[str, Any]:
    return {
        "batch": row.batch_id,
        "record": row.record_id,
        "assignee": row.assignee,
        "actor": row.actor,
        "made_at": row.made_at.isoformat(),
    }


def _decision(row: BatchDecision) -> dict[str, Any]:
    return {
        "decision": row.id,
        "batch": row.batch_id,
        "kind": row.kind,
        "actor": row.actor,
        "role": row.role,
        "reason": row.reason,
        "made_at": row.made_at.isoformat(),
        "waivers": row.waivers,
    }
