"""The ordeal on LINE: what people wrote, how often LINE delivered it, and what they were answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from chatferry.simulator import line_people
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_records import Seen
from chatferry.simulator.line_rules import Json
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from tests.scenarios.crash import PATIENCE, REPEATED, Account, Served, Trial

PEOPLE = 24
OUTSTANDING = 4
"""Messages that a person writes without waiting for an answer."""


class FarLine(LineSimulator):
    """LINE at a distance, so that a kill meets calls on their way there and answers on their way back."""

    chance: random.Random

    async def _answer(self, request: Request, body: bytes) -> Response:
        await asyncio.sleep(self.chance.uniform(0.0, 0.05))
        answer = await super()._answer(request, body)
        await asyncio.sleep(self.chance.uniform(0.0, 0.05))
        return answer


@dataclass
class Ordeal(Trial):
    """It takes place on LINE."""

    line: FarLine
    age: float = 0.0
    """Seconds that messages are old when they first arrive, as after an outage."""
    tokens: bool = True
    """Do messages come with a reply token?"""
    said: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """What the gateway took from each person, in order: the event's id and the words."""

    def begin(self, group: asyncio.TaskGroup) -> None:
        for n in range(self.people or PEOPLE):
            group.create_task(self._talk(f"p{n}", group))

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

    async def _talk(self, name: str, group: asyncio.TaskGroup) -> None:
        for n in itertools.count(1):
            await self.think()
            if self.over.is_set():
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

    # ── counting ─────────────────────────────────────────────────────────────────────────────────────────────

    def account(self) -> Account:
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
            account.twice += [story.of(words) for words in surplus.elements() if not story.honest(words)]
            first = [text for text, _ in owed if text in got]
            if list(dict.fromkeys(got)) != list(dict.fromkeys(first)):
                account.disorder.append(f"{name} wrote {first} and was answered {got}")
        return account


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
        row, logged = self._turn(words)
        shown = [(one.via, one.at, one.id) for one in self.seen if _asked(one.text) == words]
        return f"{words!r}\n  turn {dict(row) or 'none'}\n  log {logged}\n  seen {shown}"

    def honest(self, words: str) -> bool:
        """Was it sent once more, and logged so, when its reply token was dead and nothing could be known any more?

        That is the exception that the README tells of. It takes a machine on which 50 s pass between two kills.
        """
        row, logged = self._turn(words)
        grant = json.loads(row["inbound"]).get("grant") if row else None
        said = [entry["timestamp"] for entry in logged if entry["event"] == "sent twice, perhaps"]
        if not said or grant is None:
            return False
        return datetime.fromisoformat(min(said)).timestamp() >= float(grant["until"])

    def _turn(self, words: str) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
        row = self.rows.get(self.events.get(words, ""), {})
        return row, [entry for entry in self.log if row and entry.get("turn") == row["id"]]


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
            yield Ordeal(model, served, chance, line, **more)
        finally:
            await served.aclose()
