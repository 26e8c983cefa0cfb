"""Asks an assistant's model: gathers what it shall know, and passes on what it says as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec
import structlog

from chatferry import prompt
from chatferry.channels.base import briefing
from chatferry.clock import Clock
from chatferry.engines.base import Delta, Restart
from chatferry.errors import Fault
from chatferry.feed import Tail
from chatferry.held import Held
from chatferry.ledger import Ledger
from chatferry.model import Message
from chatferry.occasion import stage
from chatferry.outcomes import Asked

log = structlog.get_logger(__name__)

_PACE = 0.25
"""Seconds between two looks at a stream that nobody reads along: half the cost of a token is noticing it."""


class Asking:
    """Asks for all turns of a process."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def ask(self, held: Held, tail: Tail, asked: Asked) -> None:
        """Ask, and note in `asked` what came of it; may be cancelled, and what was said until then stands in `tail`."""
        with stage("prompt"):
            await self._brief(held)
            question = await prompt.build(held.assistant, held.turn.inbound, self._history(held))
        pace = 0.0 if held.channel.caps.live else _PACE
        tail.restart()  # an earlier try may have left its words with a watcher
        try:
            async with contextlib.aclosing(held.assistant.engine.run(question, pace=pace)) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        if asked.first_token_at is None:
                            asked.first_token_at = self._clock.now()
                        tail.add(event.text)
                    elif isinstance(event, Restart):
                        tail.restart()
                    else:
                        asked.done = event
        except Fault as fault:
            asked.fault = fault
            log.warning("model failed", turn=held.turn.id, assistant=held.assistant.name, error=str(fault))

    async def _brief(self, held: Held) -> None:
        """What the channel can tell beside the event, where it can, kept with the turn."""
        channel, inbound = held.channel, held.turn.inbound
        if not briefing(channel):
            return
        first = inbound.earlier and not await self._ledger.acquainted(held.turn.conversation)
        told, before = await channel.brief(inbound, first=first)
        if told != inbound or before:
            await self._ledger.briefed(held.turn, told, before)
            held.turn = msgspec.structs.replace(held.turn, inbound=told)

    async def _history(self, held: Held) -> AsyncIterator[Message]:
        """What was said, newest first, by people with names."""
        async for message in self._ledger.history(held.turn.conversation, held.turn.id):
            if briefing(held.channel) and message.author and not message.name:
                message = await held.channel.named(held.turn.inbound.conversation, message)
            yield message
