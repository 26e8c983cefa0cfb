"""An answer that grows, as server-sent events: each tells what has changed on its page.

    message  from block `from` on, these `blocks` and no others; the `state`, and a `note` that says it;
             `lang`, where the answer's language is not the page's
    end      the same, for the last time
    beat     nothing has changed for a while, and we are still there

The first event tells all, so that whoever lost the connection just makes another.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.assistant import Assistant
from chatferry.clock import Clock
from chatferry.errors import Unavailable
from chatferry.feed import Feed, Tail
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Shown
from chatferry.model import Task
from chatferry.signals import first_of
from chatferry.web.http import gone
from chatferry.web.showing import View, look, tongue, view

PACE = 0.4
"""Seconds between two events, at least."""
_SHARE = 10.0
"""An answer that takes long to render is rendered more seldom: once in so many times what it takes."""
LOOK = 1.0
"""Seconds without a word after which the ledger is asked: all may be said, or another process be at work."""
SILENCE = 15.0
"""Seconds after which a quiet stream says that it lives: proxies cut what is silent, and the page counts on it."""


class Change(msgspec.Struct):
    """What an event tells."""

    start: int = msgspec.field(name="from")
    blocks: tuple[str, ...]
    state: str
    note: str
    lang: str | None


class Growing(Response):
    """Tells a reader of a turn until it has ended. Where this process ends first, the stream breaks off.

    `read` is awaited once the whole answer has been sent; `streams` counts who reads, by turn.
    """

    def __init__(
        self,
        turn: int,
        assistant: Assistant,
        ledger: Ledger,
        feed: Feed,
        clock: Clock,
        *,
        headers: Mapping[str, str],
        streams: Counter[int],
        read: Callable[[int], Awaitable[None]],
    ) -> None:
        super().__init__(media_type="text/event-stream", headers={**headers, "X-Accel-Buffering": "no"})
        # A stream has no length; Starlette has put that of the empty body.
        self.raw_headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        self._turn = turn
        self._assistant = assistant
        self._ledger = ledger
        self._feed = feed
        self._clock = clock
        self._streams = streams
        self._read = read
        self._told = False
        """The end was sent, with the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams[self._turn] += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await first_of(self._relay(send), gone(Request(scope, receive)))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            if self._told:
                await self._read(self._turn)
        finally:
            self._streams[self._turn] -= 1
            if not self._streams[self._turn]:
                del self._streams[self._turn]

    async def _relay(self, send: Send) -> None:
        before: tuple[str, ...] | None = None
        told, spoke = ("", ""), self._clock.now()
        async with aclosing(self._views()) as views:
            async for seen, blocks in views:
                event = b""
                if before is None or blocks != before or (seen.state, seen.note) != told:
                    event = _event(seen, blocks, before or (), tongue(seen.answer, self._assistant))
                elif self._clock.now() - spoke >= SILENCE:
                    event = b"event: beat\ndata:\n\n"
                if event:
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                    before, told, spoke = blocks, (seen.state, seen.note), self._clock.now()
                    self._told = seen.read

    async def _views(self) -> AsyncGenerator[tuple[View, tuple[str, ...]], None]:
        """What there is to see, again and again, until it is final."""
        from chatferry.web.rendering import blocks  # with the first page: it brings much along

        # Held before the ledger is read, so that no end falls between the two.
        tail = self._feed.tail(self._turn)
        shown, turn = await self._look(), self._turn
        while shown is not None:
            if shown.turn != turn:
                # Another turn answers for this one, now or since a while.
                turn = shown.turn
                tail = self._feed.tail(turn)
            text, tasks = tail.text, tail.tasks
            seen = view(shown, text or shown.partial, self._assistant.words, tail.doing)
            began = time.monotonic()
            rendered = await asyncio.to_thread(blocks, seen.answer)
            yield seen, rendered
            if seen.final:
                return
            if tail.ended:
                tail = self._feed.tail(turn)
                if tail.ended:  # as all are: this process ends
                    return
            await self._wait(tail, text, tasks, max(PACE, _SHARE * (time.monotonic() - began)))
            if tail.ended or (tail.text, tail.tasks) == (text, tasks):
                shown = await self._look() or shown

    async def _wait(self, tail: Tail, text: str, tasks: tuple[Task, ...], pace: float) -> None:
        """For the next words, but not less than `pace` and hardly longer than `LOOK`."""
        await first_of(tail.over(), self._clock.sleep(pace))
        if not tail.ended:
            await first_of(tail.over(), tail.moved(text, tasks), self._clock.sleep(LOOK - PACE))

    async def _look(self) -> Shown | None:
        try:
            return await look(self._ledger, self._turn)
        except Unavailable:
            return None


def _event(seen: View, blocks: tuple[str, ...], before: tuple[str, ...], lang: str | None) -> bytes:
    same = 0
    while same < min(len(blocks), len(before)) and blocks[same] == before[same]:
        same += 1
    change = Change(same, blocks[same:], seen.state, seen.note, lang)
    return b"%bdata: %b\n\n" % (b"event: end\n" if seen.final else b"", msgspec.json.encode(change))
