"""The chaos run's schedule follows from its seed, and is hard but bearable."""

from __future__ import annotations

import pytest

from tests.chaos.schedule import PROCESSES, WEBS, WORKERS, schedule


@pytest.mark.parametrize("seconds", [36.0, 300.0])
@pytest.mark.parametrize("seed", range(20))
def test_a_seed_always_has_the_same_faults_and_they_leave_somebody_alone(seed: int, seconds: float) -> None:
    faults = schedule(seed, seconds)
    assert faults == schedule(seed, seconds) == sorted(faults, key=lambda fault: fault.at)
    assert all(0.0 < fault.at < fault.until < seconds for fault in faults)
    for fault in faults:
        hit = {other.whom for other in faults if other.at <= fault.at <= other.until}
        assert any(name not in hit for name in WEBS)
        assert any(name not in hit for name in WORKERS)
    assert schedule(seed + 1, seconds) != faults


def test_a_long_run_sees_the_database_away_for_half_a_minute_and_every_process_replaced() -> None:
    faults = schedule(1, 300.0)
    assert max(fault.seconds for fault in faults if fault.kind == "postgres") == 30.0
    assert {fault.whom for fault in faults if fault.kind == "stop"} == {*PROCESSES}
