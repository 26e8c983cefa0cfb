"""The ordeal on Slack: threads full of questions, and whether each was answered in full, once, by nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from chatferry.simulator.slack import SlackSimulator
from chatferry.simulator.slack_records import Post
from chatferry.words import LANGUAGES, words
from tests.scenarios.crash import PATIENCE, REPEATED, Account, Served, Trial

PEOPLE = {"edit": 16, "native": 8}
"""As many as the gateway can go on with in one minute within its own limits, though this Slack has none. Every other
one writes to the bot directly, the rest in channels."""
CHANNELS = 4
OUTSTANDING = 2
"""Questions that a person asks without waiting for an answer."""
ANEW = 0.2
"""How often a person, once all is answered, begins a new thread."""

_QUESTION = re.compile(r"p\d+ \d+")
_ANSWER = re.compile(r"(p\d+ \d+): (\d+)((?: \w+)*) end")
_PLACEHOLDERS = {words(language).answering for language in LANGUAGES}


class FarSlack(SlackSimulator):
    """Slack at a distance, so that a kill meets calls on their way there and answers on their way back."""

    chance: random.Random

    def count(self, *methods: str) -> int:
        """Calls of these methods that came and were not refused."""
        return sum(call.method in methods and not call.error for call in self.calls)

    async def answer(self, request: Request, body: bytes) -> Response | None:
        if not request.url.path.startswith("/api/"):
            return await super().answer(request, body)
        await asyncio.sleep(self.chance.uniform(0.0, 0.05))
        answer = await super().answer(request, body)
        await asyncio.sleep(self.chance.uniform(0.0, 0.05))
        return answer


@dataclass
class Talk:
    """One thread: where it is, and what was asked in it."""

    channel: str
    root: str
    asked: list[str] = field(default_factory=list)


@dataclass
class Ordeal(Trial):
    """It takes place on Slack."""

    slack: FarSlack
    talks: list[Talk] = field(default_factory=list)

    def begin(self, group: asyncio.TaskGroup) -> None:
        for n in range(self.people or PEOPLE["native" if self.slack.streams else "edit"]):
            channel = None if n % 2 else f"room{n // 2 % CHANNELS}"
            group.create_task(self._talk(f"p{n}", channel, group))

    async def ask(self, who: str, words: str, channel: str | None = None, talk: Talk | None = None) -> Talk:
        """Somebody asks, in a thread or at the beginning of a new one, and Slack tells it until that was taken."""
        sim = self.slack
        thread = talk.root if talk else None
        ts = await sim.say(who, words, channel=channel, thread=thread, mention=channel is not None)
        if talk is None:
            talk = Talk(sim.channel(channel) if channel else sim.dm(who), ts)
            self.talks.append(talk)
        talk.asked.append(words)
        return talk

    def posts(self, talk: Talk) -> list[Post]:
        """What the bot wrote there."""
        return [post for post in self.slack.thread(talk.channel, talk.root) if post.bot]

    async def _talk(self, who: str, channel: str | None, group: asyncio.TaskGroup) -> None:
        talk, number = None, 0
        while not self.over.is_set():
            number += 1
            await self.think()
            before = len(self.slack.deliveries)
            talk = await self.ask(who, f"{who} {number}", channel, talk)
            if self.chance.random() < REPEATED:
                group.create_task(self._repeat(talk.asked[-1], before))
            anew = self.chance.random() < ANEW
            try:
                await self._answered(talk, len(talk.asked) - (0 if anew else OUTSTANDING - 1))
            except TimeoutError:
                return
            talk = None if anew else talk

    async def _answered(self, talk: Talk, count: int) -> None:
        """Return once so many of its questions are. Raises TimeoutError."""

        def answered() -> bool:
            return count <= sum(post.markdown.endswith(" end") and not _growing(post) for post in self.posts(talk))

        await self.slack.until(answered, patience=PATIENCE)

    async def _repeat(self, words: str, since: int) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, 3.0))
        for one in self.slack.deliveries[since:]:
            if one.payload["event"].get("text", "").endswith(words):
                self.figures["repeats"] += 1
                await self.slack.deliver_again(one)
                return

    # ── counting ─────────────────────────────────────────────────────────────────────────────────────────────

    def account(self) -> Account:
        sim, log, rows = self.slack, self.served.logged(), self.turns()
        figures = {
            "kills": self.figures["kills"],
            "questions": sum(len(talk.asked) for talk in self.talks),
            "threads": len(self.talks),
            "tries": sum(len(one.attempts) for one in sim.deliveries),
            "repeats": self.figures["repeats"],
            "resumed": sum(entry["turns"] for entry in log if entry["event"].startswith("going on")),
            "asked of the model": len(self.model.requests),
            "posts": sim.count("chat.postMessage"),
            "streams": sim.count("chat.startStream"),
            "edits": sim.count("chat.update"),
            "deleted": sim.count("chat.delete"),
            "looked for": sim.count("conversations.replies"),
            "apologies": sum(row["finish"] == "apology" for row in rows.values()),
        }
        account = Account(figures, bugs=[json.dumps(entry) for entry in log if entry["event"] == "bug"])
        account.bugs += [f"refused: {one.payload}" for one in sim.deliveries if one.status != 200]
        busy = [place for place, status in sim.session_statuses.items() if status != "active"]
        account.left += [f"a status in {place}" for place in (*sim.statuses, *busy)]
        for talk in self.talks:
            posts = self.posts(talk)
            answers, left = _answers(posts)
            account.left += [f"{talk}: {one}" for one in left]
            missing, surplus = Counter(talk.asked) - Counter(answers), Counter(answers) - Counter(talk.asked)
            account.lost += [self._story(talk, words) for words in missing.elements()]
            account.twice += [self._story(talk, words) for words in surplus.elements()]
            if list(dict.fromkeys(answers)) != [words for words in talk.asked if words in answers]:
                account.disorder.append(f"{talk} was answered {answers}")
        return account

    def _story(self, talk: Talk, words: str) -> str:
        """What is known of one question."""
        rows = [row for row in self.turns().values() if f'"{words}"' in row["inbound"]]
        ids = {row["id"] for row in rows}
        logged = [entry for entry in self.served.logged() if entry.get("turn") in ids]
        shown = [(post.ts, post.markdown[:60], post.edits, post.metadata) for post in self.posts(talk)]
        return f"{words!r} in {talk}\n  turns {rows}\n  log {logged}\n  seen {shown}"


def reply(chance: random.Random) -> Callable[[str], str]:
    """What the model says: the question, how many words follow, and as many words; never the same twice."""

    def reply(text: str) -> str:
        words = _QUESTION.findall(text)[-1]
        kind = chance.random()
        if kind < 0.05:  # more than one message holds
            count, word = chance.randrange(100, 200), " " + "la" * 20
        elif kind < 0.3:
            count, word = chance.randrange(60, 120), " la"
        else:
            count, word = chance.randrange(20), " la"
        return f"{words}: {count}{word * count} end"

    return reply


def _answers(posts: Sequence[Post]) -> tuple[list[str], list[str]]:
    """The questions that are answered in full, in the order of their answers; and what else there is to see."""
    said: list[str] = []
    left: list[str] = []
    for post in posts:
        if _growing(post) or not post.markdown.strip() or post.markdown in _PLACEHOLDERS:
            left.append(f"{post.ts} {post.markdown[:60]!r}, buttons {post.buttons}, streaming {post.streaming}")
        if _QUESTION.match(post.markdown) or not said:
            said.append(post.markdown)
        else:
            said[-1] += f" {post.markdown}"
    read = [(_ANSWER.fullmatch(one), one) for one in said]
    whole = [match for match, _ in read if match and len(match[3].split()) == int(match[2])]
    left += [f"{one[:60]!r} … {one[-60:]!r}" for match, one in read if match not in whole]
    return [match[1] for match in whole], left


def _growing(post: Post) -> bool:
    return post.streaming or bool(post.buttons)


@contextlib.asynccontextmanager
async def ordeal(folder: Path, seed: int, *, native: bool) -> AsyncIterator[Ordeal]:
    """Everything in place, and the gateway not yet started. native: Slack's own streams are granted."""
    chance = random.Random(seed)  # noqa: S311 - for a test to be repeated, not for secrets
    slack = FarSlack(limits=False, streams=native, sessions=native)
    slack.chance = chance
    slack.pauses = tuple(chance.uniform(0.02, 0.2) for _ in range(1000))
    model = ModelSimulator(reply=reply(chance), rate=100.0)
    async with slack, serving(slack) as slack.url, serving(model.app) as model_url:
        environ = {
            "SLACK_SIGNING_SECRET": slack.signing_secret,
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_API_BASE": f"{slack.url}/api",
            "OPENAI_BASE_URL": f"{model_url}/v1",
            "OPENAI_API_KEY": "simulated",
        }
        served = Served(folder, environ)
        slack.webhook = f"{served.url}/hooks/slack"
        try:
            yield Ordeal(model, served, chance, slack)
        finally:
            await served.aclose()
