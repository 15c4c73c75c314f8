"""A file knows the number in its name, where files of a source are numbered."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("landed_file", sa.Column("sequence", sa.BigInteger))
    op.create_index("ix_landed_file_pipeline_sequence", "landed_file", ["pipeline", "sequence"])


def downgrade() -> None:
    op.drop_index("ix_landed_file_pipeline_sequence", "landed_file")
    op.drop_column("landed_file", "sequence")
