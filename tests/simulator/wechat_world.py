"""One simulated WeChat account, a small bot that reads its calls on its own, and a clock that stands still."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import aiohttp
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator.serving import serving
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_crypto import Safe, signature
from chatferry.simulator.wechat_people import address
from chatferry.testing import ManualClock

ANN = address("ann")
SEND, TYPING = "/cgi-bin/message/custom/send", "/cgi-bin/message/custom/typing"
TOKEN, STABLE, MEDIA = "/cgi-bin/token", "/cgi-bin/stable_token", "/cgi-bin/media/get"


@dataclass
class Got:
    query: dict[str, str]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        return ElementTree.fromstring(self.body).findtext(name)  # noqa: S314 - the simulator's own


Answer = Callable[[Got], bytes] | bytes | int | None
"""A body, a status, or None: the bot stays silent until WeChat hangs up."""


def sha1(*parts: str) -> str:
    """WeChat's signature, by its description."""
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324 - WeChat's choice


class Bot:
    """Answers each call as the next of `answers` says; the last one holds for all that follow."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [b"success"]
        self.got: list[Got] = []
        self.arrived = asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method == "GET":
            await Response(request.query_params["echostr"])(scope, receive, send)
            return
        got = Got(dict(request.query_params), await request.body())
        self.got.append(got)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.arrived.release()
        match answer:
            case None:
                while (await receive())["type"] != "http.disconnect":
                    pass
            case int():
                await Response(status_code=answer)(scope, receive, send)
            case bytes():
                await Response(answer)(scope, receive, send)
            case _:
                await Response(answer(got))(scope, receive, send)


def reply(words: str) -> Callable[[Got], bytes]:
    def written(got: Got) -> bytes:
        return (
            f"<xml><ToUserName>{got['FromUserName']}</ToUserName><FromUserName>{got['ToUserName']}</FromUserName>"
            f"<CreateTime>1</CreateTime><MsgType>text</MsgType><Content><![CDATA[{words}]]></Content></xml>"
        ).encode()

    return written


def encrypted(sim: WeChatSimulator, words: str, *, app_id: str = "", token: str = "") -> Callable[[Got], bytes]:
    def written(got: Got) -> bytes:
        opened = Got({}, Safe(sim.aes_key, sim.app_id).open(got["Encrypt"] or ""))
        shut = Safe(sim.aes_key, app_id or sim.app_id).shut(reply(words)(opened))
        signed = signature(token or sim.token, "1", "2", shut)
        return (
            f"<xml><Encrypt>{shut}</Encrypt><MsgSignature>{signed}</MsgSignature>"
            "<TimeStamp>1</TimeStamp><Nonce>2</Nonce></xml>"
        ).encode()

    return written


@dataclass
class World:
    sim: WeChatSimulator
    bot: Bot
    clock: ManualClock
    url: str
    http: aiohttp.ClientSession

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        async with self.http.get(self.url + path, params=query) as answer:
            assert answer.status == 200
            told: dict[str, Any] = await answer.json()
            return told

    async def post(self, path: str, body: Any, token: str = "") -> dict[str, Any]:
        async with self.http.post(self.url + path, json=body, params={"access_token": token} if token else {}) as said:
            assert said.status == 200
            told: dict[str, Any] = await said.json()
            return told

    async def stable(self, **more: Any) -> dict[str, Any]:
        known = {"grant_type": "client_credential", "appid": self.sim.app_id, "secret": self.sim.app_secret}
        return await self.post(STABLE, known | more)

    async def plain(self, **more: str) -> dict[str, Any]:
        known = {"grant_type": "client_credential", "appid": self.sim.app_id, "secret": self.sim.app_secret}
        return await self.get(TOKEN, **(known | more))

    async def token(self) -> str:
        return str((await self.stable())["access_token"])

    async def send(self, words: str, token: str = "", **more: Any) -> int:
        """The errcode."""
        message = {"touser": ANN, "msgtype": "text", "text": {"content": words}} | more
        return int((await self.post(SEND, message, token or await self.token()))["errcode"])

    async def type(self, command: str = "Typing") -> int:
        return int((await self.post(TYPING, {"touser": ANN, "command": command}, await self.token()))["errcode"])

    async def silence(self, calls: int) -> None:
        """So many calls come and are cut off after their five seconds."""
        for _ in range(calls):
            await self.bot.arrived.acquire()
            self.clock.advance(5)

    def screen(self) -> list[tuple[str, str]]:
        return [(one.via, one.text) for one in self.sim.chats[ANN]]


def facts(world: World, kind: str) -> list[dict[str, Any]]:
    return [fact for fact in world.sim.scene.all() if fact["kind"] == kind]


@contextlib.asynccontextmanager
async def small_world() -> AsyncIterator[World]:
    clock, bot = ManualClock(), Bot()
    async with (
        WeChatSimulator(clock=clock) as sim,
        serving(sim) as url,
        serving(bot) as hook,
        aiohttp.ClientSession() as http,
    ):
        sim.webhook = f"{hook}/hooks/wechat?here=kept"
        yield World(sim, bot, clock, url, http)
