"""Answers that are kept to be given again, in the ledger, on both databases."""

from __future__ import annotations

import asyncio

from chatferry.ledger.answers import Keep, Kept
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.people import Talk
from chatferry.testing import ManualClock
from tests.talking import ROOM, answers, asks, claimed

HOUR = 3600.0


def keep(key: str, turn: int, now: float, size: int = 10) -> Keep:
    return Keep(key, "shop", turn, f"answer {key}", "m", now, size, HOUR)


async def test_what_answered_somebody_who_is_forgotten_goes_and_does_not_come_back(
    ledger: Ledger, clock: ManualClock
) -> None:
    await ledger.accept("board", [asks("e1"), asks("e2", room="other")])
    mine, other = await answers(ledger), await answers(ledger, lane="board:other")
    await asyncio.gather(*(ledger.keep_answer(keep(f"{turn.id}", turn.id, clock.now())) for turn in (mine, other)))
    await ledger.forget(Talk(ROOM, "board", "ann", shared=False), mine.id)
    late = [keep("late", mine.id, clock.now()), keep("fine", other.id, clock.now())]
    await asyncio.gather(*map(ledger.keep_answer, late))
    found = {key: await ledger.kept_answer(key, HOUR) for key in (f"{mine.id}", "late", f"{other.id}", "fine")}
    assert [key for key, kept in found.items() if kept] == [f"{other.id}", "fine"]


async def test_two_processes_that_keep_the_same_answers_keep_as_many_as_there_is_room_for(
    database: Database, clock: ManualClock
) -> None:
    async with Ledger(database, clock).open() as one, Ledger(database, clock).open() as another:
        await one.accept("board", [asks("e1")])
        turn = (await answers(one)).id
        for _ in range(5):
            clock.advance(1.0)
            keys = [f"k{n}" for n in range(40)]
            kept = [
                ledger.keep_answer(keep(key, turn, clock.now()))
                for ledger, order in ((one, keys), (another, keys[::-1]))
                for key in order
            ]
            touched = [ledger.touch_answer(key) for ledger in (another, one) for key in keys]
            await asyncio.gather(*kept, *touched)
        clock.advance(1.0)
        for n in range(4):  # each takes away what is more
            await one.keep_answer(keep(f"last{n}", turn, clock.now()))
        found = [await one.kept_answer(key, HOUR) for key in (*keys, "last0", "last1", "last2", "last3")]
        assert sum(answer is not None for answer in found) == 10
        assert all(found[-4:]), "the youngest stay"


async def test_of_two_processes_one_asks_until_there_is_an_answer_or_it_is_dead(
    database: Database, clock: ManualClock
) -> None:
    async with Ledger(database, clock, lease=7.0).open() as one, Ledger(database, clock, lease=7.0).open() as another:
        await one.accept("board", [asks("e1"), asks("e2", room="other")])
        mine, other = await claimed(one), await claimed(another, "board:other")
        assert await one.begin_answer("more", "shop", mine, HOUR)
        for key in (*(f"k{n}" for n in range(20)), "k"):
            begun = await asyncio.gather(
                *(ledger.begin_answer(key, "shop", turn, HOUR) for ledger, turn in ((one, mine), (another, other)))
            )
            assert sorted(begun) == [False, True]
        first, second = (mine, other) if begun[0] else (other, mine)
        assert await one.kept_answer("k", HOUR) == first.id
        await another.drop_answer("k", second)  # nobody else's
        assert not await another.begin_answer("k", "shop", second, HOUR)
        await one.drop_answer("k", first)
        assert await one.kept_answer("k", HOUR) is None
        assert await another.begin_answer("k", "shop", second, HOUR)
        clock.advance(6.9)
        assert (await one.renew([first])).lost == []
        assert await one.kept_answer("k", HOUR) == second.id
        clock.advance(0.2)
        assert await one.kept_answer("k", HOUR) is None, "its holder is dead"
        again = await claimed(one, second.conversation)
        assert await one.kept_answer("k", HOUR) is None, "whoever goes on with the turn has not asked yet"
        assert await one.begin_answer("k", "shop", again, HOUR)
        await another.drop_answer("k", second)  # it was frozen, and wakes up
        assert await one.kept_answer("k", HOUR) == second.id
        await one.keep_answer(keep("k", again.id, clock.now()))
        assert not await another.begin_answer("k", "shop", first, HOUR)
        await one.drop_answer("k", again)
        assert await another.kept_answer("k", HOUR) == Kept("answer k", "m", clock.now())
        clock.advance(HOUR)
        assert await another.kept_answer("k", HOUR) is None, "it is too old"
