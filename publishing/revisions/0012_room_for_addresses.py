"""Addresses of files have room for quoted names: a key of S3 may take three signs for each of its 1,024 bytes."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = ("look", "landed_file", "zone_file")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":  # SQLite does not measure
        for table in TABLES:
            op.alter_column(table, "uri", type_=sa.String(8192))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.alter_column(table, "uri", type_=sa.String(2048), postgresql_using="left(uri, 2048)")
