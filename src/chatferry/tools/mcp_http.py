"""The way to a server by HTTP: what it answers is never held beyond a bound, and never unpacked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import cast

import httpx2

from chatferry.tools.mcp_pipe import LONGEST


def client(headers: Mapping[str, str], times: httpx2.Timeout) -> httpx2.AsyncClient:
    """Breaks off an answer of more than `LONGEST` bytes, so that it fails the call which it answers and no other.

    The SDK bounds the events of a stream by itself, and reads any other answer however long it is. An error of a stream
    is what it takes for an answer that cannot be read.
    """
    # By hooks and not by a transport of our own, with which proxies of the environment would not count.
    return httpx2.AsyncClient(
        headers=headers, timeout=times, event_hooks={"request": [_unpacked], "response": [_bounded]}
    )


async def _unpacked(request: httpx2.Request) -> None:
    """Else a few bytes may become as many as they like."""
    request.headers["Accept-Encoding"] = "identity"


async def _bounded(answer: httpx2.Response) -> None:
    if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        answer.headers["Content-Type"] = "compressed"  # as what the SDK does not know, and leaves unread
    elif not answer.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
        answer.stream = _Counted(cast(httpx2.AsyncByteStream, answer.stream))


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for piece in self._stream:
            length += len(piece)
            if length > LONGEST:
                raise httpx2.StreamError(f"it said more than {LONGEST} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
