"""Room for large requests: what many callers send at once does not take all memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chatferry.config.api import LARGEST_BODY
from chatferry.errors import Rejected
from chatferry.web.http import RETRY_AFTER


class Room:
    """Bytes that large requests may have together, in this process."""

    def __init__(self, size: int = LARGEST_BODY) -> None:
        self._left = size

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Raises Rejected(503) where there is not so much left."""
        if size > self._left:
            raise Rejected(503, "too many large requests at once; try again", code="unavailable", headers=RETRY_AFTER)
        self._left -= size
        try:
            yield
        finally:
            self._left += size
