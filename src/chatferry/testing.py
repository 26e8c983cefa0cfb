"""Shipped for tests, ours and those of people who write a channel or an engine of their own."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from chatferry.engines.base import Delta, Done, Event, Prompt
from chatferry.model import Finding


class ManualClock:
    """A clock that stands still until it is turned. Whoever sleeps wakes in the order of the alarms."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._alarms: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._alarms, (self._now + seconds, next(self._numbers), alarm))
        await alarm

    def advance(self, seconds: float) -> None:
        """Turn the clock; who has slept long enough runs next."""
        self._now += seconds
        while self._alarms and self._alarms[0][0] <= self._now:
            _, _, alarm = heapq.heappop(self._alarms)
            if not alarm.done():
                alarm.set_result(None)


class ScriptedEngine:
    """A model that says what `script` makes of the prompt. A script that returns an exception raises it."""

    def __init__(self, script: Callable[[Prompt], str | Exception], *, name: str = "scripted") -> None:
        self.name = name
        self.prompts: list[Prompt] = []
        self._script = script

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        self.prompts.append(prompt)
        said = self._script(prompt)
        if isinstance(said, Exception):
            raise said
        yield Delta(said)
        yield Done(model=self.name)

    async def check(self) -> AsyncIterator[Finding]:
        yield Finding(True, f"model {self.name}", "scripted")
