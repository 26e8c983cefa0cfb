"""One minute of chaos: many processes, all channels, everything goes wrong, and nothing is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.chaos.run import PEOPLE, run
from tests.chaos.schedule import schedule
from tests.postgres import Cluster

SECONDS = 36.0
"""With the start before and the peace after them this is a minute."""


async def test_everything_goes_wrong_at_once_and_nothing_is_lost_nor_twice_nor_out_of_order(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = schedule(seed, SECONDS)
    told: list[str] = []
    with Cluster(durable=True) as server:
        verdict = await run(tmp_path, server, seed, faults, SECONDS, PEOPLE, told.append)
    with capsys.disabled():
        again = f"python -m tests.chaos --minutes {SECONDS / 60.0:g} --seed {seed}"
        sys.stdout.write(f"\n{verdict}\n({again})\n")
    assert not verdict.wrong, "\n".join([str(verdict), *map(str, faults), *told, *verdict.wrong[:20]])
