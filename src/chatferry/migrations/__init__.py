"""The schema's history. Migrations only add, so that an old and a new version can run side by side."""

HEAD = "0014"
"""The newest revision: known here so that a start need not import Alembic to find that there is nothing to do."""
