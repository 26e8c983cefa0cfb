"""Who answered a turn, incidents, and who is still to be told of them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turns", sa.Column("assistant", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.create_index(
        "turns_finished",
        "turns",
        ["finished_at"],
        unique=False,
        sqlite_where=sa.text("kind = 'message' AND finished_at IS NOT NULL"),
        postgresql_where=sa.text("kind = 'message' AND finished_at IS NOT NULL"),
    )
    op.create_table(
        "incidents",
        sa.Column("alert", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("held_until", sa.Double(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("bad_at", sa.Double(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("looked_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("alert"),
    )
    op.create_table(
        "alarms",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("alarms_target", "alarms", ["target", "id"])
