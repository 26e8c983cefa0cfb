"""The ordeal on WeChat: what people wrote, and what reached them: in a response, by itself, or on a page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp
from starlette.requests import Request
from starlette.responses import Response

from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_records import Delivery
from tests.scenarios.crash import PATIENCE, Account, Served, Trial
from tests.scenarios.wechat_account import LINK, Judge, answer_in, command_in
from tests.web.opening import get, reading

Mode = Literal["auto", "passive", "service"]

PEOPLE = 10
OUTSTANDING = 3
"""Messages that a person writes before the model is asked for the first of them."""
AT_ONCE = 0.3
"""How often a person does not even wait until WeChat has an answer, or has shown that there is none."""
COMMANDS = 0.15
"""How often a person writes to the gateway itself."""
READERS = 0.3
"""How many follow a link at once; the others only when all is over."""
HOLD, LIMIT = 0.6, 1.0
"""WeChat's five seconds, in a world that is in a hurry."""
RATE = 100.0
"""Tokens a second."""
ROUNDS = 20
"""Farewells within which whatever waits has to be out."""


class FarWeChat(WeChatSimulator):
    """WeChat at a distance, so that a kill meets calls on their way there and answers on their way back."""

    chance: random.Random

    async def _answer(self, request: Request, body: bytes) -> Response:
        await asyncio.sleep(self.chance.uniform(0.0, 0.05))
        answer = await super()._answer(request, body)
        await asyncio.sleep(self.chance.uniform(0.0, 0.05))
        return answer


@dataclass(frozen=True)
class Asking:
    """One request of the model: when, and how many seconds its answer takes."""

    at: float
    seconds: float


@dataclass
class Ordeal(Trial):
    """It takes place on WeChat."""

    wechat: FarWeChat
    said: dict[str, list[tuple[Delivery, str]]] = field(default_factory=lambda: defaultdict(list))
    """What each person wrote, and the calls in which the gateway was told."""
    asked_for: dict[str, list[Asking]] = field(default_factory=lambda: defaultdict(list))
    """What the model was asked, by the question."""
    killed: list[float] = field(default_factory=list)
    """Unix seconds."""
    opened: dict[str, str] = field(default_factory=dict)
    """What was read by following a link, while the gateway lived and died; by the link."""
    pages: dict[str, str] = field(default_factory=dict)
    """What the pages of all links show in the end."""
    histories: dict[str, str] = field(default_factory=dict)
    """What a search of the history finds, by the question that never came to the chat."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.model.reply = self._reply
        self._open: dict[str, set[str]] = defaultdict(set)
        """What somebody wrote and the model was not yet asked."""

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, group: asyncio.TaskGroup) -> None:
        for n in range(self.people or PEOPLE):
            group.create_task(self._talk(f"p{n}", group))

    async def say(self, name: str, words: str) -> Delivery:
        """A person writes; returns when WeChat calls no more."""
        if not words.startswith("/"):
            self._open[name].add(words)
        told = await self.wechat.say(name, words)
        self.said[name].append((told, words))
        if told.reason:
            self._open[name].discard(words)
        return told

    async def leave(self) -> None:
        """Whoever waits for something writes again until nothing does; then all links are followed."""
        async with asyncio.TaskGroup() as group:
            for name in list(self.said):
                group.create_task(self._take_leave(name))
        await self.settled()
        await self._look()
        await self.settled()

    async def _talk(self, name: str, group: asyncio.TaskGroup) -> None:
        chance, number = self.chance, 0
        while not self.over.is_set():
            await self.think()
            if chance.random() < COMMANDS:
                words = chance.choice(("/history", "/history", "/help", "/clear", "/stop"))
            else:
                number += 1
                words = f"{name} {number}"
            told = group.create_task(self._say_and_read(name, words, group))
            if chance.random() >= AT_ONCE:
                await told
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            deadline = time.time() + PATIENCE
            while len(self._open[name]) >= OUTSTANDING:
                if time.time() > deadline:
                    return
                await asyncio.sleep(0.05)

    async def _say_and_read(self, name: str, words: str, group: asyncio.TaskGroup) -> None:
        told = await self.say(name, words)
        seen = [one for one in self.wechat.chats[self.wechat.address(name)] if one.message == told.id]
        for link in (link for one in seen for link in LINK.findall(one.text)):
            if "/a/" in link and self.chance.random() < READERS:
                group.create_task(self._follow(link))

    async def _follow(self, link: str) -> None:
        """Read a page as it grows, and come back to it when the connection breaks, as a browser does."""
        deadline = time.time() + PATIENCE
        while time.time() < deadline:
            with contextlib.suppress(aiohttp.ClientError, AssertionError):
                async with reading(link) as reader:
                    while event := await reader.next():
                        if event.kind == "end":
                            if reader.state != "stopped":
                                self.opened[link] = "".join(reader.blocks)
                            return
            await asyncio.sleep(0.1)

    async def _take_leave(self, name: str) -> None:
        for round in range(ROUNDS):
            words = f"{name} {1000 + round}"
            told = await self.say(name, words)
            await self.settled()
            seen = [one for one in self.wechat.chats[self.wechat.address(name)] if one.message == told.id]
            if not told.reason and not any("———" in one.text or LINK.search(one.text) for one in seen):
                return

    async def _look(self) -> None:
        """Follow every link, and look in the history for what is nowhere else."""
        for name in self.said:
            await self.say(name, "/history")
            await self.settled()
            screen = self.wechat.chats[self.wechat.address(name)]
            links = [link for one in screen for link in LINK.findall(one.text)]
            for link in links:
                if link not in self.pages:
                    self.pages[link] = (await get(link)).text
            history = next((link for link in reversed(links) if "/h/" in link), "")
            shown = " ".join(one.text for one in screen)
            for _, words in self.said[name]:
                if not words.startswith("/") and f"{words}:" not in shown and history:
                    self.histories[words] = (await get(f"{history}?q={words.replace(' ', '+')}%3A")).text

    async def _live_and_die(self) -> None:
        if self.chance.random() < 0.3:  # for once, long enough for an answer that takes all three calls
            await self.served.start()
            await self.served.ready()
            await asyncio.sleep(self.chance.uniform(0.8, 3.5))
            await self.served.end(signal.SIGKILL)
            self.figures["kills"] += 1
        else:
            await super()._live_and_die()
        self.killed.append(time.time())

    def _reply(self, text: str) -> str:
        """The question, how many words follow, and these: for up to three and a half seconds."""
        words = re.findall(r"p\d+ \d+", text)[-1]
        self._open[words.split()[0]].discard(words)
        kind, width = self.chance.random(), 1
        if kind < 0.4 or self.over.is_set():
            count = self.chance.randrange(5)
        elif kind < 0.8:
            count = self.chance.randrange(5, 80)
        else:
            count = self.chance.randrange(100, 350)
        if self.chance.random() < 0.3:
            width = 40  # more than one message holds, if there are many
        self.asked_for[words].append(Asking(time.time(), (count + 4) / RATE))
        first = int(words.split()[1]) * 1000  # so that no part of it is part of another one
        return f"{words}: {count}{''.join(f' {first + n:0{width}}' for n in range(count))} end"

    # ── counting ─────────────────────────────────────────────────────────────────────────────────────────────

    def account(self) -> Account:
        log, rows = self.served.logged(), self.turns()
        judge = Judge(self, rows)
        judge.all()
        tries = [attempt for one in self.wechat.deliveries for attempt in one.attempts]
        figures = {
            "kills": self.figures["kills"],
            "messages": sum(map(len, self.said.values())),
            "calls": len(tries),
            "calls without an answer": sum(bool(one.reason) for one in tries),
            "resumed": sum(entry["turns"] for entry in log if entry["event"].startswith("going on")),
            "asked of the model": len(self.model.requests),
            "too late": sum(entry["event"] == "answered too late" for entry in log),
            "links": len(self.pages),
            "followed at once": len(self.opened),
            **judge.figures,
        }
        account = judge.account
        account.figures = figures
        account.bugs += [json.dumps(entry) for entry in log if entry["event"] == "bug"]
        account.bugs += [f"{one}" for one in tries if one.reason.startswith(("malformed", "status"))]
        for link, text in self.opened.items():
            if not answer_in(text) and not command_in(text):
                account.bugs.append(f"{link} ended with {text[:200]!r}")
        return account


@contextlib.asynccontextmanager
async def ordeal(folder: Path, seed: int, *, verified: bool) -> AsyncIterator[Ordeal]:
    """Everything in place, and the gateway not yet started. verified: the account may send."""
    chance = random.Random(seed)  # noqa: S311 - for a test to be repeated, not for secrets
    modes: tuple[Mode, ...] = ("service", "auto") if verified else ("passive", "auto")
    mode, memory, safe = chance.choice(modes), chance.random() < 0.5, chance.random() < 0.5
    wechat = FarWeChat(limit=LIMIT, gap=LIMIT, verified=verified, mode="encrypted" if safe else "plain")
    wechat.chance = chance
    model = ModelSimulator(rate=RATE)
    async with wechat, serving(wechat) as wechat_url, serving(model.app) as model_url:
        keys = f'aes_key = "{wechat.aes_key}"' if safe else ""
        served = Served(folder, {})
        (folder / "chatferry.toml").write_text(f"""
            [server]
            public_url = "{served.url}"
            host = "127.0.0.1"
            {'secret = "kept-from-one-life-to-the-next"' if memory else ""}
            [models.default]
            provider = "openai"
            model = "simulated"
            base_url = "{model_url}/v1"
            [assistants.default]
            language = "en"
            [channels.wechat]
            token = "{wechat.token}"
            app_id = "{wechat.app_id}"
            app_secret = "{wechat.app_secret}"
            {keys}
            mode = "{mode}"
            hold = {HOLD}
            limit = {LIMIT}
            api_base = "{wechat_url}"
        """)
        wechat.webhook = f"{served.url}/hooks/wechat"
        try:
            yield Ordeal(model, served, chance, wechat)
        finally:
            await served.aclose()
