"""A simulated Slack, a webhook that it delivers to, and shapes of what is sent there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import aiohttp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator.serving import serving
from chatferry.simulator.slack import TEAM, SlackSimulator

Json = dict[str, Any]


@dataclass
class Bot:
    """A webhook that keeps what it gets, and answers as it is told."""

    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    answer: Json | None = None
    gate: asyncio.Event | None = None
    barrier: asyncio.Barrier | None = None
    """So many must have come before one is answered."""
    got: list[Json] = field(default_factory=list)
    retries: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        if request.headers["content-type"] == "application/json":
            self.got.append(json.loads(body))
        else:
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            self.got.append(json.loads(form["payload"]) if "payload" in form else form)
        retry = request.headers.get("x-slack-retry-num", ""), request.headers.get("x-slack-retry-reason", "")
        self.retries.append(retry)
        if self.gate:
            await self.gate.wait()
        if self.barrier:
            await self.barrier.wait()
        status = self.statuses.pop(0) if self.statuses else 200
        response = JSONResponse(self.answer) if self.answer else Response(status_code=status, headers=self.headers)
        await response(scope, receive, send)

    @property
    def events(self) -> list[Json]:
        return [got["event"] for got in self.got]


@dataclass
class World:
    sim: SlackSimulator
    bot: Bot
    now: list[float]
    http: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)
    """Of the last answer."""

    async def call(self, method: str, *, token: str | None = None, answered: int = 200, **fields: Any) -> Json:
        authorization = {"Authorization": f"Bearer {self.sim.bot_token if token is None else token}"}
        url = f"{self.sim.url}/api/{method}"
        async with self.http.post(url, json=fields, headers=authorization if token != "" else {}) as answer:
            self.headers = dict(answer.headers)
            told: Json = await answer.json()
            assert answer.status == (429 if told.get("error") == "ratelimited" else answered)
            return told

    async def error(self, method: str, **fields: Any) -> str:
        """How a call is refused, "" if it is not."""
        return str((await self.call(method, **fields)).get("error", ""))

    async def seen(self, condition: Callable[[], object]) -> None:
        """Return once the scene is so."""
        async for _ in self.sim.scene.follow():
            if condition():
                return

    async def root(self) -> str:
        return await self.sim.say("ann", "hello", channel="general")

    async def stream(self, thread: str, **more: Any) -> Json:
        to = {"recipient_user_id": self.sim.user("ann"), "recipient_team_id": TEAM}
        return await self.call("chat.startStream", channel=self.general, thread_ts=thread, **(to | more))

    @property
    def general(self) -> str:
        return self.sim.channel("general")


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[World]:
    now, bot = [1_700_000_000.0], Bot()
    async with (
        SlackSimulator(clock=lambda: now[0]) as sim,
        serving(sim) as sim.url,
        serving(bot) as sim.webhook,
        aiohttp.ClientSession() as http,
    ):
        yield World(sim, bot, now, http)


def section(text: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def actions(*values: str) -> Json:
    """Buttons with these values."""
    named = [{"action_id": value, "value": value, "text": {"type": "plain_text", "text": value}} for value in values]
    return {"type": "actions", "elements": [{"type": "button", **one} for one in named]}


def modal(text: str = "Sure?") -> Json:
    title = {"type": "plain_text", "text": "Stop?"}
    return {"type": "modal", "callback_id": "stop", "private_metadata": "p", "title": title, "blocks": [section(text)]}
