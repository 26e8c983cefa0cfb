"""Turns that other processes work on, followed here: their words, their end, and who is told that somebody reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from chatferry.delivering.relay import LOOK, Relay
from chatferry.engines.base import Delta, Restart
from chatferry.feed import Doing, Feed, Outcome, Tail
from chatferry.ledger import news
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.model import APOLOGY, Inbound, Turn, Usage, says
from chatferry.testing import ManualClock
from tests.scenarios.support import until


class Here:
    """A process in which somebody waits, and the ledger through which another one answers."""

    def __init__(self, ledger: Ledger, clock: ManualClock) -> None:
        self.ledger, self.clock, self.feed = ledger, clock, Feed()
        self.ours: set[int] = set()
        self.relay = Relay(ledger, self.feed, clock, ours=self.ours.__contains__)

    async def asked(self, event: str = "e1") -> Turn:
        """A question, which the other process has begun to answer."""
        await self.ledger.accept("api", [Inbound(event, event, message=says("user", "hi"))])
        turn = await self.ledger.claim(f"api:{event}")
        assert turn is not None
        return turn

    async def until(self, met: Callable[[], object]) -> None:
        """However much time that takes."""
        await until(met, self.clock, turn=0.5)


@pytest.fixture
async def here(ledger: Ledger, clock: ManualClock) -> AsyncIterator[Here]:
    one = Here(ledger, clock)
    running = asyncio.create_task(one.relay.run())
    yield one
    running.cancel()
    await asyncio.wait([running])


async def read(tail: Tail) -> list[Delta | Restart | Doing | Outcome]:
    return [event async for event in tail.follow()]


def reads(tail: Tail, text: str) -> bool:
    return tail.text == text


async def test_an_answer_that_ends_elsewhere_ends_here_with_all_that_is_known_of_it(here: Here) -> None:
    turn = await here.asked()
    tail = here.feed.tail(turn.id)
    answer = says("assistant", "hello there")
    turn = await here.ledger.answered(turn, answer, [], finish="stop", model="m", usage=Usage(3, 2))
    await here.ledger.finish(turn, [says("user", "hi"), answer])
    assert not tail.ended
    here.relay.ring([turn.id])
    async with asyncio.timeout(60):
        assert await read(tail) == [Delta("hello there"), Outcome(answer, "stop", Usage(3, 2), "m")]


async def test_what_no_news_told_is_found_by_a_look(here: Here) -> None:
    turn = await here.asked()
    tail = here.feed.tail(turn.id)
    await here.ledger.finish(turn, [], state="failed", error="broken")
    await here.until(lambda: tail.ended)


async def test_words_are_brought_as_they_are_told(here: Here) -> None:
    turn = await here.asked()
    tail = here.feed.tail(turn.id)
    reading = asyncio.create_task(read(tail))
    for told in ("one", "one two", "one two"):
        await here.ledger.saying(turn, told)
        here.relay.ring([turn.id])
        await here.until(partial(reads, tail, told))
    answer = says("assistant", "one two three")
    await here.ledger.finish(await here.ledger.answered(turn, answer, []), [answer])
    here.relay.ring([turn.id])
    events = await reading
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "one two three"
    assert not any(isinstance(event, Restart) for event in events)


async def test_an_answer_that_is_begun_anew_goes_on_where_it_is_the_same_and_else_begins_anew(here: Here) -> None:
    turn = await here.asked()
    tail = here.feed.tail(turn.id)
    for told, shown in (("one two", "one two"), ("one", "one two"), ("one two three", "one two three"), ("no", "no")):
        await here.ledger.saying(turn, told)
        here.relay.ring([turn.id])
        here.clock.advance(LOOK)
        await here.until(partial(reads, tail, shown))


async def test_an_apology_is_no_part_of_the_answer(here: Here) -> None:
    turn = await here.asked()
    tail = here.feed.tail(turn.id)
    sorry = says("assistant", "sorry")
    turn = await here.ledger.answered(turn, sorry, [], finish=APOLOGY, error="busy")
    await here.ledger.finish(turn, [])
    here.relay.ring([turn.id])
    async with asyncio.timeout(60):
        assert await read(tail) == [Outcome(sorry, APOLOGY, Usage(), error="busy")]


async def test_what_is_worked_on_here_is_left_alone(here: Here) -> None:
    turn, other = await here.asked("e1"), await here.asked("e2")
    mine, theirs = here.feed.tail(turn.id), here.feed.tail(other.id)
    here.ours.add(turn.id)
    for one in (turn, other):
        await here.ledger.finish(one, [])
    here.relay.ring([turn.id, other.id])
    await here.until(lambda: theirs.ended)
    assert not mine.ended


async def test_who_makes_an_answer_is_told_that_somebody_reads_it(
    here: Here, database: Database, database_url: str
) -> None:
    if database_url.startswith("sqlite"):  # there is nobody to tell
        await here.ledger.watch([1])
        return
    heard: list[str | None] = []
    listening = asyncio.create_task(database.listen(heard.append))
    await here.until(lambda: heard)
    turn, other = await here.asked("e1"), await here.asked("e2")
    tail, unread = here.feed.tail(turn.id), here.feed.tail(other.id)
    reading = asyncio.create_task(read(tail))

    def watched() -> list[int]:
        told = [news.read(said) for said in heard if said]
        return [turn for one in told if one and one[0] == "watch" for turn in one[1]]

    await here.until(lambda: len(watched()) > 1)  # again and again: a new holder knows nothing of it
    assert set(watched()) == {turn.id}
    assert not unread.has_readers
    await here.ledger.finish(turn, [])
    here.relay.ring([turn.id])
    await reading
    listening.cancel()
    await asyncio.wait([listening])


async def test_whoever_may_have_missed_something_looks_at_once(here: Here) -> None:
    turn = await here.asked()
    tail = here.feed.tail(turn.id)
    await asyncio.sleep(0)
    await here.ledger.finish(turn, [])
    here.relay.missed()
    await until(lambda: tail.ended)
