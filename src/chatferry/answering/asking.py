"""Asks an assistant's model: gathers what it shall know, and passes on what it says as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
import structlog

from chatferry.accounts import Accounts
from chatferry.answering import prompt, summaries
from chatferry.answering.again import Again, Private, nothing
from chatferry.answering.media import Media
from chatferry.answering.outcomes import Asked
from chatferry.answering.prompt import NOTHING, Material
from chatferry.answering.remember import Remember
from chatferry.answering.rounds import Rounds
from chatferry.answering.summaries import Summaries, Wanted, named
from chatferry.answering.toolbox import Toolbox, opened
from chatferry.assistant import Assistant
from chatferry.channels.base import briefing
from chatferry.clock import Clock
from chatferry.engines.base import Delta, Done, Event, Prompt, Restart, Tool
from chatferry.errors import Fault
from chatferry.feed import Tail
from chatferry.held import Held
from chatferry.knowledge.grounding import Grounding, Grounds
from chatferry.ledger import profiles
from chatferry.ledger.ledger import Ledger
from chatferry.model import Message
from chatferry.tools.base import Fixed, Source
from chatferry.watching.occasion import stage

log = structlog.get_logger(__name__)

_PACE = 0.25
"""Seconds between two looks at a stream that nobody reads along: half the cost of a token is noticing it."""


Told = Callable[[AsyncGenerator[Event, None]], AsyncGenerator[Event, None]]
"""Makes what people get out of what a model says."""


class _Answer(NamedTuple):
    """One answer in the making, and what comes of it."""

    held: Held
    grounds: Grounds
    tail: Tail
    asked: Asked


class Asking:
    """Asks for all turns of a process."""

    def __init__(
        self,
        ledger: Ledger,
        media: Media,
        grounding: Grounding,
        summaries: Summaries,
        again: Again,
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._media = media
        self._grounding = grounding
        self._again = again
        self._clock = clock
        self._summaries = summaries
        self._noting = Fixed(Remember(ledger))
        self._told: set[str] = set()
        """Assistants of which it was logged that their tools do not fit."""

    async def ask(self, held: Held, tail: Tail, asked: Asked) -> None:
        """Ask, and note in `asked` what came of it; may be cancelled, and what was said until then stands in `tail`."""
        with stage("material"):
            await self._brief(held)
            await self._media.look(held)
            material, said = await self._remember(held)
            grounds = await self._grounding.look(held.assistant, held.turn, self._named(held, said()))
        one = _Answer(held, grounds, tail, asked)
        try:
            tools = await opened(self._sources(held), held.assistant.settings)
            offered = tools.offered if tools else ()
            material = msgspec.structs.replace(material, passages=grounds.passages, tools=offered)
            with stage("prompt"):
                summed = held.assistant.summarizer is not None
                history = self._history(held, said(), material) if summed else self._named(held, said())
                question = await prompt.build(held.assistant, held.turn.inbound, history, material)
                self._tell(held.assistant, offered, question.tools)
                if not grounds.blind:
                    question = await self._media.shown(question)
            answer = partial(self._answer, one, tools, question)
            # An earlier holder may have called something, and without a ground there is nothing to be given again.
            if grounds.unknown or (tools is not None and held.turn.lease > 1):
                await answer(nothing)
            else:
                await self._again.ask(held, question, tail, asked, answer)
        except Fault as fault:
            asked.fault = fault
            log.warning("model failed", turn=held.turn.id, assistant=held.assistant.name, error=str(fault))

    async def _answer(self, one: _Answer, tools: Toolbox | None, question: Prompt, private: Private) -> None:
        """Have the model answer, now and for this person."""
        if tools is None:
            one.tail.restart()  # an earlier try may have left its words with a watcher
            one.asked.done = await self._hear(one, one.grounds.told, question)
        else:
            rounds = Rounds(self._ledger, self._accounts, self._clock, one.held, tools)
            await self._rounds(one, rounds, question, private)
        if not one.grounds.sound:
            await private()

    async def _rounds(self, one: _Answer, rounds: Rounds, question: Prompt, private: Private) -> None:
        """Ask until there is an answer, calling between what the model wants to be called."""
        tail, asked = one.tail, one.asked
        await rounds.recall(tail, shown=not one.grounds.waits)
        await rounds.resume(tail)
        model = ""
        while True:
            if rounds.waiting:
                tail.add(rounds.question())
                asked.asks = True
                asked.done = Done(model=model)
                return
            tail.restart("" if one.grounds.waits else rounds.said)
            wanted = rounds.prompt(question)
            told = partial(
                one.grounds.told, before=rounds.said, returned=rounds.returned, noted=rounds.noted, last=wanted.last
            )
            done = await self._hear(one, told, wanted)
            if done is None:
                return
            model = done.model
            if not done.calls or wanted.last:
                finish = "stop" if done.calls else done.finish
                asked.done = msgspec.structs.replace(done, finish=finish, calls=())
                return
            await private()
            await rounds.make(one.grounds.said, done.calls, tail)

    async def _hear(self, one: _Answer, told: Told, question: Prompt) -> Done | None:
        """Pass on what the model says, as it is to be `told`; returns how it ended."""
        held, tail, asked = one.held, one.tail, one.asked
        pace = 0.0 if held.channel.caps.live else _PACE
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

    def _tell(self, assistant: Assistant, wanted: Sequence[Tool], offered: Sequence[Tool]) -> None:
        """Log once that there is no room for a tool."""
        if len(offered) < len(wanted) and assistant.name not in self._told:
            self._told.add(assistant.name)
            known = {tool.name for tool in offered}
            left_out = [tool.name for tool in wanted if tool.name not in known]
            log.warning("context_tokens has no room for tools", assistant=assistant.name, tools=left_out)

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

    def closed(self, held: Held) -> None:
        """The turn is closed: if its prompt had hardly room for the history, now is the time to fold some of it."""
        if held.room is not None:
            inbound, turn = held.turn.inbound, held.turn
            wanted = Wanted(held.channel, held.assistant, inbound.conversation, turn.conversation, turn.id, held.room)
            self._summaries.want(wanted)

    def _sources(self, held: Held) -> Sequence[Source]:
        """What the model may call for this answer: it notes facts only where nobody else reads along."""
        inbound, assistant = held.turn.inbound, held.assistant
        private = assistant.settings.profile and inbound.context is None and inbound.confidant
        return (self._noting, *assistant.sources) if private else assistant.sources

    async def _remember(self, held: Held) -> tuple[Material, Callable[[], AsyncIterator[Message]]]:
        """What the model shall know of the talk and of whom it talks to; and what was said since, newest first."""
        turn, settings = held.turn, held.assistant.settings
        across = settings.memory == "conversation"
        if turn.inbound.context is not None or not (across or settings.profile or settings.summary_model):
            return NOTHING, partial(self._ledger.history, turn.conversation, turn.id)
        person = turn.inbound.confidant if settings.profile else ""
        key = profiles.key(held.channel.name, person, held.assistant.name)
        found = await self._ledger.recalled(turn.conversation, turn.id, across=across, person=key)
        facts = tuple(f"- {fact.text}" for fact in found.facts)
        return Material(facts=facts, summary=found.summary), partial(self._ledger.said_since, found)

    async def _named(self, held: Held, said: AsyncIterator[Message]) -> AsyncIterator[Message]:
        """What was said, with the names of who said it."""
        async for message in said:
            yield await named(held.channel, held.turn.inbound.conversation, message)

    async def _history(self, held: Held, said: AsyncIterator[Message], material: Material) -> AsyncIterator[Message]:
        """The same. Where a prompt has hardly room for all of it, `held.room` tells how much it has: see `closed`."""
        held.room = room = prompt.room(held.assistant, held.turn.inbound, material)
        spent = 0
        async for message in self._named(held, said):
            yield message
            spent += held.assistant.gauge.message(prompt.spoken(message, held.assistant.words))
        if not summaries.full(spent, room):
            held.room = None
