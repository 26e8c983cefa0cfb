"""A gateway that is killed again and again while people write to it, and what reached them in the end.

LINE and the model are simulated in this process, on real sockets; the gateway is a process of its own. What was
answered is counted on LINE's side; the gateway's ledger is only asked to explain what is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import signal
import socket
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from starlette.requests import Request
from starlette.responses import Response

from chatferry.simulator import line_people
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_records import Seen
from chatferry.simulator.line_rules import Json
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving

PEOPLE = 24
OUTSTANDING = 4
"""Messages that a person writes without waiting for an answer."""
REPEATED = 0.1
"""How many of the webhooks that were taken are delivered once more, for nothing."""
PATIENCE = 60.0
"""Seconds without an answer after which a person stops writing, and the count tells why."""


class Served:
    """`chatferry serve` as an operator starts it: a process, some variables, and nothing else."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.database = folder / "chatferry.db"
        self.url = f"http://127.0.0.1:{(port := _port())}"
        self._environ = {**environ, "PORT": str(port), "CHATFERRY_DATABASE": f"sqlite:///{self.database}"}
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
        """What `/readyz` says, once it says it."""
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
        """Send a signal and wait for the end; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return await self._process.wait()

    async def aclose(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.end(signal.SIGKILL)

    def logged(self) -> list[dict[str, Any]]:
        """All that it ever logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]


class FarLine(LineSimulator):
    """LINE at a distance, so that a kill meets calls on their way there and answers on their way back."""

    chance: random.Random

    async def _answer(self, request: Request, body: bytes) -> Response:
        await asyncio.sleep(self.chance.uniform(0.0, 0.05))
        answer = await super()._answer(request, body)
        await asyncio.sleep(self.chance.uniform(0.0, 0.05))
        return answer


@dataclass
class Account:
    """What came of it all. `lost`, `twice` and `disorder` hold a line for each fault, which explains it."""

    figures: dict[str, int]
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        return [*self.lost, *self.twice, *self.disorder, *self.bugs]

    def __str__(self) -> str:
        found = {"lost": len(self.lost), "twice": len(self.twice), "out of order": len(self.disorder)}
        return ", ".join(f"{name} {count}" for name, count in {**self.figures, **found}.items())


@dataclass
class Ordeal:
    """People on one side, a model on the other, and a gateway in between that does not live long."""

    line: FarLine
    model: ModelSimulator
    served: Served
    chance: random.Random
    age: float = 0.0
    """Seconds that messages are old when they first arrive, as after an outage."""
    tokens: bool = True
    """Do messages come with a reply token?"""
    said: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """What the gateway took from each person, in order: the event's id and the words."""
    figures: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._over = asyncio.Event()

    async def endure(self, kills: int) -> Account:
        """Everybody writes while the gateway is killed so many times; then it may finish, and is told to stop."""
        async with asyncio.TaskGroup() as group:
            for n in range(PEOPLE):
                group.create_task(self._talk(f"p{n}", group))
            for _ in range(kills):
                await self._live_and_die()
            self._over.set()
            await self.served.start()
        await self.settled()
        assert await self.served.end(signal.SIGTERM) == 0
        return self.account()

    async def write(self, name: str, words: str) -> Json:
        """A person writes, and LINE delivers it until the gateway has taken it. Returns the event."""
        born = self.line.clock() - self.age
        content = line_people.text(words)
        event = line_people.event("message", line_people.source(name, None), born, reply=self.tokens, message=content)
        redelivery = self.age > 0
        while (status := (await self.line.deliver([event], redelivery=redelivery)).status) != 200:
            assert status in (0, 503), status
            redelivery = True
            self.figures["redeliveries"] += 1
            await asyncio.sleep(self.chance.uniform(0.02, 0.2))
        self.said[name].append((event["webhookEventId"], words))
        return event

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

    async def _talk(self, name: str, group: asyncio.TaskGroup) -> None:
        for n in itertools.count(1):
            if self._over.is_set():
                return
            event = await self.write(name, f"{name} {n}")
            if self.chance.random() < REPEATED:
                group.create_task(self._repeat(event))
            try:
                await self.line.seen(name, n - OUTSTANDING, patience=PATIENCE)
            except TimeoutError:
                return

    async def _repeat(self, event: Json) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, 3.0))
        self.figures["repeats"] += 1
        await self.line.deliver([event], redelivery=True)

    async def _live_and_die(self) -> None:
        await self.served.start()
        if self.chance.random() < 0.2:
            await asyncio.sleep(self.chance.uniform(0.0, 0.7))  # in the middle of its start
        else:
            await self.served.ready()
            await asyncio.sleep(self.chance.uniform(0.0, 0.8))
        await self.served.end(signal.SIGKILL)
        self.figures["kills"] += 1

    # ── counting ─────────────────────────────────────────────────────────────────────────────────────────────

    def account(self) -> Account:
        """Hold what people were answered against what they wrote. The gateway must have ended."""
        log, rows = self.served.logged(), self.turns()
        seen = {name: self.line.chats[self.line.address(name)] for name in self.said}
        ways = Counter(one.via for chat in seen.values() for one in chat)
        told = Counter(entry["event"] for entry in log)
        account = Account(
            {
                "kills": self.figures["kills"],
                "messages": sum(map(len, self.said.values())),
                "redeliveries": self.figures["redeliveries"],
                "repeats": self.figures["repeats"],
                "resumed": sum(entry["turns"] for entry in log if entry["event"].startswith("going on")),
                "replies": ways["reply"],
                "pushes": ways["push"],
                "apologies": sum(row["finish"] == "apology" for row in rows.values()),
                "perhaps twice": told["sent twice, perhaps"],
            },
            bugs=[json.dumps(entry) for entry in log if entry["event"] == "bug"],
        )
        for name, said in self.said.items():
            owed = [(_owed(words, rows.get(event)), event) for event, words in said]
            got = [_asked(one.text) for one in seen[name]]
            missing = Counter(text for text, _ in owed) - Counter(got)
            surplus = Counter(got) - Counter(text for text, _ in owed)
            story = _Story(dict(owed), rows, log, seen[name])
            account.lost += map(story.of, missing.elements())
            account.twice += map(story.of, surplus.elements())
            first = [text for text, _ in owed if text in got]
            if list(dict.fromkeys(got)) != list(dict.fromkeys(first)):
                account.disorder.append(f"{name} wrote {first} and was answered {got}")
        return account

    def turns(self) -> dict[str, dict[str, Any]]:
        """The turns by event, each with its outbox."""
        with contextlib.closing(sqlite3.connect(self.served.database)) as database:
            database.row_factory = sqlite3.Row
            rows = {row["event"]: dict(row) for row in database.execute("SELECT * FROM turns")}
            turns = {row["id"]: row for row in rows.values()}
            for piece in database.execute("SELECT * FROM outbox"):
                turns[piece["turn"]].setdefault("outbox", []).append(dict(piece))
        return rows


def _owed(words: str, row: Mapping[str, Any] | None) -> str:
    """What an answer is recognised by: the words that it answers, or the apology that stands for it."""
    if row is not None and row["finish"] == "apology":
        return str(json.loads(row["answer"])["parts"][0]["text"])
    return words


def _asked(answer: str) -> str:
    """The words that an answer repeats."""
    return answer.partition(":")[0]


@dataclass(frozen=True)
class _Story:
    """What is known of one person's messages."""

    events: Mapping[str, str]
    rows: Mapping[str, Mapping[str, Any]]
    log: Sequence[Mapping[str, Any]]
    seen: Sequence[Seen]

    def of(self, words: str) -> str:
        """Of one message: its turn, what was logged about that, and what the person saw."""
        row = self.rows.get(self.events.get(words, ""), {})
        logged = [entry for entry in self.log if row and entry.get("turn") == row["id"]]
        shown = [(one.via, one.at, one.id) for one in self.seen if _asked(one.text) == words]
        return f"{words!r}\n  turn {dict(row) or 'none'}\n  log {logged}\n  seen {shown}"


@contextlib.asynccontextmanager
async def ordeal(folder: Path, seed: int, **more: Any) -> AsyncIterator[Ordeal]:
    """Everything in place, and the gateway not yet started. The model repeats what it is asked, and rambles."""
    chance = random.Random(seed)  # noqa: S311 - for a test to be repeated, not for secrets
    line = FarLine(quota=None)
    line.chance = chance
    model = ModelSimulator(reply=lambda words: f"{words}:{' la' * chance.randrange(15)}", rate=50.0)
    async with line, serving(line) as line_url, serving(model.app) as model_url:
        served = Served(
            folder,
            {
                "LINE_CHANNEL_SECRET": line.secret,
                "LINE_CHANNEL_ACCESS_TOKEN": line.token,
                "LINE_API_BASE": line_url,
                "LINE_DATA_API_BASE": line_url,
                "OPENAI_BASE_URL": f"{model_url}/v1",
                "OPENAI_API_KEY": "simulated",
            },
        )
        line.webhook = f"{served.url}/hooks/line"
        try:
            yield Ordeal(line, model, served, chance, **more)
        finally:
            await served.aclose()


def _port() -> int:
    """A free port below those that the kernel gives to clients: while the gateway is dead, no client may get it."""
    while True:
        port = random.randrange(20000, 32000)  # noqa: S311
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
