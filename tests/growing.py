"""A gateway without sockets: a board, a model that is told what to say, between them the core on a real database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from chatferry.accounts import Accounts
from chatferry.answering.again import Again
from chatferry.answering.asking import Asking
from chatferry.answering.media import Media
from chatferry.answering.summaries import Summaries
from chatferry.assistant import Assistant, Staff
from chatferry.channels.base import Capabilities, Editing, Taken
from chatferry.commands import Commands
from chatferry.config import AssistantSettings, CommandSettings, MoneySettings
from chatferry.delivering.delivery import Delivery
from chatferry.delivering.growth import Growth
from chatferry.desk import Desk
from chatferry.dispatch.inprocess import InProcess
from chatferry.engines.base import Done, Engine, Event, Prompt
from chatferry.feed import Feed
from chatferry.intake import Intake
from chatferry.knowledge.grounding import Grounding
from chatferry.knowledge.library import Library
from chatferry.ledger.accepting import Accepted
from chatferry.ledger.database import Database, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Entry
from chatferry.links import Links
from chatferry.model import Inbound, says
from chatferry.reading.readers import Readers
from chatferry.replies import Replies
from chatferry.spending import spend
from chatferry.testing import Board, Call, LiveEngine, ManualClock, Talk
from chatferry.tools.base import Callee, Fixed
from chatferry.watching.metrics import Metrics
from chatferry.words import words
from chatferry.worker import Worker
from tests.scenarios.support import until
from tests.sqlite import with_schema

WORDS = words("en")
LEASE = 60.0
SHORT = Capabilities(limit=40, markdown=True, unprompted="always", edits=1.0)
"""A board whose messages are soon full."""


def asks(event: str, text: str = "hi", *, who: str = "ann") -> Inbound:
    return Inbound(event, "room", "message", says("user", text), sender=who, ref=f"m-{event}")


def about(kind: Literal["retract", "stop", "erase", "change"], ref: str = "", *, who: str = "ann") -> Inbound:
    return Inbound(f"{kind} {ref} {who}", "room", kind, sender=who, ref=ref)


def rewords(event: str, text: str) -> Inbound:
    return Inbound(f"change {event} {text}", "room", "change", says("user", text), sender="ann", ref=f"m-{event}")


class Paid:
    """An engine whose counts are noted as what was spent, as a `Route` does it."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self.check = engine.check
        self._engine = engine

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        async with contextlib.aclosing(self._engine.run(prompt, pace=pace)) as events:
            async for event in events:
                if isinstance(event, Done) and event.usage is not None:
                    spend(event.usage)
                yield event


@dataclass
class Process:
    """What goes when a process dies."""

    ledger: Ledger
    intake: Intake
    board: Editing

    async def accept(self, *events: Inbound) -> list[Accepted]:
        return await self.intake.accept(self.board, Taken(events))


@dataclass
class World:
    """What outlives processes."""

    database: Database
    clock: ManualClock
    board: Board
    engine: LiveEngine = field(default_factory=LiveEngine)
    busy: Literal["queue", "merge", "interrupt"] = "queue"
    settings: dict[str, Any] = field(default_factory=dict)
    """More of the assistant's."""
    tools: Sequence[Callee] = ()

    @contextlib.asynccontextmanager
    async def process(self, clock: ManualClock | None = None) -> AsyncIterator[Process]:
        """A process that dies when the context is left: what it was doing stays undone, and nothing is given back.

        With a clock of its own it is one of several: it leaves the others what is theirs, and can be frozen.
        """
        alone, clock = clock is None, clock or self.clock
        async with contextlib.AsyncExitStack() as stack:
            opened = await stack.enter_async_context(contextlib.AsyncExitStack())
            ledger = await opened.enter_async_context(Ledger(self.database, clock, lease=LEASE).open())
            if alone:
                await ledger.adopt()
            settings = AssistantSettings(language="en", busy=self.busy, **self.settings)
            sources = (Fixed(*self.tools),) if self.tools else ()
            assistant = Assistant("default", settings, Paid(self.engine), WORDS, sources=sources)
            staff = Staff({"default": assistant}, {"board": "default"})
            links = Links(b"key", 3600.0, "https://bot.example")
            desk = Desk(Commands(CommandSettings()), Replies(()), staff, links, clock, ledger)
            accounts = Accounts({}, MoneySettings(), staff)
            worker = Worker(
                ledger, Delivery(ledger, links, clock), Growth(ledger, clock), Feed(), clock, Metrics(),
                Asking(
                    ledger,
                    Media(ledger, Readers(), {}, clock),
                    Grounding(Library(self.database), Metrics()),
                    Summaries(ledger, accounts, clock),
                    Again(ledger, Metrics(), clock),
                    accounts,
                    clock,
                ),
                accounts,
                channels={"board": self.board},
                staff=staff,
                desk=desk,
            )  # fmt: skip
            dispatcher = InProcess(ledger.due, clock)
            running = asyncio.create_task(dispatcher.run(worker.handle))
            leases = asyncio.create_task(worker.keep_leases())
            try:
                yield Process(
                    ledger, Intake(ledger, dispatcher, Metrics(), desk, accounts, clock, end=worker.stop), self.board
                )
            finally:
                await opened.aclose()  # first, so that nothing more is written
                for task in (running, leases):
                    task.cancel()
                await asyncio.wait([running, leases])

    async def asked(self, *, turn: float = 0.1) -> Talk:
        """The next question that the model is asked. turn: seconds by which the clock is turned at each look."""
        question = asyncio.ensure_future(self.engine.asked())
        await until(question.done, self.clock, turn=turn)
        return question.result()

    async def until(self, met: Callable[[], object]) -> None:
        """The clock is turned until this is so."""
        await until(met, self.clock, turn=0.1)

    async def passes(self, seconds: float) -> None:
        """Let so much time pass."""
        start = self.clock.now()
        await self.until(lambda: self.clock.now() >= start + seconds)

    async def reads(self, words: str) -> None:
        """Return once these words are in the last message on the board."""
        await self.until(lambda: self.screen and words in self.screen[-1])

    async def shows(self, *texts: str) -> None:
        """Return once the board reads like this."""
        with contextlib.suppress(TimeoutError):
            await self.until(lambda: self.screen == list(texts))
        assert self.screen == list(texts)

    async def ended(self, process: Process, turns: int = 1) -> list[Entry]:
        """All turns, oldest first, once there are so many and none is open."""
        async with asyncio.timeout(60):
            while True:
                entries = await process.ledger.entries()
                if len(entries) >= turns and not {entry.state for entry in entries} & {"due", "doing"}:
                    break
                self.clock.advance(0.1)
                await asyncio.sleep(0.001)
        still = [post for post in self.board.posts.values() if post.growing]
        assert not still, "what has ended does not grow"
        return entries[::-1]

    @property
    def screen(self) -> list[str]:
        return self.board.screen("room")

    def calls(self, method: str) -> list[Call]:
        return [call for call in self.board.calls if call.method == method]

    async def said(self, process: Process) -> list[str]:
        """What is remembered of the talk, oldest first."""
        return [one.message.text for one in await process.ledger.said("board:room")][::-1]


@contextlib.asynccontextmanager
async def world(
    folder: Path, *, caps: Capabilities | None = None, busy: Literal["queue", "merge", "interrupt"] = "queue"
) -> AsyncIterator[World]:
    clock = ManualClock()
    database = open_database(with_schema(folder / "ledger.db"))
    try:
        yield World(database, clock, Board(clock, caps=caps), busy=busy)
    finally:
        await database.aclose()
