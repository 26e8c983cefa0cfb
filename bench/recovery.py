"""How long turns wait whose worker was killed, or frozen, in the middle of them."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Iterator

from bench import rig
from bench.fleet import Fleet, connected, fleet, load
from bench.rates import flood, questions

TURNS = 300
WORKERS = 3
YOUNG = 8.0
"""Seconds for which a worker that has just started takes nothing over, and one more."""
PATIENCE = 40.0


async def _taken_over(ours: Fleet, leases: dict[int, int], turns: int, since: float) -> list[float]:
    """After how many seconds each of so many turns had another holder."""
    seconds: dict[int, float] = {}
    async with connected(ours.server.url) as connection:
        while len(seconds) < turns and time.perf_counter() - since < PATIENCE:
            for row in await connection.fetch("SELECT id, lease FROM turns WHERE state = 'doing'"):
                if row["lease"] > leases[row["id"]]:
                    seconds.setdefault(row["id"], time.perf_counter() - since)
            await asyncio.sleep(0.05)
    return list(seconds.values())


def _strike(ours: Fleet, victim: rig.Gateway, how: signal.Signals) -> tuple[list[float], int, int]:
    """Seconds until turns were taken over; how many of them there were; how many the one that wakes up let go."""
    leases = {row["id"]: row["lease"] for row in ours.server.fetch("SELECT id, lease FROM turns")}
    theirs = int(victim.counter("chatferry_running"))
    since = time.perf_counter()
    os.kill(victim.pid, how)
    seconds = asyncio.run(_taken_over(ours, leases, theirs, since))
    if how != signal.SIGSTOP:
        return seconds, theirs, 0
    os.kill(victim.pid, signal.SIGCONT)
    time.sleep(3)
    return seconds, theirs, theirs - int(victim.counter("chatferry_running"))


def _strikes(how: signal.Signals) -> str:
    """One worker after the other, until a single one is left."""
    quiet = load()
    with (
        rig.helper("bench.line") as line,
        rig.helper("bench.provider", "--rate", "1", "--tokens", "3000") as model,
        fleet(WORKERS, line, model) as ours,
    ):
        time.sleep(YOUNG)
        flood(ours.front.port, questions(TURNS, TURNS), 100)
        time.sleep(2)
        struck = [_strike(ours, victim, how) for victim in ours.workers[1:]]
    found = [after for seconds, _, _ in struck for after in seconds]
    turns = sum(theirs for _, theirs, _ in struck)
    woken = f"; woken up, they let {sum(freed for _, _, freed in struck)} go" if how == signal.SIGSTOP else ""
    return (
        f"{how.name} of {len(struck)} of {WORKERS} workers, one after the other: {len(found)} of {turns} turns "
        f"taken over after {statistics.median(found):.1f} s (median), {max(found):.1f} s (the last){woken} ({quiet})"
    )


def main() -> Iterator[str]:
    yield _strikes(signal.SIGKILL)
    yield _strikes(signal.SIGSTOP)
