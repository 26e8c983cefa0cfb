"""What the ledger holds, counted in a way that costs the same however much there is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from chatferry.ledger.tables import messages, outbox, sessions, state_is, turns

_TABLES = (turns, outbox, messages, sessions)


class Census(msgspec.Struct, frozen=True):
    """All processes' work, and the room that the past takes."""

    waiting: int
    """Turns that are due."""
    later: int
    """Turns that were put off."""
    oldest: float
    """Seconds for which one of the due ones has been due, at most."""
    running: int
    rows: Mapping[str, int]
    """About how many each table has; without those of which the database has no idea yet."""
    bytes: int


def take(connection: sa.Connection, now: float) -> Census:
    """Count what is open, by the indexes of that alone; of what is closed, take the database's own word."""
    due = sa.select(sa.func.count()).select_from(turns).where(state_is("due"))
    counts = (
        due.where(turns.c.due_at <= now).scalar_subquery(),
        due.where(turns.c.due_at > now).scalar_subquery(),
        sa.select(sa.func.min(turns.c.due_at)).where(state_is("due")).scalar_subquery(),
        sa.select(sa.func.count()).select_from(turns).where(state_is("doing")).scalar_subquery(),
    )
    waiting, later, since, running = connection.execute(sa.select(*counts)).one()
    oldest = max(0.0, now - since) if since is not None else 0.0
    rows, size = (_postgres if connection.dialect.name == "postgresql" else _sqlite)(connection)
    return Census(waiting, later, oldest, running, rows, size)


def _postgres(connection: sa.Connection) -> tuple[dict[str, int], int]:
    known = sa.text(
        "SELECT relname, reltuples FROM pg_class "
        "WHERE relname = ANY(:names) AND relnamespace = current_schema()::regnamespace AND reltuples >= 0"
    )
    found = connection.execute(known, {"names": [table.name for table in _TABLES]})
    rows = {row.relname: int(row.reltuples) for row in found}
    return rows, connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one()


def _sqlite(connection: sa.Connection) -> tuple[dict[str, int], int]:
    number: sa.ColumnClause[int] = sa.literal_column("rowid")
    # Each end in a query of its own: so it is looked up and not looked for.
    ends = [
        sa.select(end(number)).select_from(table).scalar_subquery()
        for table in _TABLES
        for end in (sa.func.min, sa.func.max)
    ]
    found = connection.execute(sa.select(*ends)).one()
    firsts, lasts = found[::2], found[1::2]
    rows = {
        table.name: 0 if last is None else last - first + 1
        for table, first, last in zip(_TABLES, firsts, lasts, strict=True)
    }
    size = sa.text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
    return rows, connection.execute(size).scalar_one()
