"""Webhook in, durable rows, and only then the answer."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from chatferry.channels.base import Channel, Hook, Taken
from chatferry.dispatch.base import Dispatcher
from chatferry.errors import Rejected, Unavailable
from chatferry.ledger import Ledger
from chatferry.metrics import Metrics
from chatferry.model import conversation_key
from chatferry.writes import Accepted

log = structlog.get_logger(__name__)


class Intake:
    """Takes what platforms deliver. `withdrawn` is told of a running turn whose message was taken back."""

    def __init__(
        self, ledger: Ledger, dispatcher: Dispatcher, metrics: Metrics, *, withdrawn: Callable[[int], None]
    ) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._withdrawn = withdrawn
        self._closed = False

    def close(self) -> None:
        """Accept nothing more: this process is about to end."""
        self._closed = True

    async def take(self, channel: Channel, hook: Hook) -> tuple[Taken, list[Accepted]]:
        """Verify, read, keep, wake. When this returns, every event is on the disk.

        Raises Rejected (nothing to keep), or Unavailable (nothing kept: the platform shall deliver again).
        """
        try:
            taken = channel.take(hook)
        except Rejected as refusal:
            self._metrics.rejected.labels(channel.name, str(refusal.status)).inc()
            log.info("rejected", channel=channel.name, status=refusal.status, reason=refusal.reason)
            raise
        return taken, await self.accept(channel.name, taken)

    async def accept(self, channel: str, taken: Taken) -> list[Accepted]:
        """Keep what was taken, and wake its conversations. Raises Unavailable, and then nothing was kept."""
        if not taken.events:
            return []
        if self._closed:
            raise Unavailable("shutting down")
        accepted = await self._ledger.accept(channel, taken.events)
        for event, owed in zip(taken.events, accepted, strict=True):
            if event.kind == "retract":
                self._withdrawn(owed.turn)
                continue
            (self._metrics.accepted if owed.new else self._metrics.repeated).labels(channel).inc()
            await self._dispatcher.wake(conversation_key(channel, event.conversation))
        return accepted
