"""Callers of the API: each has a session, gives every question a key, and asks again until it is answered."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.scenarios.crash import PATIENCE, Account, Trial

KEY = "simulated-key-of-the-chaos"
STREAMED = 0.5
"""How many of the answers are had as they grow."""
AGAIN = (429, 500, 502, 503)
"""Statuses after which a client asks again."""
_TIMEOUT = aiohttp.ClientTimeout(8.0)
_QUESTION = re.compile(r"p\d+ \d+")
_ANSWER = re.compile(r"(p\d+ \d+): (\d+)((?: la)*) end")


class Broken(Exception):
    """There is no answer, and the same question may be asked again."""


@dataclass
class Question:
    """What was asked under one key, and what was answered each time."""

    session: str
    words: str
    key: str
    answers: list[str] = field(default_factory=list)
    tries: int = 0

    @property
    def event(self) -> str:
        """How the ledger calls it, but for the caller's name in front."""
        return f"/{self.key}"


@dataclass
class Ordeal(Trial):
    """It takes place on the API."""

    url: str
    questions: list[Question] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def begin(self, group: asyncio.TaskGroup) -> None:
        for n in range(self.people):
            group.create_task(self._talk(f"p{n}"))

    async def leave(self) -> None:
        """Everything is asked once more: the same key has the same answer, however long ago that was."""
        async with aiohttp.ClientSession() as http:
            for question in self.questions:
                if question.answers:
                    await self._answered(http, question, 10.0)

    async def _talk(self, name: str) -> None:
        session = f"session of {name}"
        async with aiohttp.ClientSession() as http:
            for n in itertools.count(1):
                await self.think()
                if self.over.is_set():
                    return
                question = Question(session, f"{name} {n}", f"{name}-{n}-{self.chance.randrange(10**9)}")
                self.questions.append(question)
                if not await self._answered(http, question, PATIENCE):
                    return

    async def _answered(self, http: aiohttp.ClientSession, question: Question, patience: float) -> bool:
        """Ask until there is an answer. False: patience is at its end."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    question.tries += 1
                    try:
                        question.answers.append(await self._ask(http, question))
                    except (Broken, aiohttp.ClientError, TimeoutError):
                        await asyncio.sleep(self.chance.uniform(0.05, 0.5))
                    else:
                        return True
        except TimeoutError:
            return False

    async def _ask(self, http: aiohttp.ClientSession, question: Question) -> str:
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": question.words}],
            "session_id": question.session,
            "stream": self.chance.random() < STREAMED,
        }
        headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": question.key}
        async with http.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=_TIMEOUT) as answer:
            if answer.status != 200:
                if answer.status not in AGAIN:
                    self.refused.append(f"{question}: {answer.status} {await answer.text()}")
                raise Broken(answer.status)
            if not body["stream"]:
                return str((await answer.json())["choices"][0]["message"]["content"])
            return await _streamed(answer)

    # ── counting ─────────────────────────────────────────────────────────────────────────────────────────────

    def account(self) -> Account:
        rows = self.served.turns()
        by_key = {event.partition("/")[2]: row for event, row in rows.items()}
        account = Account(
            {
                "questions": len(self.questions),
                "sessions": len({one.session for one in self.questions}),
                "asked again": sum(one.tries for one in self.questions)
                - sum(len(one.answers) for one in self.questions),
                "asked of the model": len(self.model.requests),
            },
            bugs=list(self.refused),
        )
        places = Counter[str]()
        for question in self.questions:
            row = by_key.get(question.key)
            told = f"{question}\n  turn {row}"
            read = [_ANSWER.fullmatch(answer) for answer in question.answers]
            if not any(read) or row is None or row["state"] != "done":
                account.lost.append(told)
            elif any(one is None or one[1] != question.words or len(one[3].split()) != int(one[2]) for one in read):
                account.lost.append(f"not answered in full: {told}")
            elif len(set(question.answers)) > 1:
                account.twice.append(told)
            if row is not None:
                if row["id"] < places[question.session]:
                    account.disorder.append(told)
                places[question.session] = row["id"]
        return account


def reply(chance: random.Random) -> Callable[[str], str]:
    """What the model says: the question, how many words follow, and as many words; seldom the same twice."""

    def reply(text: str) -> str:
        count = chance.randrange(60)
        return f"{_QUESTION.findall(text)[-1]}: {count}{' la' * count} end"

    return reply


async def _streamed(answer: aiohttp.ClientResponse) -> str:
    """The text of an answer that came as events. Raises Broken where it has no end."""
    said = ""
    async for line in answer.content:
        if line.startswith(b"data: [DONE]"):
            return said
        if line.startswith(b"data: "):
            chunk = json.loads(line.removeprefix(b"data: "))
            if "error" in chunk:
                raise Broken(chunk)
            for choice in chunk["choices"]:
                said += choice["delta"].get("content") or ""
    raise Broken("no end")
