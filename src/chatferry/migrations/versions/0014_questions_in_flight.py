"""Whoever is asking keeps a place among the answers, for those who ask the same in other processes."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("answers", sa.Column("lease", sa.Integer(), nullable=False, server_default=sa.text("0")))
