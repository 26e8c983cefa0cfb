"""Who is watching a turn: the answer as it grows, for the API's streams and for pages.

A tail lives as long as somebody holds it, the worker that writes it or a watcher. It carries hints, not the truth:
the answer itself is in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

import msgspec

from chatferry.engines.base import Delta, Restart
from chatferry.model import Message, Task, Usage

CUT = "cut"
"""The `finish` of an outcome that is none: this process ends, and the next one goes on with the turn."""


class Outcome(msgspec.Struct, frozen=True):
    """How a turn ended. `error` is for the log; `answer` then holds the sentence for the person."""

    answer: Message | None
    finish: str = ""
    usage: Usage | None = None
    model: str = ""
    error: str = ""


class Doing(msgspec.Struct, frozen=True):
    """What is being called just now, by name; nothing: the model goes on."""

    tools: tuple[str, ...]


class Tail:
    """One answer in the making."""

    def __init__(self, reading: asyncio.Event | None = None) -> None:
        """reading: set when somebody begins to read the words as they come."""
        self._reading = reading or asyncio.Event()
        self._readers = 0
        self._parts: list[str] = []
        self._round = 0
        self.tasks: tuple[Task, ...] = ()
        """What was and is being called, in its order."""
        self._end: Outcome | None = None
        self._changed = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._parts)

    def add(self, text: str) -> None:
        """More of the answer."""
        self._parts.append(text)
        self._ring()

    def restart(self, kept: str = "") -> None:
        """The answer so far is this. What came beyond it is void."""
        said = self.text
        if kept != said and kept.startswith(said):
            self.add(kept[len(said) :])
        elif kept != said:
            self._round += 1
            self._parts = [kept] if kept else []
            self._ring()

    @property
    def doing(self) -> tuple[str, ...]:
        """The tools that are being called, by name; none: the model goes on."""
        return tuple(task.name for task in self.tasks if task.state == "running")

    def does(self, tasks: Sequence[Task]) -> None:
        """This was and is being called."""
        if self.tasks != tuple(tasks):
            self.tasks = tuple(tasks)
            self._ring()

    def catch_up(self, text: str) -> None:
        """The answer so far, as another tail has it. One that was begun anew counts when it is beyond ours."""
        said = self.text
        if text.startswith(said):
            if len(text) > len(said):
                self.add(text[len(said) :])
        elif not said.startswith(text):
            self.restart()
            self.add(text)

    @property
    def has_readers(self) -> bool:
        """Somebody reads the words as they come."""
        return self._readers > 0

    async def grown(self, beyond: str) -> None:
        """Return once the answer so far is another than `beyond`."""
        with self._reader():
            while self.text == beyond:
                await self._changed.wait()

    async def moved(self, text: str, tasks: tuple[Task, ...]) -> None:
        """Return once the answer so far, or what is called for it, is another than this."""
        with self._reader():
            while self.text == text and self.tasks == tasks:
                await self._changed.wait()

    def end(self, outcome: Outcome) -> None:
        """The turn is closed and in the ledger."""
        self._end = outcome
        self._over.set()
        self._ring()

    async def over(self) -> None:
        """Return once nothing more will be added."""
        await self._over.wait()

    @property
    def ended(self) -> bool:
        """Nothing more will be added."""
        return self._end is not None

    def _ring(self) -> None:
        self._changed.set()
        self._changed.clear()

    @contextlib.contextmanager
    def _reader(self) -> Iterator[None]:
        self._readers += 1
        self._reading.set()
        try:
            yield
        finally:
            self._readers -= 1

    async def follow(self, *, words: bool = True) -> AsyncGenerator[Delta | Restart | Doing | Outcome, None]:
        """From the first word on, however late one comes; the outcome is last. A slow reader gets larger deltas.

        words: or else the outcome alone.
        """
        if not words:
            await self.over()
            if self._end is not None:
                yield self._end
            return
        read, round_ = 0, self._round
        doing: tuple[str, ...] = ()
        with self._reader():
            while True:
                if round_ != self._round:
                    read, round_ = 0, self._round
                    yield Restart()
                elif read < len(self._parts):
                    text = "".join(self._parts[read:])
                    read = len(self._parts)
                    yield Delta(text)
                elif self._end is not None:
                    yield self._end
                    return
                elif doing != self.doing:
                    doing = self.doing
                    yield Doing(doing)
                else:
                    await self._changed.wait()


class Feed:
    """The tails of the turns that somebody works on or watches, in this process."""

    def __init__(self) -> None:
        self._tails: weakref.WeakValueDictionary[int, Tail] = weakref.WeakValueDictionary()
        self._closed = False
        self.reading = asyncio.Event()
        """Set when somebody begins to read an answer as it grows."""

    def tail(self, turn: int) -> Tail:
        """The turn's tail. Hold on to it: it goes with its last holder. A turn that is done again gets a new one."""
        tail = self._tails.get(turn)
        if tail is None or tail.ended:
            tail = self._tails[turn] = Tail(self.reading)
            if self._closed:
                tail.end(Outcome(None, CUT))
        return tail

    def held(self, turns: Iterable[int]) -> set[int]:
        """Those of these turns whose tails somebody holds."""
        return {turn for turn in turns if turn in self._tails}

    def open(self) -> dict[int, Tail]:
        """The tails that somebody holds and that have not ended."""
        return {turn: tail for turn, tail in list(self._tails.items()) if not tail.ended}

    def close(self) -> None:
        """This process adds nothing more: whoever still watches is told so."""
        self._closed = True
        for tail in list(self._tails.values()):
            if not tail.ended:
                tail.end(Outcome(None, CUT))
