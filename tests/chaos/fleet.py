"""The gateway as many processes: two webs behind a balancer, three workers, each with its own way to the database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from tests.chaos.proxy import Proxy
from tests.chaos.schedule import PROCESSES, WEBS
from tests.ports import free_port
from tests.postgres import Cluster
from tests.scenarios.crash import with_outbox

ROOT = Path(__file__).parents[2]
AGAIN = 0.5
"""Seconds after which a process that ended by itself is started again, as every supervisor does."""


class Process:
    """One of them: it lives, dies and is started again."""

    def __init__(self, name: str, folder: Path, database: Proxy) -> None:
        self.name = name
        self.database = database
        """Its way to the database, which can be cut."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.deaths: list[str] = []
        """How it ended by itself."""
        self._born = 0
        """Where in its log its present life begins."""
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.fate = asyncio.Lock()
        """Held by whoever ends it and starts it again."""
        self._wanted = False
        self._changing = asyncio.Lock()
        self._watches: set[asyncio.Task[None]] = set()

    async def start(self, skew: str = "") -> None:
        """skew: seconds by which its clock is wrong."""
        self._wanted = True
        async with self._changing:
            await self._spawn(skew)

    async def _spawn(self, skew: str) -> None:
        command = ["-m", "tests.chaos.skewed", skew] if skew else ["-m", "chatferry"]
        command += ["serve", "--role", self.name.rstrip("0123456789")]
        environ = {
            "PYTHONPATH": str(ROOT),
            "PORT": str(self.port),
            "CHATFERRY_DATABASE": f"postgresql://chatferry@127.0.0.1:{self.database.port}/postgres",
        }
        with self.log.open("ab") as log:
            self._born = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *command, env=environ, cwd=self._folder, stderr=log
            )
        watch = asyncio.create_task(self._keep(self._process, skew), name=f"watch {self.name}")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _keep(self, process: asyncio.subprocess.Process, skew: str) -> None:
        """Start it again if it ends by itself."""
        code = await process.wait()
        if not self._wanted:
            return
        words = self.log.read_text(errors="replace").splitlines()[-3:]
        self.deaths.append(f"{self.name} ended by itself with {code}: {' / '.join(words)[-600:]}")
        await asyncio.sleep(AGAIN)
        async with self._changing:
            if self._wanted and process is self._process:
                await self._spawn(skew)

    async def ready(self) -> dict[str, Any]:
        """What `/readyz` says, once it says it."""
        patience = aiohttp.ClientTimeout(2.0)
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with aiohttp.request("GET", f"{self.url}/readyz", timeout=patience) as answer:
                    said: dict[str, Any] = await answer.json()
                    if answer.status == 200:
                        return said
            await asyncio.sleep(0.1)

    def send(self, how: signal.Signals) -> None:
        """Send it, whatever comes of it."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(how)

    async def end(self, how: signal.Signals, patience: float = 60.0) -> int:
        """Send a signal and wait for the end; returns the exit code. It stays dead."""
        self._wanted = False
        async with self._changing:
            process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(how)
            try:
                await asyncio.wait_for(process.wait(), patience)
            except TimeoutError:
                process.kill()
        code = await process.wait()
        # Before it had begun, it may go as it likes.
        return 0 if code == -how and not self._begun() else code

    def _begun(self) -> bool:
        said = self.log.read_bytes()[self._born :]
        return b'"serving"' in said or b'"answering"' in said


class Fleet:
    """All of them, as one gateway behind one address."""

    def __init__(self, processes: Sequence[Process], front: Proxy, server: Cluster) -> None:
        self.processes = {process.name: process for process in processes}
        self.server = server
        self.url = f"http://127.0.0.1:{front.port}"
        self.rows: dict[str, list[dict[str, Any]]] = {}
        """The ledger's tables, as they were when last looked at."""

    async def start(self) -> None:
        for process in self.processes.values():
            await process.start()

    async def ready(self) -> dict[str, Any]:
        """What they say once all of them are."""
        said = await asyncio.gather(*(process.ready() for process in self.processes.values()))
        return said[-1]

    async def end(self, how: signal.Signals) -> int:
        """End all of them at once; returns the worst exit code."""
        codes = await asyncio.gather(*(process.end(how) for process in self.processes.values()))
        return max(codes, key=abs)

    async def ask(self, query: str) -> list[dict[str, Any]]:
        """Rows of the database, by a way that is never cut; patient while it is away."""
        while True:
            try:
                connection = await asyncpg.connect(self.server.url, timeout=5.0)
                try:
                    return [dict(row) for row in await connection.fetch(query)]
                finally:
                    await connection.close(timeout=5.0)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.2)

    async def look(self) -> None:
        """Read the whole ledger, for those who account for it."""
        for table in ("turns", "outbox", "messages"):
            self.rows[table] = await self.ask(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608 - the names are above

    def of(self, channel: str) -> Part:
        """As a trial on one channel sees it."""
        return Part(self, channel)

    def logged(self) -> list[dict[str, Any]]:
        """All that they ever logged, in order, each entry with its process."""
        entries = []
        for process in self.processes.values():
            for line in process.log.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError):  # cut off when it was killed
                    if isinstance(entry := json.loads(line), dict):
                        entries.append({"process": process.name, **entry})
        return sorted(entries, key=lambda entry: str(entry.get("timestamp", "")))


class Part:
    """The fleet, and of the ledger what one channel has in it."""

    def __init__(self, fleet: Fleet, channel: str) -> None:
        self._fleet = fleet
        self._channel = channel

    async def start(self) -> None:
        await self._fleet.start()

    async def ready(self) -> dict[str, Any]:
        return await self._fleet.ready()

    async def end(self, how: signal.Signals) -> int:
        return await self._fleet.end(how)

    def logged(self) -> list[dict[str, Any]]:
        return self._fleet.logged()

    def turns(self) -> dict[str, dict[str, Any]]:
        turns = [dict(row) for row in self._fleet.rows["turns"] if row["channel"] == self._channel]
        return with_outbox(turns, map(dict, self._fleet.rows["outbox"]))


@contextlib.asynccontextmanager
async def fleet(folder: Path, server: Cluster) -> AsyncIterator[Fleet]:
    """All in place, and nothing started yet: its address is known, for the configuration that goes into the folder."""
    async with contextlib.AsyncExitStack() as stack:
        ways = [await stack.enter_async_context(Proxy(server.port)) for _ in PROCESSES]
        processes = [Process(name, folder, way) for name, way in zip(PROCESSES, ways, strict=True)]
        webs = [process.port for process in processes if process.name in WEBS]
        front = await stack.enter_async_context(Proxy(*webs))
        one = Fleet(processes, front, server)
        try:
            yield one
        finally:
            for process in processes:
                process.send(signal.SIGCONT)
            await one.end(signal.SIGKILL)
