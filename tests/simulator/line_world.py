"""The simulated LINE on a real socket, a bot behind a real webhook, and LINE's own Python client to call with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from linebot.v3 import messaging  # type: ignore[import-untyped]  # LINE's SDK has no types
from linebot.v3.webhook import WebhookParser  # type: ignore[import-untyped]  # LINE's SDK has no types
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_people import address
from chatferry.simulator.serving import serving

ANN = address("U", "ann")
REPLY, PUSH, LOADING = "/v2/bot/message/reply", "/v2/bot/message/push", "/v2/bot/chat/loading/start"


class Bot:
    """A webhook that keeps what it gets, and answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.refusals = 0
        """So many webhooks get a 503 first."""
        self.got: list[tuple[bytes, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.got.append((await request.body(), request.headers.get("x-line-signature", "")))
        status, self.refusals = (503, self.refusals - 1) if self.refusals else (self.status, 0)
        await Response(status_code=status)(scope, receive, send)


@dataclass
class World:
    sim: LineSimulator
    url: str
    bot: Bot
    now: list[float]

    async def call(self, name: str, *args: Any, **more: Any) -> Any:
        """One method of the official client, in a thread: it blocks."""

        def run() -> Any:
            with messaging.ApiClient(self._configuration()) as client:
                return getattr(messaging.MessagingApi(client), name)(*args, **more)

        return await asyncio.to_thread(run)

    async def content(self, message_id: str) -> Any:
        def run() -> Any:
            with messaging.ApiClient(self._configuration()) as client:
                return messaging.MessagingApiBlob(client).get_message_content(message_id)

        return await asyncio.to_thread(run)

    def _configuration(self) -> messaging.Configuration:
        return messaging.Configuration(host=self.url, access_token=self.sim.token)

    def events(self) -> list[Any]:
        """The events of every webhook that the bot got, as LINE's own parser reads them."""
        parser = WebhookParser(self.sim.secret)
        return [event for body, signature in self.bot.got for event in parser.parse(body.decode(), signature)]

    def facts(self, kind: str) -> list[Any]:
        """What the scene shows of this kind."""
        return [fact for fact in self.sim.scene.all() if fact["kind"] == kind]

    async def until(self, kind: str, ready: Callable[[Any], bool]) -> None:
        """Wait for a fact of this kind."""
        async with asyncio.timeout(60):
            async for facts in self.sim.scene.follow():
                if any(ready(fact) for fact in facts if fact["kind"] == kind):
                    return

    async def act(self, name: str, /, **given: Any) -> tuple[int, Any]:
        """One act by the control API: status and answer."""
        async with aiohttp.ClientSession() as http, http.post(f"{self.url}/_sim/{name}", json=given) as answer:
            return answer.status, await answer.json()

    async def token(self) -> str:
        return str((await self.sim.say("ann", "hi")).events[0]["replyToken"])


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[World]:
    now, bot = [1_700_000_000.0], Bot()
    async with LineSimulator(clock=lambda: now[0]) as sim, serving(sim) as url, serving(bot) as hook:
        sim.webhook = hook
        yield World(sim, url, bot, now)


def text(words: str) -> messaging.TextMessage:
    return messaging.TextMessage(text=words)


def reply(token: str, *messages: Any) -> messaging.ReplyMessageRequest:
    return messaging.ReplyMessageRequest(reply_token=token, messages=list(messages) or [text("hello")])


def push(to: str = ANN, *messages: Any) -> messaging.PushMessageRequest:
    return messaging.PushMessageRequest(to=to, messages=list(messages) or [text("hello")])


async def refusal(calling: Any) -> tuple[int, str]:
    """Status and body of a call that is refused."""
    with pytest.raises(messaging.ApiException) as raised:
        await calling
    assert raised.value.headers["X-Line-Request-Id"]
    return raised.value.status, str(raised.value.body)


def buttons(words: str, label: str) -> messaging.TemplateMessage:
    action = messaging.PostbackAction(label=label, data="d")
    return messaging.TemplateMessage(alt_text="x", template=messaging.ButtonsTemplate(text=words, actions=[action]))
