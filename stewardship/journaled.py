"""What stewards decided, in the journal: written after each action's transaction, with what a crash left out before."""

from __future__ import annotations

import hashlib

from sqlalchemy import select

from publishing.decisions_journal import journal_decisions
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.ops import write_down
from stewardship import audit
from stewardship.stores import Assignment


def journal_all(lake: Lake, pipeline: str | None = None) -> None:
    """Of one pipeline, or of all; the audit trail is one for all."""
    journal_decisions(lake, pipeline)
    with lake.ledger.read() as session:
        chosen = select(Assignment, Batch.pipeline).join(Batch, Batch.id == Assignment.batch_id)
        if pipeline is not None:
            chosen = chosen.where(Batch.pipeline == pipeline)
        rows = session.execute(chosen).all()
    for row, of in rows:
        name = f"{of}/{row.batch_id}/assignment-{_digest(row)}.json"
        if not lake.journal.exists(name):
            lake.journal.write(
                name,
                {
                    "batch": row.batch_id,
                    "record": row.record_id,
                    "assignee": row.assignee,
                    "actor": row.actor,
                    "made_at": row.made_at.isoformat(),
                },
            )
    audit.journal_entries(lake)
    if pipeline is not None:
        write_down(lake, pipeline)  # also as events of the operations table


def _digest(row: Assignment) -> str:
    """By what the entry says: a ledger made again numbers its rows anew."""
    parts = (row.batch_id, row.record_id or "", row.assignee, row.actor, row.made_at.isoformat())
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]
