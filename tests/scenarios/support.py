"""What the scenarios on LINE share: waiting without sleeping, looking at what was kept, starting again."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from chatferry.config import Settings
from chatferry.gateway import Gateway
from chatferry.ledger.looking import Entry
from chatferry.ledger.tables import budgets
from chatferry.simulator import line_people as people
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_records import Call, Fault, Seen
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from chatferry.testing import ManualClock
from tests.stack import Stack, gateway_on, settings_for

REPLY = "/v2/bot/message/reply"
PUSH = "/v2/bot/message/push"
LOADING = "/v2/bot/chat/loading/start"

CLUB = people.address("C", "club")
"""A group."""

BUSY = Fault(status=429, message="The API rate limit has been exceeded. Try again later.")
"""LINE takes nothing just now, and says so."""


@dataclass
class World:
    """The platforms' side, which outlives gateways."""

    line: LineSimulator
    model: ModelSimulator
    settings: Settings
    clock: ManualClock

    @contextlib.asynccontextmanager
    async def gateway(self) -> AsyncIterator[Gateway]:
        """A gateway on the one database. It does not drain: leaving cuts off what runs."""
        async with gateway_on(self.settings, self.clock) as (gateway, url, _):
            self.line.webhook = f"{url}/hooks/line"
            yield gateway


@contextlib.asynccontextmanager
async def world(folder: Path, *, line: LineSimulator | None = None, **tables: dict[str, Any]) -> AsyncIterator[World]:
    clock = ManualClock()
    line = line or LineSimulator(patience=60.0)
    line.clock = clock.now
    model = ModelSimulator()
    async with line, serving(line) as line_url, serving(model.app) as model_url:
        tables["server"] = {"drain": 0.0} | tables.get("server", {})
        yield World(line, model, settings_for(folder, line, line_url, model_url, **tables), clock)


async def until(met: Callable[[], object], clock: ManualClock | None = None, *, turn: float = 0.05) -> None:
    """Return once `met`. A clock is turned a little between two looks, for those who wait for a later time."""
    async with asyncio.timeout(60):
        while not met():
            if clock is not None:
                clock.advance(turn)
            await asyncio.sleep(0.001)


async def ended(
    gateway: Gateway, turns: int, clock: ManualClock | None = None, *, turn: float = 0.05
) -> Sequence[Entry]:
    """All turns, oldest first, once there are so many and none of them is open."""
    async with asyncio.timeout(60):
        while True:
            entries = await gateway.ledger.entries(limit=1000)
            if len(entries) >= turns and not {entry.state for entry in entries} & {"due", "doing"}:
                return entries[::-1]
            if clock is not None:
                clock.advance(turn)
            await asyncio.sleep(0.001)


async def state(gateway: Gateway, turn: int, wanted: str, clock: ManualClock | None = None) -> Entry:
    """A turn, once it is in the state that is wanted."""
    async with asyncio.timeout(60):
        while True:
            for entry in await gateway.ledger.entries(turn=turn):
                if entry.state == wanted:
                    return entry
            if clock is not None:
                clock.advance(0.05)
            await asyncio.sleep(0.001)


def texts(seen: Sequence[Seen]) -> list[str]:
    return [one.text for one in seen]


def screen(line: LineSimulator, who: str = "ann") -> list[str]:
    """What a person, or a group, has on the screen now."""
    return texts(line.chats[line.address(who)])


def calls(line: LineSimulator, path: str) -> list[Call]:
    return [call for call in line.calls if call.path == path]


def asked(model: ModelSimulator, request: int = -1) -> list[str]:
    """What the model was asked in one of its requests, without the assistant's own instructions."""
    return [said["content"] for said in model.requests[request].body["messages"] if said["role"] != "system"]


def kept(folder: Path) -> str:
    """Everything that the database holds, as text."""
    with contextlib.closing(sqlite3.connect(folder / "chatferry.db")) as database:
        return "\n".join(database.iterdump())


async def said_while_it_hangs(stack: Stack | World, words: str, *, who: str = "ann") -> None:
    """Somebody writes, and the model is at work on it."""
    stack.model.hanging.clear()
    await stack.line.say(who, words)
    await stack.model.hanging.wait()


def paragraphs(letters: str) -> str:
    """A long answer: each letter is a paragraph that fills a message of its own."""
    return "\n\n".join(letter * 4000 for letter in letters)


async def charged(gateway: Gateway) -> list[int]:
    """How many messages each budget counts."""
    query = sa.select(budgets.c.messages)
    return [row.messages for row in await gateway.ledger.look(lambda connection: connection.execute(query).all())]
