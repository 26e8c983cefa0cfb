"""What the tests of pages share: questions with a link to their page, and a client without a screen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from chatferry.ledger.looking import Entry
from chatferry.links import Page
from tests.stack import Stack


async def say(stack: Stack, text: str, person: str = "ann") -> int:
    """A question on LINE; returns its turn."""
    await stack.line.say(person, text)
    return await newest(stack)


async def newest(stack: Stack) -> int:
    """The turn that was kept last."""
    return next((entry.id for entry in await stack.gateway.ledger.entries(limit=1)), 0)


async def ended(stack: Stack, turn: int) -> Entry:
    """Wait until the turn is closed."""
    while True:
        (entry,) = await stack.gateway.ledger.entries(turn=turn)
        if entry.state not in ("due", "doing"):
            return entry
        await asyncio.sleep(0.01)


async def asked(stack: Stack, text: str, person: str = "ann") -> int:
    """A question that is answered; returns its turn."""
    turn = await say(stack, text, person)
    await ended(stack, turn)
    return turn


def link(stack: Stack, page: Page, turn: int, *, at: float | None = None) -> str:
    """The address of a turn's page."""
    gateway = stack.gateway
    now = gateway.clock.now() if at is None else at
    return f"{stack.url}/{page}/{gateway.links.token(page, turn, now)}"


class Got(NamedTuple):
    status: int
    text: str
    headers: dict[str, str]


async def get(url: str, method: str = "GET") -> Got:
    """One request; redirects are not followed."""
    async with aiohttp.ClientSession() as http, http.request(method, url, allow_redirects=False) as answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Got(answer.status, await answer.text(), headers)


class Event(NamedTuple):
    """A server-sent event."""

    kind: str
    data: Any


class Reader:
    """Reads a stream as a page does, and has on its screen what the page would have."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.blocks: list[str] = []
        self.state = ""

    async def next(self) -> Event | None:
        """The next event; None where the stream has ended."""
        kind, data = "message", ""
        while line := (await self._answer.content.readline()).decode():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ").strip()
            elif line.startswith("data:"):
                data = line.removeprefix("data:").strip()
            elif line == "\n" and kind == "beat":
                return Event(kind, None)
            elif line == "\n" and data:
                change = json.loads(data)
                self.blocks[change["from"] :] = change["blocks"]
                self.state = change["state"]
                return Event(kind, change)
        return None

    async def all(self) -> list[Event]:
        """Every event up to the end of the stream."""
        events = []
        while event := await self.next():
            events.append(event)
        return events


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[Reader]:
    """A reader of the page at `url`."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/events", read_bufsize=2**20) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Reader(answer)
