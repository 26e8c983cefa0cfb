"""When to try again, and when not to ask at all: pure decisions, time and chance by argument."""

from __future__ import annotations

from collections.abc import Callable

from chatferry.clock import Clock
from chatferry.errors import Fault, TryLater

_FAILURES = 5
"""Faults in a row that open a circuit, unless they come all at once."""
_BLIP = 2.0
"""Seconds that they are apart at the least: what hits all that is under way in one moment may be over in the next."""
_REST = 30.0
"""Seconds for which nothing is asked then."""


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

    Opens after some faults in a row, and after a rest lets one caller probe; and one more whenever the probe takes as
    long as the rest, for it may never report back (its caller may have been cancelled).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = 0
        self._since = 0.0
        """When the first of the faults in a row came."""
        self._until: float | None = None
        """When the next caller may probe; None: it is closed, and all may ask."""

    def admits(self) -> bool:
        """May a request be made now? True in an open circuit is leave for one probe."""
        if self._until is None:
            return True
        if self.closed_for() > 0:
            return False
        self._until = self._clock.now() + _REST
        return True

    def closed_for(self) -> float:
        """Seconds until the next request may be made; 0: now."""
        left = 0.0 if self._until is None else self._until - self._clock.now()
        # Much more than a rest is none, but a clock that was set back.
        return left if 0.0 < left < 2 * _REST else 0.0

    @property
    def open(self) -> bool:
        """Has it failed too often just now?"""
        return self.closed_for() > 0

    def answered(self) -> None:
        """The provider is there, whatever it said."""
        self._count, self._until = 0, None

    def failed(self) -> None:
        """The provider could not answer."""
        now = self._clock.now()
        if self._count == 0 or now < self._since:
            self._since = now
        self._count += 1
        if self._count >= _FAILURES and now - self._since >= _BLIP:
            self._until = now + _REST
