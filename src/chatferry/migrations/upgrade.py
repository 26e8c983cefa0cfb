"""Run the migrations on a connection that is there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory


def config(connection: sa.Connection | None = None) -> Config:
    """Alembic's settings for our scripts; there is no alembic.ini to lose."""
    settings = Config()
    settings.set_main_option("script_location", "chatferry:migrations")
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


_LOCK = 0x63_66_72_79
"""Of ours among the advisory locks of a PostgreSQL database."""


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema to the newest revision, or leave it alone where it is beyond ours: newer ones only add.

    Processes that start together wait here for the first of them.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    settings = config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
    if known.issuperset(MigrationContext.configure(connection).get_current_heads()):
        command.upgrade(settings, "head")
