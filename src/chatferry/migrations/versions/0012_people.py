"""Whose each turn is, who was let in, what was forgotten, and what people are asked."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


# PostgreSQL reads no JSON in which somebody has said NUL, and a backslash before the "u" may be a backslash itself.
_SAID = r"regexp_replace(inbound, '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g')"


def upgrade() -> None:
    op.add_column("turns", sa.Column("sender", sa.Text(), nullable=False, server_default=sa.text("''")))
    told = {"postgresql": f"CAST({_SAID} AS json) ->> 'sender'", "sqlite": "json_extract(inbound, '$.sender')"}
    connection = op.get_bind()
    sender = told[connection.dialect.name]
    connection.execute(sa.text(f"UPDATE turns SET sender = {sender} WHERE {sender} IS NOT NULL"))  # noqa: S608
    op.create_index("turns_sender", "turns", ["channel", "sender", "conversation", "id"])
    op.create_table(
        "asks",
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("turn", _ID, nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("conversation"),
    )
    op.create_table(
        "guests",
        sa.Column("guest", sa.Text(), nullable=False),
        sa.Column("standing", sa.Text(), nullable=False),
        sa.Column("free_at", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("guest"),
    )
    strange = sa.text("standing IN ('asked', 'told', 'paused')")
    op.create_index("guests_strange", "guests", ["changed_at"], sqlite_where=strange, postgresql_where=strange)
    op.create_table(
        "tombstones",
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("event"),
    )
    op.create_index("tombstones_until", "tombstones", ["until"])
    # By its beginning: a profile is somebody's on a channel, for each assistant.
    op.create_index("profiles_owner", "profiles", ["person"], postgresql_ops={"person": "text_pattern_ops"})
