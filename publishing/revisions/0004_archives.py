"""A file that was unpacked names the archive that it came from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("landed_file", sa.Column("archive", sa.String(64)))


def downgrade() -> None:
    op.drop_column("landed_file", "archive")
