"""A file knows what its records are, where the same records in another file are not to be published again."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("landed_file", sa.Column("records_id", sa.String(64)))
    op.create_index("ix_landed_file_records_id", "landed_file", ["records_id"])


def downgrade() -> None:
    op.drop_index("ix_landed_file_records_id", "landed_file")
    op.drop_column("landed_file", "records_id")
