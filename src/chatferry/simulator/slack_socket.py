"""The simulated Slack's Socket Mode: the connections that an app holds, and what is acknowledged on them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from chatferry.simulator import slack_people as people
from chatferry.simulator.slack_rules import Json


class Unacknowledged(Exception):
    """No acknowledgement came, for one of Slack's retry reasons."""


@dataclass(eq=False)
class _Link:
    send: Send
    acks: dict[str, asyncio.Future[tuple[Any, str]]] = field(default_factory=dict)
    leaving: bool = False
    """It was told to make room for a new one."""

    async def say(self, frame: Json) -> None:
        await self.send({"type": "websocket.send", "text": json.dumps(frame)})


class Sockets:
    """Every connection of the app. Envelopes take turns among them, as Slack's do."""

    def __init__(self, tickets: set[str], changed: Callable[[], None]) -> None:
        self._tickets = tickets
        self._changed = changed
        self._links: list[_Link] = []
        self._came = asyncio.Event()
        self.used = False
        """Somebody connected once: events come this way."""

    @property
    def connected(self) -> int:
        """Connections that take events."""
        return sum(not link.leaving for link in self._links)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket, from its ticket to its end."""
        await receive()
        ticket = parse_qs(scope["query_string"].decode()).get("ticket", [""])[0]
        if ticket not in self._tickets:
            await send({"type": "websocket.close", "code": 1008})  # before the handshake is done: answers 403
            return
        self._tickets.remove(ticket)
        await send({"type": "websocket.accept"})
        link = _Link(send)
        hello = {"type": "hello", "num_connections": len(self._links) + 1, "connection_info": {"app_id": people.APP}}
        await link.say(hello | {"debug_info": {"host": "simulated", "approximate_connection_time": 18060}})
        self._links.append(link)
        self.used = True
        self._came.set()
        self._changed()
        try:
            while (got := await receive())["type"] == "websocket.receive":
                self._acknowledged(link, got.get("text") or "")
        finally:
            self._links.remove(link)
            self._changed()
            for ack in link.acks.values():
                if not ack.done():
                    ack.set_exception(Unacknowledged("connection_failed"))

    def _acknowledged(self, link: _Link, text: str) -> None:
        with contextlib.suppress(ValueError, RecursionError):  # what is no JSON acknowledges nothing
            frame = json.loads(text)
            ack = link.acks.get(frame.get("envelope_id", "")) if isinstance(frame, dict) else None
            if ack is not None and not ack.done():
                ack.set_result((frame.get("payload"), text))

    async def deliver(self, envelope: str, frame: str, *, patience: float) -> tuple[Any, str]:
        """Send one envelope and return what its acknowledgement carries, and all of it. Raises Unacknowledged."""
        try:
            async with asyncio.timeout(patience):
                link = await self._next()
                ack: asyncio.Future[tuple[Any, str]] = asyncio.get_running_loop().create_future()
                link.acks[envelope] = ack
                try:
                    await link.send({"type": "websocket.send", "text": frame})
                    return await ack
                finally:
                    del link.acks[envelope]
        except TimeoutError:
            raise Unacknowledged("timeout") from None
        except OSError:
            raise Unacknowledged("connection_failed") from None

    async def _next(self) -> _Link:
        while True:
            for link in self._links:
                if not link.leaving:
                    self._links.remove(link)
                    self._links.append(link)
                    return link
            self._came.clear()
            await self._came.wait()

    async def disconnect(self, reason: str) -> None:
        """Ask every connection to be replaced. It stays open for what is still to be acknowledged on it."""
        for link in self._links:
            link.leaving = True
        for link in list(self._links):
            with contextlib.suppress(OSError):
                await link.say({"type": "disconnect", "reason": reason, "debug_info": {"host": "simulated"}})

    async def cut(self) -> None:
        """Close every connection, unannounced."""
        for link in list(self._links):
            link.leaving = True
            with contextlib.suppress(OSError, RuntimeError):  # it is closed already, by them or by us
                await link.send({"type": "websocket.close", "code": 1001})
