"""An answer as server-sent events, token by token: plain ASGI, for it is the hot path of the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.clock import Clock
from chatferry.engines.base import Delta, Restart
from chatferry.feed import Outcome
from chatferry.web.shapes import Shape

_SILENCE = 15.0
"""Seconds after which a quiet stream says that it lives: proxies cut what is silent."""


class EventStream(Response):
    """Relays the events of a turn until its outcome. `left` is called when the reader goes before that."""

    def __init__(
        self,
        shape: Shape,
        events: AsyncIterator[Delta | Restart | Outcome],
        clock: Clock,
        *,
        left: Callable[[], None],
    ) -> None:
        super().__init__(
            media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        # A stream has no length; Starlette has put that of the empty body.
        self.raw_headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        self._shape = shape
        self._events = events
        self._clock = clock
        self._left = left
        self._sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        relay = asyncio.ensure_future(self._relay(send))
        gone = asyncio.ensure_future(_disconnect(receive))
        alive = asyncio.ensure_future(self._keep_alive(send))
        try:
            await asyncio.wait([relay, gone], return_when=asyncio.FIRST_COMPLETED)
            if not relay.done():
                self._left()
                return
            relay.result()
        finally:
            for task in (relay, gone, alive):
                task.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _relay(self, send: Send) -> None:
        shape, spoken = self._shape, False
        await self._write(send, shape.first())
        async for event in self._events:
            if isinstance(event, Delta):
                spoken = True
                await self._write(send, shape.delta(event.text))
            elif isinstance(event, Outcome):
                await self._write(send, shape.last(event))
            elif spoken:
                # What was sent cannot be taken back. The turn goes on; the same Idempotency-Key fetches its answer.
                await self._write(send, shape.broken("the answer was begun anew; ask again", "stream_restarted"))
                return

    async def _write(self, send: Send, body: bytes) -> None:
        self._sent += 1
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _keep_alive(self, send: Send) -> None:
        while True:
            before = self._sent
            await self._clock.sleep(_SILENCE)
            if self._sent == before:
                await self._write(send, b": still here\n\n")


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
