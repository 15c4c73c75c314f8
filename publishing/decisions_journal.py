"""Decisions over records and batches, written to the journal once their transaction is committed.

Whatever a crash left out is written by the next that looks: entries are immutable and the first writer wins, so anybody
may write them again at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Integer, String, column, func, select, table
from sqlalchemy.orm import Session

from publishing.decisions import BatchDecision, Correction
from publishing.lake import Lake
from publishing.ledger import Batch

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
    or of all.
    """
    with lake.ledger.read() as session:
        corrections = select(Correction)
        verdicts = select(Correction, _VERDICT).join(_VERDICT, _VERDICT.c.correction_id == Correction.id)
        revocations = select(Correction, _REVOCATION).join(_REVOCATION, _REVOCATION.c.correction_id == Correction.id)
        decisions = select(BatchDecision, Batch.pipeline).join(Batch, Batch.id == BatchDecision.batch_id)
        if pipeline is not None:
            corrections = corrections.where(Correction.pipeline == pipeline)
            verdicts = verdicts.where(Correction.pipeline == pipeline)
            revocations = revocations.where(Correction.pipeline == pipeline)
            decisions = decisions.where(Batch.pipeline == pipeline)
        entries = [(correction_entry(row), _correction(row)) for row in session.scalars(corrections)]
        entries += [(verdict_entry(row[0]), _verdict(row)) for row in session.execute(verdicts)]
        entries += [(revocation_entry(row[0]), _revocation(row)) for row in session.execute(revocations)]
        entries += [_decision(row, of) for row, of in session.execute(decisions)]
        entries += [(assignment_entry(row.pipeline, row), _assignment(row)) for row in assignments(session, pipeline)]
    for name, document in entries:
        if not lake.journal.exists(name):
            lake.journal.write(name, document)


def assignment_entry(pipeline: str, row: Any) -> str:
    """By what the entry says: a ledger made again numbers its rows anew."""
    parts = (row.batch_id, row.record_id or "", row.assignee, row.actor, row.made_at.isoformat())
    digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]
    return f"{pipeline}/{row.batch_id}/assignment-{digest}.json"


def correction_entry(correction: Correction) -> str:
    return f"{correction.pipeline}/{correction.batch_id}/correction-{correction.id}.json"


def verdict_entry(correction: Correction) -> str:
    return f"{correction.pipeline}/{correction.batch_id}/correction-{correction.id}.verdict.json"


def revocation_entry(correction: Correction) -> str:
    return f"{correction.pipeline}/{correction.batch_id}/correction-{correction.id}.revoked.json"


def _correction(row: Correction) -> dict[str, Any]:
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


def _decision(row: BatchDecision, pipeline: str) -> tuple[str, dict[str, Any]]:
    name = f"{pipeline}/{row.batch_id}/decision-{row.id}.json"
    return name, {
        "decision": row.id,
        "batch": row.batch_id,
        "kind": row.kind,
        "actor": row.actor,
        "role": row.role,
        "reason": row.reason,
        "made_at": row.made_at.isoformat(),
        "waivers": row.waivers,
    }
