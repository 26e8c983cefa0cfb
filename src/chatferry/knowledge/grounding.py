"""What an answer rests on: passages for the question, the sources behind the answer, and no answer without a ground."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from itertools import zip_longest

import msgspec
import structlog

from chatferry.assistant import Assistant
from chatferry.engines.base import Delta, Done, Engine, Event, Restart
from chatferry.engines.tokens import OVERHEAD, cut, estimate
from chatferry.errors import Fault, Final
from chatferry.knowledge.checking import check
from chatferry.knowledge.library import BEST, Found, Library
from chatferry.knowledge.questions import Asked, asked, behind
from chatferry.knowledge.quoting import cited, numbered
from chatferry.model import File, Inbound, Message, Turn
from chatferry.watching.metrics import Metrics

log = structlog.get_logger(__name__)

GROUND = 0.45
"""The share of what a question asks for that a passage must speak of to be a ground for an answer."""
_WORTH = 0.3
"""The same for a passage that is shown beside the best."""
_SHARE = 0.4
"""Of the tokens that an assistant may spend on what was said: for passages, at the most."""
_READ = 500
"""Characters of a file that count as a question, where none was written beside it."""
_SHORT = 6.0
"""A question of so few words, or characters, may go on from the one before it: "and in blue?"."""


class Judged(msgspec.Struct, frozen=True):
    """What was found for a question, and whether that is a ground for an answer."""

    found: tuple[Found, ...]
    best: float
    """The share of a question that a passage speaks of, where it is the largest."""
    idle: bool
    """Nothing was asked for: small talk needs no ground."""

    @property
    def grounded(self) -> bool:
        return self.best >= GROUND


async def judge(library: Library, base: str, its: Asked, before: Asked | None = None) -> Judged:
    """Search for what a message asks; and for the same as it goes on from the message `before`, for perhaps it does.

    What is vague is searched for in the second way alone.
    """
    questions = its.questions
    if before is not None and before.questions and questions:
        goes_on = behind(before.questions, questions, vague=its.vague)
        questions = (goes_on,) if its.vague else (goes_on, *questions)
    found = await library.search(base, Asked(questions, its.beside))
    # Whatever was said may find something worth reading; but only what answers a question is a ground.
    best = max((one.coverage for several in found[: len(questions)] for one in several), default=0.0)
    kept: dict[tuple[str, int, str], Found] = {}
    for one in (one for several in zip_longest(*found) for one in several if one is not None):
        key = one.path, one.line, one.text
        if one.coverage >= max(_WORTH, kept[key].coverage if key in kept else 0.0):
            kept[key] = one
    return Judged(tuple(kept.values())[:BEST], best, its.idle)


class Grounding:
    """Grounds the answers of all assistants that have knowledge."""

    def __init__(self, library: Library, metrics: Metrics) -> None:
        self._library = library
        self._metrics = metrics

    async def look(self, assistant: Assistant, turn: Turn, history: AsyncIterator[Message]) -> Grounds:
        """What is known about a turn's question. One look at the database.

        `history` comes newest first, and is read only where the question is short. Raises Unavailable.
        """
        settings, said = assistant.settings, turn.inbound.said
        question = said.asks if said is not None else ""
        if not settings.knowledge:
            return Grounds(assistant, turn, question, (), self._metrics)
        its = asked(question)
        filed = _filed(said) if said is not None and its.idle else None
        if filed:
            question, its = filed, asked(filed)
        before = asked(await _asked_before(turn.inbound, history)) if its.size <= _SHORT else None
        judged = await judge(self._library, assistant.name, its, before)
        strict = settings.ground == "strict"
        unread = filed is not None and judged.idle
        unknown = strict and not judged.grounded and (unread or not judged.idle)
        passages = () if unknown else _fitting(judged.found, settings.context_tokens)
        return Grounds(assistant, turn, question, passages, self._metrics, unknown=unknown, unread=unread)


class Grounds:
    """What one answer rests on."""

    def __init__(
        self,
        assistant: Assistant,
        turn: Turn,
        question: str,
        found: Sequence[Found],
        metrics: Metrics,
        *,
        unknown: bool = False,
        unread: bool = False,
    ) -> None:
        """unknown: there is no ground for any answer; unread: the question is in a file, and not in words."""
        self._assistant = assistant
        self._turn = turn
        self._question = question
        self._metrics = metrics
        self.unknown = unknown
        self._unread = unread
        self.blind = assistant.settings.ground == "strict" and not found and not unknown
        """The model shall see no pictures: it makes small talk, and what they show is no ground."""
        self.sound = True
        """What is told was not rejected, and not left unchecked: it may be told again."""
        self._sources = [one.source for one in found]
        # What is said without a ground is told once there is one.
        self._checker = assistant.checker if found or unknown else None
        self.waits = self._checker is not None or unknown
        """Nothing of an answer is told before its end."""
        self.said = ""
        """What the model said last, told or not."""
        self.passages = tuple(numbered(place, one.source, one.text) for place, one in enumerate(found, 1))
        """What the model shall read, the best first."""

    async def told(
        self,
        events: AsyncGenerator[Event, None],
        *,
        before: str = "",
        returned: Sequence[str] | None = None,
        noted: bool = False,
        last: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """What the model says, as people get it: with its sources; where it is checked, only when it has passed.

        before: what the model said before its calls, and what of it `waits` is told with the end.
        returned: what the model's calls came to so far, which is a ground too; None: it can call nothing. Where there
        is no ground, and none can come, `events` are never begun, and no model is asked. noted: something was noted of
        the person. To be gone through once for each round of an answer; `last`: what the model still wants to call is
        not called.
        """
        async with contextlib.aclosing(events):
            if self.unknown and returned is None:
                for event in self._nothing(Done()):
                    yield event
                return
            self.said = ""
            async for event in events:
                if isinstance(event, Delta):
                    self.said += event.text
                elif isinstance(event, Restart):
                    self.said = ""
                elif event.finish == "calls" and not last:
                    pass
                elif self.unknown and not returned:
                    for end in self._nothing(event, noted=noted):
                        yield end
                    return
                elif self.unknown and self._checker is None:
                    yield Delta(before + self.said)
                elif self._sources or self.unknown:
                    async for end in self._ended(before + self.said, event, returned or ()):
                        yield end
                    return
                if not self.waits or isinstance(event, Done):
                    yield event

    def _nothing(self, done: Done, *, noted: bool = False) -> tuple[Event, Event]:
        log.info("nothing is known about it", turn=self._turn.id, assistant=self._assistant.name)
        self._count("unknown")
        words = self._assistant.words
        said = words.noted if noted else words.ask_in_words if self._unread else words.not_known
        return Delta(said), msgspec.structs.replace(done, finish="stop")

    async def _ended(self, said: str, done: Done, returned: Sequence[str]) -> AsyncIterator[Event]:
        """The end of an answer that has a ground."""
        words, checker = self._assistant.words, self._checker
        sources = cited(said, self._sources, words.sources)
        if checker is None or not said.strip():
            if sources:
                yield Delta(sources)
            yield done
            return
        passed = await self._check(checker, said, returned)
        yield Delta(said + sources if passed else words.not_known)
        finish = done.finish if passed else "stop"
        yield msgspec.structs.replace(done, finish=finish)

    async def _check(self, checker: Engine, said: str, returned: Sequence[str]) -> bool:
        """Does it pass? Where nobody can say: yes, unless the assistant is strict; then Fault is raised."""
        about = {"turn": self._turn.id, "assistant": self._assistant.name, "checker": checker.name}
        try:
            passed = await check(checker, (*self.passages, *self._results(returned)), self._question, said)
            if passed is None:
                raise Final(f"{checker.name}: gave no verdict")
        except Fault as fault:
            log.warning("answer not checked", error=str(fault), **about)
            self._count("unchecked")
            self.sound = False
            if self._assistant.settings.ground == "strict":
                raise
            return True
        self._count("passed" if passed else "rejected")
        if not passed:
            self.sound = False
            log.warning("answer rejected", **about)
        return passed

    def _results(self, returned: Sequence[str]) -> list[str]:
        """What calls came to, as far as half a prompt has room for it, as for the model itself: the newest first."""
        gauge, left = self._assistant.gauge, self._assistant.settings.context_tokens // 2
        kept: list[str] = []
        for text in reversed(returned):
            if left <= OVERHEAD:
                break
            kept.insert(0, cut(text, left, gauge))
            left -= gauge.text(kept[0])
        return kept

    def _count(self, outcome: str) -> None:
        self._metrics.grounding.labels(self._assistant.name, outcome).inc()


def _filed(said: Message) -> str | None:
    """What stands in the files of a message, as far as a question may go; None where the model gets nothing of them."""
    files = [part for part in said.parts if isinstance(part, File) and part.kind != "audio"]
    if not any(file.kept or file.text for file in files):
        return None
    return "\n\n".join(file.text for file in files if file.text)[:_READ]


async def _asked_before(inbound: Inbound, history: AsyncIterator[Message]) -> str:
    """What the person said before this."""
    if inbound.context is not None:
        return next((one.asks for one in reversed(inbound.context) if one.role == "user"), "")
    async for message in history:
        if message.role == "user":
            return message.asks
    return ""


def _fitting(found: Sequence[Found], budget: int) -> tuple[Found, ...]:
    """As many as there is room for, the best first."""
    kept: list[Found] = []
    room = budget * _SHARE
    for one in found:
        room -= estimate(numbered(1, one.source, one.text))
        if room < 0:
            break
        kept.append(one)
    return tuple(kept)
