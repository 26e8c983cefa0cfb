"""Follows the turns that other processes work on, for whoever waits for one of them here.

News say which turns to look at, and a look now and then finds what was missed. What is found goes into the turn's tail,
as if it were worked on in this process: whoever waits need not know where that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from chatferry.clock import Clock
from chatferry.errors import Unavailable
from chatferry.feed import Feed, Outcome, Tail
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Progress
from chatferry.model import APOLOGY
from chatferry.signals import first_of

log = structlog.get_logger(__name__)

LOOK = 2.0
"""Seconds between two looks at all that somebody waits for, and two words that an answer is being read."""
_PAUSE = 0.05
"""Seconds at least between two looks: what comes meanwhile is looked at together."""


class Relay:
    """The tails of this process that are not written here."""

    def __init__(self, ledger: Ledger, feed: Feed, clock: Clock, *, ours: Callable[[int], bool]) -> None:
        """ours: is the turn worked on in this process, or could it be in no other?"""
        self._ledger = ledger
        self._feed = feed
        self._clock = clock
        self._ours = ours
        self._rung: set[int] = set()
        self._watched: dict[int, float] = {}
        """When it was last said that somebody reads along, by turn."""
        self._looked = 0.0

    async def watch(self, turn: int) -> None:
        """Somebody reads the turn's answer here, and will look again. Raises Unavailable."""
        if not self._ours(turn):
            await self._ledger.watch([turn])

    def ring(self, turns: Iterable[int]) -> None:
        """Something is new about these turns."""
        if rung := self._feed.held(turns):
            self._rung |= rung
            self._feed.reading.set()

    def missed(self) -> None:
        """Something may be new about any turn."""
        self._looked = 0.0
        self._feed.reading.set()

    async def run(self) -> None:
        """Follow, until cancelled."""
        while True:
            await first_of(self._feed.reading.wait(), self._clock.sleep(LOOK))
            self._feed.reading.clear()
            try:
                await self._follow()
            except Unavailable as fault:
                self._looked = 0.0
                log.warning("not known how far other processes are", error=str(fault))
                await self._clock.sleep(LOOK)
            await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        now = self._clock.now()
        tails = {turn: tail for turn, tail in self._feed.open().items() if not self._ours(turn)}
        self._watched = {turn: at for turn, at in self._watched.items() if turn in tails}
        rung, self._rung = self._rung, set()
        read = [turn for turn, tail in tails.items() if tail.has_readers]
        untold = [turn for turn in read if self._watched.get(turn, 0.0) <= now - LOOK]
        if untold:
            await self._ledger.watch(untold)
            self._watched |= dict.fromkeys(untold, now)
        if self._looked <= now - LOOK:
            self._looked = now
            wanted = list(tails)
        else:
            wanted = [turn for turn in tails if turn in rung or turn in untold]
        self._bring(tails, await self._ledger.progress(wanted))

    def _bring(self, tails: Mapping[int, Tail], found: Iterable[Progress]) -> None:
        for turn in found:
            tail = tails[turn.id]
            if tail.ended or self._ours(turn.id):  # it was taken over here while we looked
                continue
            if turn.open:
                if turn.partial:
                    tail.catch_up(turn.partial)
                continue
            if turn.answer is not None and turn.finish != APOLOGY:
                tail.catch_up(turn.answer.text)
            tail.end(Outcome(turn.answer, turn.finish, turn.usage, turn.model, turn.error))
