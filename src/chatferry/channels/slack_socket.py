"""Socket Mode: Slack's events over a WebSocket that we open, for those whom Slack cannot reach.

Facts: "Using Socket Mode" at docs.slack.dev.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from random import random
from typing import Any, get_args
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from pydantic import SecretStr

from chatferry.channels.slack_hooks import Kind
from chatferry.channels.slack_post import Said, post
from chatferry.clock import Clock
from chatferry.errors import Fault, Final, Rejected, TryLater, Unavailable
from chatferry.retry import next_try

log = structlog.get_logger(__name__)

Handle = Callable[[Kind, bytes, int], Awaitable[bytes | None]]
"""Keep what came: kind, payload (JSON), number of the delivery (0: the first). Returns the answer for Slack, if any.

Raises Unavailable, and Slack delivers it again; or Rejected, and it does not.
"""

AT_ONCE = 64
"""Envelopes that are being kept at the same time; who comes then waits in the socket."""
LARGEST = 1024 * 1024
"""Bytes of a frame."""
OPEN_SECONDS = 10.0
HEARTBEAT = 20.0
"""Seconds between our pings; without an answer for half of that the connection is given up."""
BREATH = 1.0
"""Seconds between two connections at least, should Slack want each to be another at once."""
SLOW = 300.0
"""Seconds between tries while only the operator can help."""
_MENDS = {
    "link_disabled": "switch Socket Mode on in the app's settings, or leave out app_token",
    "missing_scope": "give the app-level token the scope connections:write",
}
_MEND = "set app_token to an app-level token (xapp-) with the scope connections:write: Basic Information, in the app"
_TIMEOUT = aiohttp.ClientWSTimeout(ws_close=1.0)


class _Opened(Said):
    url: str = ""


class _Envelope(msgspec.Struct):
    type: str = ""
    envelope_id: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"null")
    accepts_response_payload: bool = False
    retry_attempt: Any = 0
    reason: str = ""


_KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
_envelope = msgspec.json.Decoder(_Envelope)


async def listen(
    api_base: str, app_token: SecretStr, http: aiohttp.ClientSession, clock: Clock, handle: Handle
) -> None:
    """Hold a connection until cancelled. One that Slack is about to close is read on until the next is open."""
    room = asyncio.Semaphore(AT_ONCE)
    connection: _Connection | None = None
    failures = 0
    async with asyncio.TaskGroup() as group:
        while True:
            began = clock.now()
            try:
                opened = _Connection(await _open(api_base, app_token, http), handle, room)
                group.create_task(opened.read(), name="slack socket")
                if connection:
                    group.create_task(connection.leave(), name="slack socket's end")
                connection = opened
                log.info("slack socket is open")
                await connection.over.wait()
                failures = 0 if connection.greeted else failures
                if connection.fault is None:
                    log.info("slack wants another connection")
                    await clock.sleep(min(BREATH, max(0.0, began + BREATH - clock.now())))  # it may be set back
                    continue
                raise connection.fault
            except Fault as fault:
                failures += 1
                pause = next_try(fault, failures, random=random, tries=failures + 1, patience=math.inf)
                if pause is None:
                    log.error("slack socket", error=str(fault), again_in=SLOW)
                else:
                    log.warning("slack socket", error=str(fault), again_in=round(pause, 1))
                await clock.sleep(SLOW if pause is None else pause)


async def _open(api_base: str, app_token: SecretStr, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    """A connection. Its address holds for one, so it is asked for each time; it is a secret, and not told."""
    bearer = f"Bearer {app_token.get_secret_value()}"
    said = await post(http, f"{api_base}/apps.connections.open", bearer, {}, _Opened)
    if not said.ok:
        raise _refused(f"apps.connections.open: {said.error}", said.error)
    if not _safe(said.url):
        raise Final("apps.connections.open: the address that it gave is not wss://")
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            return await http.ws_connect(said.url, timeout=_TIMEOUT, heartbeat=HEARTBEAT, max_msg_size=LARGEST)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        # Not its words: they may have the address.
        raise TryLater(f"the WebSocket cannot be opened: {type(error).__name__}") from None


def _refused(what: str, error: str) -> Final:
    return Final(f"{what}\n  mend: {_MENDS.get(error, _MEND)}")


def _safe(url: str) -> bool:
    """Encrypted, or to this machine."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "wss" or (parts.scheme == "ws" and parts.hostname in ("localhost", "127.0.0.1", "::1"))
    except ValueError:
        return False


class _Connection:
    """One WebSocket. `over` is set as soon as another is wanted in its place; `fault` says whether something broke."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, handle: Handle, room: asyncio.Semaphore) -> None:
        self.over = asyncio.Event()
        self.fault: Fault | None = None
        self.greeted = False
        self._socket = socket
        self._handle = handle
        self._room = room
        self._running: set[asyncio.Task[None]] = set()

    async def read(self) -> None:
        """Until the socket closes; returns when all that came is done with."""
        try:
            async with asyncio.TaskGroup() as group:
                async for frame in self._socket:
                    if frame.type is aiohttp.WSMsgType.TEXT:
                        await self._take(frame.data, group)
                if not self.over.is_set():
                    self.fault = TryLater(f"the connection was lost ({self._socket.close_code})")
                    self.over.set()
        finally:
            await self._socket.close()

    async def leave(self) -> None:
        """Acknowledge what has come, then close."""
        if self._running:
            await asyncio.wait(self._running)
        await self._socket.close()

    async def _take(self, frame: str, group: asyncio.TaskGroup) -> None:
        try:
            envelope = _envelope.decode(frame)
        except (msgspec.MsgspecError, RecursionError):
            log.warning("slack sent a frame that is not documented", length=len(frame))
            return
        if envelope.type == "disconnect":
            self._end(envelope.reason)
            return
        self.greeted = True
        kind = _KINDS.get(envelope.type)
        if kind and envelope.envelope_id:
            await self._room.acquire()
            task = group.create_task(self._keep(kind, envelope), name=f"slack {envelope.type}")
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._room.release()

    def _end(self, reason: str) -> None:
        """`refresh_requested` comes now and then, `warning` some seconds before a connection is closed."""
        if reason == "link_disabled":
            self.fault = _refused("Slack closed the socket: link_disabled", reason)
        elif reason not in ("refresh_requested", "warning"):
            self.fault = TryLater(f"Slack closed the socket: {reason}")
        self.over.set()

    async def _keep(self, kind: Kind, envelope: _Envelope) -> None:
        """Hand it over, and only then acknowledge it."""
        attempt = envelope.retry_attempt if isinstance(envelope.retry_attempt, int) else 0
        said: bytes | None = None
        try:
            said = await self._handle(kind, bytes(envelope.payload), attempt)
        except Unavailable:
            return  # Slack delivers it again
        except Rejected as refusal:
            log.info("rejected", kind=kind, reason=refusal.reason)
        except Exception:  # the top of the task: not acknowledged, so Slack delivers it again
            log.exception("bug")
            return
        answer: dict[str, Any] = {"envelope_id": envelope.envelope_id}
        if said and envelope.accepts_response_payload and (payload := _object(said)) is not None:
            answer["payload"] = payload
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):  # it closed: Slack delivers it again
            await self._socket.send_str(msgspec.json.encode(answer).decode())


def _object(body: bytes) -> dict[str, Any] | None:
    """The body, if it is a JSON object."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError):
        return None
