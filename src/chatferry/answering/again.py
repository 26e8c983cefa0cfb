"""Gives an answer again: as it was kept, or along with who asks the same just now; else has the model asked.

Who asks in another process is known by the place that it keeps among the answers (`ledger.answers`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from chatferry.answering.outcomes import Asked
from chatferry.clock import Clock
from chatferry.config import CacheSettings
from chatferry.engines.base import Done, Prompt
from chatferry.errors import Unavailable
from chatferry.feed import Feed, Tail
from chatferry.held import Held
from chatferry.ledger.answers import Keep, Kept, due, key_of
from chatferry.ledger.ledger import Ledger
from chatferry.signals import first_of
from chatferry.text.cutting import clean
from chatferry.watching.metrics import Metrics

_PACE = 0.1
"""Seconds between two looks at an answer that is read along: many may do it."""

_LOOK = 0.3
"""Seconds between two looks whether an answer is there that another process makes."""
_PATIENCE = 60.0
"""Seconds for which one is waited for: as long as a model may take to say a word."""

Private = Callable[[], Awaitable[None]]
"""To be called once it is clear that an answer is nobody else's: what a tool tells is about somebody, or about now."""
Ask = Callable[[Private], Awaitable[None]]
"""Asks the model, and notes what came of it."""


async def nothing() -> None:
    """Nobody waits for this answer."""


class Flight:
    """A question that is being asked."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self.over = asyncio.Event()
        self.landed: Kept | None = None
        """The answer, where others may have it."""
        self.placed = False
        """Other processes know of it, and wait for its answer."""

    def land(self, kept: Kept) -> None:
        """This is the answer, for whoever asks the same."""
        self.landed = kept
        self.over.set()


class Again:
    """The answers of a process that are given more than once."""

    def __init__(self, ledger: Ledger, metrics: Metrics, clock: Clock, others: Feed | None = None) -> None:
        """others: where the answers of other processes can be read as they grow; None: there are none."""
        self._ledger = ledger
        self._others = others
        self._metrics = metrics
        self._clock = clock
        self._flying: dict[str, Flight] = {}

    async def ask(self, held: Held, question: Prompt, tail: Tail, asked: Asked, ask: Ask) -> None:
        """Answer, and note in `asked` what came of it; `ask` does so where the answer is not there, or nobody else's.

        Who joins somebody that fails, is stopped, or gets what is theirs alone, asks for themselves.
        """
        cache = held.assistant.settings.cache
        key = key_of(held.assistant, held.turn.inbound, question) if cache is not None else None
        if cache is None or key is None:
            await ask(nothing)
            return
        if (joined := self._flying.get(key)) is not None and (kept := await self._join(joined, tail, asked)):
            self._given(kept, "joined", held, tail, asked)
            return
        # Begun before we look: who comes meanwhile neither looks nor asks.
        async with self._begin(key, held, tail) as flight:
            found = await self._ledger.kept_answer(key, cache.ttl)
            how = "kept" if isinstance(found, Kept) else "joined"
            if self._others is not None and joined is None and not isinstance(found, Kept):
                found = await self._elsewhere(self._others, key, flight, found, held, cache, asked)
            if isinstance(found, Kept):
                flight.land(found)
                self._given(found, how, held, tail, asked)
                if due(found, cache, self._clock.now()):
                    with contextlib.suppress(Unavailable):
                        await self._ledger.touch_answer(key)
                return
            self._count(held, "asked")
            await ask(partial(self._end, key, flight, held))
            if not flight.over.is_set() and (kept := self._worth(tail, asked)):
                flight.land(kept)
                await self._keep(key, kept, held, cache)

    async def _elsewhere(
        self, others: Feed, key: str, flight: Flight, asking: int | None, held: Held, cache: CacheSettings, asked: Asked
    ) -> Kept | int | None:
        """The answer that another process is `asking` for; else it is ours to ask, and the others know it.

        Who has waited for nothing asks, whoever else does.
        """
        if asking is None:
            flight.placed = True  # also if we are cancelled here: it is written all the same
            flight.placed = await self._ledger.begin_answer(key, held.assistant.name, held.turn, cache.ttl)
            if flight.placed:
                return None
        end = self._clock.now() + _PATIENCE
        found = await self._ledger.kept_answer(key, cache.ttl)

        async def wait() -> None:
            nonlocal found
            while isinstance(found, int) and self._clock.now() < end:
                await self._clock.sleep(_LOOK)
                found = await self._ledger.kept_answer(key, cache.ttl)

        if isinstance(found, int):
            await first_of(self._read(others.tail(found), flight.tail, asked), wait())
        return found

    async def _join(self, flight: Flight, tail: Tail, asked: Asked) -> Kept | None:
        """Read along with who asks; None where no answer came of it for others."""
        await first_of(self._read(flight.tail, tail, asked), flight.over.wait())
        return flight.landed

    async def _read(self, theirs: Tail, mine: Tail, asked: Asked) -> None:
        while True:
            await theirs.grown(mine.text)
            mine.catch_up(theirs.text)
            if asked.first_token_at is None and mine.text:
                asked.first_token_at = self._clock.now()
            await self._clock.sleep(_PACE)

    @contextlib.asynccontextmanager
    async def _begin(self, key: str, held: Held, tail: Tail) -> AsyncIterator[Flight]:
        """Others may join while the context is open. Who began before us is not disturbed."""
        flight = Flight(tail)
        self._flying.setdefault(key, flight)
        try:
            yield flight
        finally:
            if self._flying.get(key) is flight:
                del self._flying[key]
            await self._end(key, flight, held)

    async def _end(self, key: str, flight: Flight, held: Held) -> None:
        """Nothing more comes of it for others."""
        flight.over.set()
        if flight.placed and flight.landed is None:
            flight.placed = False
            with contextlib.suppress(Unavailable):  # the place is ours for as long as the turn is
                await self._ledger.drop_answer(key, held.turn)

    def _given(self, kept: Kept, how: str, held: Held, tail: Tail, asked: Asked) -> None:
        if asked.first_token_at is None:
            asked.first_token_at = self._clock.now()
        tail.restart(kept.text)
        asked.done = Done(model=kept.model)
        self._count(held, how)

    def _worth(self, tail: Tail, asked: Asked) -> Kept | None:
        """The answer, if it came to a good end."""
        done = asked.done
        if done is None or done.finish != "stop" or not clean(tail.text).strip():
            return None
        return Kept(tail.text, done.model, self._clock.now())

    async def _keep(self, key: str, kept: Kept, held: Held, cache: CacheSettings) -> None:
        name, turn, now = held.assistant.name, held.turn.id, self._clock.now()
        with contextlib.suppress(Unavailable):  # it is there all the same, for who has asked
            await self._ledger.keep_answer(Keep(key, name, turn, kept.text, kept.model, now, cache.size, cache.ttl))

    def _count(self, held: Held, how: str) -> None:
        self._metrics.given.labels(held.assistant.name, how).inc()
