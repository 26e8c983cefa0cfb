"""Sessions of a conversation, answers in the response of a request, and the key that signs links to pages."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("turns", sa.Column("deliveries", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.add_column("turns", sa.Column("reply", sa.Text()))
    op.add_column("turns", sa.Column("partial", sa.Text()))
    op.create_table(
        "sessions",
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("turn", _ID, nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["turn"], ["turns.id"]),
        sa.PrimaryKeyConstraint("conversation", "turn"),
    )
    op.create_table(
        "keys",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
