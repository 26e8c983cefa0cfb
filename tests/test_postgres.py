"""PostgreSQL as the ledger has it: commits that are cut, what processes tell each other, whose time counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal, cast

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from chatferry.clock import SharedClock, SystemClock
from chatferry.engines.base import Call, Result
from chatferry.errors import Unavailable, Unsure
from chatferry.ledger import news
from chatferry.ledger.database import Database, migrate, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.postgres import Postgres
from chatferry.migrations import HEAD
from chatferry.model import Inbound, Receipt, Turn, says
from chatferry.testing import Board, ManualClock
from chatferry.tools.base import Caller
from chatferry.tools.python import Python
from tests.chaos.proxy import Proxy
from tests.growing import World, asks
from tests.postgres import Cluster, database_on
from tests.scenarios.support import until


class Cutting(Proxy):
    """Cuts the next commit: before the server has it, or before its word about it comes back."""

    when: Literal["before", "after"] | None = None
    _answering = False

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.when == "before" and b"COMMIT;" in data:
                    self.when = None
                    return
                if self.when == "after" and b"COMMIT;" in data:
                    self.when, self._answering = None, True
                elif self._answering:
                    self._answering = False
                    return
                await self._flows.wait()
                writer.write(data)
                await writer.drain()


@pytest.fixture
async def url(postgres_server: str, postgres_template: str) -> AsyncIterator[str]:
    async with database_on(postgres_server, template=postgres_template) as url:
        yield url


@pytest.fixture
async def cutting(url: str) -> AsyncIterator[tuple[Cutting, Postgres]]:
    """A database, and the way to it."""
    address = sa.make_url(url)
    async with Cutting(address.port or 5432) as proxy:
        database = cast("Postgres", open_database(str(address.set(host="127.0.0.1", port=proxy.port))))
        yield proxy, database
        await database.aclose()


async def claimed(ledger: Ledger) -> Turn:
    await ledger.accept("line", [Inbound("e1", "ann", message=says("user", "hello"))])
    turn = await ledger.claim("line:ann")
    assert turn is not None
    return turn


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_answer_whose_commit_was_cut_is_kept_once(
    cutting: tuple[Cutting, Postgres], when: Literal["before", "after"]
) -> None:
    proxy, database = cutting
    async with Ledger(database, SystemClock()).open() as ledger:
        turn = await claimed(ledger)
        proxy.when = when
        turn = await ledger.answered(turn, says("assistant", "hi"), [says("assistant", "hi")])
        assert proxy.when is None
        assert [piece.message.text for piece in await ledger.pending("line:ann")] == ["hi"]
        proxy.when = when
        sent = [(piece, Receipt("r")) for piece in await ledger.pending("line:ann")]
        assert await ledger.finish(turn, [says("user", "hello"), says("assistant", "hi")], sent=sent) == "done"
        assert [said.message.text for said in await ledger.said("line:ann")] == ["hi", "hello"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_may_be_accepted_is_not_said_to_be_and_is_the_same_when_it_comes_again(
    cutting: tuple[Cutting, Postgres], when: Literal["before", "after"]
) -> None:
    proxy, database = cutting
    event = Inbound("e1", "ann", message=says("user", "hello"))
    async with Ledger(database, SystemClock()).open() as ledger:
        proxy.when = when
        with pytest.raises(Unavailable):
            await ledger.accept("line", [event])
        (again,) = await ledger.accept("line", [event])
        assert again.new == (when == "before")
        assert [entry.event for entry in await ledger.entries()] == ["e1"]


async def test_an_unsure_commit_can_be_looked_up(cutting: tuple[Cutting, Postgres]) -> None:
    proxy, database = cutting
    make = sa.text("INSERT INTO keys (name, key) VALUES ('k', '')")
    undo = sa.text("DELETE FROM keys")
    for when, done in (("before", False), ("after", True)):
        await database.write(lambda connection: connection.execute(undo).rowcount)
        proxy.when = cast('Literal["before", "after"]', when)
        with pytest.raises(Unsure) as unsure:
            await database.write(lambda connection: connection.execute(make).rowcount)
        assert unsure.value.result == 1
        async with asyncio.timeout(60):
            while (committed := await database.committed(unsure.value.transaction)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert committed is done


async def test_a_connection_that_was_lost_since_its_last_use_costs_nobody_anything(
    cutting: tuple[Cutting, Postgres],
) -> None:
    proxy, database = cutting
    one = sa.text("SELECT 1")
    for _ in range(3):
        assert await database.read(lambda connection: connection.execute(one).scalar()) == 1
        assert await database.write(lambda connection: connection.execute(one).scalar()) == 1
        proxy.cut()
        proxy.mend()


async def test_who_holds_a_turn_waits_for_a_database_that_is_away_also_to_look(
    cutting: tuple[Cutting, Postgres],
) -> None:
    """Else a placeholder that is looked up just then would end the answer, and what it had called were called again."""
    (proxy, database), clock = cutting, ManualClock()
    async with Ledger(database, clock).open() as ledger:
        turn = await claimed(ledger)
        proxy.cut()
        with pytest.raises(Unavailable):
            await ledger.due()
        looking = asyncio.gather(ledger.pending(turn.conversation), ledger.waiting(turn, "message"))
        began = clock.now()
        await until(lambda: clock.now() > began + 20.0, clock)
        assert not looking.done()
        proxy.mend()
        await until(looking.done, clock, turn=0.01)
        assert tuple(await looking) == ([], [])


async def test_a_server_that_is_away_is_unavailable_and_then_serves_again() -> None:
    with Cluster(durable=True) as server, capture_logs() as lines:
        database = open_database(server.url)
        await migrate(database)
        async with Ledger(database, SystemClock()).open() as ledger:
            turn = await claimed(ledger)
            await asyncio.to_thread(server.stop, "immediate")
            with pytest.raises(Unavailable):
                await ledger.accept("line", [Inbound("e2", "ann", message=says("user", "more"))])
            with pytest.raises(Unavailable):
                await ledger.due()
            answering = asyncio.create_task(ledger.answered(turn, says("assistant", "hi"), [says("assistant", "hi")]))
            await asyncio.to_thread(server.start)
            assert (await answering).answer == says("assistant", "hi")
            (accepted,) = await ledger.accept("line", [Inbound("e2", "ann", message=says("user", "more"))])
            assert accepted.new
        await database.aclose()
    # However often it was tried.
    assert [line["event"] for line in lines] == ["nothing can be kept", "kept again"]


async def test_a_database_that_was_read_only_for_a_while_is_written_again(url: str) -> None:
    """As hosts make it when their disk is full: who connects meanwhile may only read for as long as that lasts."""
    name = sa.make_url(url).database
    setting = f'ALTER DATABASE "{name}" SET default_transaction_read_only'
    others = f"pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid != pg_backend_pid()"
    events = [Inbound(f"e{number}", "ann", message=says("user", "hello")) for number in range(20)]
    admin, database = open_database(url), open_database(url)
    async with Ledger(database, SystemClock()).open() as ledger:
        await admin.write(lambda connection: connection.exec_driver_sql(f"{setting} = on"))
        await admin.write(lambda connection: connection.exec_driver_sql(f"SELECT {others}"))
        await asyncio.gather(*(ledger.due() for _ in events))  # whoever looks keeps a connection
        with pytest.raises(Unavailable, match="read-only"):
            await ledger.accept("line", [events[0]])
        await admin.write(lambda connection: connection.exec_driver_sql(f"{setting} = off"))
        accepted = [(await ledger.accept("line", [event]))[0] for event in events]
        assert all(one.new for one in accepted)
    await database.aclose()
    await admin.aclose()


Cut = Literal["before", "after", "a while", "too long"]


@pytest.mark.parametrize("cut", ["before", "after", "a while", "too long"])
async def test_what_a_call_returned_is_kept_once_the_database_is_there_again(
    cutting: tuple[Cutting, Postgres], cut: Cut
) -> None:
    proxy, database = cutting
    clock, keys = ManualClock(), list[str]()

    async def ship(number: str, caller: Caller) -> str:
        """Sends a parcel, and then the way to the database is cut."""
        keys.append(caller.key)
        if cut in ("before", "after"):
            proxy.when = cut
        elif len(keys) == 1:
            proxy.cut()
        return f"{number} is on its way"

    talk = World(database, clock, Board(clock), tools=[Python(ship)])
    async with talk.process() as process:
        await process.accept(asks("e1"))
        call = Call("c1", "ship", '{"number": "12"}')
        (await talk.asked()).calls(call)
        await talk.until(lambda: keys)
        if cut in ("a while", "too long"):
            await talk.passes(20.0 if cut == "a while" else 200.0)
            proxy.mend()
        # Slowly: on a busy machine it takes a second to reach the database again, and that is not two minutes.
        second = await talk.asked(turn=0.1 if cut == "too long" else 0.005)
        assert proxy.when is None
        assert [made.results for made in second.prompt.rounds] == [(Result("12 is on its way"),)]
        second.ends("Done.")
        [turn] = await talk.ended(process)
        assert (turn.state, talk.screen) == ("done", ["Done."])
        [step] = await process.ledger.steps(turn.id)
        # Whoever could not keep it for so long has given up the turn: then it is the same call, by its key.
        assert keys == [step.key] * (2 if cut == "too long" else 1)


async def test_what_one_process_tells_the_others_hear_also_after_their_connection_broke(url: str) -> None:
    address = sa.make_url(url)
    async with Proxy(address.port or 5432) as proxy:
        here, there = open_database(url), open_database(str(address.set(host="127.0.0.1", port=proxy.port)))
        heard: asyncio.Queue[str | None] = asyncio.Queue()
        listening = asyncio.create_task(there.listen(heard.put_nowait))
        async with asyncio.timeout(60):
            assert await heard.get() is None  # from here on nothing is missed
            await here.write(lambda connection: news.tell(connection, {"changed": {3, 2}, "stop": {0, 7}}))
            assert [news.read(await heard.get() or ""), news.read(await heard.get() or "")] == [
                ("changed", [2, 3]),
                ("stop", [7]),
            ]
            proxy.cut()
            await here.write(lambda connection: news.tell(connection, {"changed": {4}}))
            proxy.mend()
            assert await heard.get() is None  # something may have been missed, and was
            await here.write(lambda connection: news.tell(connection, {"changed": set(range(1, 2000))}))
            told: list[int] = []
            while len(told) < 1999:
                _, turns = news.read(await heard.get() or "") or ("", [])
                told += turns
            assert told == list(range(1, 2000))
        listening.cancel()
        for database in (here, there):
            await database.aclose()


def test_news_of_a_newer_version_are_passed_over() -> None:
    assert news.read("weather 1 2") is None
    assert news.read("") is None


async def test_processes_that_start_together_make_the_schema_once(postgres: str) -> None:
    databases = [open_database(postgres) for _ in range(4)]
    await asyncio.gather(*map(migrate, databases))
    version = sa.text("SELECT version_num FROM alembic_version")
    assert await databases[0].read(lambda connection: connection.execute(version).scalars().all()) == [HEAD]
    for database in databases:
        await database.aclose()


async def test_a_schema_that_is_newer_than_this_version_is_left_alone(database: Database) -> None:
    newer = sa.text("UPDATE alembic_version SET version_num = '9999'")
    await database.write(lambda connection: connection.execute(newer).rowcount)
    await migrate(database)
    version = sa.text("SELECT version_num FROM alembic_version")
    assert await database.read(lambda connection: connection.execute(version).scalar()) == "9999"
    async with Ledger(database, SystemClock()).open() as ledger:
        await claimed(ledger)


async def test_the_time_is_the_servers_whatever_this_machine_believes(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(url)
    before = SystemClock().now()
    monkeypatch.setattr("time.time", lambda: before - 86_400.0)
    clock = await database.clock()
    assert isinstance(clock, SharedClock)
    assert abs(clock.now() - before) < 60.0  # this machine's own, here, is the server's too
    await database.aclose()


@pytest.mark.parametrize("query", ["", "?sslmode=disable", "?sslmode=prefer&channel_binding=prefer", "?ssl=disable"])
async def test_an_address_may_be_written_as_hosts_give_it_out(postgres_server: str, query: str) -> None:
    database = cast("Postgres", open_database(postgres_server + query))
    assert await database.read(lambda connection: connection.execute(sa.text("SELECT 1")).scalar()) == 1
    connection = await database.connect()
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    await database.aclose()
