"""10,000 answers in the making at a time, over two workers: memory and CPU of every process, and what gets lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from bench import rig
from bench.fleet import Fleet, fleet, load
from bench.rates import flood, questions

ANSWERS = 10_000
ARRIVALS = 400
TOKENS_A_SECOND = 2
LASTS = 44.0
"""Seconds that each answer takes: the last one begins before the first has ended."""
SECONDS = 10
TAKEN_UP = 6.0
"""Seconds that the last of them may wait to be taken up."""
PATIENCE = 90.0


def _inflight(ours: Fleet) -> int:
    [row] = ours.server.fetch("SELECT count(*) AS turns FROM turns WHERE state = 'doing'")
    return int(row["turns"])


def _fly(*model: str, what: str) -> Iterator[str]:
    with (
        rig.helper("bench.line") as line,
        rig.helper("bench.provider", *model) as provider,
        fleet(2, line, provider) as ours,
    ):
        quiet, base = load(), [one.pss() for one in ours.processes]
        begin = time.perf_counter()
        said = flood(ours.front.port, questions(ANSWERS, ANSWERS), ARRIVALS)
        arrived = time.perf_counter() - begin
        end = time.monotonic() + TAKEN_UP
        while _inflight(ours) < ANSWERS and time.monotonic() < end:
            time.sleep(0.5)
        names = ("web", "worker", "worker")
        cpu, database, before = [one.cpu() for one in ours.processes], ours.server.cpu(), time.perf_counter()
        flying = _inflight(ours)
        time.sleep(SECONDS)
        flying = min(flying, _inflight(ours))
        took = time.perf_counter() - before
        shares = [(one.cpu() - spent) / took for one, spent in zip(ours.processes, cpu, strict=True)]
        theirs = (ours.server.cpu() - database) / took
        held = [one.pss() for one in ours.processes]
        running = [int(one.counter("chatferry_running")) for one in ours.workers]
        memory = ours.server.pss()
        with contextlib.suppress(TimeoutError):  # the ledger tells how far they came
            ours.server.settled(ANSWERS, PATIENCE)
        lost = sum(one.counter("chatferry_leases_lost_total") for one in ours.workers)
        times, faults = ours.server.times(0), ours.faults()
    yield (
        f"{what}, all accepted after {arrived:.0f} s ({said.refused} refused): {flying} in the making at a time, "
        f"{' + '.join(map(str, running))}; {lost:.0f} leases lost, "
        f"{len(faults)} errors{times.odd()} ({quiet})"
    )
    for one, mb, was, share in zip(names, held, base, shares, strict=True):
        yield f"  {one}: {mb:.0f} MB (PSS; {was:.0f} before), {share:.0%} of a core"
    yield f"  PostgreSQL: {memory:.0f} MB, {theirs:.0%} of a core"
    yield from (f"  {fault[:200]}" for fault in faults[:3])


def main(*, whole: bool = True) -> Iterator[str]:
    """whole: those that only wait, too."""
    tokens = ("--rate", str(TOKENS_A_SECOND), "--tokens", str(int(LASTS * TOKENS_A_SECOND)))
    yield from _fly(*tokens, what=f"{ANSWERS} answers at {TOKENS_A_SECOND} tokens/s")
    if whole:
        yield from _fly("--rate", "0", "--tokens", "20", "--first", str(LASTS), what=f"{ANSWERS} answers that wait")
