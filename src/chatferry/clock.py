"""Time as an argument, so that tests turn it by hand instead of waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_STEP = 60.0
"""Seconds between two looks at the time that is shared."""
_LOOKS = 3


class SharedClock:
    """The time that all processes share, by whoever is asked for it; in between, this machine's steady clock goes on.

    So leases, leave to answer and waiting times mean the same everywhere, however wrong a machine's own clock is, or
    is set meanwhile.
    """

    def __init__(self, ask: Callable[[], Awaitable[float]]) -> None:
        self._ask = ask
        self._ahead = time.time() - time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def set(self) -> None:
        """Ask for the time; the quickest answer of a few counts. Raises what asking raises."""
        best = float("inf")
        for _ in range(_LOOKS):
            began = time.monotonic()
            told = await self._ask()
            took = time.monotonic() - began
            if took < best:
                best, self._ahead = took, told - began - took / 2

    async def keep(self) -> None:
        """Ask for it again and again, until cancelled. While nobody answers, the steady clock is good enough."""
        while True:
            await asyncio.sleep(_STEP)
            try:
                await self.set()
            except OSError:
                continue
