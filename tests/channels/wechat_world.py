"""A simulated WeChat, a vault on a real database, and channels that call it: what the tests of WeChat share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from chatferry.channels.base import Hook, Surroundings
from chatferry.channels.wechat import WeChat
from chatferry.clock import SystemClock
from chatferry.config import WeChatSettings
from chatferry.ledger.database import Database, open_database
from chatferry.ledger.vault import Vault
from chatferry.model import Grant, Inbound, Receipt, says
from chatferry.simulator.serving import serving
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_people import address, xml
from chatferry.simulator.wechat_records import Call, Fields
from chatferry.testing import ManualClock
from chatferry.words import words
from tests.sqlite import with_schema

ANN = address("ann")
ACCOUNT = "gh_0123456789ab"
TOKEN = "simulated-token"
APP = "wx0123456789abcdef"
AES = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
OPERATORS = "a secret of the operator's"
SEND, TYPING = "/cgi-bin/message/custom/send", "/cgi-bin/message/custom/typing"
STABLE, MEDIA = "/cgi-bin/stable_token", "/cgi-bin/media/get"


def settings(**more: Any) -> WeChatSettings:
    return WeChatSettings.model_validate({"token": TOKEN} | more)


def reader(**more: Any) -> WeChat:
    """One that only reads: it is given no way to call anybody."""
    around = Surroundings(None, SystemClock(), words("en"))  # type: ignore[arg-type]  # `take` makes no call
    return WeChat("wechat", settings(**more), around)


def message(kind: str = "text", **more: str | int) -> Fields:
    head: Fields = {"ToUserName": ACCOUNT, "FromUserName": ANN, "CreateTime": 1_700_000_000, "MsgType": kind}
    return head | ({} if kind == "event" else {"MsgId": 24_000_000_000_000_001}) | more


def body(fields: Fields) -> bytes:
    return xml(fields).encode()


@dataclass
class World:
    sim: WeChatSimulator
    url: str
    clock: ManualClock
    http: aiohttp.ClientSession
    database: Database

    def wechat(self, *, secret: str = OPERATORS, **more: Any) -> WeChat:
        """The channel as a process that starts now has it: it knows what the vault does."""
        ours = {"app_id": self.sim.app_id, "app_secret": self.sim.app_secret, "api_base": self.url}
        vault = Vault(self.database, "wechat", secret, self.clock)
        return WeChat(
            "wechat", settings(**(ours | more)), Surroundings(self.http, self.clock, words("en"), vault, None)
        )

    async def grant(self, who: str = "ann") -> Grant:
        """Leave to answer, as a person gives it by writing; nobody has to take that here."""
        self.sim.webhook = f"{self.url}/nowhere"
        await self.sim.say(who, "hi")
        return Grant("24000000000000001", self.clock.now() + 48 * 3600, 5)

    async def send(self, wechat: WeChat, said: str = "hello", grant: Grant | None = None) -> Receipt:
        [receipt] = await wechat.send(ANN, [says("assistant", said)], key="", grant=grant or await self.grant())
        return receipt

    def taken(self, wechat: WeChat) -> tuple[Inbound, bool]:
        """A message as it is taken now: the event, and whether the request is held."""
        query = self.sim._signed()
        taken = wechat.take(Hook(body(message(Content="hi")), {}, query, self.clock.now()))
        return taken.events[0], taken.hold is not None

    def calls(self, path: str) -> list[Call]:
        return [call for call in self.sim.calls if call.path == path]

    def screen(self) -> list[str]:
        return [one.text for one in self.sim.chats[ANN] if one.via == "custom"]


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what is not told by an event."""
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - there is none
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    clock, database = ManualClock(), open_database(with_schema(folder / "x.db"))
    try:
        async with WeChatSimulator(clock=clock) as sim, serving(sim) as url, aiohttp.ClientSession() as http:
            sim.gap = 0.0
            yield World(sim, url, clock, http, database)
    finally:
        await database.aclose()
