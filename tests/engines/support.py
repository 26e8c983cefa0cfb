"""What the tests of engines share: prompts, settings, clocks and connections that can be watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from chatferry.config import ModelSettings
from chatferry.engines.base import Delta, Done, Event, Prompt
from chatferry.model import Options, says
from chatferry.simulator.model import ModelSimulator
from chatferry.testing import ManualClock

KEY = "sk-secret-0123456789abcdef"


def asking(*texts: str, system: str = "", options: Options | None = None) -> Prompt:
    """A talk in which the user begins and the two sides take turns."""
    roles: tuple[Literal["user"], Literal["assistant"]] = ("user", "assistant")
    messages = tuple(says(roles[n % 2], text) for n, text in enumerate(texts))
    return Prompt(system, messages, options or Options())


def settings(provider: Literal["openai", "gemini", "demo"], base_url: str, **more: Any) -> ModelSettings:
    return ModelSettings.model_validate(
        {"provider": provider, "model": "some-model", "base_url": base_url, "api_key": KEY} | more
    )


async def whole(events: AsyncIterator[Event]) -> tuple[str, Done]:
    """The text and the end of an answer, which is the last event and there once."""
    seen = [event async for event in events]
    assert [isinstance(event, Done) for event in seen] == [False] * (len(seen) - 1) + [True]
    assert isinstance(seen[-1], Done)
    return "".join(event.text for event in seen if isinstance(event, Delta)), seen[-1]


async def gather(seen: list[Event], events: AsyncIterator[Event]) -> None:
    """Put the events into `seen`, so that they are there even if the last thing to come is a fault."""
    async for event in events:
        seen.append(event)


async def settle() -> None:
    """Let everybody on the loop do what they can without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Provider:
    """Where the simulated provider is, and how to tell it what to do."""

    sim: ModelSimulator
    url: str


class WatchedClock(ManualClock):
    """A clock turned by hand that tells when somebody sleeps, and for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []
        self.asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.asleep.set()
        await super().sleep(seconds)


class HastyClock(ManualClock):
    """Time passes at once: a sleep only turns the hands."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


class WatchedConnector(aiohttp.TCPConnector):
    """Lets tests see the transports of the connections in use."""

    def __init__(self) -> None:
        super().__init__()
        self.transports: list[asyncio.Transport] = []

    async def connect(self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:  # noqa: ASYNC109
        connection = await super().connect(req, traces, timeout)
        assert connection.transport is not None
        self.transports.append(connection.transport)
        return connection
