"""A look remembers the checksums and the control file that lay beside the file when it was copied."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("look", sa.Column("beside", sa.JSON))


def downgrade() -> None:
    op.drop_column("look", "beside")
