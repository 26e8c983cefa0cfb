"""PostgreSQL: the ledger on a server, for as many processes as there are, and what these tell each other through it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine

from chatferry.clock import SharedClock
from chatferry.errors import Unsure
from chatferry.ledger import news, tables

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_CONNECTIONS = 8
"""What a process opens at the most for the ledger; a few more for what is told and for dispatch."""
_CONNECTING = 5.0
"""Seconds until a server that does not answer counts as away."""
_LOOKING = 10.0
"""Seconds that a look may take: the network swallows a connection without a word."""
_PULSE = 2.0
"""Seconds of silence after which we ask whether the connection that listens is still there."""
_AGAIN = 0.5
"""Seconds between two tries to listen."""
_TIMES = 3
"""How often a transaction is tried that nothing came of."""

_SESSION = {
    "application_name": "chatferry",
    # A process that was cut off in the middle of a transaction must not hold its locks: others wait for them.
    "idle_in_transaction_session_timeout": "3s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    # Nor may whoever else holds a lock hold up all that is written here: the others in the batch go on without it.
    "lock_timeout": "1500ms",
    # Our statements are short, and find their rows by an index whatever is asked: neither to compile them nor to plan
    # them anew each time is worth it.
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}

_READ_ONLY = "25006"
"""The server takes no writes now, or took none when this connection was opened."""
_AWAY = ("08", "53", "57", _READ_ONLY)
"""How SQLSTATEs begin by which the server cannot serve now: connection, resources, shutdown and start."""
_CLASH = ("40001", "40P01")
"""Two transactions were in each other's way, and ours was undone."""

_TIME = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")
_AGE = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) AS double precision)")
_NUMBER = sa.text("SELECT pg_current_xact_id_if_assigned()::text")
_STATUS = sa.text("SELECT pg_xact_status(CAST(CAST(:number AS text) AS xid8))")


class Postgres:
    """A server, for as many processes as there are. PostgreSQL 13 or newer.

    Listening and sessions need a connection of their own kind: through PgBouncer only with `pool_mode = session`.
    """

    def __init__(self, url: sa.URL) -> None:
        self._engine = create_async_engine(
            _ours(url),
            pool_size=_CONNECTIONS,
            max_overflow=0,  # what overflows is closed when it comes back, and to open one is dear
            pool_timeout=_LOOKING,
            connect_args={"timeout": _CONNECTING, "server_settings": _SESSION},
        )
        sa.event.listen(self._engine.sync_engine, "handle_error", _outdated)
        # One statement is a transaction: to begin and to end one would be two more ways to the server and back.
        self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def write(self, work: Work[T], *, patience: float = 10.0) -> T:
        for left in reversed(range(_TIMES)):
            try:
                return await self._transact(work, patience)
            except DBAPIError as fault:
                # Nothing came of it: the connection had been lost since its last use, or another was in the way.
                again = fault.connection_invalidated or _state(fault) in _CLASH
                if not again or not left:
                    raise _named(fault) from fault
        raise AssertionError("unreachable")

    async def _transact(self, work: Work[T], patience: float) -> T:
        number: str | None = None
        results: list[T] = []
        try:
            async with _plainly(), asyncio.timeout(patience), self._engine.connect() as connection:
                transaction = await connection.begin()
                result = await connection.run_sync(work)
                number = (await connection.execute(_NUMBER)).scalar()  # none: nothing was written
                await transaction.commit()
                results.append(result)
        except (DBAPIError, OSError) as fault:
            if not results and number is not None:
                raise Unsure("the connection broke in the middle of a commit", number, result) from fault
            if not results:
                raise
        return results[0]  # perhaps only the way back into the pool was lost

    async def committed(self, transaction: str) -> bool | None:
        status = await self.read(lambda connection: connection.execute(_STATUS, {"number": transaction}).scalar())
        return None if status == "in progress" else status == "committed"

    async def read(self, work: Work[T]) -> T:
        for left in reversed(range(_TIMES)):
            try:
                async with _plainly(), asyncio.timeout(_LOOKING), self._reader.connect() as connection:
                    return await connection.run_sync(work)
            except DBAPIError as fault:
                if not fault.connection_invalidated or not left:
                    raise _named(fault) from fault
        raise AssertionError("unreachable")

    @contextlib.asynccontextmanager
    async def exclusive(self, patience: float = 0.0) -> AsyncIterator[bool]:
        yield False

    @contextlib.asynccontextmanager
    async def errand(self, number: int) -> AsyncIterator[bool]:
        connection, ours = await self.connect(), False
        try:
            # The lock is the connection's: it goes with the process, however that ends.
            async with _plainly():
                ours = bool(await connection.fetchval("SELECT pg_try_advisory_lock($1)", number))
            yield ours
        finally:
            if ours:  # given back, as the server notices only later that we are gone
                with contextlib.suppress(OSError, TimeoutError):
                    async with _plainly():
                        await connection.execute("SELECT pg_advisory_unlock_all()", timeout=1.0)
            connection.terminate()

    async def age(self) -> float:
        return await self.read(lambda connection: float(connection.execute(_AGE).scalar_one()))

    async def clock(self) -> SharedClock:
        async def ask() -> float:
            try:
                told: float = await self.read(lambda connection: connection.execute(_TIME).scalar_one())
            except DBAPIError as fault:
                raise ConnectionError(str(fault.orig)) from fault
            return told

        shared = SharedClock(ask)
        await shared.set()
        return shared

    async def connect(self) -> Any:
        """A connection beside the pool, an `asyncpg.Connection`, for whoever listens. Raises OSError."""
        _, options = self._engine.dialect.create_connect_args(self._engine.url)
        for ours in ("prepared_statement_cache_size", "prepared_statement_name_func", "async_fallback"):
            options.pop(ours, None)
        async with _plainly():
            return await asyncpg.connect(
                **options, timeout=_CONNECTING, command_timeout=_LOOKING, server_settings=_SESSION
            )

    async def listen(self, hear: Callable[[str | None], None]) -> None:
        missed = False
        while True:
            try:
                await self._listen(hear)
            except OSError as fault:
                if not missed:
                    log.warning("not listening to other processes", error=str(fault) or type(fault).__name__)
                missed = True
            except Exception:  # the top of the task: what is not heard is found by a look
                log.exception("bug")
            else:
                missed = False
            await asyncio.sleep(_AGAIN)

    async def _listen(self, hear: Callable[[str | None], None]) -> None:
        """Until the connection is gone. Raises OSError where there is none, or it does not answer any more."""
        connection = await self.connect()
        heard: asyncio.Queue[str | None] = asyncio.Queue()
        try:
            async with _plainly():
                connection.add_termination_listener(lambda _: heard.put_nowait(None))
                await connection.add_listener(news.CHANNEL, lambda *told: heard.put_nowait(told[3]))
                hear(None)
                while True:
                    try:
                        async with asyncio.timeout(_PULSE):
                            said = await heard.get()
                    except TimeoutError:
                        await connection.execute("SELECT 1", timeout=_PULSE)
                        continue
                    if said is None:
                        log.warning("the connection to other processes broke; listening again")
                        return
                    hear(said)
        finally:
            connection.terminate()

    async def scrub(self, *, anew: bool = False) -> list[str]:
        """By VACUUM. The server may leave bytes of dead rows in its pages until it writes something in their place."""
        told: list[str] = []
        how = "FULL" if anew else "SKIP_LOCKED"
        for table in tables.metadata.sorted_tables:
            try:
                async with _plainly(), self._reader.connect() as connection:
                    await connection.exec_driver_sql(f'VACUUM ({how}) "{table.name}"')
            except (DBAPIError, OSError) as fault:
                told.append(f"{table.name} was not vacuumed: {getattr(fault, 'orig', fault)}")
        return told or [f"all tables were vacuumed{' and written anew' if anew else ''}"]

    async def aclose(self) -> None:
        await self._engine.dispose()


@contextlib.asynccontextmanager
async def _plainly() -> AsyncIterator[None]:
    """What the driver itself raises, as OSError; what SQLAlchemy makes of it stays as it is."""
    try:
        yield
    # The third of these is how it says that a connection went at the wrong moment, the last is the pool's.
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, PoolTimeout) as fault:
        raise ConnectionError(str(fault)) from fault


def _ours(url: sa.URL) -> sa.URL:
    """The address as asyncpg takes it, also where it is written as for libpq, as hosts give it out."""
    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    for unknown in ("channel_binding", "gssencmode", "target_session_attrs"):
        query.pop(unknown, None)
    return url.set(drivername="postgresql+asyncpg", query=query)


def _outdated(context: sa.engine.ExceptionContext) -> None:
    """Who connected while the server took no writes can never write: all connections are made anew."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _state(fault: DBAPIError) -> str:
    return str(getattr(fault.orig, "sqlstate", None) or "")


def _named(fault: DBAPIError) -> Exception:
    """The same; a server that cannot serve now is like one that cannot be reached."""
    return ConnectionError(str(fault.orig)) if _state(fault).startswith(_AWAY) else fault
