"""A database URL in, transactions out: the one place that knows that SQLite and PostgreSQL differ.

Work on the database is a plain function of a SQLAlchemy connection. PostgreSQL runs it over asyncpg; SQLite, which is
local and quick, in a thread. A whole transaction costs one hop to that thread: through an async driver each statement
costs several, and they come to three quarters of the CPU of a small transaction (docs/decisions/0002).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from chatferry.clock import Clock, SystemClock
from chatferry.errors import ConfigError, InUse
from chatferry.migrations import HEAD

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_MIGRATING = 3600.0
"""Seconds that a migration may take, another process's before it included."""


class Database(Protocol):
    """Where the ledger lives. What goes wrong inside is raised as it comes: SQLAlchemyError or OSError."""

    async def write(self, work: Work[T], *, patience: float = 10.0) -> T:
        """Do this in one transaction; when it returns, it is on the disk.

        patience: seconds that it may take. Raises Unsure where it may have been committed all the same.
        """
        ...

    async def committed(self, transaction: str) -> bool | None:
        """Was the transaction of an Unsure committed? None: that is not known yet."""
        ...

    async def read(self, work: Work[T]) -> T:
        """Look at what is committed."""
        ...

    def exclusive(self, patience: float = 0.0) -> contextlib.AbstractAsyncContextManager[bool]:
        """Be the only process that answers from here, where only one may: yields whether we are now known to be alone.

        Raises InUse where another process is, and still is after `patience` seconds.
        """
        ...

    def errand(self, number: int) -> contextlib.AbstractAsyncContextManager[bool]:
        """Yields whether we are the only process that runs this errand now; it ends with the context or the process."""
        ...

    async def age(self) -> float:
        """Seconds for which it has been there for all processes."""
        ...

    async def clock(self) -> Clock:
        """The time by which all processes on this database go."""
        ...

    async def listen(self, hear: Callable[[str | None], None]) -> None:
        """Tell what other processes say (`news`), until cancelled; None: something may have been missed."""
        ...

    async def scrub(self, *, anew: bool = False) -> list[str]:
        """Overwrite what was removed, as far as that can be done from here; tells what was done, and what was not.

        anew: write the whole of it anew, which takes long, and lets nobody else write meanwhile.
        """
        ...

    async def aclose(self) -> None: ...


def open_database(url: str) -> Database:
    """The database at `sqlite:///FILE` or `postgresql://...`. Raises ConfigError."""
    parsed = sa.make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return Sqlite(Path(parsed.database or ""))
        case "postgresql":
            try:
                from chatferry.ledger.postgres import Postgres
            except ImportError:  # asyncpg, or the greenlet that SQLAlchemy needs for it
                raise ConfigError(
                    "server.database: needs what is not installed\n  mend: pip install 'chatferry[postgres]'"
                ) from None
            return Postgres(parsed)
    raise ConfigError("server.database: use sqlite:///FILE or postgresql://...")


@contextlib.asynccontextmanager
async def connected(url: str, *, migrated: bool = True) -> AsyncIterator[Database]:
    """The same while the context is open; `migrated`, or as it is. Raises ConfigError."""
    database = open_database(url)
    try:
        if migrated:
            await migrate(database)
        yield database
    finally:
        await database.aclose()


async def migrate(database: Database) -> None:
    """Create or upgrade the schema. Costs one look when it is up to date; only one process at a time does it.

    A schema that is newer than this version is left alone: newer ones only add.
    """
    try:
        if await database.read(_version) == HEAD:
            return
        # Alembic takes a quarter of a second to import: only a start that needs it pays.
        from chatferry.migrations.upgrade import upgrade

        await database.write(upgrade, patience=_MIGRATING)
    except (sa.exc.DBAPIError, OSError) as fault:
        raise _unusable(fault) from None


def _unusable(fault: Exception) -> ConfigError:
    said = fault.orig if isinstance(fault, sa.exc.DBAPIError) else fault
    return ConfigError(
        f"server.database: cannot be used: {said}\n"
        "  mend: for a file, be allowed to write it and its folder; for a server, start it and check name and password"
    )


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


_CLEAN = ("foreign_keys = ON", "secure_delete = ON")
"""What is removed is overwritten at once: many builds of SQLite do so unasked, not all."""


class Sqlite:
    """A file, one thread that writes and two that read."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise _unusable(fault) from None
        self._path = path
        self._writer = _engine(path, 1, "journal_mode = WAL", "synchronous = FULL", *_CLEAN)
        sa.event.listen(self._writer, "begin", _begin_immediate)
        self._reader = _engine(path, 2, "query_only = ON")
        self._writing = ThreadPoolExecutor(1, "ledger-write")
        self._reading = ThreadPoolExecutor(2, "ledger-read")

    async def write(self, work: Work[T], *, patience: float = 10.0) -> T:
        def transaction() -> T:
            with self._writer.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._writing, transaction)

    async def read(self, work: Work[T]) -> T:
        def look() -> T:
            with self._reader.connect() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._reading, look)

    async def committed(self, transaction: str) -> bool | None:
        return False  # a file is never unsure

    async def age(self) -> float:
        return math.inf

    async def clock(self) -> Clock:
        return SystemClock()

    async def listen(self, hear: Callable[[str | None], None]) -> None:
        await asyncio.Event().wait()  # there is nobody else

    @contextlib.asynccontextmanager
    async def exclusive(self, patience: float = 0.0) -> AsyncIterator[bool]:
        from filelock import FileLock, Timeout

        # The lock is the operating system's: it goes with the process, however that ends.
        # By way of a link it is the same file.
        lock = FileLock(f"{self._path.resolve()}.lock")
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise InUse(
                f"another chatferry is already answering from {self._path}\n"
                "  mend: stop it, give this one its own server.database, or use PostgreSQL for several processes"
            ) from None
        try:
            yield True
        finally:
            lock.release()

    @contextlib.asynccontextmanager
    async def errand(self, number: int) -> AsyncIterator[bool]:
        from filelock import FileLock, Timeout

        lock = FileLock(f"{self._path.resolve()}.lock{number}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    async def scrub(self, *, anew: bool = False) -> list[str]:
        def scrub() -> list[str]:
            with self._writer.connect() as connection:
                driver: Any = connection.connection.driver_connection
                try:
                    if anew:
                        driver.execute("VACUUM")
                    busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                except sqlite3.OperationalError as fault:
                    return [f"not overwritten: {fault}; do it again when less is going on"]
            file = "the file was written anew (VACUUM)" if anew else "what was removed is overwritten (secure_delete)"
            wal = "is in use and was not emptied; it is with its next checkpoint" if busy else "was emptied"
            return [file, f"the write-ahead log {wal}"]

        return await asyncio.get_running_loop().run_in_executor(self._writing, scrub)

    async def aclose(self) -> None:
        for pool, engine in ((self._writing, self._writer), (self._reading, self._reader)):
            await asyncio.get_running_loop().run_in_executor(pool, engine.dispose)
            pool.shutdown()


def _engine(path: Path, connections: int, *pragmas: str) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}", pool_size=connections, max_overflow=0)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        # Python's sqlite3 would otherwise decide by itself where a transaction begins.
        connection.isolation_level = None
        for pragma in ("busy_timeout = 5000", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
