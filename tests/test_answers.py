"""Answers that are kept to be given again, in the ledger, on both databases."""

from __future__ import annotations

import asyncio

from chatferry.answers import Keep
from chatferry.database import Database
from chatferry.ledger import Ledger
from chatferry.people import Talk
from chatferry.testing import ManualClock
from tests.talking import ROOM, answers, asks

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
