"""What goes wrong on a platform's side, as long as it goes wrong. (What goes wrong once is a simulator's `fail`.)"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import msgspec
from starlette.types import Receive

from chatferry.simulator.serving import gone

Trouble = Literal["", "429", "500", "timeout", "lost"]


@dataclass
class Changing:
    """Something that is so until it is changed, and that can be waited on."""

    def __post_init__(self) -> None:
        self._changed = asyncio.Event()

    def change(self, **changes: Any) -> None:
        """Raises ValueError for what there is not, or not so."""
        told = asdict(self)
        if unknown := set(changes) - set(told):
            raise ValueError(f"no such weather: {', '.join(sorted(unknown))}")
        try:
            new = msgspec.convert(told | changes, type(self))
        except msgspec.ValidationError as fault:
            raise ValueError(str(fault)) from None
        for name, value in asdict(new).items():
            setattr(self, name, value)
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self, patience: float | None = None) -> None:
        """Return when it has changed, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._changed.wait()


@dataclass
class Weather(Changing):
    """The weather of one platform. A platform adds what happens only to it."""

    api: Trouble = ""
    """Every call of the API: refused by 429, by 500, without an answer in time, or carried out but its answer lost."""
    duplicate: bool = False
    """Every webhook comes twice at once."""
    disorder: bool = False
    """Of two webhooks the first comes after the second, or three seconds later if there is none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._held: asyncio.Event | None = None

    async def strike(self, receive: Receive, patience: float = 60.0) -> Trouble:
        """What becomes of a call that comes now. One without an answer hangs until its caller hangs up, or the weather
        changes."""
        struck = self.api
        if struck == "timeout":
            waits = [asyncio.ensure_future(self._changed.wait()), asyncio.ensure_future(gone(receive))]
            try:
                await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
        return struck

    @contextlib.asynccontextmanager
    async def turn(self, patience: float = 3.0) -> AsyncIterator[None]:
        """A webhook goes out inside: when it is its turn."""
        before, self._held = self._held, None
        if self.disorder and before is None:
            mine = self._held = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await mine.wait()
            if self._held is mine:
                self._held = None
        try:
            yield
        finally:
            if before is not None:
                before.set()
