"""The hot path that all providers share: one POST, its stream read at the reader's pace, faults told apart."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Protocol, Self

import aiohttp

from chatferry.clock import Clock
from chatferry.engines import faults
from chatferry.engines.base import Delta, Done, Event
from chatferry.engines.sse import Decoder
from chatferry.errors import Fault, Final

_WHOLE = 4 << 20
"""Bytes of an answer that is not streamed."""
_LARGE = 1 << 18
"""Bytes of a body, with pictures, that is written piece by piece."""
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
"""aiohttp would set a timer anew for every token that comes, which costs more than to decode it."""
_LIFE = 5
"""Times `timeout` for which nothing but signs of life may come, such as the comments that keep a connection open."""
_CLOSING = 5.0
"""Seconds in which it is seen that a connection was being closed when a request came; later, it may have been read."""
_LINGER = 0.2
"""Seconds that a body may take to end after its answer has."""


def noting_reuse() -> aiohttp.TraceConfig:
    """For the session of a `Wire`: tells it which requests went over a connection that an earlier one had left open."""

    async def reused(_: aiohttp.ClientSession, about: SimpleNamespace, __: object) -> None:
        if isinstance(about.trace_request_ctx, _Way):
            about.trace_request_ctx.reused = True

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(reused)
    return config


@dataclass
class _Way:
    """How a request goes out."""

    reused: bool = False


class Reader(Protocol):
    """Understands the payloads of one answer of one provider. Pure."""

    finish: str | None
    """Why the model stopped, as `Done.finish`; None: it has not yet."""
    closed: bool
    """The provider said that nothing more comes."""

    def read(self, payload: bytes) -> str:
        """The text in one payload. Raises `TryLater` or `Final` for an error told in mid-stream."""
        ...

    def end(self) -> Done:
        """The body has ended. Raises `TryLater` if the answer had not."""
        ...


class Wire:
    """One model's way to its provider over a session that all models share.

    Let the session's connector have no limit: an answer that streams holds a connection for a minute. And let it have
    `noting_reuse`.
    """

    def __init__(self, name: str, http: aiohttp.ClientSession, *, timeout: float, secret: str, clock: Clock) -> None:
        self.clock = clock
        self._name = name
        self._http = http
        self._timeout = timeout
        self._secret = secret

    async def ask(
        self, url: str, headers: Mapping[str, str], body: bytes, reader: Reader, *, pace: float
    ) -> AsyncGenerator[Event, None]:
        """Post `body` and read the answer. See `Engine.run`; leaving early closes the connection."""
        async with self._post(url, headers, body) as answer:
            if "json" in answer.content_type:
                if text := reader.read(await self._whole(answer, _WHOLE)):
                    yield Delta(text)
                reader.closed = True
            content, decoder, begun = answer.content, Decoder(), False
            loop, limit = asyncio.get_running_loop(), _LIFE * self._timeout
            told = loop.time()
            with _Patience(answer, self._timeout) as patience:
                while not reader.closed and (chunk := await patience.read()):
                    if not begun and chunk.lstrip().startswith(b"<"):
                        raise faults.Strange(f"{self._name}: a web page came in the place of an answer")
                    payloads = decoder.feed(chunk)
                    text = "".join([reader.read(payload) for payload in payloads])
                    if text:
                        yield Delta(text)
                    if payloads:
                        told = loop.time()
                    elif loop.time() - told > limit:
                        raise faults.Unreached(f"{self._name}: nothing but signs of life for {limit:g} s")
                    # The first read often brings no more than a role: the text that follows need not wait.
                    if pace > 0 and (text or begun) and reader.finish is None and not content.is_eof():
                        await self._rest(answer, pace)
                    begun = True
            if not reader.closed and (text := "".join([reader.read(payload) for payload in decoder.close()])):
                yield Delta(text)
            if not content.is_eof():
                await self._drain(content)
        yield reader.end()

    @contextlib.asynccontextmanager
    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The answer to a POST, if it is one to read. What the transport raises, here or later, is made a fault."""
        sent = {
            **headers,
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            # A compressed stream costs more than it saves: tokens are flushed one by one.
            "Accept-Encoding": "identity",
        }
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._send(url, sent, body)
            async with answer:
                if answer.status >= 300:
                    raise await self._refusal(answer)
                yield answer
        except aiohttp.InvalidURL as error:
            raise Final(f"{self._name}: base_url cannot be used: {url}") from error
        except TimeoutError as error:
            raise faults.Unreached(f"{self._name}: no word for {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            told = faults.scrub(str(error), self._secret)
            raise faults.Unreached(f"{self._name}: {type(error).__name__}: {told}") from error

    async def _send(self, url: str, headers: Mapping[str, str], body: bytes) -> aiohttp.ClientResponse:
        """Post it; once more where it met a connection that was just being closed, and so was hardly read.

        Else a provider who closes what is idle (uvicorn after 5 s) looks as if it were down: RFC 9112, 9.3.1.
        """
        loop = asyncio.get_running_loop()
        for last in (False, True):
            way, began = _Way(), loop.time()
            data = io.BytesIO(body) if len(body) > _LARGE else body
            try:
                # A redirect would turn the POST into a GET, or take the key to another host.
                return await self._http.post(
                    url, data=data, headers=headers, timeout=_NO_TIMEOUT, allow_redirects=False, trace_request_ctx=way
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if last or not way.reused or loop.time() - began > _CLOSING:
                    raise
        raise AssertionError("unreachable")

    async def _drain(self, content: aiohttp.StreamReader) -> None:
        """Wait a moment for the end of the body after the end of the answer: its connection can then be used again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while await content.readany():
                    pass

    async def _rest(self, answer: aiohttp.ClientResponse, seconds: float) -> None:
        """Let the kernel, not Python, collect what comes in the meantime.

        This holds the transport itself. The protocol's own `pause_reading` also pauses the parser, which then hands
        out one HTTP chunk, that is one token, per read. What the protocol has paused for its own reasons stays so.
        """
        transport = answer.connection.transport if answer.connection else None
        held = transport is not None and transport.is_reading()
        if transport is not None and held:
            transport.pause_reading()
        try:
            await self.clock.sleep(seconds)
        finally:
            if transport is not None and held and not transport.is_closing():
                transport.resume_reading()

    async def _refusal(self, answer: aiohttp.ClientResponse) -> Fault:
        error = faults.said(faults.read(await self._whole(answer, 1 << 16)))
        after = faults.retry_after(answer.headers, self.clock.now())
        return faults.fault(self._name, answer.status, error, after=after, secret=self._secret)

    async def _whole(self, answer: aiohttp.ClientResponse, limit: int) -> bytes:
        body = bytearray()
        with _Patience(answer, self._timeout) as patience:
            while chunk := await patience.read():
                body += chunk
                if len(body) > limit:
                    raise Final(f"{self._name}: an answer of more than {limit} bytes")
        return bytes(body)


class _Patience:
    """Reads a body, and raises `TimeoutError` when `limit` seconds bring no byte of it.

    One timer looks after the whole answer. Only the time in `read` counts: that we rest is not the provider's silence.
    """

    def __init__(self, answer: aiohttp.ClientResponse, limit: float) -> None:
        self._answer = answer
        self._content = answer.content
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._out = False

    def __enter__(self) -> Self:
        self._timer = self._loop.call_later(self._limit, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    async def read(self) -> bytes:
        """All that has come, or the next that comes; b"" at the end."""
        self._since = self._loop.time()
        try:
            return await self._content.readany()
        except aiohttp.ClientConnectionError as error:
            if self._out:
                raise TimeoutError from error
            raise
        finally:
            self._since = None

    def _look(self) -> None:
        waited = 0.0 if self._since is None else self._loop.time() - self._since
        if waited < self._limit:
            self._timer = self._loop.call_later(self._limit - waited, self._look)
        else:
            self._out = True
            self._answer.close()
