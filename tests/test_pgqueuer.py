"""The dispatcher of several processes, by the contract of all dispatchers; and that it outlives its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import cast

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from chatferry.dispatch import pgqueuer
from chatferry.dispatch.base import Look
from chatferry.dispatch.inprocess import InProcess
from chatferry.dispatch.pgqueuer import PgQueuer
from chatferry.ledger.database import open_database
from chatferry.ledger.postgres import Postgres
from chatferry.testing import ManualClock
from tests.chaos.proxy import Proxy
from tests.contracts.dispatcher import Contract, Make, Work, dispatching, until
from tests.postgres import database_on


@pytest.fixture
async def server(postgres_server: str, postgres_template: str) -> AsyncIterator[Postgres]:
    async with database_on(postgres_server, template=postgres_template) as url:
        database = cast("Postgres", open_database(url))
        yield database
        await database.aclose()


@pytest.fixture
def make(server: Postgres) -> Make:
    def several(
        due: Look, clock: ManualClock, *, concurrency: int, channels: Mapping[str, int] | None = None
    ) -> PgQueuer:
        local = InProcess(due, clock, concurrency=concurrency, channels=channels)
        return PgQueuer(server.connect, local=local)

    return several


class TestPgQueuer(Contract):
    pass


async def nothing_due(limit: int) -> list[tuple[str, bool]]:
    return []


def web(server: Postgres) -> PgQueuer:
    """A process that only tells of work."""
    return PgQueuer(server.connect, local=None)


def worker(server: Postgres, *, concurrency: int = 100) -> PgQueuer:
    """A process that hears of work in no other way."""
    local = InProcess(nothing_due, ManualClock(), concurrency=concurrency)
    return PgQueuer(server.connect, local=local)


async def test_what_one_process_tells_another_one_does(server: Postgres) -> None:
    work = Work()
    telling = web(server)
    async with dispatching(telling, work.handle), dispatching(worker(server), work.handle):
        for n in range(1000):
            work.owed[f"line:{n}"] = 1
            await telling.wake(f"line:{n}", bulk=n % 2 == 0)
        await until(lambda: sum(work.done.values()) == 1000)
        assert telling.dispatching
    assert not telling.dispatching


async def test_who_has_no_room_leaves_it_to_who_has(server: Postgres) -> None:
    full, free = Work(), Work()
    full.go.clear()
    first = worker(server, concurrency=1)
    async with dispatching(first, full.handle):
        full.owed["line:0"] = free.owed["line:1"] = 1
        await first.wake("line:0")
        await until(lambda: full.at_once["line:0"])
        async with dispatching(worker(server), free.handle):
            await first.wake("line:1")
            await until(lambda: free.done["line:1"])
        full.go.set()


@pytest.mark.parametrize("fault", ["cut", "ended"])
async def test_a_connection_that_breaks_is_made_again(postgres_server: str, postgres_template: str, fault: str) -> None:
    async with database_on(postgres_server, template=postgres_template) as url:
        address = sa.make_url(url)
        async with Proxy(address.port or 5432) as proxy:
            behind = cast(
                "Postgres", open_database(f"postgresql://chatferry@127.0.0.1:{proxy.port}/{address.database}")
            )
            work, telling = Work(), web(behind)
            async with dispatching(telling, work.handle), dispatching(worker(behind), work.handle):
                await _does(telling, work, "line:before")
                if fault == "cut":
                    proxy.cut()
                    proxy.mend()
                else:
                    await _end_all(url)
                await _does(telling, work, "line:after")
            await behind.aclose()


async def test_a_database_that_is_away_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgqueuer, "_AGAIN", 0.01)
    tries = 0

    async def connect() -> None:
        nonlocal tries
        tries += 1
        raise ConnectionRefusedError("nobody is there")

    with capture_logs() as lines:
        async with dispatching(PgQueuer(connect, local=None), Work().handle):
            await until(lambda: tries == 5)
    assert [line["error"] for line in lines] == ["nobody is there"]


async def _does(telling: PgQueuer, work: Work, conversation: str) -> None:
    """A job may go with its connection: then the sweep, which is not there, would find the work."""
    work.owed[conversation] = 1
    async with asyncio.timeout(60):
        while not work.done[conversation]:
            await telling.wake(conversation)
            await asyncio.sleep(0.05)


async def _end_all(url: str) -> None:
    """As a server does that is told to stop."""
    other = cast("Postgres", open_database(url))
    others = "pid != pg_backend_pid() AND datname = current_database()"
    ends = sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608
    await other.read(lambda connection: connection.execute(ends).all())
    await other.aclose()


async def test_jobs_that_are_done_leave_nothing_behind(server: Postgres) -> None:
    work, telling = Work(), web(server)
    async with dispatching(telling, work.handle), dispatching(worker(server), work.handle):
        for n in range(10):
            work.owed[f"line:{n}"] = 1
            await telling.wake(f"line:{n}")
        await until(lambda: sum(work.done.values()) == 10)
    count = sa.text("SELECT count(*) FROM chatferry_pgqueuer")
    assert await server.read(lambda connection: connection.execute(count).scalar()) == 0
