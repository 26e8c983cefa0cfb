"""Who may be worked on now: so many conversations in all, so many of each channel, and few of what nobody waits for.

Who has to wait is let in by turns: one channel after the other, and what people wait for before bulk.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

_BULK = 50
"""Conversations with bulk at the same time, at the most; and never more than a tenth of all."""

Queues = dict[str, dict[str, asyncio.Future[None]]]
"""Conversations that wait, in their order, by channel."""


class Rooms:
    """Room for `total` conversations, and for so many of each of the `channels` that are named."""

    def __init__(self, total: int, channels: Mapping[str, int]) -> None:
        self._total = total
        self._channels = channels
        self._bulk_most = max(1, min(_BULK, total // 10))
        self._inside: dict[str, bool] = {}
        """Whether it is bulk, by conversation."""
        self._of: Counter[str] = Counter()
        self._bulk_inside = 0
        self._asked: Queues = {}
        self._bulk: Queues = {}

    def wanting(self, *, bulk: bool) -> int:
        """How many more conversations are welcome: as many as have room, and a few of those that have to wait."""
        if bulk:
            waiting = sum(map(len, self._bulk.values()))
            return max(0, min(self._free, 2 * self._bulk_most - self._bulk_inside - waiting))
        # What waits here waits for its channel: it must not keep those of others out.
        return self._free if sum(map(len, self._asked.values())) < self._total else 0

    @property
    def _free(self) -> int:
        return max(0, self._total - len(self._inside))

    async def enter(self, conversation: str, *, bulk: bool) -> None:
        """Return when the conversation may be worked on, until it is to `leave`."""
        queues = self._bulk if bulk else self._asked
        let_in = asyncio.get_running_loop().create_future()
        queues.setdefault(channel_of(conversation), {})[conversation] = let_in
        self._admit()
        try:
            await let_in
        except asyncio.CancelledError:
            if conversation in self._inside:
                self.leave(conversation)
            else:
                self._take(self._asked, conversation)
                self._take(self._bulk, conversation)
            raise

    def hurry(self, conversation: str) -> None:
        """Somebody waits for it now: it is bulk no longer."""
        if let_in := self._take(self._bulk, conversation):
            self._asked.setdefault(channel_of(conversation), {})[conversation] = let_in
            self._admit()

    def leave(self, conversation: str) -> None:
        """The next one may come in."""
        self._of[channel_of(conversation)] -= 1
        self._bulk_inside -= self._inside.pop(conversation)
        self._admit()

    def _admit(self) -> None:
        while self._free:
            found = self._next(self._asked)
            bulk = found is None and self._bulk_inside < self._bulk_most
            if bulk:
                found = self._next(self._bulk)
            if found is None:
                return
            conversation, let_in = found
            self._inside[conversation] = bulk
            self._of[channel_of(conversation)] += 1
            self._bulk_inside += bulk
            if not let_in.done():  # cancelled: it leaves at once
                let_in.set_result(None)

    def _next(self, queues: Queues) -> tuple[str, asyncio.Future[None]] | None:
        for channel, waiting in queues.items():
            if self._of[channel] < self._channels.get(channel, self._total):
                conversation = next(iter(waiting))
                let_in = waiting.pop(conversation)
                del queues[channel]
                if waiting:  # behind the others
                    queues[channel] = waiting
                return conversation, let_in
        return None

    @staticmethod
    def _take(queues: Queues, conversation: str) -> asyncio.Future[None] | None:
        channel = channel_of(conversation)
        let_in = queues.get(channel, {}).pop(conversation, None)
        if channel in queues and not queues[channel]:
            del queues[channel]
        return let_in


def channel_of(conversation: str) -> str:
    """The channel that a conversation, or the queue of its commands, belongs to (`model.conversation_key`)."""
    return conversation.removeprefix("!").partition(":")[0]
