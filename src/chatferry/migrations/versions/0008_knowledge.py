"""What answers rest on: documents, their passages, and what these are found by."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# SQLite keeps only the index: the words themselves it reads where they are.
_SQLITE = (
    """CREATE VIRTUAL TABLE passages_found USING fts5(
        terms, content = 'passages', content_rowid = 'id',
        tokenize = "unicode61 remove_diacritics 0 categories 'L* M* N* Co' tokenchars '.'")""",
    """CREATE TRIGGER passages_come AFTER INSERT ON passages BEGIN
        INSERT INTO passages_found (rowid, terms) VALUES (new.id, new.terms); END""",
    """CREATE TRIGGER passages_go AFTER DELETE ON passages BEGIN
        INSERT INTO passages_found (passages_found, rowid, terms) VALUES ('delete', old.id, old.terms); END""",
)
_POSTGRESQL = (
    """ALTER TABLE passages ADD COLUMN found tsvector
        GENERATED ALWAYS AS (array_to_tsvector(string_to_array(terms, ' '))) STORED""",
    "CREATE INDEX passages_found ON passages USING gin (found)",
)


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("id", _ID, nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("passages", sa.Integer(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("sources_path", "sources", ["base", "path"])
    op.create_table(
        "passages",
        sa.Column("id", _ID, nullable=False),
        sa.Column("source", _ID, sa.ForeignKey("sources.id"), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("passages_source", "passages", ["source"])
    op.create_table(
        "terms",
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("passages", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("term", "base"),
    )
    connection = op.get_bind()
    for statement in _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE:
        connection.exec_driver_sql(statement)
