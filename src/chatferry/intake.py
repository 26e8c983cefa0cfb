"""Webhook in, durable rows, and only then the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from chatferry.accounts import Accounts
from chatferry.channels.base import Channel, Hook, Taken, obliging, whispering
from chatferry.clock import Clock
from chatferry.desk import Desk
from chatferry.dispatch.base import Dispatcher
from chatferry.entrance import Entrance
from chatferry.errors import Fault, Rejected, Unavailable
from chatferry.ledger.accepting import EFFECTS, Accepted
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.sessions import Gate
from chatferry.limits import Limits
from chatferry.model import Inbound, conversation_key
from chatferry.watching.metrics import Metrics
from chatferry.watching.occasion import Tracer, caller

log = structlog.get_logger(__name__)


class Intake:
    """Takes what platforms deliver. `end` is told of a running turn that is to end: stopped, changed or taken back."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        metrics: Metrics,
        desk: Desk,
        accounts: Accounts,
        clock: Clock,
        limits: Limits | None = None,
        entrance: Entrance | None = None,
        *,
        end: Callable[[int], None],
        tracer: Tracer | None = None,
    ) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._desk = desk
        self._limits = limits
        self._entrance = entrance
        self._accounts = accounts
        self._clock = clock
        self._end = end
        self._tracer = tracer
        self._asides: set[asyncio.Task[None]] = set()
        self._closed = False

    def close(self) -> None:
        """Accept nothing more: this process is about to end."""
        self._closed = True

    def read(self, channel: Channel, hook: Hook) -> Taken:
        """Verify and read what a platform delivers. Raises Rejected."""
        try:
            return channel.take(hook)
        except Rejected as refusal:
            self._metrics.rejected.labels(channel.name, str(refusal.status)).inc()
            log.info("rejected", channel=channel.name, status=refusal.status, reason=refusal.reason)
            raise

    async def accept(self, channel: Channel, taken: Taken) -> list[Accepted]:
        """Keep what was taken, and wake its conversations. When this returns, every event is on the disk.

        Raises Unavailable, and then nothing was kept: the platform shall deliver again.
        """
        events, accepted = await self._keep(channel, taken) if taken.events else ((), [])
        for event, owed in zip(events, accepted, strict=True):
            if owed.ends:
                self._end(owed.ends)
            self._count(channel, event, owed)
            if owed.stale and whispering(channel) and (told := self._desk.stale(channel, event)):
                self._beside(channel, channel.whisper(event.conversation, event.sender, told))
            if owed.turn and (event.kind != "heard" or event.consent):
                lane = owed.lane or conversation_key(channel.name, event.conversation)
                await self._dispatcher.wake(lane, bulk=event.kind == "push")
        if taken.aside is not None and obliging(channel):
            self._beside(channel, channel.oblige(taken.aside))
        return accepted

    async def _keep(self, channel: Channel, taken: Taken) -> tuple[Sequence[Inbound], list[Accepted]]:
        """The events as they count, and what is owed for each, once that is on the disk."""
        if self._closed:
            raise Unavailable("shutting down")
        held, now = taken.hold is not None, self._clock.now()
        knocks = [self._entrance.knock(channel, event) for event in taken.events] if self._entrance else []
        events, gates = zip(*(self._receive(channel, event) for event in taken.events), strict=True)
        paces = [self._limits.pace(channel, event, held=held) for event in events] if self._limits else ()
        budgets = [self._accounts.budget(channel, event, now, held=held) for event in events]
        began = self._tracer.now() if self._tracer else 0.0
        accepted = await self._ledger.accept(channel.name, events, gates, paces, knocks if any(knocks) else (), budgets)
        if self._tracer:
            self._trace(self._tracer, channel, accepted, began)
        return events, accepted

    def _count(self, channel: Channel, event: Inbound, owed: Accepted) -> None:
        if owed.wait and not owed.spent:
            self._metrics.limited.labels(channel.name).inc()
        if owed.spent:
            self._metrics.spent.labels(channel.name).inc()
        if owed.turn and event.kind not in EFFECTS:
            (self._metrics.accepted if owed.new else self._metrics.repeated).labels(channel.name).inc()

    def _beside(self, channel: Channel, courtesy: Coroutine[Any, Any, None]) -> None:
        """Do this besides: the platform is not kept waiting for it."""
        task = asyncio.create_task(self._oblige(channel, courtesy), name=f"aside of {channel.name}")
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    def _trace(self, tracer: Tracer, channel: Channel, accepted: list[Accepted], began: float) -> None:
        for owed in accepted:
            if owed.new and owed.turn:
                tracer.accepted(owed.turn, began, tracer.now(), caller.get(), {"channel": channel.name})

    def _receive(self, channel: Channel, event: Inbound) -> tuple[Inbound, Gate | None]:
        longest = self._limits.longest(channel) if self._limits else None
        return self._desk.receive(channel, event, longest=longest)

    async def _oblige(self, channel: Channel, courtesy: Coroutine[Any, Any, None]) -> None:
        try:
            await courtesy
        except Fault as fault:
            log.warning("a courtesy failed", channel=channel.name, error=str(fault))
        except Exception:  # the top of the task: the message is kept, and no courtesy is worth more
            log.exception("bug", channel=channel.name)
