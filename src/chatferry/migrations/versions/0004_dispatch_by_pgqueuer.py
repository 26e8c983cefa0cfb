"""PgQueuer's tables, where several processes share the work; in a file of SQLite there is nobody to share it with."""

from typing import Any

from alembic import op
from sqlalchemy.util import await_only

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    from chatferry.dispatch.pgqueuer import schema

    # Many statements at once: only the driver itself takes them, and it is in the same transaction.
    driver: Any = connection.connection.driver_connection
    await_only(driver.execute(schema()))
