"""Alembic's entry: it gets its connection from `upgrade`, never from a file."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
