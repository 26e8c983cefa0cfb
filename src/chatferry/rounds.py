"""The rounds of one answer: what the model said, what it called then and what came of it, kept as they go."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec

from chatferry.clock import Clock
from chatferry.engines.base import Call, Prompt, Result, Round
from chatferry.feed import Tail
from chatferry.held import Held
from chatferry.ledger import Ledger
from chatferry.model import Usage
from chatferry.prompt import with_rounds
from chatferry.steps import Returned, Step, by_round, round_of
from chatferry.toolbox import Toolbox
from chatferry.tools.base import Caller


class Rounds:
    """What has been called for the answer of a turn that is held."""

    def __init__(self, ledger: Ledger, clock: Clock, held: Held, toolbox: Toolbox) -> None:
        self._ledger = ledger
        self._clock = clock
        self._held = held
        self._toolbox = toolbox
        self._made: list[Round] = []
        self.usage = Usage()
        """What the rounds have cost."""

    async def recall(self, tail: Tail) -> None:
        """Take up what an earlier holder of the turn had called; what had not returned is called again."""
        if self._held.turn.lease > 1 and (made := by_round(await self._ledger.steps(self._held.turn.id))):
            self.usage = await self._ledger.spent(self._held.turn.id)
            tail.restart(spoken([calls[0].said for calls in made]))
            for calls in made:
                await self._finish(calls, tail)

    async def make(self, said: str, calls: Sequence[Call], tail: Tail) -> None:
        """Make the calls of a round, which is kept before the first of them begins."""
        number = len(self._made)
        made = [Step(number, place, said, call, uuid.uuid4().hex) for place, call in enumerate(calls)]
        await self._ledger.calling(self._held.turn, made, self.usage)
        await self._finish(made, tail)

    def prompt(self, question: Prompt) -> Prompt:
        """What the model is asked now."""
        assistant, inbound = self._held.assistant, self._held.turn.inbound
        last = len(self._made) >= assistant.settings.tool_rounds
        return with_rounds(assistant, inbound, question, self._made, last=last)

    def add(self, usage: Usage | None) -> None:
        """The model was asked, which has cost so much."""
        if usage is not None:
            self.usage += usage

    @property
    def returned(self) -> tuple[str, ...]:
        """What the calls came to, but for those that failed, or tell nothing."""
        results = [result for made in self._made for result in made.results]
        return tuple(result.text for result in results if not (result.failed or result.idle))

    @property
    def said(self) -> str:
        """What the model said before its calls, as it was shown."""
        return spoken([round_.said for round_ in self._made])

    async def _finish(self, made: Sequence[Step], tail: Tail) -> None:
        """Call what has not returned, and take the round in."""
        open_ = {step.place: step for step in made if step.result is None}
        if open_:
            tail.does([step.call.name for step in open_.values()])
            try:
                await self._held.secure(self._ledger, self._clock)
                calls = {place: step.call for place, step in open_.items()}
                callers = {place: self._caller(step) for place, step in open_.items()}
                number = made[0].round

                async def returned(place: int, result: Result) -> None:
                    await self._ledger.returned(self._held.turn, Returned(number, place, result))

                results = await self._toolbox.call(calls, callers, returned)
            finally:
                tail.does(())
            made = [
                msgspec.structs.replace(step, result=results[step.place]) if step.place in results else step
                for step in made
            ]
        self._made.append(round_of(made))

    def _caller(self, step: Step) -> Caller:
        turn = self._held.turn
        return Caller(
            turn.channel,
            turn.inbound.conversation,
            turn.inbound.person or turn.inbound.sender,
            self._held.assistant.name,
            turn.id,
            step.key,
        )


def spoken(said: Sequence[str]) -> str:
    """What was said before calls, as it was, in paragraphs: what follows begins one of its own."""
    whole = ""
    for text in said:
        whole += text
        whole += "\n" * (2 - (len(whole) - len(whole.rstrip("\n")))) if text.strip() else ""
    return whole
