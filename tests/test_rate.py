"""So many in a period, by the arithmetic alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.rate import Rate, read

NOW = 1_800_000_000.0
RATES = st.builds(Rate, st.integers(1, 500), st.sampled_from([1.0, 60.0, 3600.0, 86400.0]))
GAPS = st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=200)
"""Between two messages, in intervals of the rate."""


def admitted(rate: Rate, times: list[float]) -> list[float]:
    """Those at which there was room, of all at which somebody asked."""
    free_at, taken = 0.0, []
    for now in times:
        if not rate.wait(free_at, now):
            free_at = rate.after(free_at, now)
            taken.append(now)
    return taken


def times(rate: Rate, gaps: list[float]) -> list[float]:
    now, found = NOW, []
    for gap in gaps:
        now += gap * rate.period / rate.number
        found.append(now)
    return found


@given(RATES)
def test_the_whole_number_fits_at_once_and_one_more_does_not(rate: Rate) -> None:
    assert len(admitted(rate, [NOW] * (rate.number + 3))) == rate.number


@given(RATES, GAPS)
def test_in_no_span_is_there_more_than_the_number_and_what_became_free_meanwhile(rate: Rate, gaps: list[float]) -> None:
    taken = admitted(rate, times(rate, gaps))
    for first, begin in enumerate(taken):
        for count, end in enumerate(taken[first:], 1):
            assert count <= rate.number + (end - begin) * rate.number / rate.period + 0.2


@given(RATES, GAPS)
def test_who_keeps_to_the_rate_is_never_refused(rate: Rate, gaps: list[float]) -> None:
    slow = times(rate, [1 + gap for gap in gaps])
    assert admitted(rate, slow) == slow


@given(RATES, GAPS)
def test_there_is_room_after_the_wait_and_not_before(rate: Rate, gaps: list[float]) -> None:
    free_at, asked = 0.0, times(rate, gaps)
    for now in asked:
        if not (wait := rate.wait(free_at, now)):
            free_at = rate.after(free_at, now)
        else:
            assert not rate.wait(free_at, now + wait)
            assert rate.wait(free_at, now + wait - 0.2 * rate.period / rate.number)
            assert wait <= rate.period


@given(RATES, st.floats(0, 1e8))
def test_a_clock_that_was_ahead_costs_one_period_at_most(rate: Rate, ahead: float) -> None:
    free_at = rate.after(0.0, NOW + ahead)
    assert rate.wait(free_at, NOW) <= rate.period / rate.number * 1.2
    assert rate.after(free_at, NOW) <= NOW + rate.period + rate.period / rate.number


@pytest.mark.parametrize(
    ("text", "rate"),
    [("30/m", Rate(30, 60.0)), (" 5 / s", Rate(5, 1.0)), ("200/h", Rate(200, 3600.0)), ("1/d", Rate(1, 86400.0))],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    assert read(text) == rate


@pytest.mark.parametrize("text", ["", "30", "0/m", "-1/m", "1.5/m", "30/y", "30/min", "m/30", "999999/s", "٣/m"])
def test_what_is_no_rate_is_none(text: str) -> None:
    assert read(text) is None
