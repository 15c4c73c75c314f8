"""What the manifests of a zone name, until it is taken."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "manifest_line",
        sa.Column("zone", sa.String(400), primary_key=True),
        sa.Column("name", sa.String(1024), primary_key=True),
        sa.Column("manifest", sa.String(1024), primary_key=True),
        sa.Column("sums", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("manifest_line")
