"""The ledger's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "claim",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("pipeline", sa.String(200), nullable=False, index=True),
        sa.Column("zone", sa.String(200), nullable=False),
        sa.Column("claimed_at", sa.DateTime, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False, index=True),
    )
    op.create_table(
        "look",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("claim_id", sa.String(32), sa.ForeignKey("claim.id"), nullable=False, index=True),
        sa.Column("pipeline", sa.String(200), nullable=False),
        sa.Column("zone", sa.String(200), nullable=False),
        sa.Column("name", sa.String(1024), nullable=False),
        sa.Column("uri", sa.String(2048), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("occurrence", sa.Integer, nullable=False),
        sa.Column("content_id", sa.String(64)),
        sa.UniqueConstraint("pipeline", "zone", "name", "size", "version", "occurrence"),
    )
    op.create_table(
        "batch",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("key", sa.String(300), nullable=False, unique=True),
        sa.Column("pipeline", sa.String(200), nullable=False, index=True),
        sa.Column("business_date", sa.Date, nullable=False, index=True),
        sa.Column("origin", sa.String(20), nullable=False),
        sa.Column("sender", sa.String(200)),
        sa.Column("arrival", sa.Integer, nullable=False, index=True),
        sa.Column("window", sa.JSON),
        sa.Column("status", sa.String(20), nullable=False, index=True),
        sa.Column("reason", sa.String(500)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "landed_file",
        sa.Column("arrival", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("pipeline", sa.String(200), nullable=False, index=True),
        sa.Column("claim_id", sa.String(32), sa.ForeignKey("claim.id"), nullable=False, index=True),
        sa.Column("batch_id", sa.String(32), sa.ForeignKey("batch.id"), index=True),
        sa.Column("name", sa.String(1024), nullable=False),
        sa.Column("uri", sa.String(2048), nullable=False),
        sa.Column("content_id", sa.String(64), nullable=False, index=True),
        sa.Column("delivery_key", sa.String(64), nullable=False, index=True),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("sender", sa.String(200)),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("raw", sa.String(2048), nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("status", sa.String(20), nullable=False, index=True),
        sa.Column("reason", sa.String(500)),
    )
    op.create_table(
        "delivery",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("batch_id", sa.String(32), sa.ForeignKey("batch.id"), nullable=False, index=True),
    )
    op.create_table(
        "attempt",
        sa.Column("batch_id", sa.String(32), sa.ForeignKey("batch.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("definition_hash", sa.String(64), nullable=False),
        sa.Column("rule_hash", sa.String(64), nullable=False),
        sa.Column("reference_hashes", sa.JSON, nullable=False),
        sa.Column("opened_at", sa.DateTime, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("outcome", sa.JSON),
    )


def downgrade() -> None:
    for table in ("attempt", "delivery", "landed_file", "batch", "look", "claim"):
        op.drop_table(table)
