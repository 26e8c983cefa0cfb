"""The seam to dispatch: who is told that a conversation has work. A lost signal loses nothing: the sweep finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

Handle = Callable[[str, asyncio.Event], Awaitable[bool]]
"""Does the next turn that is due in a conversation; False when there is none. The event is set when more comes."""

Look = Callable[[int], Awaitable[Iterable[tuple[str, bool]]]]
"""So many conversations that have work and nobody who does it, and whether that is bulk. Raises Unavailable."""


class Dispatcher(Protocol):
    """Calls `handle` for each conversation that has work, never twice at the same time for one of them."""

    @property
    def dispatching(self) -> bool:
        """Is it running?"""
        ...

    async def wake(self, conversation: str, *, bulk: bool = False) -> None:
        """This conversation has work. Cheap, and harmless when it has none. bulk: nobody waits for it."""
        ...

    async def run(self, handle: Handle) -> None:
        """Dispatch until `stop`, then return when what runs has ended. Cancelling it cancels what runs."""
        ...

    def stop(self) -> None:
        """Start nothing new."""
        ...


class Local(Dispatcher, Protocol):
    """A dispatcher of this process, of which another one may ask more."""

    def free(self, *, bulk: bool) -> int:
        """How many conversations more it takes."""
        ...

    def has(self, conversation: str) -> bool:
        """Is it worked on here, or does it wait here for room?"""
        ...
