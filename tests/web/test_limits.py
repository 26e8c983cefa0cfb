"""How often a caller may ask."""

from __future__ import annotations

import pytest

from chatferry.errors import Rejected
from chatferry.testing import ManualClock
from chatferry.web.limits import Limits


def test_the_minute_slides() -> None:
    clock = ManualClock()
    limits = Limits(2, clock)
    limits.count("ann")
    clock.advance(30)
    limits.count("ann")
    with pytest.raises(Rejected) as refusal:
        limits.count("ann")
    wait = int(refusal.value.headers["Retry-After"])
    clock.advance(wait)
    limits.count("ann")
    with pytest.raises(Rejected):
        limits.count("ann")


def test_callers_do_not_count_for_each_other() -> None:
    limits = Limits(1, ManualClock())
    limits.count("ann")
    limits.count("bob")


def test_what_is_refused_does_not_count() -> None:
    clock = ManualClock()
    limits = Limits(1, clock)
    limits.count("ann")
    for _ in range(59):
        clock.advance(1)
        with pytest.raises(Rejected):
            limits.count("ann")
    clock.advance(1)
    limits.count("ann")


def test_without_a_rate_there_is_no_limit() -> None:
    limits = Limits(None, ManualClock())
    for _ in range(1000):
        limits.count("ann")
