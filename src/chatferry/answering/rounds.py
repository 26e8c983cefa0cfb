"""The rounds of one answer: what the model said, what it called then and what came of it, kept as they go."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from chatferry.accounts import Accounts
from chatferry.answering.prompt import with_rounds
from chatferry.answering.toolbox import Toolbox
from chatferry.clock import Clock
from chatferry.engines.base import Call, Prompt, Result, Round
from chatferry.feed import Tail
from chatferry.held import Held, Layout
from chatferry.ledger.consent import question
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.steps import Returned, Step, by_round, round_of
from chatferry.model import Task
from chatferry.tools.base import Caller

_REFUSED = "Not called: the person was asked whether this shall be done, and did not say yes."
_LONG = (
    "Not called: a person has to say yes first, and there is no room here to show them all of the arguments."
    " Make them shorter, or do it in several steps."
)
_UNASKED = "Not called: a person has to say yes first, and there is nobody here who can be asked."


class Rounds:
    """What has been called for the answer of a turn that is held."""

    def __init__(self, ledger: Ledger, accounts: Accounts, clock: Clock, held: Held, toolbox: Toolbox) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._clock = clock
        self._held = held
        self._toolbox = toolbox
        self._made: list[Round] = []
        # What somebody has said yes to is round 0 of their turn, and nothing else is, though nothing may be left of it.
        self._next = 0 if held.turn.inbound.consenting is None else 1
        self._tasks: dict[str, Task] = {}
        self.waiting: list[Step] = []
        """Calls that wait for the person's yes: the answer asks for it."""

    async def resume(self, tail: Tail) -> None:
        """Make the calls that another turn has asked about, if this one says yes; else the model hears that it did not.

        They are steps of this turn, under the keys that they had: so they are made once, whatever happens meanwhile.
        """
        asked = self._held.turn.inbound.consenting
        if asked is None or await self._ledger.steps(self._held.turn.id):
            return
        steps = [step for step in await self._ledger.steps(asked.confirms) if step.result is None]
        # A yes to what is not there any more is a call too: that it fails, the model has to hear.
        agreed = [step for step in steps if asked.consent == "yes" or self._toolbox.demands(step.call)]
        made = [Step(0, place, "", step.call, step.key) for place, step in enumerate(agreed)]
        if made:
            await self._begin(made)
            await self._finish(made, tail)

    async def recall(self, tail: Tail, *, shown: bool) -> None:
        """Take up what an earlier holder of the turn had called; what had not returned is called again.

        shown: what the model said before its calls was, and not kept back until the answer is complete.
        """
        if self._held.turn.lease > 1 and (made := by_round(await self._ledger.steps(self._held.turn.id))):
            self._held.spending.recall(await self._ledger.spent(self._held.turn.id))
            if shown:
                tail.restart(spoken([calls[0].said for calls in made]))
            for calls in made:
                await self._finish(calls, tail)

    async def make(self, said: str, calls: Sequence[Call], tail: Tail) -> None:
        """Make the calls of a round, which is kept before the first of them begins."""
        made = [Step(self._next, place, said, call, uuid.uuid4().hex) for place, call in enumerate(calls)]
        await self._begin(made)
        await self._finish(made, tail)

    def prompt(self, question: Prompt) -> Prompt:
        """What the model is asked now."""
        assistant, inbound = self._held.assistant, self._held.turn.inbound
        last = len(self._made) >= assistant.settings.tool_rounds
        return with_rounds(assistant, inbound, question, self._made, last=last)

    @property
    def returned(self) -> tuple[str, ...]:
        """What the calls came to, but for those that failed, or tell nothing."""
        results = [result for made in self._made for result in made.results]
        return tuple(result.text for result in results if not (result.failed or result.idle))

    @property
    def noted(self) -> bool:
        """Something was done that tells nothing, such as noting a fact."""
        return any(result.idle and not result.failed for made in self._made for result in made.results)

    @property
    def said(self) -> str:
        """What the model said before its calls, as it is shown."""
        return spoken([round_.said for round_ in self._made])

    async def _begin(self, made: Sequence[Step]) -> None:
        """Keep what is about to be called, and pay for what was said until then."""
        held = self._held
        with held.spending.paying() as due:
            await self._ledger.calling(held.turn, made, due, self._accounts.bill(held.turn, held.assistant, due))

    async def _finish(self, made: Sequence[Step], tail: Tail) -> None:
        """Call what has not returned, and take the round in, unless some of it waits for the person's yes."""
        self._next = made[0].round + 1
        made = await self._refused(made)
        unmade = [step for step in made if step.result is None]
        self.waiting = [step for step in unmade if self._must_ask(step)]
        now = {step.place: step for step in unmade if step not in self.waiting}
        results = await self._call(now, tail) if now else {}
        if not self.waiting:
            made = [msgspec.structs.replace(step, result=results.get(step.place, step.result)) for step in made]
            self._made.append(round_of(made))

    async def _call(self, steps: Mapping[int, Step], tail: Tail) -> Mapping[int, Result]:
        """Make these calls, by their places, and show them meanwhile; each result is kept as soon as it is there."""

        async def returned(place: int, result: Result) -> None:
            step = steps[place]
            await self._ledger.returned(self._held.turn, Returned(step.round, place, result))
            self._tell([step], tail, "failed" if result.failed else "done")

        self._tell(steps.values(), tail)
        try:
            await self._held.secure(self._ledger, self._clock)
            calls = {place: step.call for place, step in steps.items()}
            callers = {place: self._caller(step) for place, step in steps.items()}
            return await self._toolbox.call(calls, callers, returned)
        finally:
            cut = [step for step in steps.values() if self._tasks[step.key].state == "running"]
            self._tell(cut, tail, "failed")

    def _tell(self, steps: Iterable[Step], tail: Tail, state: Literal["running", "done", "failed"] = "running") -> None:
        """Show what is being called, and what came of it."""
        for step in steps:
            title = self._held.assistant.words.calling.replace("{tools}", step.call.name)
            self._tasks[step.key] = Task(step.key, step.call.name, title, state)
        self._held.tasks = tuple(self._tasks.values())
        tail.does(self._held.tasks)

    def _must_ask(self, step: Step) -> bool:
        """Has the person to be asked before this is called? What they have said yes to is round 0."""
        agreed = step.round == 0 and self._held.turn.inbound.consenting is not None
        return self._toolbox.demands(step.call) and not agreed

    async def _refused(self, made: Sequence[Step]) -> list[Step]:
        """The round with a result for each call that will not be made: nobody said yes, or nobody can be asked that."""
        inbound, kept = self._held.turn.inbound, list(made)
        asked = inbound.consenting
        asking: list[Step] = []
        for place, step in enumerate(made):
            if step.result is not None or not self._toolbox.demands(step.call):
                continue
            if step.round == 0 and asked is not None:
                why = "" if asked.consent == "yes" else _REFUSED
            elif inbound.context is not None or not inbound.sender:
                why = _UNASKED
            elif not (why := self._toolbox.misfit(step.place, step.call)):
                why = "" if self._fits([*asking, step]) else _LONG
                asking += [] if why else [step]
            if why:
                result = Result(why, failed=True)
                await self._ledger.returned(self._held.turn, Returned(step.round, step.place, result))
                kept[place] = msgspec.structs.replace(step, result=result)
        return kept

    def question(self) -> str:
        """What the person is asked."""
        return self._question(self.waiting)

    def _question(self, steps: Sequence[Step]) -> str:
        calls = [(step.call, self._toolbox.about(step.call)) for step in steps]
        words = self._held.assistant.words
        unheard = self._held.turn.inbound.shared and not self._held.channel.caps.overhears
        return question(calls, words, words.confirm_mention if unheard else words.confirm_how)

    def _fits(self, steps: Sequence[Step]) -> bool:
        """Can all that the person is asked be seen at once? One who reads on for long says yes to the beginning."""
        return len(Layout(self._held.channel.caps).pieces(self._question(steps))) == 1

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
