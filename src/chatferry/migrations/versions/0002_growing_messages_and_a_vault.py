"""Messages that grow: found by what the platform calls them, and stopped; secrets that were given to us to keep."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turns", sa.Column("stopped", sa.Boolean(), server_default=sa.false(), nullable=False))
    back = sa.text("kind = 'retract'")
    op.create_index("turns_retracted", "turns", ["accepted_at"], sqlite_where=back, postgresql_where=back)
    out = sa.text("receipt != ''")
    op.create_index(
        "outbox_receipt", "outbox", ["conversation", "receipt"], sqlite_where=out, postgresql_where=out
    )  # fmt: skip
    op.drop_index("messages_talk", "messages")
    op.create_index("messages_talk", "messages", ["conversation", "turn", "id"])
    op.create_table(
        "vault",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "name"),
    )
