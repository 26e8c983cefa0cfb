"""Looks that are made together: each gets its own, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from chatferry.errors import Unavailable
from chatferry.ledger.database import Database
from chatferry.ledger.grouplook import GroupLook
from tests.scenarios.support import until

T = TypeVar("T")


def number(value: int) -> Callable[[sa.Connection], int]:
    query = sa.select(sa.literal(value))

    def look(connection: sa.Connection) -> int:
        found: int = connection.execute(query).scalar_one()
        return found

    return look


async def test_everybody_gets_what_he_asked_for(database: Database) -> None:
    group = GroupLook(database)
    assert await asyncio.gather(*(group.look(number(n)) for n in range(500))) == list(range(500))


async def test_who_asks_when_the_last_look_has_just_been_made_is_answered(database: Database) -> None:
    group = GroupLook(database)

    async def again_and_again(first: int) -> None:
        for n in range(first, first + 50):
            assert await group.look(number(n)) == n

    async with asyncio.timeout(60):
        await asyncio.gather(*(again_and_again(1000 * n) for n in range(5)))


async def test_a_look_that_fails_fails_nobody_else(database: Database) -> None:
    group = GroupLook(database)
    wrong = sa.text("SELECT nothing FROM nowhere")

    def fails(connection: sa.Connection) -> int:
        connection.execute(wrong)
        return 0

    results = await asyncio.gather(
        group.look(number(1)), group.look(fails), group.look(number(2)), return_exceptions=True
    )
    assert (results[0], results[2]) == (1, 2)
    assert isinstance(results[1], Unavailable)


async def test_who_does_not_wait_any_more_holds_up_nobody(database: Database) -> None:
    group = GroupLook(database)
    asking = [asyncio.create_task(group.look(number(n))) for n in range(20)]
    await asyncio.sleep(0)
    for task in asking[::2]:
        task.cancel()
    assert await asyncio.gather(*asking[1::2]) == list(range(1, 20, 2))


class Slow:
    """A database that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[None]] = []

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        self.asked.append(asyncio.get_running_loop().create_future())
        await self.asked[-1]
        with sa.create_engine("sqlite://").connect() as connection:
            return work(connection)


async def test_between_the_end_of_a_look_and_its_notice_nobody_is_forgotten() -> None:
    slow = Slow()
    group = GroupLook(slow)  # type: ignore[arg-type]  # it is only read

    async def twice() -> int:
        return await group.look(number(1)) + await group.look(number(2))

    asking = asyncio.create_task(twice())
    await until(lambda: len(slow.asked) == 1)
    other = asyncio.create_task(group.look(number(3)))
    await until(lambda: len(slow.asked) == 2)
    for look in slow.asked:  # both end in the same moment
        look.set_result(None)
    await until(lambda: len(slow.asked) == 3)
    slow.asked[2].set_result(None)
    await until(asking.done)
    assert (asking.result(), await other) == (3, 3)
