"""Dispatch inside one process: a lane, that is a task, for each conversation that has work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from chatferry.clock import Clock
from chatferry.dispatch.base import Handle, Look
from chatferry.dispatch.rooms import Rooms
from chatferry.errors import Unavailable

log = structlog.get_logger(__name__)

_LOOK = 1000
"""Conversations that one sweep takes in."""
_SWEEP = 1.0
"""Seconds between two sweeps."""


class _Lane:
    """One conversation being worked on. `again`: something came since the last look."""

    __slots__ = ("again", "nudged")

    def __init__(self) -> None:
        self.again = True
        self.nudged = asyncio.Event()


class InProcess:
    """Lanes in one task group. `due` lists conversations with work; it is asked at the start and every second.

    concurrency: conversations that are worked on at the same time; the others wait their turn.
    channels: the same for single channels, by name.
    """

    def __init__(
        self,
        due: Look,
        clock: Clock,
        *,
        concurrency: int = 2000,
        channels: Mapping[str, int] | None = None,
    ) -> None:
        self._due = due
        self._clock = clock
        self._rooms = Rooms(concurrency, channels or {})
        self._lanes: dict[str, _Lane] = {}
        self._group: asyncio.TaskGroup | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._handle: Handle | None = None
        self._stopping = False

    @property
    def lanes(self) -> int:
        """Conversations that are being worked on or wait for room."""
        return len(self._lanes)

    @property
    def dispatching(self) -> bool:
        return self._group is not None and not self._stopping

    def free(self, *, bulk: bool) -> int:
        return self._rooms.wanting(bulk=bulk) if self.dispatching else 0

    def has(self, conversation: str) -> bool:
        return conversation in self._lanes

    async def wake(self, conversation: str, *, bulk: bool = False) -> None:
        lane = self._lanes.get(conversation)
        if lane is not None:
            lane.again = True
            lane.nudged.set()
            if not bulk:
                self._rooms.hurry(conversation)
        elif self._group is not None and self._handle is not None and not self._stopping:
            lane = self._lanes[conversation] = _Lane()
            self._group.create_task(self._drive(conversation, lane, self._handle, bulk), name=f"lane {conversation}")

    async def run(self, handle: Handle) -> None:
        self._handle = handle
        async with asyncio.TaskGroup() as self._group:
            self._sweeper = self._group.create_task(self._sweeping(), name="sweep")
        self._group = None

    def stop(self) -> None:
        self._stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _drive(self, conversation: str, lane: _Lane, handle: Handle, bulk: bool) -> None:
        try:
            await self._rooms.enter(conversation, bulk=bulk)
            try:
                while lane.again and not self._stopping:
                    lane.again = False
                    lane.nudged.clear()
                    # Not `|=`, which would read `again` before the call and so forget a wake during it.
                    if await handle(conversation, lane.nudged):
                        lane.again = True
            finally:
                self._rooms.leave(conversation)
        finally:
            del self._lanes[conversation]

    async def _sweeping(self) -> None:
        away = False
        while True:
            try:
                due = await self._due(_LOOK)
                away = False
            except Unavailable as fault:
                if not away:  # it may be for a night, and we look every second
                    log.warning("sweep failed", error=str(fault))
                due, away = [], True
            for conversation, bulk in due:
                if conversation not in self._lanes:
                    await self.wake(conversation, bulk=bulk)
            await self._clock.sleep(_SWEEP)
