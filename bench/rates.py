"""Accepted and answered turns a second over several processes, from the signed webhook to the reply on LINE."""

from __future__ import annotations

from collections.abc import Iterator

import uvloop

from bench import rig
from bench.fleet import Fleet, fleet, load, tails
from bench.load import Load, webhook

WORKERS = (0, 1, 2, 4)
USERS = 500
TURNS = 3000
SLOW, PEOPLE, THEIRS = 2.0, 2000, 4000
"""Seconds that a slow model takes, how many people wait for it, and their turns."""
QUIET, SECONDS = 200, 10
"""Turns a second at which starts are measured, for so long."""
_WARM = 200


def name(workers: int) -> str:
    return f"1 web, {workers} worker{'s' * (workers > 1)}" if workers else "one process"


def flood(port: int, requests: list[bytes], rate: float = 100_000, *, connections: int = 64) -> Load:
    """Send them, as fast as they are taken or at a rate; returns when all are answered."""

    async def run() -> Load:
        one = Load(port, connections)
        await one.connect()
        await one.run(requests, rate)
        return one

    return uvloop.run(run())


def questions(users: int, turns: int) -> list[bytes]:
    """Webhooks of so many people, by turns."""
    return [webhook(number % users) for number in range(turns)]


def warm(ours: Fleet) -> int:
    """Have everything done once; returns how many turns that took."""
    flood(ours.front.port, questions(_WARM, _WARM), 100)
    ours.server.settled(_WARM)
    return _WARM


def _at_once(workers: int, *model: str, users: int, turns: int, what: str) -> str:
    with (
        rig.helper("bench.line") as line,
        rig.helper("bench.provider", *model) as provider,
        fleet(workers, line, provider) as ours,
    ):
        before, quiet = warm(ours), load()
        cpu, database = ours.cpu(), ours.server.cpu()
        said = flood(ours.front.port, questions(users, turns))
        ours.server.settled(before + turns)
        each, theirs = (ours.cpu() - cpu) / turns, (ours.server.cpu() - database) / turns
        times = ours.server.times(before)
        refused = f"; {said.refused} REFUSED" if said.refused else ""
    return (
        f"{name(workers)}, {what}, {turns} turns of {users}: accepted {times.accepted():.0f}/s, answered "
        f"{times.rate():.0f}/s; CPU a turn {1000 * each:.2f} ms, PostgreSQL {1000 * theirs:.2f} ms"
        f"{times.odd()}{refused} ({quiet})"
    )


def starts(workers: int) -> str:
    """How soon a turn is taken up, where there is time to."""
    turns = QUIET * SECONDS
    with (
        rig.helper("bench.line") as line,
        rig.helper("bench.provider", "--rate", "0", "--tokens", "20") as provider,
        fleet(workers, line, provider) as ours,
    ):
        before, quiet = warm(ours), load()
        cpu, database = ours.cpu(), ours.server.cpu()
        flood(ours.front.port, questions(turns, turns), QUIET)
        ours.server.settled(before + turns)
        share, theirs = (ours.cpu() - cpu) / SECONDS, (ours.server.cpu() - database) / SECONDS
        times = ours.server.times(before)
    return (
        f"{name(workers)}, {QUIET}/s: start {tails(times.starts())}; closed {tails(times.wholes())}; "
        f"{share:.0%} of a core, PostgreSQL {theirs:.0%}{times.odd()} ({quiet})"
    )


def main() -> Iterator[str]:
    for workers in WORKERS:
        yield _at_once(workers, "--rate", "0", "--tokens", "20", users=USERS, turns=TURNS, what="a model of no delay")
    for workers in (0, 2):
        model = ("--rate", "0", "--tokens", "20", "--first", str(SLOW))
        yield _at_once(workers, *model, users=PEOPLE, turns=THEIRS, what=f"a model of {SLOW:g} s")
