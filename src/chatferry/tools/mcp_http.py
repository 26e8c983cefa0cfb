"""The way to a server by HTTP: what it answers is never held beyond a bound."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import httpx2

from chatferry.tools.mcp_pipe import LONGEST


class Bounded(httpx2.AsyncHTTPTransport):
    """Breaks off an answer of more than `LONGEST` bytes, so that it fails the call which it answers and no other.

    The SDK bounds the events of a stream by itself, and reads any other answer however long it is. An error of a stream
    is what it takes for an answer that cannot be read.
    """

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # Else a few bytes may become as many as they like.
        request.headers["Accept-Encoding"] = "identity"
        answer = await super().handle_async_request(request)
        if not answer.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
            packed = answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
            answer.stream = _Counted(cast(httpx2.AsyncByteStream, answer.stream), 0 if packed else LONGEST)
        return answer


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        """limit: 0 where it is packed, which nobody has asked for."""
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for piece in self._stream:
            length += len(piece)
            if length > self._limit:
                raise httpx2.StreamError(f"it said more than {LONGEST} bytes" if self._limit else "it is compressed")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
