"""The ends of the pipes to a server: its errors go to our log, and that it is gone is noticed at once."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TextIO

import structlog
from mcp.client._transport import ReadStream, TransportStreams
from mcp.shared.message import SessionMessage

log = structlog.get_logger(__name__)

_LINE = 1000
"""Characters of a line that are logged."""
_LINES = 100
"""Lines that are logged in a minute."""
_REST = 0.5
"""Seconds for the last lines of a program that has ended; a child of its own may keep the pipe open."""
LONGEST = 4_000_000
"""Bytes of a message: a picture may come as one."""
_HEAD = 200
"""Bytes of a longer one in which it is looked for what it answers."""
_ID = re.compile(rb'"id"\s*:\s*(\d+|"[^"\\]+")')
_TOO_LONG = b'{"jsonrpc":"2.0","id":%%s,"error":{"code":-32603,"message":"it said more than %d bytes"}}' % LONGEST
_NONSENSE = 20
"""Lines of a session that may be no messages: some programs greet on their standard output."""


@contextlib.asynccontextmanager
async def errors_to_log(server: str, heard: Callable[[str], None]) -> AsyncIterator[TextIO]:
    """A file for a program's standard error; what it writes there is logged, as far as it is not too much.

    `heard` is told every line, the last ones at the latest when this ends.
    """
    read, write = os.pipe()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 16)
    source, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop), os.fdopen(read, "rb", 0)
    )
    copying = asyncio.create_task(_copy(reader, server, heard), name=f"errors of {server}")
    try:
        with os.fdopen(write, "w") as file:
            yield file
    finally:
        try:
            await asyncio.wait([copying], timeout=_REST)
        finally:
            source.close()
            copying.cancel()
            await asyncio.wait([copying])


async def _copy(reader: asyncio.StreamReader, server: str, heard: Callable[[str], None]) -> None:
    lines, minute, rest = 0, 0, b""
    loop = asyncio.get_running_loop()
    while chunk := await reader.read(1 << 14) or (rest and b"\n"):  # the last line may lack its end
        *whole, rest = (rest + chunk).split(b"\n")
        rest = rest[-_LINE:]
        if (now := int(loop.time() // 60)) != minute:
            lines, minute = 0, now
        for line in whole:
            text = line.decode(errors="replace").strip()[:_LINE]
            lines += bool(text)
            if text:
                heard(text)
            if text and lines <= _LINES:
                log.info("tool server says", server=server, text=text)
            if lines == _LINES + 1 and text:
                log.warning("tool server says too much to be logged", server=server)


class Lines(codecs.IncrementalDecoder):
    """Text in lines that end: one that is too long is never held, and fails what it answers.

    The SDK reads a line however long it gets, joining it anew with each piece; its decoder is where it lets us in.
    """

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(errors)
        self._line = bytearray()
        self._length = 0

    def decode(self, input: Any, final: bool = False) -> str:
        first, *lines = bytes(input).split(b"\n")
        self._add(first)
        if not lines:
            return ""
        *whole, rest = lines
        whole.insert(0, self._end())
        self._add(rest)
        return b"\n".join([*whole, b""]).decode(errors=self.errors)

    def _add(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length <= LONGEST:
            self._line += piece
        else:
            del self._line[_HEAD:]

    def _end(self) -> bytes:
        line, length = bytes(self._line), self._length
        self._line.clear()
        self._length = 0
        if length <= LONGEST:
            return line
        asked = _ID.search(line)
        return _TOO_LONG % (asked[1] if asked else b"null")


_UTF8 = codecs.lookup("utf-8")
LINES = "chatferry-lines"
"""The encoding of a program's messages."""
_CODEC = codecs.CodecInfo(_UTF8.encode, _UTF8.decode, incrementaldecoder=Lines, name=LINES)
codecs.register(lambda name: _CODEC if name == LINES.replace("-", "_") else None)


def watched(
    transport: AbstractAsyncContextManager[TransportStreams], ended: Callable[[], None]
) -> AbstractAsyncContextManager[TransportStreams]:
    """The same transport, which tells when nothing more comes from the other side."""

    @contextlib.asynccontextmanager
    async def streams() -> AsyncIterator[TransportStreams]:
        async with transport as (read, write):
            yield _Watched(read, ended), write

    return streams()


class _Watched:
    """What comes from a server, up to its end, or to the point where it has said too much that is no message."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended
        self._nonsense = 0

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            while isinstance(told := await self._stream.__anext__(), Exception):
                self._nonsense += 1
                if self._nonsense > _NONSENSE:
                    log.warning("tool server talks nonsense", error=type(told).__name__)
                    raise StopAsyncIteration
        except BaseException:
            self._ended()
            raise
        return told

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)
