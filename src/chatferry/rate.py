"""How often something may happen: so many times in a period, all at once or spread over it. Pure.

This is the generic cell rate algorithm: all that is remembered is the time at which everything is free again. Each one
more moves it on by an interval, and there is room as long as it is no further away than the period.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Rate(NamedTuple):
    """`number` times in any `period` of seconds, on the long run; and after a pause of one, as many at once."""

    number: int
    period: float

    def wait(self, free_at: float, now: float) -> float:
        """Seconds until there is room for one more; 0: there is."""
        interval = self.period / self.number
        wait = self._used(free_at, now) + interval - self.period
        # A little earlier is early enough, as sums of times are not exact.
        return wait if wait > interval / 10 else 0.0

    def after(self, free_at: float, now: float) -> float:
        """What `free_at` is once there was one more."""
        return now + self._used(free_at, now) + self.period / self.number

    def _used(self, free_at: float, now: float) -> float:
        """No more than all: the clock may have been set back, or the rate be another than it was."""
        return min(max(free_at - now, 0.0), self.period)


def read(text: str) -> Rate | None:
    """`30/m` as a rate; None where it is none."""
    match = re.fullmatch(r"\s*([1-9]\d{0,4})\s*/\s*([smhd])\s*", text)
    return Rate(int(match[1]), _PERIODS[match[2]]) if match else None
