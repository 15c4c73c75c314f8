"""What people decided about records and batches, as far as publishing obeys it; and what lies in quarantine, by batch.

The values of a correction never stand here: they are sealed in a file of the journal (publishing/corrections.py).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, ColumnElement, ForeignKey, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from publishing.ledger import Base

# states of a correction
PROPOSED = "proposed"
APPROVED = "approved"
REJECTED = "rejected"
REVOKED = "revoked"  # approved, and taken back before it took effect
# states of a touched record beside those
REPLAYED = "replayed"
FAILED = "failed"  # replayed and rejected again: back in quarantine, its tries counted
SUPERSEDED = "superseded"
RESOLVED = "resolved"
DISCARDED = "discarded"
WITHDRAWN = "withdrawn"
CORRECT = "correct"
DISCARD = "discard"
RELEASE = "release"
WITHDRAW = "withdraw"
UNPUBLISH = "unpublish"


class QuarantinedBatch(Base):
    """A batch that left records in quarantine: counts by state and by rule, derived from the quarantine table.

    One row a batch, however many records: what a list of batches reads instead of the tables.
    """

    __tablename__ = "quarantined_batch"
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), primary_key=True)
    pipeline: Mapped[str] = mapped_column(String(200), index=True)
    key: Mapped[str] = mapped_column(String(300), index=True)
    business_date: Mapped[date]
    records: Mapped[int]
    open: Mapped[int] = mapped_column(index=True)
    states: Mapped[dict[str, int]] = mapped_column(JSON)
    rules: Mapped[dict[str, int]] = mapped_column(JSON)
    quarantined_at: Mapped[datetime]


class Correction(Base):
    """One decision over records of one quarantined batch: new values (correct), or giving them up (discard).

    `state` is proposed, approved, rejected or revoked. `sealed` names its file below the journal. An approved one
    belongs to one replay batch, `replay_id`, from the moment that batch is persisted. `fate` is what became of its
    records; of some of them another state may stand in their own rows.
    """

    __tablename__ = "correction"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    pipeline: Mapped[str] = mapped_column(String(200), index=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20), index=True)
    records: Mapped[int]
    actor: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(50))
    reason: Mapped[str] = mapped_column(String(500))
    made_at: Mapped[datetime]
    sealed: Mapped[str] = mapped_column(String(500))
    replay_id: Mapped[str | None] = mapped_column(ForeignKey("batch.id"), index=True)
    fate: Mapped[str | None] = mapped_column(String(20))


class TouchedRecord(Base):
    """A quarantined record that somebody acted on: its newest correction, and how often a replay of it was rejected.

    `state` only where it is another than its correction's (`record_state`): a verdict over 100,000 records is one row.
    For the same reason it is one tree by key, without an index that every record would have to be written to.
    """

    __tablename__ = "touched_record"
    pipeline: Mapped[str] = mapped_column(String(200), primary_key=True)
    record_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    correction_id: Mapped[str] = mapped_column(String(32))
    state: Mapped[str | None] = mapped_column(String(20))
    tries: Mapped[int] = mapped_column(default=0)
    __table_args__ = (
        Index(
            "ix_touched_record_differs",
            "correction_id",
            sqlite_where=text("state IS NOT NULL"),
            postgresql_where=text("state IS NOT NULL"),
        ),
        {"sqlite_with_rowid": False},
    )


def record_state() -> ColumnElement[str]:
    """The state of a touched record, in a query that joins its correction."""
    return func.coalesce(TouchedRecord.state, Correction.fate, Correction.state)


class BatchDecision(Base):
    """A decision over a whole batch: release (with waivers: {rule: {observed, reason}}), withdraw, unpublish."""

    __tablename__ = "batch_decision"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    actor: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(50))
    reason: Mapped[str] = mapped_column(String(500))
    made_at: Mapped[datetime]
    waivers: Mapped[dict[str, Any]] = mapped_column(JSON)


class Rerun(Base):
    """A pipeline whose upstream changed by a decision (a replay, an un-publishing): it is asked to run again."""

    __tablename__ = "rerun"
    id: Mapped[int] = mapped_column(primary_key=True)
    pipeline: Mapped[str] = mapped_column(String(200), index=True)
    business_date: Mapped[date]
    cause: Mapped[str] = mapped_column(String(500))
    asked_at: Mapped[datetime]
    done: Mapped[bool] = mapped_column(default=False, index=True)
