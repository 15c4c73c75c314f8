"""What people decided about records and batches, as far as publishing obeys it; and what lies in quarantine, by batch.

The values of a correction never stand here: they are sealed in a file of the journal (publishing/corrections.py).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from publishing.ledger import Base

# states of a correction
PROPOSED = "proposed"
APPROVED = "approved"
REJECTED = "rejected"
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

    `state` is proposed, approved, rejected or withdrawn. `sealed` names its file below the journal. An approved one
    belongs to one replay batch, `replay_id`, from the moment that batch is persisted.
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


class TouchedRecord(Base):
    """A quarantined record that somebody acted on: its newest correction, and how often a replay was rejected."""

    __tablename__ = "touched_record"
    pipeline: Mapped[str] = mapped_column(String(200), primary_key=True)
    record_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), index=True)
    correction_id: Mapped[str | None] = mapped_column(ForeignKey("correction.id"), index=True)
    state: Mapped[str] = mapped_column(String(20))
    tries: Mapped[int] = mapped_column(default=0)


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
