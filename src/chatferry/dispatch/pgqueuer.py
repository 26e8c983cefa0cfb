"""Dispatch over several processes: PgQueuer says, on the ledger's own database, which of them takes a conversation.

A job is a hint like all that a dispatcher says, and its whole content is "look at this conversation": the ledger keeps
the order, and the sweep finds what no job told of. So a job is done as soon as its conversation is being worked on, its
tables need not survive a crash (they are UNLOGGED), and whatever goes wrong with the connection, another is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from functools import cache
from typing import Any

import structlog
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence import qb, queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.models import Job
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import QueueEntrypoint
from pgqueuer.ports.repository import EntrypointExecutionParameter

from chatferry.dispatch.base import Handle, Local

log = structlog.get_logger(__name__)

_ENTRIES = {False: "answer", True: "push"}
"""The kinds of jobs, by whether they are bulk, which comes after all else."""
_URGENT, _LATER = 1, 0
_BATCH = 50
"""Jobs that a process takes at once."""
_AT_ONCE = 500
"""Jobs that are told in one statement."""
_AGAIN = 0.5
"""Seconds between two tries to reach the database."""
_IDLE = 5.0
"""Seconds without a word after which we look for jobs all the same."""
_LOST = 10.0
"""Seconds after which a job counts as lost whose process does not say that it lives."""
_TIDY = 60.0
"""Seconds between two times that the log of jobs is shortened to as much."""


class PgQueuer:
    """Tells the jobs of this process to all, and takes those that it has room for."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], *, local: Local | None) -> None:
        """connect: makes an `asyncpg.Connection` that is ours; local: what works here, None where nothing does."""
        self._connect = connect
        self._local = local
        self._untold: dict[str, bool] = {}
        """Conversations that no job tells of yet, and whether they are bulk."""
        self._tell = asyncio.Event()
        self._stopping = asyncio.Event()
        self._running = False

    @property
    def dispatching(self) -> bool:
        if self._local is not None:
            return self._local.dispatching
        return self._running and not self._stopping.is_set()

    async def wake(self, conversation: str, *, bulk: bool = False) -> None:
        if self._local is not None and (self._local.has(conversation) or self._local.free(bulk=bulk)):
            await self._local.wake(conversation, bulk=bulk)
        else:
            self._untold[conversation] = bulk and self._untold.get(conversation, True)
            self._tell.set()

    async def run(self, handle: Handle) -> None:
        self._running = True
        async with asyncio.TaskGroup() as group:
            carrying = group.create_task(self._carry(), name="jobs")
            if self._local is not None:
                await self._local.run(handle)
            else:
                await self._stopping.wait()
            carrying.cancel()
        self._running = False

    def stop(self) -> None:
        self._stopping.set()
        if self._local is not None:
            self._local.stop()

    async def _carry(self) -> None:
        """Tell and take jobs; where the connection breaks, on a new one with a new manager."""
        away = False
        while True:
            try:
                connection = await self._connect()
            except OSError as fault:
                if not away:
                    log.warning("no jobs: the database does not answer", error=str(fault) or type(fault).__name__)
                away = True
            else:
                away = False
                try:
                    await self._serve(connection)
                except Exception as fault:  # noqa: BLE001 - the top of the task: the sweep works on meanwhile
                    log.warning("jobs broke off; beginning anew", error=_first(fault))
                finally:
                    connection.terminate()
            await asyncio.sleep(_AGAIN)

    async def _serve(self, connection: Any) -> None:
        """Until the connection breaks. Raises what the driver and PgQueuer raise."""
        jobs = _queries(connection)
        broken = asyncio.Event()
        connection.add_termination_listener(lambda _: broken.set())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._tell_jobs(jobs), name="jobs out")]
            if self._local is not None:
                tasks.append(group.create_task(self._take_jobs(jobs, self._local), name="jobs in"))
                tasks.append(group.create_task(self._tidy(jobs), name="log of jobs"))
            await broken.wait()
            for task in tasks:
                task.cancel()

    async def _tell_jobs(self, jobs: queries.Queries) -> None:
        while True:
            await self._tell.wait()
            self._tell.clear()
            while self._untold:
                told = dict(list(self._untold.items())[:_AT_ONCE])
                for conversation in told:
                    del self._untold[conversation]
                await jobs.enqueue(
                    [_ENTRIES[bulk] for bulk in told.values()],
                    [conversation.encode() for conversation in told],
                    [_LATER if bulk else _URGENT for bulk in told.values()],
                )

    async def _take_jobs(self, jobs: queries.Queries, local: Local) -> None:
        manager = _Manager(jobs, channel=_settings().channel)
        manager.local = local
        for bulk, entry in _ENTRIES.items():
            manager.entrypoint(entry)(_work(local, bulk))

        async def leave() -> None:
            await self._stopping.wait()
            manager.shutdown.set()

        leaving = asyncio.create_task(leave(), name="no more jobs")
        try:
            await manager.run(
                dequeue_timeout=timedelta(seconds=_IDLE),
                batch_size=_BATCH,
                heartbeat_timeout=timedelta(seconds=_LOST),
                shutdown_on_listener_failure=True,
                log_aggregation_interval=timedelta(0),
            )
        finally:
            leaving.cancel()

    async def _tidy(self, jobs: queries.Queries) -> None:
        """What PgQueuer notes of every job is of no use to us."""
        names = _settings().qualified
        while True:
            await jobs.driver.execute(
                f"DELETE FROM {names.queue_table_log} WHERE created < now() - interval '{_TIDY} seconds'"  # noqa: S608
            )
            await asyncio.sleep(_TIDY)


def _work(local: Local, bulk: bool) -> Callable[[Job], Awaitable[None]]:
    async def work(job: Job) -> None:
        await local.wake((job.payload or b"").decode(), bulk=bulk)

    return work


Entries = dict[QueueEntrypoint, EntrypointExecutionParameter]
_UNLIMITED = EntrypointExecutionParameter(concurrency_limit=0)


class _Manager(QueueManager):
    """Takes no more jobs than there is room for here: others may have some."""

    local: Local

    async def fetch_jobs(
        self, batch_size: int, global_concurrency_limit: int | None, heartbeat_timeout: timedelta
    ) -> AsyncGenerator[Job, None]:
        while not self.shutdown.is_set():
            found = 0
            for most, entries in self._wanted(batch_size):
                jobs = await self.queries.dequeue(
                    most, entries, self.queue_manager_id, global_concurrency_limit, heartbeat_timeout
                )
                found += len(jobs)
                for job in jobs:
                    yield job
            if not found:
                return

    async def _effective_dequeue_timeout(self, dequeue_timeout: timedelta) -> timedelta:
        """PgQueuer asks thrice for what does not happen here: no job is put off, and the sweep finds a missed one."""
        return dequeue_timeout if self.local.free(bulk=False) else self.min_dequeue_poll_interval

    def _wanted(self, most: int) -> list[tuple[int, Entries]]:
        """How many jobs, and of which kinds; what comes first in a kind is PgQueuer's to say."""
        answers, pushes = ({QueueEntrypoint(_ENTRIES[bulk]): _UNLIMITED} for bulk in (False, True))
        room, later = (min(most, self.local.free(bulk=bulk)) for bulk in (False, True))
        wanted = [(room, answers | pushes)] if later >= room else [(room, answers), (later, pushes)]
        return [(jobs, kinds) for jobs, kinds in wanted if jobs]


@cache
def _settings() -> DBSettings:
    return DBSettings(prefix="chatferry_", durability=Durability.volatile)


def _queries(connection: Any) -> queries.Queries:
    settings = _settings()
    return queries.Queries(
        AsyncpgDriver(connection),
        qb.QueryBuilderEnvironment(settings),
        qb.QueryQueueBuilder(settings),
        qb.QuerySchedulerBuilder(settings),
    )


def _first(fault: BaseException) -> str:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return f"{type(fault).__name__}: {fault}"


def schema() -> str:
    """The statements that create PgQueuer's tables, as this version of it wants them."""
    environment = qb.QueryBuilderEnvironment(_settings())
    return f"{environment.build_install_query()}\n{environment.build_optimize_autovacuum_query()}"
