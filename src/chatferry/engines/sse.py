"""Server-sent events, read from bytes as they come."""

from __future__ import annotations

from chatferry.errors import Final

_BOM = b"\xef\xbb\xbf"


class Decoder:
    """Turns chunks of an event stream, cut anywhere, into the payloads of its events.

    An event that grows past `limit` bytes raises `Final`: whoever sends that would send it again.
    """

    def __init__(self, limit: int = 1 << 20) -> None:
        self._limit = limit
        self._tail = b""
        self._fresh = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads of the events that `chunk` completes; events without data are left out."""
        if b"\r" in chunk or self._after_cr:
            chunk = self._with_plain_ends(chunk)
        if self._tail:
            chunk = self._tail + chunk
        if self._fresh:
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._tail = chunk
                return []
            self._fresh = False
            chunk = chunk.removeprefix(_BOM)
        *events, self._tail = chunk.split(b"\n\n")
        if len(self._tail) > self._limit:
            raise Final(f"an event of more than {self._limit} bytes")
        # Nearly every event is this one line, so it is not worth a call.
        return [
            payload
            for event in events
            if (payload := event[6:] if event.startswith(b"data: ") and b"\n" not in event else _payload(event))
        ]

    def close(self) -> list[bytes]:
        """The payload of a last event that no blank line ended."""
        tail, self._tail = self._tail, b""
        payload = _payload(tail)
        return [payload] if payload else []

    def _with_plain_ends(self, chunk: bytes) -> bytes:
        """Make every line end LF. A CR at the end of one chunk and a LF at the start of the next are one end."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk


def _payload(event: bytes) -> bytes:
    data = []
    for line in event.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
    return b"\n".join(data)
