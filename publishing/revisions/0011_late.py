"""A file that came late says so, and the newest business date of a sender is found at once."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
COLUMNS = ["pipeline", "sender", "business_date"]


def upgrade() -> None:
    op.add_column("landed_file", sa.Column("late", sa.String(200)))
    op.create_index("ix_landed_file_pipeline_sender_date", "landed_file", COLUMNS)


def downgrade() -> None:
    op.drop_index("ix_landed_file_pipeline_sender_date", "landed_file")
    op.drop_column("landed_file", "late")
