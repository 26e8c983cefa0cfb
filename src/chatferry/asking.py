"""Asks an assistant's model: gathers what it shall know, and passes on what it says as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial

import msgspec
import structlog

from chatferry import prompt
from chatferry.channels.base import briefing
from chatferry.clock import Clock
from chatferry.engines.base import Delta, Done, Event, Prompt, Restart
from chatferry.errors import Fault
from chatferry.feed import Tail
from chatferry.held import Held
from chatferry.knowledge.grounding import Grounding, Grounds
from chatferry.ledger import Ledger
from chatferry.model import Message
from chatferry.occasion import stage
from chatferry.outcomes import Asked
from chatferry.rounds import Rounds
from chatferry.toolbox import opened

log = structlog.get_logger(__name__)

_PACE = 0.25
"""Seconds between two looks at a stream that nobody reads along: half the cost of a token is noticing it."""


Told = Callable[[AsyncGenerator[Event, None]], AsyncGenerator[Event, None]]
"""What a model says, and what people get of it."""


class Asking:
    """Asks for all turns of a process."""

    def __init__(self, ledger: Ledger, grounding: Grounding, clock: Clock) -> None:
        self._ledger = ledger
        self._grounding = grounding
        self._clock = clock

    async def ask(self, held: Held, tail: Tail, asked: Asked) -> None:
        """Ask, and note in `asked` what came of it; may be cancelled, and what was said until then stands in `tail`."""
        with stage("prompt"):
            await self._brief(held)
            grounds = await self._grounding.look(held.assistant, held.turn, self._history(held))
            material = prompt.Material(passages=grounds.passages)
            question = await prompt.build(held.assistant, held.turn.inbound, self._history(held), material)
        pace = 0.0 if held.channel.caps.live else _PACE
        try:
            tools = await opened(held.assistant.sources, held.assistant.settings)
            if tools is None:
                tail.restart()  # an earlier try may have left its words with a watcher
                asked.done = await self._hear(held, grounds.told, question, tail, asked, pace)
            else:
                rounds = Rounds(self._ledger, self._clock, held, tools)
                await self._rounds(held, grounds, rounds, question, tail, asked, pace)
        except Fault as fault:
            asked.fault = fault
            log.warning("model failed", turn=held.turn.id, assistant=held.assistant.name, error=str(fault))

    async def _rounds(
        self, held: Held, grounds: Grounds, rounds: Rounds, question: Prompt, tail: Tail, asked: Asked, pace: float
    ) -> None:
        """Ask until there is an answer, calling between what the model wants to be called."""
        await rounds.recall(tail)
        while True:
            before = rounds.said
            tail.restart(before)
            wanted = rounds.prompt(question)
            told = partial(grounds.told, returned=rounds.returned)
            done = await self._hear(held, told, wanted, tail, asked, pace)
            if done is None:
                return
            rounds.add(done.usage)
            if not done.calls or wanted.last:
                asked.done = msgspec.structs.replace(done, usage=rounds.usage, calls=())
                return
            await rounds.make(tail.text[len(before) :], done.calls, tail)

    async def _hear(
        self, held: Held, told: Told, question: Prompt, tail: Tail, asked: Asked, pace: float
    ) -> Done | None:
        """Pass on what the model says, as it is to be `told`; returns how it ended."""
        before, done = tail.text, None
        async with contextlib.aclosing(told(held.assistant.engine.run(question, pace=pace))) as events:
            async for event in events:
                if isinstance(event, Delta):
                    if asked.first_token_at is None:
                        asked.first_token_at = self._clock.now()
                    tail.add(event.text)
                elif isinstance(event, Restart):
                    tail.restart(before)
                else:
                    done = event
        return done

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
