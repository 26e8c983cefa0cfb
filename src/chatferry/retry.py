"""When to try again, and when not to ask at all: pure decisions, time and chance by argument."""

from __future__ import annotations

from collections.abc import Callable

from chatferry.clock import Clock
from chatferry.errors import Fault, TryLater


def next_try(
    error: Fault,
    attempts: int,
    *,
    random: Callable[[], float],
    tries: int = 3,
    base: float = 0.5,
    cap: float = 30.0,
    patience: float = 60.0,
) -> float | None:
    """Seconds until the next try after `attempts` failed ones, or None: give up.

    Only `TryLater` is tried again. What the other side asked for is kept to, unless it is more than `patience`.
    """
    if not isinstance(error, TryLater) or attempts >= tries:
        return None
    # Spread over nearly the whole span, so that callers that failed together do not come back together.
    wait = min(cap, base * 2.0 ** min(attempts - 1, 32)) * (0.1 + 0.9 * random())
    if error.after is None:
        return wait
    return None if error.after > patience else max(wait, error.after + base * random())


class Circuit:
    """Stops asking a provider that keeps failing, so that its callers go elsewhere at once.

    Opens after `failures` faults in a row; `rest` seconds later lets one caller probe, and one more for every
    `rest` seconds that the probe takes, for it may never report back (its caller may have been cancelled).
    """

    def __init__(self, clock: Clock, *, failures: int = 5, rest: float = 30.0) -> None:
        self._clock = clock
        self._failures = failures
        self._rest = rest
        self._count = 0
        self._until = 0.0

    def admits(self) -> bool:
        """May a request be made now? True in an open circuit is leave for one probe."""
        if self._count < self._failures:
            return True
        if self.closed_for() > 0:
            return False
        self._until = self._clock.now() + self._rest
        return True

    def closed_for(self) -> float:
        """Seconds until the next request may be made; 0: now."""
        left = self._until - self._clock.now()
        # Much more than a rest is none, but a clock that was set back.
        return left if self._count >= self._failures and 0.0 < left < 2 * self._rest else 0.0

    @property
    def open(self) -> bool:
        """Has it failed too often just now?"""
        return self.closed_for() > 0

    def answered(self) -> None:
        """The provider is there, whatever it said."""
        self._count = 0

    def failed(self) -> None:
        """The provider could not answer."""
        self._count += 1
        self._until = self._clock.now() + self._rest
