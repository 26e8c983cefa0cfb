"""Signed LINE webhooks at a given rate, from as few cycles as Python allows."""

from __future__ import annotations

import asyncio
import base64
import hmac
import itertools
import time
from collections import deque
from typing import cast

from bench.rig import SECRET

_numbers = itertools.count(int(time.time() * 1e6))


def webhook(user: int, text: str = "What is the weather like in Taipei today?") -> bytes:
    """A whole HTTP request with one signed text event."""
    number = next(_numbers)
    who = f"U{user:032x}"
    body = (
        f'{{"destination":"U{0:032x}","events":[{{"type":"message","mode":"active","timestamp":{number // 1000},'
        f'"source":{{"type":"user","userId":"{who}"}},"webhookEventId":"01BENCH{number:019d}",'
        f'"deliveryContext":{{"isRedelivery":false}},"replyToken":"token-{number}",'
        f'"message":{{"type":"text","id":"{number}","quoteToken":"q","text":"{text}"}}}}]}}'
    ).encode()
    signature = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha256"))
    return (
        b"POST /hooks/line HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nx-line-signature: %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (signature, len(body), body)
    )


class _Connection(asyncio.Protocol):
    """Requests in flight on one connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._begun: deque[float] = deque()
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, scheduled: float) -> None:
        self._begun.append(scheduled)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        now = time.perf_counter()
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            whole = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
            if len(self._buffer) < whole:
                return
            if not head.startswith(b"http/1.1 200"):
                self._load.refused += 1
            if whole > end + 4:
                self._load.bodies.append((self._buffer[end + 4 : whole], now))
            self._buffer = self._buffer[whole:]
            self._load.seconds.append(now - self._begun.popleft())
            self._load.free.append(self)
            self._load.answered.set()


class Load:
    """An open loop: requests go out when they are due, and latency counts from then."""

    def __init__(self, port: int, connections: int = 64) -> None:
        self._port = port
        self._connections = connections
        self.free: deque[_Connection] = deque()
        self.seconds: list[float] = []
        self.bodies: list[tuple[bytes, float]] = []
        """What was said in responses, where anything was, and when it came (`time.perf_counter`)."""
        self.refused = 0
        self.answered = asyncio.Event()

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
            self.free.append(connection)

    async def run(self, requests: list[bytes], rate: float) -> None:
        """Send them all; returns when all are answered."""
        begin = time.perf_counter() + 0.05
        for number, request in enumerate(requests):
            due = begin + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            while not self.free:
                self.answered.clear()
                await self.answered.wait()
            self.free.popleft().send(request, due)
        while len(self.seconds) < len(requests):
            self.answered.clear()
            await self.answered.wait()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
