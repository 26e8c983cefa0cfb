"""Waiting for a database that is away: a turn that is worked on has too much to lose to be dropped for a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from chatferry.clock import Clock
from chatferry.errors import Closed, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

AGAIN = 0.5
"""Seconds between two tries."""
PATIENCE = 120.0
"""Seconds after which the turn is given up: it is done again by whoever finds it."""


async def patiently(clock: Clock, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` comes to, tried again while the database is away. Raises Unavailable in the end, or when all ends."""
    began, told = clock.now(), False
    while True:
        try:
            return await work()
        except Closed:
            raise
        except Unavailable as fault:
            if clock.now() >= began + PATIENCE:
                raise
            if not told:
                log.warning("waiting for the database", error=str(fault))
            told = True
        await clock.sleep(AGAIN)
