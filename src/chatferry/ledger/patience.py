"""Waiting for a database that is away: a turn that is worked on has too much to lose to be dropped for a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from chatferry.clock import Clock
from chatferry.errors import Closed, Unavailable

T = TypeVar("T")

_AGAIN = 0.5
"""Seconds between two tries."""
PATIENCE = 120.0
"""Seconds after which the turn is given up: it is done again by whoever finds it."""


async def patiently(clock: Clock, work: Callable[[], Awaitable[T]], patience: float = PATIENCE) -> T:
    """What `work` comes to, tried again while the database is away. Raises Unavailable in the end, or when all ends."""
    until = clock.now() + patience
    while True:
        try:
            return await work()
        except Closed:
            raise
        except Unavailable:
            if clock.now() >= until:
                raise
        await clock.sleep(_AGAIN)
