"""What a prompt costs, in tokens: an estimate that errs high, and is corrected by what providers count."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from chatferry.engines.base import Done, Engine, Event, Prompt, Round, Tool
from chatferry.model import File, Finding, Message

BYTES = 2.5
"""Bytes of a token: it is seldom shorter, in any script."""
OVERHEAD = 6
"""Tokens that a message costs beside its text (its role and its borders), rounded up."""
PICTURE = 1200
"""Tokens that a picture is taken to cost: providers count 260 to 1,600 for what we send."""

_SMALL = 1000
"""Tokens of a prompt up to which an error is taken for something that the provider adds to every prompt."""
_PURE = 0.9
"""Share of a prompt that must be of one kind of script for it to tell that this costs less than we thought."""
_ENOUGH = 20
"""Prompts that have to tell so."""
_MARGIN = 1.1
_LEAST, _MOST = 0.7, 4.0
"""What was written until now is no proof of what comes: a text of numbers costs twice as much as prose."""


class Size(NamedTuple):
    """How much there is to read. Tokenizers are made for ASCII, and take other scripts to smaller pieces."""

    ascii: int = 0
    other: int = 0
    """Bytes of each."""
    parts: int = 0
    pictures: int = 0

    def __add__(self, more: object) -> Size:
        if not isinstance(more, Size):
            return NotImplemented
        return Size(*(mine + its for mine, its in zip(self, more, strict=True)))


def size(text: str) -> Size:
    """The size of a text that stands for itself."""
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return Size(plain, len(text.encode(errors="replace")) - plain, 1)


def estimate(text: str) -> int:
    """Tokens of a text, by no provider's count."""
    return Gauge().text(text)


class Gauge:
    """Counts for one model. What its provider counted is learned: at once where it was more, slowly where less.

    It never counts less than the most that was counted for as much text, and begins with an estimate that is high.
    """

    def __init__(self) -> None:
        self.fixed = 0
        """Tokens that each prompt costs beside what we see of it."""
        self._ascii = _Factor()
        self._other = _Factor()

    def text(self, text: str) -> int:
        return self._of(size(text))

    def message(self, message: Message) -> int:
        return self._of(_size_of(message))

    def tool(self, tool: Tool) -> int:
        return self._of(_size_of_tool(tool))

    def round(self, one: Round) -> int:
        return self._of(_size_of_round(one))

    def prompt(self, prompt: Prompt) -> int:
        """All of it, but for what is `fixed`."""
        return self._of(_size_of_prompt(prompt))

    def bytes(self, tokens: int) -> int:
        """How many bytes of any text cost so many tokens at the most."""
        return max(0, int((tokens - OVERHEAD) * BYTES / max(self._ascii.value, self._other.value)))

    def learn(self, prompt: Prompt, counted: int) -> None:
        """The provider counted so many tokens for this."""
        whole = _size_of_prompt(prompt)
        if counted <= 0 or whole.pictures:
            return
        bare, expected = whole.parts * OVERHEAD, self._of(whole) + self.fixed
        raw = (whole.ascii + whole.other) / BYTES
        scripts = [(self._ascii, whole.ascii / BYTES), (self._other, whole.other / BYTES)]
        pure = [(factor, its) for factor, its in scripts if its >= _PURE * raw]
        if counted > expected and raw + bare < _SMALL:
            self.fixed += counted - expected
        elif counted > expected:
            for factor, _ in pure or scripts:
                factor.raise_to(factor.value + (counted - expected + 1) / max(sum(its for _, its in pure) or raw, 1))
        elif raw + bare >= _SMALL:
            for factor, _ in pure:
                factor.see((counted - bare) / raw)

    def _of(self, whole: Size) -> int:
        texts = self._ascii.value * whole.ascii + self._other.value * whole.other
        return math.ceil(texts / BYTES) + whole.parts * OVERHEAD + whole.pictures * PICTURE


class _Factor:
    """How many times the first estimate a script costs."""

    def __init__(self) -> None:
        self.value = 1.0
        self._most = 0.0
        self._seen = 0

    def raise_to(self, value: float) -> None:
        """It was seen to cost so much."""
        self._most = min(max(self._most, value), _MOST)
        self.value = max(self.value, self._most)

    def see(self, ratio: float) -> None:
        """It cost this, which was less than we thought."""
        self._most = max(self._most, ratio)
        self._seen += 1
        if self._seen >= _ENOUGH:
            self.value = min(self.value, max(self._most * _MARGIN, _LEAST))


class Gauged:
    """An engine whose counts are learned."""

    def __init__(self, engine: Engine, gauge: Gauge) -> None:
        self.name = engine.name
        self._engine = engine
        self._gauge = gauge

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        async with aclosing(self._engine.run(prompt, pace=pace)) as events:
            async for event in events:
                if isinstance(event, Done) and event.usage is not None:
                    self._gauge.learn(prompt, event.usage.prompt)
                yield event

    async def check(self) -> AsyncIterator[Finding]:
        async for finding in self._engine.check():
            yield finding


def _size_of(message: Message) -> Size:
    """A picture counts twice, as itself and by its words: nobody knows here which of the two a model gets."""
    pictures = sum(isinstance(part, File) for part in message.parts)
    return size(message.words)._replace(pictures=pictures)


def _size_of_tool(tool: Tool) -> Size:
    return size(f"{tool.name}{tool.description}{msgspec.json.encode(tool.parameters).decode()}")


def _size_of_round(one: Round) -> Size:
    whole = size(one.said)
    for call in one.calls:
        whole += size(f"{call.id}{call.name}{call.arguments}{call.token}")
    for result in one.results:
        whole += size(result.text)
    return whole


def _size_of_prompt(prompt: Prompt) -> Size:
    whole = size(prompt.system)
    for message in prompt.messages:
        whole += _size_of(message)
    for tool in prompt.tools:
        whole += _size_of_tool(tool)
    for one in prompt.rounds:
        whole += _size_of_round(one)
    return whole
