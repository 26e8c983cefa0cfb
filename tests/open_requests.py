"""Requests that stay open, in processes without a network: the clock is turned while somebody sleeps on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from chatferry.channels.base import Capabilities, Hold
from chatferry.delivering.holding import Holding, OpenRequest
from chatferry.feed import Feed, Outcome
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.links import Links
from chatferry.model import Inbound, Turn, says
from chatferry.testing import Board, ManualClock
from chatferry.words import words
from tests.scenarios.support import until

WORDS = words("en")
HOLD = Hold(str.encode, seconds=4.5, limit=5.0, calls=3)
ROOM = "board:room"


class Process:
    """One process that holds requests of the database, and works on turns if it is told to."""

    def __init__(self, ledger: Ledger, clock: ManualClock, base: str | None = "https://bot.example") -> None:
        self.ledger = ledger
        self.clock = clock
        self.feed = Feed()
        self.links = Links(b"key", 3600.0, base)
        self.holding = Holding(ledger, self.feed, self.links, clock)
        self.board = Board(clock, caps=Capabilities(limit=600, measure="utf8", pages=True))
        self.left = asyncio.Event()

    async def comes(self, event: str, *, at: float | None = None, text: str = "hi", command: str = "") -> OpenRequest:
        """The request of an event; it was said at `at`."""
        said = self.clock.now() if at is None else at
        inbound = Inbound(
            event, "room", "command" if command else "message", says("user", text), at=said, command=command
        )
        [accepted] = await self.ledger.accept("board", [inbound])
        return OpenRequest(inbound, HOLD, accepted, self.clock.now())

    def waits(self, held: OpenRequest) -> asyncio.Task[str | None]:
        return asyncio.create_task(self.holding.reply(self.board, held, self.left, WORDS))

    async def passes(self, task: asyncio.Task[str | None], seconds: float) -> None:
        """Let the time pass for somebody who waits, as real time would: with looks at the database in between."""
        end = self.clock.now() + seconds
        await self.settles(task)
        while not task.done() and self.clock.now() < end:
            self.clock.advance(min(0.1, end - self.clock.now()))
            await self.settles(task)

    async def settles(self, task: asyncio.Task[str | None]) -> None:
        """Return once it is done, or sleeps."""
        await until(lambda: task.done() or self._sleeps())

    def _sleeps(self) -> bool:
        return any(not alarm.done() for _, _, alarm in self.clock._alarms)

    async def hears(self, held: OpenRequest) -> str | None:
        """What the response says, however long it takes."""
        task = self.waits(held)
        await self.passes(task, 60.0)
        return await task

    async def said(self, held: OpenRequest) -> str | None:
        return await self.hears(held)

    async def claims(self, lane: str = ROOM) -> Turn:
        turn = await self.ledger.claim(lane)
        assert turn is not None
        return turn

    async def answers(
        self, text: str, turn: Turn | None = None, *, finish: str = "", ring: bool = True, lane: str = ROOM
    ) -> Turn:
        """Let a turn be answered by a text that waits to be fetched; by this process, if it rings."""
        turn = turn or await self.claims(lane)
        answer = says("assistant", text)
        turn = await self.ledger.answered(turn, answer, [answer] if text else [], finish=finish)
        await self.ledger.finish(turn, [answer], state="parked" if text else "done")
        if ring:
            self.feed.tail(turn.id).end(Outcome(answer, finish))
        return turn

    def linked(self, said: str | None, words: str) -> int | None:
        """The turn whose page a text leads to at its end, behind these words."""
        before, address = words.split("{link}")[0], (said or "").rpartition("https://bot.example/a/")[2]
        assert said is not None
        assert said.endswith(f"{before}https://bot.example/a/{address}")
        return self.links.read("a", address, self.clock.now())

    def later(self, said: str | None) -> int | None:
        """The turn whose answer will be on the page that a text leads to."""
        return self.linked(said, WORDS.ready_later)


@contextlib.asynccontextmanager
async def another(database: Database, clock: ManualClock) -> AsyncIterator[Process]:
    async with Ledger(database, clock).open() as ledger:
        yield Process(ledger, clock)
