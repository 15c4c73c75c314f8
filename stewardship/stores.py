"""What stewards do, beside the decisions that publishing obeys: assignments, verdicts, replays, escalations, audit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from publishing.ledger import Base


class Assignment(Base):
    """Who looks after a quarantined batch, or one record of it. The newest that has not ended counts."""

    __tablename__ = "assignment"
    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), index=True)
    record_id: Mapped[str | None] = mapped_column(String(100))
    assignee: Mapped[str] = mapped_column(String(200), index=True)
    actor: Mapped[str] = mapped_column(String(200))
    made_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Approval(Base):
    """The verdict on a correction by somebody who did not make it. One a correction."""

    __tablename__ = "approval"
    correction_id: Mapped[str] = mapped_column(ForeignKey("correction.id"), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(20))  # approved | rejected
    actor: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(50))
    reason: Mapped[str] = mapped_column(String(500))
    made_at: Mapped[datetime]


class Revocation(Base):
    """That an approved correction was taken back before it took effect, by somebody who did not make it."""

    __tablename__ = "revocation"
    correction_id: Mapped[str] = mapped_column(ForeignKey("correction.id"), primary_key=True)
    actor: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(50))
    reason: Mapped[str] = mapped_column(String(500))
    made_at: Mapped[datetime]


class Replay(Base):
    """A replay that was asked for: its batch of origin `replay`, or the next attempt of an overwrite unit's batch."""

    __tablename__ = "replay"
    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), index=True)  # the batch that publishes
    source_batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), index=True)
    actor: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(50))
    asked_at: Mapped[datetime]
    counts: Mapped[dict[str, int] | None] = mapped_column(JSON)  # once it ended


class Escalation(Base):
    """A remediation SLA that passed: told once for each level of the workflow."""

    __tablename__ = "escalation"
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), primary_key=True)
    level: Mapped[int] = mapped_column(primary_key=True)
    told: Mapped[str] = mapped_column(String(500))
    raised_at: Mapped[datetime]


class Audit(Base):
    """One entry of the audit trail; `hash` covers the entry and the hash before it, under a key."""

    __tablename__ = "audit"
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(200), index=True)
    role: Mapped[str] = mapped_column(String(50))
    action: Mapped[str] = mapped_column(String(50), index=True)
    subject: Mapped[str] = mapped_column(String(300), index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
