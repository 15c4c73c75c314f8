"""What lies in each landing zone and how the zone is doing; a look and a file say what became of them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "zone_file",
        sa.Column("zone", sa.String(400), primary_key=True),
        sa.Column("name", sa.String(1024), primary_key=True),
        sa.Column("uri", sa.String(2048), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("modified", sa.Double, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("missing", sa.Integer, nullable=False),
        sa.Column("occurrence", sa.Integer, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
    )
    op.create_index("ix_zone_file_state", "zone_file", ["zone", "state", "name"])
    op.create_table(
        "zone_state",
        sa.Column("zone", sa.String(400), primary_key=True),
        sa.Column("looked_at", sa.DateTime),
        sa.Column("feeds", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("retry_at", sa.Double, nullable=False),
        sa.Column("fault", sa.String(500)),
    )
    op.create_table(
        "landing_decision",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("zone", sa.String(400), nullable=False, index=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("value", sa.String(1024), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("role", sa.String(50), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("ended_by", sa.String(200)),
    )
    op.add_column("look", sa.Column("outcome", sa.String(20)))
    op.add_column("look", sa.Column("note", sa.String(500)))
    op.add_column("landed_file", sa.Column("note", sa.String(500)))
    op.create_index("ix_landed_file_pipeline_name", "landed_file", ["pipeline", "name"])


def downgrade() -> None:
    op.drop_index("ix_landed_file_pipeline_name", "landed_file")
    op.drop_column("landed_file", "note")
    op.drop_column("look", "note")
    op.drop_column("look", "outcome")
    for table in ("landing_decision", "zone_state", "zone_file"):
        op.drop_table(table)
