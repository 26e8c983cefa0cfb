"""How often a caller may ask: a sliding minute, counted in this process."""

from __future__ import annotations

from collections import defaultdict, deque

from chatferry.clock import Clock
from chatferry.errors import Rejected

_WINDOW = 60.0


class Limits:
    """At most `rate` requests of a caller in any minute; None: no limit."""

    def __init__(self, rate: int | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._seen: defaultdict[str, deque[float]] = defaultdict(deque)

    def count(self, caller: str) -> None:
        """One more request. Raises Rejected(429) with the seconds until there is room."""
        if self._rate is None:
            return
        now, seen = self._clock.now(), self._seen[caller]
        while seen and seen[0] <= now - _WINDOW:
            seen.popleft()
        if len(seen) >= self._rate:
            wait = int(seen[0] + _WINDOW - now) + 1
            raise Rejected(
                429,
                f"more than {self._rate} requests in a minute; try again in {wait} s",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(wait)},
            )
        seen.append(now)
