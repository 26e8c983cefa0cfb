"""A talk without sockets: a model and a keeper of notes that are scripts, between them the core on a real database."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from chatferry.accounts import Accounts
from chatferry.answering.again import Again
from chatferry.answering.asking import Asking
from chatferry.answering.media import Media
from chatferry.answering.summaries import Summaries
from chatferry.assistant import Assistant, Staff
from chatferry.channels.base import Capabilities, Taken
from chatferry.commands import Commands
from chatferry.config import AssistantSettings, CommandSettings, MoneySettings
from chatferry.delivering.delivery import Delivery
from chatferry.delivering.growth import Growth
from chatferry.desk import Desk
from chatferry.dispatch.inprocess import InProcess
from chatferry.engines.base import Delta, Done, Event, Prompt
from chatferry.feed import Feed
from chatferry.intake import Intake
from chatferry.knowledge.grounding import Grounding
from chatferry.knowledge.library import Library
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.links import Links
from chatferry.model import Inbound, Message, Text, Usage, says
from chatferry.reading.readers import Readers
from chatferry.replies import Replies
from chatferry.testing import Board, ManualClock, ScriptedEngine
from chatferry.watching.metrics import Metrics
from chatferry.worker import Worker

TALK = "board:room"
FACT = re.compile(r"my ([a-z]+) is called (\w+)")


def count(text: str) -> int:
    """Tokens by a tokenizer of our own: words and their pieces of four letters, and one and a half for a Han."""
    return sum(-(-len(word) // 4) for word in re.findall(r"[ -~]+", text)) + int(1.5 * len(re.findall(r"[^ -~]", text)))


def counted(prompt: Prompt) -> int:
    texts = [prompt.system, *(message.text for message in prompt.messages)]
    return sum(count(text) + 4 for text in texts) + 3


class Forgetful(ScriptedEngine):
    """A model that knows what stands in its prompt and nothing else: it tells names that it finds there."""

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        self.prompts.append(prompt)
        asked = prompt.messages[-1].text
        known = dict(FACT.findall("\n".join((prompt.system, *(said.text for said in prompt.messages[:-1])))))
        wanted = re.fullmatch(r"what is my ([a-z]+) called\?", asked)
        yield Delta(known.get(wanted[1], "I don't know.") if wanted else "I see.")
        yield Done(model=self.name, usage=Usage(counted(prompt), 5))


def forgetful() -> Forgetful:
    return Forgetful(lambda _: "")


def notes(prompt: Prompt) -> str:
    """A keeper of notes that keeps the names, once each, and nothing else."""
    found = dict(FACT.findall(prompt.messages[-1].text))
    return "\n".join(f"my {what} is called {name}" for what, name in found.items()) or "Nothing of note."


@dataclass
class Mind:
    """One process with an assistant that remembers. What is said is answered at once, and then folded if it is time."""

    database: Database
    clock: ManualClock
    settings: dict[str, Any] = field(default_factory=dict)
    engine: ScriptedEngine = field(default_factory=forgetful)
    keeper: Any = None
    """The model that keeps the notes: an engine."""
    events: int = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Mind]:
        settings = AssistantSettings(
            language="en", instructions="You are Ferry.", **({"summary_model": "notes"} | self.settings)
        )
        keeper = (self.keeper or ScriptedEngine(notes)) if settings.summary_model else None
        self.assistant = Assistant("default", settings, self.engine, settings.words, summarizer=keeper)
        self.board = Board(self.clock, caps=Capabilities(batch=0))
        staff = Staff({"default": self.assistant}, {"board": "default"})
        links = Links(b"key", 3600.0, None)
        async with Ledger(self.database, self.clock).open() as self.ledger:
            self.desk = Desk(Commands(CommandSettings()), Replies(()), staff, links, self.clock, self.ledger)
            accounts = Accounts({}, MoneySettings(), staff)
            self.summaries = Summaries(self.ledger, accounts, self.clock)
            media = Media(self.ledger, Readers(), {}, self.clock)
            grounding = Grounding(Library(self.database), Metrics())
            again = Again(self.ledger, Metrics(), self.clock)
            asking = Asking(self.ledger, media, grounding, self.summaries, again, accounts, self.clock)
            worker = Worker(
                self.ledger, Delivery(self.ledger, links, self.clock), Growth(self.ledger, self.clock), Feed(),
                self.clock, Metrics(), asking, accounts,
                channels={"board": self.board}, staff=staff, desk=self.desk,
            )  # fmt: skip
            self.worker = worker
            dispatcher = InProcess(self.ledger.due, self.clock)
            self.intake = Intake(self.ledger, dispatcher, Metrics(), self.desk, accounts, self.clock, end=worker.stop)
            keeping = asyncio.create_task(self.summaries.keep())
            try:
                yield self
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])

    async def say(
        self, text: str, *, who: str = "ann", room: str = "room", group: bool = False, settle: bool = True
    ) -> str:
        """What is answered; `settle`: once the notes are up to date too."""
        message = Message("user", (Text(text),), author=who if group else "", name=who if group else "")
        turn = await self.take(Inbound("", room, "message", message, sender=who), settle=settle)
        answers = [entry.answer for entry in await self.ledger.entries(turn=turn)] if turn else []
        return answers[0].text if answers and answers[0] else ""

    async def take(self, event: Inbound, *, settle: bool = True) -> int:
        """The event's turn, once it is closed."""
        self.events += 1
        named = event if event.event else _named(event, str(self.events))
        [accepted] = await self.intake.accept(self.board, Taken((named,)))
        if not accepted.turn:
            return 0
        await self.worker.handle(accepted.lane or f"board:{event.conversation}", asyncio.Event())
        if settle:
            await self.settled()
        return accepted.turn

    async def settled(self) -> None:
        """Return when no notes are being made any more."""
        async with asyncio.timeout(60):
            await self.summaries.idle()

    async def kept(self, room: str = "room") -> str:
        """The notes of the talk, whatever they are good for."""
        found = await self.ledger.recalled(f"board:{room}", 2**62, across=True, paged=False)
        return found.row.summary if found.row else ""


def asks(text: str) -> Inbound:
    return Inbound("", "room", "message", says("user", text), sender="ann")


def _named(event: Inbound, number: str) -> Inbound:
    return replace(event, event=f"e{number}", ref=event.ref or f"m{number}")


def filler(n: int) -> str:
    return f"message {n}: the weather is fine and the sea is calm, 今天天氣很好，海面平靜。 " + "la " * (n % 40)
