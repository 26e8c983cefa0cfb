"""Run the migrations on a connection that is there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config


def config(connection: sa.Connection | None = None) -> Config:
    """Alembic's settings for our scripts; there is no alembic.ini to lose."""
    settings = Config()
    settings.set_main_option("script_location", "chatferry:migrations")
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema to the newest revision."""
    command.upgrade(config(connection), "head")
