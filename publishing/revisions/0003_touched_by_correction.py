"""A touched record says only what differs from its correction: marking 100,000 of them costs one small tree."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("correction", sa.Column("fate", sa.String(20)))
    op.create_table(
        "touched",
        sa.Column("pipeline", sa.String(200), primary_key=True),
        sa.Column("record_id", sa.String(100), primary_key=True),
        sa.Column("correction_id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(20)),
        sa.Column("tries", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO touched (pipeline, record_id, correction_id, state, tries) "
        "SELECT pipeline, record_id, correction_id, state, tries FROM touched_record WHERE correction_id IS NOT NULL"
    )
    op.drop_table("touched_record")
    op.rename_table("touched", "touched_record")
    told = sa.text("state IS NOT NULL")
    op.create_index(
        "ix_touched_record_differs", "touched_record", ["correction_id"], sqlite_where=told, postgresql_where=told
    )


def downgrade() -> None:
    op.create_table(
        "touched",
        sa.Column("pipeline", sa.String(200), primary_key=True),
        sa.Column("record_id", sa.String(100), primary_key=True),
        sa.Column("batch_id", sa.String(32), sa.ForeignKey("batch.id"), nullable=False),
        sa.Column("correction_id", sa.String(32), sa.ForeignKey("correction.id")),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.execute(
        "INSERT INTO touched (pipeline, record_id, batch_id, correction_id, state, tries) "
        "SELECT t.pipeline, t.record_id, c.batch_id, c.id, coalesce(t.state, c.fate, c.state), t.tries "
        "FROM touched_record t JOIN correction c ON c.id = t.correction_id"
    )
    op.drop_table("touched_record")
    op.rename_table("touched", "touched_record")
    for column in ("batch_id", "correction_id"):
        op.create_index(f"ix_touched_record_{column}", "touched_record", [column])
    op.drop_column("correction", "fate")
