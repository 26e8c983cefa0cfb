"""What the scenarios on WeChat share: an account between its people and a gateway, and its seconds turned by hand.

Time stands still but where a test lets it pass, for both sides: a call that has five seconds has them however slow the
machine is, and an answer that takes six takes six.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import SecretStr

from chatferry.config import AssistantSettings, ModelSettings, ServerSettings, Settings, WeChatSettings
from chatferry.gateway import Gateway
from chatferry.ledger.database import Database, open_database
from chatferry.ledger.looking import Entry
from chatferry.ledger.tables import turns
from chatferry.simulator.model import ModelSimulator, Pause
from chatferry.simulator.serving import serving
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_records import Call, Delivery, Fields, Seen
from chatferry.testing import ManualClock
from chatferry.text.plain import RULE
from chatferry.words import words
from tests.stack import gateway_on
from tests.web.opening import get

WORDS = words("zh-CN")

SEND = "/cgi-bin/message/custom/send"
TYPING = "/cgi-bin/message/custom/typing"
STABLE = "/cgi-bin/stable_token"

LIMIT, HOLD, CALLS = 5.0, 4.5, 3
INSTANT = 0.125
PATIENCE = 60.0
"""Real seconds after which something is taken for never to come."""


class Page(NamedTuple):
    status: int
    state: str
    answer: str
    """Without its marks."""


@dataclass
class Saying:
    """A message and the calls that WeChat makes for it, which run beside the test."""

    delivery: Delivery
    task: asyncio.Task[Delivery]
    began: float
    call: int = 1

    @property
    def event(self) -> str:
        """The event's id, as the gateway has it."""
        fields = self.delivery.fields
        return self.delivery.id or ":".join(
            str(fields.get(name, "")) for name in ("FromUserName", "CreateTime", "Event", "EventKey")
        )

    @property
    def reasons(self) -> list[str]:
        """What became of the calls so far."""
        return [attempt.reason for attempt in self.delivery.attempts]

    async def over(self) -> Delivery:
        """Return when WeChat calls no more."""
        async with asyncio.timeout(PATIENCE):
            return await self.task


@dataclass
class World:
    """The platforms' side, which outlives gateways."""

    wechat: WeChatSimulator
    model: ModelSimulator
    settings: Settings
    clock: ManualClock
    database: Database
    broken: bool = False
    """People may read that the account is out of order."""
    _open: list[Saying] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def gateway(self) -> AsyncIterator[Gateway]:
        """A gateway on the one database. It does not drain: leaving cuts off what runs."""
        async with gateway_on(self.settings, self.clock) as (gateway, url, _):
            self.wechat.webhook = f"{url}/hooks/wechat"
            yield gateway

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def say(self, who: str, words: str) -> Delivery:
        """Somebody writes, and is answered without any time passing."""
        async with asyncio.timeout(PATIENCE):
            return await self.wechat.say(who, words)

    async def says(self, who: str, words: str) -> Saying:
        """Somebody writes, and the first call is taken; how it goes on is seen as time passes."""
        return await self.begins(lambda: self.wechat.say(who, words))

    async def begins(self, act: Callable[[], Any], *, taken: bool = True) -> Saying:
        """The same for anything that people do."""
        known = len(self.wechat.deliveries)
        task = asyncio.ensure_future(act())
        await self.until(lambda: len(self.wechat.deliveries) > known)
        saying = Saying(self.wechat.deliveries[known], task, self.clock.now())
        self._open.append(saying)
        if taken:
            await self.taken(saying)
        return saying

    async def passes(self, seconds: float) -> None:
        """Let so much time pass. Whatever was to happen on the way has happened then."""
        end = self.clock.now() + seconds
        while True:
            self._open = [saying for saying in self._open if not saying.task.done()]
            now = self.clock.now()
            stops = [moment for saying in self._open for moment in _moments(saying) if moment > now]
            await self._turns(min([end, *stops]) - now)
            for saying in self._open:
                await self._settled(saying)
            if self.clock.now() >= end:
                return

    async def _turns(self, seconds: float) -> None:
        """Turn the clock, with all asleep who are about to."""
        for _ in range(5):
            await asyncio.sleep(0)
        self.clock.advance(seconds)

    async def _settled(self, saying: Saying) -> None:
        """The call that ends now has ended, and the next one is taken."""
        _, answers, ends = _moments(saying)
        if saying.call == CALLS and answers <= self.clock.now() < ends:
            # The last one has an answer in any case. Whoever was about to sleep as the clock was turned sleeps longer.
            for _ in range(3):
                await asyncio.wait([saying.task], timeout=0.1)
                if not saying.task.done():
                    await self._turns(INSTANT)
            await saying.over()
        elif self.clock.now() >= ends:
            await self.until(lambda: saying.task.done() or len(saying.delivery.attempts) >= saying.call)
            if not saying.task.done() and saying.call < CALLS:
                saying.call += 1
                await self.taken(saying)

    async def taken(self, saying: Saying) -> None:
        """The gateway has the call, and knows which one it is."""
        mine = sa.select(turns.c.deliveries).where(turns.c.event == saying.event)
        async with asyncio.timeout(PATIENCE):
            while not saying.task.done():
                rows = await self.database.read(lambda connection: connection.execute(mine).all())
                if rows and rows[0].deliveries >= saying.call:
                    return
                await asyncio.sleep(0.002)

    async def until(self, met: Callable[[], object]) -> None:
        """Return once `met`, without any time passing."""
        async with asyncio.timeout(PATIENCE):
            while not met():  # noqa: ASYNC110 - anything may make it so
                await asyncio.sleep(0.002)

    # ── what there is to see ─────────────────────────────────────────────────────────────────────────────────

    def seen(self, who: str = "ann") -> list[Seen]:
        return self.wechat.chats[self.wechat.address(who)]

    def screen(self, who: str = "ann") -> list[str]:
        """What a person has on the screen."""
        return [one.text for one in self.seen(who)]

    def calls(self, path: str) -> list[Call]:
        return [call for call in self.wechat.calls if call.path == path]

    def asked(self, request: int = -1) -> list[str]:
        """What the model was asked in one of its requests, without the assistant's own instructions."""
        return [said["content"] for said in self.model.requests[request].body["messages"] if said["role"] != "system"]

    # ── the model ────────────────────────────────────────────────────────────────────────────────────────────

    def slow(self, answers: int = 1) -> None:
        """The model's next answers wait for `answer`."""
        self.model.plans.extend([Pause([0])] * answers)

    async def thinking(self) -> None:
        """Return when the model is at work on an answer that waits."""
        async with asyncio.timeout(PATIENCE):
            await self.model.hanging.wait()
        self.model.hanging.clear()

    async def answers(self, gateway: Gateway, place: int = 1, wanted: str = "parked") -> None:
        """The model gives the answer that waits, and the gateway has it: that of the first turn, or of a later one."""
        await self.thinking()
        self.model.release.set()
        await turn(gateway, place, wanted)


@contextlib.asynccontextmanager
async def wechat_world(
    folder: Path,
    *,
    wechat: WeChatSimulator | None = None,
    settings: Callable[[Settings], Settings] = lambda settings: settings,
    assistants: dict[str, dict[str, Any]] | None = None,
    channel: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    session: dict[str, Any] | None = None,
    **tables: Any,
) -> AsyncIterator[World]:
    """An account that may not send, unless `wechat` is another one. `tables`: more of the settings."""
    clock, model = ManualClock(), ModelSimulator()
    wechat = wechat or WeChatSimulator(verified=False)
    wechat.clock = clock
    async with wechat, serving(wechat) as url, serving(model.app) as model_url:
        account = {
            "token": SecretStr(wechat.token),
            "app_id": wechat.app_id,
            "app_secret": SecretStr(wechat.app_secret),
            "mode": "service" if wechat.verified else "passive",
            "api_base": url,
            "path": "/hooks/wechat",
        }
        place = {"host": "127.0.0.1", "port": 0, "database": f"sqlite:///{folder}/chatferry.db", "drain": 0.0}
        staff = {"default": {"session": session} if session else {}} | (assistants or {})
        its = Settings.model_validate(
            {
                "server": ServerSettings(**{**place, **(server or {})}),
                "models": {"default": ModelSettings(provider="openai", model="sim", base_url=f"{model_url}/v1")},
                "assistants": {name: AssistantSettings(**{"language": "zh-CN", **its}) for name, its in staff.items()},
                "channels": {"wechat": WeChatSettings(**{**account, **(channel or {})})},
                "source": "test",
                **tables,
            }
        )
        database = open_database(its.server.database)
        world = World(wechat, model, settings(its), clock, database)
        try:
            yield world
            if not world.broken:
                notices = [one for chat in wechat.chats.values() for one in chat if one.via == "notice"]
                assert not notices, "nobody reads that the account is out of order"
        finally:
            await database.aclose()


async def turn(gateway: Gateway, place: int, wanted: str) -> Entry:
    """A turn by its place among all, once it is in the state that is wanted. Numbers have gaps: each call takes one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            entries = (await gateway.ledger.entries(limit=1000))[::-1]
            if len(entries) >= place and entries[place - 1].state == wanted:
                return entries[place - 1]
            await asyncio.sleep(0.002)


def together(*texts: str) -> str:
    """Several answers in one message."""
    return f"\n\n{RULE}\n\n".join(texts)


def earlier(text: str) -> str:
    """An answer that comes with a later message's."""
    return f"{WORDS.earlier}\n\n{text}"


def link(text: str, page: str = "a") -> str:
    """The one link in a message."""
    [url] = re.findall(rf"http://127\.0\.0\.1:\d+/{page}/[\w-]+", text)
    return str(url)


def later(text: str) -> str:
    """What is said in the place of an answer that is still being made, with the link that `text` has."""
    return WORDS.ready_later.replace("{link}", link(text))


def rest(text: str) -> str:
    """What stands below an answer that goes on, with the link that `text` has."""
    return WORDS.rest_here.replace("{link}", link(text))


async def page(url: str) -> Page:
    """What is on a page of an answer now."""
    got = await get(url)
    its = re.search(r'data-state="(\w+)"', got.text)
    article = re.search(r"<article[^>]*>(.*?)</article>", got.text, re.DOTALL)
    shown = re.sub(r"<[^>]+>", "", article[1]).strip() if article else ""
    return Page(got.status, its[1] if its else "", html.unescape(shown))


def event(wechat: WeChatSimulator, who: str, kind: str, **more: str) -> Fields:
    """An event of any kind."""
    head: Fields = {"ToUserName": wechat.account, "FromUserName": wechat.address(who)}
    return head | {"CreateTime": int(wechat.clock.now()), "MsgType": "event", "Event": kind} | more


def _moments(saying: Saying) -> tuple[float, float, float]:
    """When the gateway answers the call that is open at the latest, an instant before, and when WeChat hangs up."""
    start = saying.began + LIMIT * (saying.call - 1)
    return start + HOLD - INSTANT, start + HOLD, start + LIMIT
