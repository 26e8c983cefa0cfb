"""The seam to dispatch: who is told that a conversation has work. A lost signal loses nothing: the sweep finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

Handle = Callable[[str, asyncio.Event], Awaitable[bool]]
"""Does the next turn that is due in a conversation; False when there is none. The event is set when more comes."""


class Dispatcher(Protocol):
    """Calls `handle` for each conversation that has work, never twice at the same time for one of them."""

    async def wake(self, conversation: str) -> None:
        """This conversation has work. Cheap, and harmless when it has none."""
        ...

    async def run(self, handle: Handle) -> None:
        """Dispatch until `stop`, then return when what runs has ended. Cancelling it cancels what runs."""
        ...

    def stop(self) -> None:
        """Start nothing new."""
        ...
