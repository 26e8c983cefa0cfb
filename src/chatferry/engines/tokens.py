"""What a prompt costs, in tokens: an estimate that errs high, and is corrected by what providers count."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from chatferry.engines.base import Done, Engine, Event, Prompt, Round, Tool
from chatferry.model import File, Finding, Message

_BYTES = (2.5, 1.0, 1.75)
"""Bytes of a token, seldom less: of ASCII prose, of what is dense in ASCII, of other scripts.

Measured by OpenAI's cl100k_base and o200k_base, the dearer of them: English 4.5, numbers 1.8, base64 1.4, traditional
Chinese 1.8. Gemini and some others take each digit by itself.
"""
OVERHEAD = 6
"""Tokens that a message costs beside its text (its role and its borders), rounded up."""
PICTURE = 1200
"""Tokens that a picture is taken to cost: providers count 260 to 1,600 for what we send."""
_MARK = " … "
"""In the place of what was cut out of a text."""
MARKED = 3
"""Tokens of that."""

_SMALL = 1000
"""Tokens of a prompt up to which an error is taken for something that the provider adds to every prompt."""
_PURE = 2 / 3
"""Share of a prompt that must be of one kind for it to tell what this costs at the most."""
_ENOUGH = 20
"""Prompts that have to tell so."""
_MARGIN = 1.1
_LEAST, _MOST = 0.8, 4.0
"""What was written until now is no proof of what comes: French costs more than English, rare signs more than both."""
_ASCII = bytes(range(128))
_DENSE = bytes({*_ASCII} - {*b"abcdefghijklmnopqrstuvwxyz "})
"""Digits, marks, capitals, ends of lines: tables, JSON, code, keys and article numbers are full of them."""


class Size(NamedTuple):
    """How much there is to read, in bytes by their kind: tokenizers take some kinds to smaller pieces than others."""

    prose: int = 0
    dense: int = 0
    other: int = 0
    parts: int = 0
    pictures: int = 0

    def __add__(self, more: object) -> Size:
        if not isinstance(more, Size):
            return NotImplemented
        return Size(*(mine + its for mine, its in zip(self, more, strict=True)))

    @property
    def raw(self) -> tuple[float, ...]:
        """Tokens of each kind by the first estimate."""
        return tuple(bytes_ / each for bytes_, each in zip(self, _BYTES, strict=False))


def size(text: str) -> Size:
    """The size of a text that stands for itself."""
    whole = text.encode(errors="replace")
    other = 0 if text.isascii() else len(whole.translate(None, _ASCII))
    prose = len(whole.translate(None, _DENSE)) - other
    return Size(prose, len(whole) - other - prose, other, 1)


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
        self._factors = tuple(_Factor() for _ in _BYTES)

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

    def learn(self, prompt: Prompt, counted: int) -> None:
        """The provider counted so many tokens for this."""
        whole = _size_of_prompt(prompt)
        if counted <= 0 or whole.pictures:
            return
        bare, expected, raw = whole.parts * OVERHEAD, self._of(whole) + self.fixed, sum(whole.raw)
        kinds = list(zip(self._factors, whole.raw, strict=True))
        pure = [(factor, its) for factor, its in kinds if its >= _PURE * raw]
        if counted > expected and raw + bare < _SMALL:
            self.fixed += counted - expected
        elif counted > expected:
            for factor, _ in pure or kinds:
                factor.raise_to(factor.value + (counted - expected + 1) / max(sum(its for _, its in pure) or raw, 1))
        elif raw + bare >= _SMALL:
            for factor, its in pure:
                factor.see((counted - bare) / its)  # as if the rest had cost nothing: it is never less than the truth

    def _of(self, whole: Size) -> int:
        texts = sum(factor.value * its for factor, its in zip(self._factors, whole.raw, strict=True))
        return math.ceil(texts) + whole.parts * OVERHEAD + whole.pictures * PICTURE


class _Factor:
    """How many times the first estimate a kind costs."""

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


def cut(text: str, tokens: int, gauge: Gauge) -> str:
    """The text, or where it costs more than `tokens` its beginning and its end."""
    raw, short = text.encode(errors="replace"), text
    left = len(raw)
    while left and (cost := gauge.text(short)) > tokens:
        # By bytes, because these cost; what is cut inside a character is dropped with it. What is kept may be dearer
        # than what was cut, so that is looked at again.
        left = max(0, int(left * min(0.99, (tokens - MARKED) / cost)))
        head, tail = raw[: left // 2], raw[len(raw) - left // 2 :]
        short = f"{head.decode(errors='ignore')}{_MARK}{tail.decode(errors='ignore')}"
    return short


class Gauged:
    """An engine from whose counts a gauge learns what prompts cost."""

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
