"""A gateway that is killed again and again while people write to it, and what reached them in the end.

The platform and the model are simulated in this process, on real sockets; the gateway is a process of its own. What was
answered is counted on the platform's side; the gateway's ledger is only asked to explain what is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from chatferry.simulator.model import ModelSimulator
from tests.ports import free_port

REPEATED = 0.1
"""How many of the messages that were taken are delivered once more, for nothing."""
PATIENCE = 60.0
"""Seconds without an answer after which a person stops writing, and the count tells why."""


class Serving(Protocol):
    """What a trial needs of the gateway: one process, or many."""

    async def start(self) -> None: ...

    async def ready(self) -> dict[str, Any]:
        """What `/readyz` says, once it says it."""
        ...

    async def end(self, how: signal.Signals) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        ...

    def logged(self) -> list[dict[str, Any]]:
        """All that it ever logged."""
        ...

    def turns(self) -> dict[str, dict[str, Any]]:
        """The turns by event, each with its outbox."""
        ...


class Served:
    """`chatferry serve` as an operator starts it: a process, some variables, and nothing else."""

    def __init__(self, folder: Path, environ: Mapping[str, str], database: str = "") -> None:
        """database: another than a file of its own."""
        self.database = folder / "chatferry.db"
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        database = database or f"sqlite:///{self.database}"
        self._environ = {**environ, "PORT": str(port), "CHATFERRY_DATABASE": database}
        self._folder = folder
        self._log = folder / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = (sys.executable, "-m", "chatferry", "serve")
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, env=self._environ, cwd=self._folder, stderr=log
            )

    async def ready(self) -> dict[str, Any]:
        while True:
            assert self._process is not None
            assert self._process.returncode is None, self._log.read_text()[-2000:]
            with contextlib.suppress(aiohttp.ClientError):
                async with aiohttp.request("GET", f"{self.url}/readyz") as answer:
                    said: dict[str, Any] = await answer.json()
                    if answer.status == 200:
                        return said
            await asyncio.sleep(0.02)

    async def end(self, how: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return await self._process.wait()

    async def aclose(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.end(signal.SIGKILL)

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def turns(self) -> dict[str, dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            database.row_factory = sqlite3.Row
            rows = [dict(row) for row in database.execute("SELECT * FROM turns")]
            return with_outbox(rows, [dict(row) for row in database.execute("SELECT * FROM outbox")])


@dataclass
class Account:
    """What came of it all. The lists hold a line for each fault, which explains it."""

    figures: dict[str, int]
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What should not be on the screen any more."""
    bugs: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        return [*self.lost, *self.twice, *self.disorder, *self.left, *self.bugs]

    def __str__(self) -> str:
        found = {"lost": len(self.lost), "twice": len(self.twice), "out of order": len(self.disorder)}
        return ", ".join(f"{name} {count}" for name, count in {**self.figures, **found}.items())


@dataclass
class Trial(ABC):
    """People on one side, a model on the other, and a gateway in between that does not live long."""

    model: ModelSimulator
    served: Serving
    chance: random.Random
    people: int = field(default=0, kw_only=True)
    """How many write; 0: as many as one process goes on with."""
    pause: float = field(default=0.0, kw_only=True)
    """Seconds between two messages of a person, more or less."""
    figures: Counter[str] = field(default_factory=Counter, kw_only=True)

    def __post_init__(self) -> None:
        self.over = asyncio.Event()
        """Set when nobody is to write any more."""

    async def endure(self, kills: int) -> Account:
        """Everybody writes while the gateway is killed so many times; then it may finish, and is told to stop."""
        async with asyncio.TaskGroup() as group:
            self.begin(group)
            for _ in range(kills):
                await self._live_and_die()
            self.over.set()
            await self.served.start()
        return await self.end()

    async def end(self) -> Account:
        """Let the gateway finish and tell it to stop; then count."""
        await self.settled()
        await self.leave()
        assert await self.served.end(signal.SIGTERM) == 0
        return self.account()

    @abstractmethod
    def begin(self, group: asyncio.TaskGroup) -> None:
        """People begin to write, until it is over."""

    async def leave(self) -> None:  # noqa: B027 - most have nothing to do
        """What people still do when all is answered; afterwards it is so again."""

    @abstractmethod
    def account(self) -> Account:
        """Hold what people were answered against what they wrote. The gateway must have ended."""

    async def think(self) -> None:
        """What a person does between two messages."""
        if self.pause:
            await asyncio.sleep(self.chance.uniform(0.0, 2 * self.pause))

    async def settled(self) -> None:
        """Return when the gateway owes nothing any more."""
        async with asyncio.timeout(2 * PATIENCE):
            while (owed := await self.served.ready())["due"] or owed["doing"]:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)

    async def asked(self, count: int) -> None:
        """Return when the model was asked so many times."""
        async with asyncio.timeout(PATIENCE):
            while len(self.model.requests) < count:  # noqa: ASYNC110 - the simulator tells nobody
                await asyncio.sleep(0.01)

    async def _live_and_die(self) -> None:
        await self.served.start()
        if self.chance.random() < 0.2:
            await asyncio.sleep(self.chance.uniform(0.0, 0.7))  # in the middle of its start
        else:
            await self.served.ready()
            await asyncio.sleep(self.chance.uniform(0.0, 0.8))
        await self.served.end(signal.SIGKILL)
        self.figures["kills"] += 1

    def turns(self) -> dict[str, dict[str, Any]]:
        """The turns by event, each with its outbox."""
        return self.served.turns()


def with_outbox(turns: Iterable[dict[str, Any]], pieces: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows of turns by event, each with its rows of the outbox."""
    by_id = {row["id"]: row for row in turns}
    for piece in pieces:
        if piece["turn"] in by_id:
            by_id[piece["turn"]].setdefault("outbox", []).append(piece)
    return {row["event"]: row for row in by_id.values()}
