"""The gateway as several processes on a PostgreSQL of the bench's own, and what the ledger tells of what they did."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from bench import rig
from bench.load import percentile
from tests.postgres import Cluster

PATIENCE = 180.0


class Server:
    """PostgreSQL with its own defaults: what is committed is on the disk."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self._main = rig.Process(pid)

    def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """The rows of one statement."""

        async def ask() -> list[Any]:
            async with connected(self.url) as connection:
                found: list[Any] = await connection.fetch(query, *arguments)
                return found

        return asyncio.run(ask())

    def settled(self, turns: int, patience: float = PATIENCE) -> None:
        """Return when so many turns were accepted and all are closed."""

        async def wait() -> None:
            async with connected(self.url) as connection:
                await settled(connection, turns, patience)

        asyncio.run(wait())

    def times(self, since: int) -> Times:
        """When what happened to the turns after this one."""
        return Times(self.fetch(f"SELECT {', '.join(_TIMES)} FROM turns WHERE id > $1 ORDER BY id", since))  # noqa: S608

    def cpu(self) -> float:
        """Seconds of CPU of all its processes, those that have ended included."""
        return self._main.cpu(children=True) + self._each(rig.Process.cpu)

    def pss(self) -> float:
        """Memory of all its processes, in MB."""
        return self._main.pss() + self._each(rig.Process.pss)

    def _each(self, measure: Callable[[rig.Process], float]) -> float:
        children = Path(f"/proc/{self._main.pid}/task/{self._main.pid}/children").read_text().split()
        total = 0.0
        for pid in children:
            with contextlib.suppress(OSError):  # it has ended
                total += measure(rig.Process(int(pid)))
        return total


_TIMES = ("id", "accepted_at", "started_at", "answered_at", "finished_at", "lease", "state")


class Times(NamedTuple):
    """Rows of the ledger, by its one clock."""

    rows: Sequence[Any]

    def rate(self) -> float:
        """Closed turns a second, from the first word to the last."""
        return len(self.rows) / (max(self._all("finished_at")) - min(self._all("accepted_at")))

    def accepted(self) -> float:
        """Accepted turns a second."""
        accepted = self._all("accepted_at")
        return len(accepted) / (max(accepted) - min(accepted))

    def starts(self) -> list[float]:
        """Milliseconds from accepted to taken up."""
        return [1000 * (row["started_at"] - row["accepted_at"]) for row in self.rows]

    def wholes(self) -> list[float]:
        """Milliseconds from accepted to closed."""
        return [1000 * (row["finished_at"] - row["accepted_at"]) for row in self.rows]

    def odd(self) -> str:
        """What should not be: turns that did not end well, or had more than one holder."""
        undone = sum(row["state"] != "done" for row in self.rows)
        again = sum(row["lease"] > 1 for row in self.rows)
        return f"; NOT DONE {undone}, TAKEN MORE THAN ONCE {again}" if undone or again else ""

    def _all(self, column: str) -> list[float]:
        return [row[column] for row in self.rows]


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A connection beside those that are measured."""
    connection = await asyncpg.connect(url, ssl=False)
    try:
        yield connection
    finally:
        await connection.close()


async def settled(connection: Any, turns: int, patience: float = PATIENCE, *, since: int = 0) -> None:
    """Return when so many turns were accepted, and all after `since` are closed."""
    end = time.monotonic() + patience
    while True:
        made = await connection.fetchval("SELECT coalesce(max(id), 0) FROM turns")
        if made >= turns and not await connection.fetchval(
            "SELECT EXISTS (SELECT FROM turns WHERE state IN ('due', 'doing') AND id > $1)", since
        ):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"{made} turns of {turns} were accepted, and not all of them are closed")
        await asyncio.sleep(0.1)


def tails(values: list[float]) -> str:
    """Percentiles, for people."""
    return f"p50 {percentile(values, 0.5):.1f}, p99 {percentile(values, 0.99):.1f}, max {max(values):.1f} ms"


def load() -> str:
    """What else the machine does: its one-minute load before we begin."""
    return f"load {os.getloadavg()[0]:.1f}"


@contextlib.contextmanager
def server() -> Iterator[Server]:
    with Cluster(durable=True) as cluster:
        main = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::integer AS pid"
        yield Server(cluster.url, Server(cluster.url, 0).fetch(main)[0]["pid"])


class Fleet(NamedTuple):
    """Processes that are one gateway. The first of them takes webhooks."""

    front: rig.Gateway
    workers: Sequence[rig.Gateway]
    server: Server

    @property
    def processes(self) -> Sequence[rig.Gateway]:
        return [self.front, *(one for one in self.workers if one is not self.front)]

    def cpu(self) -> float:
        """Seconds of CPU of all gateway processes."""
        return sum(one.cpu() for one in self.processes)

    def faults(self) -> list[str]:
        """What they logged as errors."""
        lines = [line for one in self.processes for line in one.log.read_text().splitlines()]
        return [line for line in lines if '"level": "error"' in line or '"level": "critical"' in line]


@contextlib.contextmanager
def fleet(
    workers: int, platform: str, model: str, *, channel: str = rig.LINE, concurrency: int = 10000
) -> Iterator[Fleet]:
    """One web and so many workers, on a fresh server; 0: one process that does all."""
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatferry-bench-")))
        config = rig.configured(folder, one.url, platform, model, channel, concurrency)
        front = stack.enter_context(rig.serving(config, "web" if workers else "all"))
        others = [stack.enter_context(rig.serving(config, "worker")) for _ in range(workers)]
        yield Fleet(front, others or [front], one)
