"""Requests that stay open for their answer: what is said in the response, and when there is none.

Platforms like this deliver an event several times, each for some seconds, and take what comes in the response of one of
these. What a response says is kept before it goes out, and is said again if the platform asks again: by that we know
that the first one did not arrive. Any process may hold any of the requests.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from chatferry.channels.base import Channel, Hold
from chatferry.clock import Clock
from chatferry.delivering.composing import compose
from chatferry.feed import Feed
from chatferry.ledger.accepting import Accepted
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Standing
from chatferry.links import Links
from chatferry.model import Inbound, conversation_key
from chatferry.signals import first_of
from chatferry.words import Words

log = structlog.get_logger(__name__)

_LOOK = 0.5
"""Seconds between two looks at a turn that another process works on; shorter where requests are."""


class OpenRequest(msgspec.Struct, frozen=True):
    """One request that is open."""

    event: Inbound
    hold: Hold
    accepted: Accepted
    at: float
    """Unix seconds at which it came."""


class Holding:
    """Holds the requests of all channels that can wait."""

    def __init__(self, ledger: Ledger, feed: Feed, links: Links, clock: Clock) -> None:
        self._ledger = ledger
        self._feed = feed
        self._links = links
        self._clock = clock

    async def reply(self, channel: Channel, request: OpenRequest, left: asyncio.Event, words: Words) -> str | None:
        """Wait for what the response is to say; empty: that there is nothing to say.

        None: it must not be answered, so that the platform asks again. left: set when the platform hangs up.
        Raises Unavailable.
        """
        accepted, hold = request.accepted, request.hold
        if not accepted.turn:
            return ""
        turn, until = accepted.turn, request.at + hold.seconds
        while True:
            # Held before the ledger is read, so that no end falls between the two.
            tail = self._feed.tail(turn)
            ending = tail.ended  # as only those are that a process which ends gives out
            standing = await self._ledger.standing(accepted.turn)
            rest = until - self._clock.now()
            if standing.reply is not None or not standing.open or rest <= 0:
                break
            if ending or left.is_set():  # this process ends, or nobody listens
                return None
            if standing.turn != turn:  # another turn answers for it
                turn = standing.turn
                continue
            pause = self._clock.sleep(min(_LOOK, hold.seconds / 9, rest))
            await first_of(tail.over(), left.wait(), pause)
        if standing.reply is not None:
            return standing.reply
        if standing.open and not _last(request):
            return None
        return await self._say(channel, request, words, standing)

    async def heard(self, channel: Channel, request: OpenRequest, left: asyncio.Event) -> bool:
        """Is somebody there for the response? If not, and the platform won't ask again, what is in it waits again."""
        if self._clock.now() < request.at + request.hold.limit and not left.is_set():
            return True
        if request.accepted.turn and _last(request):
            log.warning("answered too late", turn=request.accepted.turn)
            await self._ledger.unreplied(request.accepted.turn, _talk(channel, request))
        return False

    async def _say(self, channel: Channel, request: OpenRequest, words: Words, standing: Standing) -> str:
        """Note what the response says: what waits to be read, and where the answer will be that is not there yet."""
        now, turn = self._clock.now(), request.accepted.turn

        def link(turn: int) -> str:
            return self._links.answer(turn, now) or ""

        while True:
            parked = await self._ledger.parked(_talk(channel, request))
            # What was asked later, a command that stopped this answer say, has a request of its own.
            waiting = [piece for piece in parked if piece.turn <= max(turn, standing.turn)]
            waiting.sort(key=lambda piece: piece.turn == standing.turn)  # what was finished earlier goes ahead
            pending = standing.turn if standing.open else 0
            reach = link if self._links.base is not None else None
            composed, pieces = compose(waiting, pending, channel.caps, words, reach, asked=standing.turn)
            said = await self._ledger.replied(turn, composed, pieces)
            if said is not None:
                return said


def _talk(channel: Channel, request: OpenRequest) -> str:
    return conversation_key(channel.name, request.event.conversation)


def _last(request: OpenRequest) -> bool:
    """Will the platform not ask again? By its count, or where it missed us before, by the age of the event."""
    hold = request.hold
    # The platform tells whole seconds; and calls may come a little early by our clock.
    age = request.at - request.event.at - 1.0 if request.event.at else 0.0
    return request.accepted.delivery >= hold.calls or age >= hold.limit * (hold.calls - 1.2)
