"""Decisions over quarantined records and batches, and what stewards do with them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _batch(
    name: str = "batch_id", *, primary_key: bool = False, nullable: bool = False, index: bool = False
) -> sa.Column[str]:
    column_type, key = sa.String(32), sa.ForeignKey("batch.id")
    return sa.Column(name, column_type, key, primary_key=primary_key, nullable=nullable, index=index)


def upgrade() -> None:
    op.create_table(
        "quarantined_batch",
        _batch(primary_key=True),
        sa.Column("pipeline", sa.String(200), nullable=False, index=True),
        sa.Column("key", sa.String(300), nullable=False, index=True),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("records", sa.Integer, nullable=False),
        sa.Column("open", sa.Integer, nullable=False, index=True),
        sa.Column("states", sa.JSON, nullable=False),
        sa.Column("rules", sa.JSON, nullable=False),
        sa.Column("quarantined_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "correction",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("pipeline", sa.String(200), nullable=False, index=True),
        _batch(index=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, index=True),
        sa.Column("records", sa.Integer, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("role", sa.String(50), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
        sa.Column("sealed", sa.String(500), nullable=False),
        _batch("replay_id", nullable=True, index=True),
    )
    op.create_table(
        "touched_record",
        sa.Column("pipeline", sa.String(200), primary_key=True),
        sa.Column("record_id", sa.String(100), primary_key=True),
        _batch(index=True),
        sa.Column("correction_id", sa.String(32), sa.ForeignKey("correction.id"), index=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.create_table(
        "batch_decision",
        sa.Column("id", sa.String(32), primary_key=True),
        _batch(index=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("role", sa.String(50), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
        sa.Column("waivers", sa.JSON, nullable=False),
    )
    op.create_table(
        "rerun",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("pipeline", sa.String(200), nullable=False, index=True),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("cause", sa.String(500), nullable=False),
        sa.Column("asked_at", sa.DateTime, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False, index=True),
    )
    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer, primary_key=True),
        _batch(index=True),
        sa.Column("record_id", sa.String(100)),
        sa.Column("assignee", sa.String(200), nullable=False, index=True),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
    )
    op.create_table(
        "approval",
        sa.Column("correction_id", sa.String(32), sa.ForeignKey("correction.id"), primary_key=True),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("role", sa.String(50), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "replay",
        sa.Column("id", sa.Integer, primary_key=True),
        _batch(index=True),
        _batch("source_batch_id", index=True),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("role", sa.String(50), nullable=False),
        sa.Column("asked_at", sa.DateTime, nullable=False),
        sa.Column("counts", sa.JSON),
    )
    op.create_table(
        "escalation",
        _batch(primary_key=True),
        sa.Column("level", sa.Integer, primary_key=True),
        sa.Column("told", sa.String(500), nullable=False),
        sa.Column("raised_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False, index=True),
        sa.Column("role", sa.String(50), nullable=False),
        sa.Column("action", sa.String(50), nullable=False, index=True),
        sa.Column("subject", sa.String(300), nullable=False, index=True),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    for table in (
        "audit", "escalation", "replay", "approval", "assignment", "rerun", "batch_decision", "touched_record",
        "correction", "quarantined_batch",
    ):  # fmt: skip
        op.drop_table(table)
