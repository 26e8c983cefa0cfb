"""A database URL in, engines out: the one place that knows that SQLite and PostgreSQL differ."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from chatferry.errors import ConfigError, InUse
from chatferry.migrations import HEAD

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


class Database:
    """Two engines on one database: `write` for the ledger's single writer, `read` for everything else."""

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
        if backend not in _DRIVERS:
            raise ConfigError(f"server.database: {backend!r} is not supported; use sqlite:///FILE or postgresql://...")
        parsed = parsed.set(drivername=_DRIVERS[backend])
        self.path = Path(parsed.database or "") if backend == "sqlite" else None
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.write = create_async_engine(parsed, pool_size=1, max_overflow=0)
            self.read = create_async_engine(parsed, pool_size=2, max_overflow=0)
            sa.event.listen(self.write.sync_engine, "connect", _sqlite_writer)
            sa.event.listen(self.write.sync_engine, "begin", _begin_immediate)
            sa.event.listen(self.read.sync_engine, "connect", _sqlite_reader)
        else:
            try:
                self.write = self.read = create_async_engine(parsed, pool_pre_ping=True)
            except ModuleNotFoundError as missing:
                raise ConfigError(
                    f"server.database: PostgreSQL needs {missing.name}\n  mend: pip install 'chatferry[postgres]'"
                ) from missing

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Be the only process that answers from this SQLite file; no-op elsewhere.

        The lock is the operating system's and goes with the process, however it ends.
        Raises InUse where another process has it.
        """
        if self.path is None:
            yield
            return
        from filelock import FileLock, Timeout

        lock = FileLock(f"{self.path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InUse(
                f"another chatferry is already answering from {self.path}\n"
                "  mend: stop it, give this one its own server.database, or use PostgreSQL for several processes"
            ) from None
        try:
            yield
        finally:
            lock.release()

    async def migrate(self) -> None:
        """Create or upgrade the schema. Costs one query when it is up to date."""
        async with self.write.connect() as connection:
            if await connection.run_sync(_version) == HEAD:
                return
        # Alembic takes a quarter of a second to import: only a start that needs it pays.
        from chatferry.migrations.upgrade import upgrade

        async with self.write.begin() as connection:
            await connection.run_sync(upgrade)

    async def aclose(self) -> None:
        await self.write.dispose()
        await self.read.dispose()


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _pragmas(connection: Any, *pragmas: str) -> None:
    # Python's sqlite3 would otherwise decide by itself where a transaction begins.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("busy_timeout = 5000", *pragmas):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_writer(connection: Any, _: object) -> None:
    # FULL: a commit is on the disk before the platform gets its 200. Grouped commits make it cheap.
    _pragmas(connection, "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")


def _sqlite_reader(connection: Any, _: object) -> None:
    _pragmas(connection, "query_only = ON")


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
