"""An answer as server-sent events, token by token: plain ASGI, for it is the hot path of the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.clock import Clock
from chatferry.engines.base import Delta, Restart
from chatferry.errors import Rejected
from chatferry.feed import Doing, Outcome
from chatferry.web.http import gone
from chatferry.web.shapes import Shape, failure, text_of

_SILENCE = 15.0
"""Seconds after which a quiet stream says that it lives: proxies cut what is silent."""

Events = AsyncGenerator[Delta | Restart | Doing | Outcome, None]
"""A turn from its first word; its outcome is last."""


class EventStream(Response):
    """Relays a turn until its outcome. `left` is called when the reader goes, or must be sent away, before that.

    over: called in the end.
    """

    def __init__(
        self,
        shape: Shape,
        events: Events,
        clock: Clock,
        *,
        left: Callable[[], Awaitable[None]],
        over: Callable[[], None],
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **shape.headers}
        super().__init__(media_type="text/event-stream", headers=headers)
        # A stream has no length; Starlette has put that of the empty body.
        self.raw_headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        self._shape = shape
        self._events = events
        self._clock = clock
        self._left = left
        self._over = over
        self._spoke = clock.now()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._run(Request(scope, receive), send)
        finally:
            self._over()

    async def _run(self, request: Request, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        relay = asyncio.ensure_future(self._relay(send))
        leaving = asyncio.ensure_future(gone(request))
        alive = asyncio.ensure_future(self._keep_alive(send))
        try:
            await asyncio.wait([relay, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not relay.done() or not relay.result():
                await self._left()
        finally:
            for task in (relay, leaving, alive):
                task.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _relay(self, send: Send) -> bool:
        """False: the stream had to end before the turn."""
        shape, spoken = self._shape, False
        await self._write(send, shape.first())
        async with aclosing(self._events) as events:
            async for event in events:
                if isinstance(event, Delta):
                    spoken = True
                    await self._write(send, shape.delta(event.text))
                elif isinstance(event, Outcome):
                    if not spoken and failure(event) is None:
                        await self._write(send, shape.delta(text_of(event)))
                    await self._write(send, shape.last(event))
                elif isinstance(event, Doing):
                    await self._write(send, shape.calling(event.tools))
                elif spoken:
                    # What was sent cannot be taken back.
                    again = "the answer was begun anew; ask again, with the same Idempotency-Key if there was one"
                    await self._write(send, shape.broken(Rejected(502, again, code="stream_restarted")))
                    return False
        return True

    async def _write(self, send: Send, body: bytes) -> None:
        self._spoke = self._clock.now()
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _keep_alive(self, send: Send) -> None:
        while True:
            quiet = self._clock.now() - self._spoke
            if quiet >= _SILENCE:
                await self._write(send, b": still here\n\n")
            else:
                await self._clock.sleep(_SILENCE - quiet)
