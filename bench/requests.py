"""HTTP's server side in as few cycles as Python allows: it finds where a request ends, and does not read it."""

from __future__ import annotations

import asyncio
from typing import cast


class Connection(asyncio.Protocol):
    """Calls `asked` for each request that has come whole."""

    def __init__(self) -> None:
        self._buffer = b""
        self.request = b""
        """The one that is asked."""

    def asked(self) -> None:
        """Answer one request, on `self.transport`."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self.request = self._buffer[: end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self.asked()
