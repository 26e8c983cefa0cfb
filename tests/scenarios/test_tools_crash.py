"""A gateway that is killed while it calls: what had returned is not called again, what had not is, as the same call."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatferry.clock import SystemClock
from chatferry.ledger.database import open_database
from chatferry.ledger.ledger import Ledger
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.model_calls import acts
from chatferry.simulator.serving import serving
from tests.scenarios.crash import Served

CONFIG = """
[assistants.default]
language = "en"
tools = ["warehouse:ship", "warehouse:weigh"]

[channels.line]
secret = "${LINE_CHANNEL_SECRET}"
token = "${LINE_CHANNEL_ACCESS_TOKEN}"
api_base = "${LINE_API_BASE}"
data_api_base = "${LINE_API_BASE}"
"""
WAREHOUSE = '''
"""What is called is noted in a book, before it returns."""
import time
from pathlib import Path

HERE = Path(__file__).parent

def note(line):
    with (HERE / "book").open("a") as book:
        book.write(line + "\\n")

def ship(number: str, caller) -> str:
    """Sends a parcel, at once."""
    note(f"ship {number} {caller.key}")
    return f"{number} is on its way"

def weigh(number: str, caller) -> str:
    """Weighs a parcel, as soon as the warehouse is open."""
    note(f"weigh {number} {caller.key}")
    while not (HERE / "open").exists():
        time.sleep(0.01)
    return f"{number} weighs 3 kg"
'''


@dataclass
class Warehouse:
    """The platforms' side, which outlives gateways, and the book of what was called."""

    line: LineSimulator
    model: ModelSimulator
    folder: Path
    environ: dict[str, str]
    database: str

    @contextlib.asynccontextmanager
    async def gateway(self) -> AsyncIterator[Served]:
        """A gateway as a process of its own, which serves."""
        served = Served(self.folder, self.environ, self.database)
        try:
            await served.start()
            await served.ready()
            yield served
        finally:
            await served.aclose()

    @property
    def book(self) -> list[str]:
        path = self.folder / "book"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def screen(self) -> list[str]:
        return [seen.text for seen in self.line.chats[self.line.address("ann")]]

    async def shipped(self) -> None:
        """Return once the ledger knows that the first call has returned, and the second one has begun."""
        database = open_database(self.database)
        try:
            async with asyncio.timeout(60):
                while [bool(step.result) for step in await Ledger(database, SystemClock()).steps(1)] != [True, False]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                while len(self.book) < 2:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.01)
        finally:
            await database.aclose()

    async def answered(self) -> None:
        async with asyncio.timeout(60):
            while not self.screen:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    def check(self) -> None:
        """Each call once, but for the one that had not returned; one answer; the model asked once for each round."""
        assert Counter(line.rpartition(" ")[0] for line in self.book) == {"ship 12": 1, "weigh 12": 2}
        assert len({line for line in self.book if line.startswith("weigh")}) == 1, "the same key"
        assert self.screen == ["12 is on its way, 12 weighs 3 kg"]
        assert len(self.model.requests) == 2


@contextlib.asynccontextmanager
async def warehouse(folder: Path, database: str) -> AsyncIterator[Warehouse]:
    (folder / "chatferry.toml").write_text(CONFIG)
    (folder / "warehouse.py").write_text(WAREHOUSE)
    model = ModelSimulator(
        converse=lambda talk: ", ".join(said["content"] for said in talk if said["role"] == "tool"),
        act=lambda talk, _: (
            acts(("ship", {"number": "12"}), ("weigh", {"number": "12"})) if talk[-1]["role"] == "user" else None
        ),
    )
    line = LineSimulator()
    async with line, serving(line) as line_url, serving(model.app) as model_url:
        environ = {
            "LINE_CHANNEL_SECRET": line.secret,
            "LINE_CHANNEL_ACCESS_TOKEN": line.token,
            "LINE_API_BASE": line_url,
            "OPENAI_BASE_URL": f"{model_url}/v1",
        }
        yield Warehouse(line, model, folder, environ, database)


async def test_after_a_kill_the_next_start_calls_only_what_had_not_returned(tmp_path: Path) -> None:
    async with warehouse(tmp_path, f"sqlite:///{tmp_path}/chatferry.db") as its:
        async with its.gateway() as first:
            its.line.webhook = f"{first.url}/hooks/line"
            await its.line.say("ann", "ship it")
            await its.shipped()
            await first.end(signal.SIGKILL)
        (tmp_path / "open").touch()
        async with its.gateway() as second:
            await its.answered()
            assert await second.end(signal.SIGTERM) == 0
        its.check()


@pytest.mark.long
async def test_another_worker_that_takes_over_does_the_same(tmp_path: Path, postgres: str) -> None:
    async with warehouse(tmp_path, postgres) as its, its.gateway() as first:
        its.line.webhook = f"{first.url}/hooks/line"
        await its.line.say("ann", "ship it")
        await its.shipped()
        async with its.gateway() as second:
            await first.end(signal.SIGKILL)
            (tmp_path / "open").touch()
            await its.answered()
            assert await second.end(signal.SIGTERM) == 0
        its.check()
