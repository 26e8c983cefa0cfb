"""Old turns are removed; the row of a session stays where it is when its first turn goes."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# As PostgreSQL has named it. SQLite gave it none.
_NAMED = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}


def upgrade() -> None:
    with op.batch_alter_table("sessions", naming_convention=_NAMED) as sessions:
        sessions.drop_constraint("sessions_turn_fkey", type_="foreignkey")
