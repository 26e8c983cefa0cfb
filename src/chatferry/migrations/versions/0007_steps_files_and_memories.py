"""What models call, what people send, and what is remembered beyond the words themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "steps",
        sa.Column("turn", _ID, sa.ForeignKey("turns.id"), autoincrement=False, nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("ended_at", sa.Double()),
        sa.PrimaryKeyConstraint("turn", "round", "place"),
    )
    op.create_table(
        "files",
        sa.Column("id", _ID, nullable=False),
        sa.Column("turn", _ID, sa.ForeignKey("turns.id"), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("turn", "ref", name="files_ref"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "memories",
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("since", _ID, nullable=False),
        sa.Column("first", _ID, nullable=False),
        sa.Column("upto", _ID, nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("conversation"),
    )
    op.create_table(
        "profiles",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("since", _ID, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("oldest_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("person"),
    )
    op.create_index("profiles_oldest", "profiles", ["oldest_at"])
