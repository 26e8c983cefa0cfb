"""Turns without HTTP: what the ledger on PostgreSQL and dispatch over several processes carry by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from typing import NamedTuple

import msgspec
import uvloop

from bench.fleet import Server, Times, connected, load, server, settled, tails
from bench.hands import Hands, Span, asks, hands
from bench.rig import Process

WORKERS = (1, 2, 4)
USERS = 500
BURST = 4000
RATE = 1000
SECONDS = 5
_SPARE = 0.75
"""The share of what a burst did that is asked for where it was less than that."""
_AT_ONCE = 500
"""Messages that the producer has on their way into the ledger."""


class Team(NamedTuple):
    """Workers without HTTP, up and dispatching."""

    processes: Sequence[subprocess.Popen[bytes]]

    def cpu(self) -> float:
        return sum(Process(one.pid).cpu() for one in self.processes)

    def end(self) -> list[Span]:
        """End them; returns all that they did."""
        return [span for one in self.processes for span in msgspec.json.decode(one.communicate()[0], type=list[Span])]


@contextlib.contextmanager
def team(url: str, workers: int) -> Iterator[Team]:
    command = [sys.executable, "-m", "bench.hands", url]
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(workers):
            pipes = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            processes.append(stack.enter_context(pipes))
            stack.callback(pipes.kill)
            assert pipes.stdout is not None
            pipes.stdout.readline()
        yield Team(processes)


class Cost(NamedTuple):
    """What was measured: when things happened, and CPU of the accepting process, the workers and PostgreSQL, in ms."""

    what: str
    times: Times
    accepting: float
    workers: float
    database: float


async def burst(one: Hands, turns: int, numbers: Iterator[int], users: int = USERS) -> None:
    """Everything at once, from as many people."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def accept(number: int) -> None:
        async with room:
            await one.accept(asks(number, number % users))

    await asyncio.gather(*(accept(next(numbers)) for _ in range(turns)))


async def steady(one: Hands, rate: float, seconds: float, numbers: Iterator[int], users: int = USERS) -> None:
    """So many a second, whatever becomes of them."""
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for place in range(int(rate * seconds)):
            if (wait := begin + place / rate - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            number = next(numbers)
            group.create_task(one.accept(asks(number, number % users)))


def overlaps(spans: Sequence[Span]) -> int:
    """Turns that began before the one before them in their conversation was about to be closed."""
    talks: dict[str, list[Span]] = {}
    for span in spans:
        talks.setdefault(span.conversation, []).append(span)
    return sum(
        after.claimed < before.closing
        for talk in talks.values()
        for before, after in pairwise(sorted(talk, key=lambda span: span.turn))
    )


async def _produce(one: Server, team: Team) -> list[Cost]:
    """A warm-up, a burst and a steady stream."""
    numbers, found, turns, rate = count(), [], 0, float(RATE)
    async with hands(one.url, works=False) as producer, connected(one.url) as connection:
        for what in ("warm", "burst", "stream"):
            before = time.process_time(), team.cpu(), one.cpu()
            more = {"warm": 500, "burst": BURST, "stream": int(rate * SECONDS)}[what]
            if what == "stream":
                await steady(producer, rate, SECONDS, numbers)
            else:
                await burst(producer, more, numbers)
            await settled(connection, turns + more)
            spent = time.process_time() - before[0], team.cpu() - before[1], one.cpu() - before[2]
            rows = await connection.fetch(
                "SELECT accepted_at, started_at, finished_at, lease, state FROM turns WHERE id > $1", turns
            )
            turns = await connection.fetchval("SELECT max(id) FROM turns")
            found.append(Cost(what, Times(rows), *(1000 * share / more for share in spent)))
            if found[-1].times.rate() < RATE:  # it would only fall behind
                rate = _SPARE * found[-1].times.rate()
    return found[1:]


def _measure(workers: int) -> Iterator[str]:
    with server() as one, team(one.url, workers) as ours:
        quiet = load()
        costs = uvloop.run(_produce(one, ours))
        spans = ours.end()
    for what, times, producer, theirs, database in costs:
        named = f"{len(times.rows)} at once" if what == "burst" else f"as {times.accepted():.0f}/s come"
        starts = f"; start {tails(times.starts())}" if what == "stream" else ""
        yield (
            f"{workers} worker{'s' * (workers > 1)} without HTTP, {named}: {times.rate():.0f} turns/s; CPU a turn: "
            f"accepting {producer:.2f}, workers {theirs:.2f}, PostgreSQL {database:.2f} ms{starts}"
            f"{times.odd()} ({quiet})"
        )
    yield f"  {len(spans)} turns, {overlaps(spans)} of them beside another one of their conversation"


def main() -> Iterator[str]:
    for workers in WORKERS:
        yield from _measure(workers)
