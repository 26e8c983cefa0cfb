"""Alembic's entry: it gets its connection from `upgrade`, never from a file."""

from alembic import context

from chatferry.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
