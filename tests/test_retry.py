"""When to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.errors import Ambiguous, Fault, Final, TryLater
from chatferry.retry import Circuit, next_try
from chatferry.testing import ManualClock


def test_waits_grow_from_half_a_second_and_stop_growing_at_the_cap() -> None:
    waits = [next_try(TryLater("busy"), n, random=lambda: 1.0, tries=100) for n in (1, 2, 3, 7, 99)]
    assert waits == [0.5, 1.0, 2.0, 30.0, 30.0]


@given(chance=st.floats(0, 1), attempts=st.integers(1, 5000))
def test_a_wait_is_never_nothing_and_never_beyond_the_cap(chance: float, attempts: int) -> None:
    wait = next_try(TryLater("busy"), attempts, random=lambda: chance, tries=10_000)
    assert wait is not None
    assert 0.05 <= wait <= 30.0


def test_three_tries_are_enough_unless_told_otherwise() -> None:
    assert next_try(TryLater("busy"), 2, random=lambda: 0.5) is not None
    assert next_try(TryLater("busy"), 3, random=lambda: 0.5) is None
    assert next_try(TryLater("busy"), 3, random=lambda: 0.5, tries=8) is not None


@pytest.mark.parametrize("fault", [Final("no"), Ambiguous("perhaps"), Fault("?")])
def test_only_passing_faults_are_tried_again(fault: Fault) -> None:
    assert next_try(fault, 1, random=lambda: 0.5) is None


def test_what_the_other_side_asks_for_is_kept_to_within_patience() -> None:
    assert next_try(TryLater("busy", after=20.0), 1, random=lambda: 0.0) == 20.0
    assert next_try(TryLater("busy", after=20.0), 1, random=lambda: 1.0) == 20.5
    assert next_try(TryLater("busy", after=60.5), 1, random=lambda: 0.0) is None
    assert next_try(TryLater("busy", after=60.5), 1, random=lambda: 0.0, patience=90.0) == 60.5
    assert next_try(TryLater("busy", after=0.0), 1, random=lambda: 1.0) == 0.5


def opened(clock: ManualClock) -> Circuit:
    circuit = Circuit(clock)
    for _ in range(5):
        assert circuit.admits()
        circuit.failed()
        clock.advance(0.5)
    clock.advance(-0.5)
    return circuit


def test_a_clock_that_is_set_back_leaves_no_circuit_open_for_as_long() -> None:
    clock = ManualClock()
    circuit = opened(clock)
    clock.advance(-3600.0)
    assert circuit.admits()
    assert circuit.closed_for() == 30.0


def test_a_circuit_opens_after_five_faults_in_a_row() -> None:
    circuit = opened(ManualClock())
    assert not circuit.admits()
    assert circuit.closed_for() == 30.0


def test_it_does_not_where_all_that_was_under_way_has_failed_at_once() -> None:
    clock = ManualClock()
    circuit = Circuit(clock)
    for _ in range(100):
        circuit.failed()
    clock.advance(1.9)
    circuit.failed()
    assert circuit.admits()
    clock.advance(0.1)
    circuit.failed()
    assert circuit.closed_for() == 30.0


def test_an_answer_in_between_starts_the_count_anew() -> None:
    circuit = Circuit(ManualClock())
    for _ in range(3):
        for _ in range(4):
            circuit.failed()
        circuit.answered()
    assert circuit.admits()


def test_after_its_rest_an_open_circuit_lets_one_probe_through() -> None:
    clock = ManualClock()
    circuit = opened(clock)
    clock.advance(29.9)
    assert not circuit.admits()
    clock.advance(0.1)
    assert circuit.closed_for() == 0.0
    assert [circuit.admits() for _ in range(3)] == [True, False, False]
    circuit.answered()
    assert [circuit.admits() for _ in range(3)] == [True, True, True]


def test_a_probe_that_fails_opens_it_for_another_rest() -> None:
    clock = ManualClock()
    circuit = opened(clock)
    clock.advance(30)
    assert circuit.admits()
    clock.advance(10)
    circuit.failed()
    clock.advance(29)
    assert not circuit.admits()
    clock.advance(1)
    assert circuit.admits()


def test_a_probe_that_never_reports_back_does_not_close_the_way_for_good() -> None:
    clock = ManualClock()
    circuit = opened(clock)
    clock.advance(30)
    assert circuit.admits()
    clock.advance(30)
    assert circuit.admits()
