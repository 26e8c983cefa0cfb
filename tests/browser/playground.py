"""The page of a playground: what a person does on its phones, and what can be seen there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
from playwright.async_api import Browser, ConsoleMessage, Locator, Page

from chatferry.cli.demo import Playing
from tests.browser.phone import Phone, phone
from tests.watching import Fact, until

WIDE = {"width": 1440, "height": 900}
LINE, WECHAT, SLACK = "line", "wechat", "slack"
LAST_WORDS = "somebody is talking to them."
"""How the script's long answer ends."""


@dataclass
class App:
    """One of the three phones on the page."""

    page: Page
    name: str

    @property
    def frame(self) -> Locator:
        return self.page.locator(f"#phone-{self.name}")

    @property
    def composer(self) -> Locator:
        return self.frame.get_by_role("textbox", name="Message in")

    @property
    def rows(self) -> Locator:
        """The messages of the open talk, and what stands between them."""
        return self.frame.get_by_role("log").get_by_role("listitem")

    async def say(self, text: str) -> None:
        """Type, and send by Enter."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def open(self, chat: str) -> None:
        await self.frame.get_by_role("group", name="Chats").get_by_role("button", name=chat).click()

    async def be(self, who: str) -> None:
        await self.frame.get_by_role("button", name=f"{who}'s phone").click()

    def row(self, text: str) -> Locator:
        return self.rows.filter(has_text=text)

    async def reads(self, text: str) -> Locator:
        """Wait for a message with this in it."""
        row = self.row(text).first
        await row.wait_for()
        return row

    async def act(self, row: Locator, action: str) -> None:
        """Choose from a message's menu."""
        await row.hover()
        await row.get_by_role("button", name="Message actions").click()
        await self.frame.get_by_role("menuitem", name=action).click()


@dataclass
class Desk:
    """The page, in front of somebody who watches what it does. What it should not have done is in `faults`."""

    held: Phone
    playing: Playing

    def __post_init__(self) -> None:
        self.line, self.wechat, self.slack = map(self.app, (LINE, WECHAT, SLACK))

    def app(self, platform: str) -> App:
        return App(self.page, platform)

    @property
    def page(self) -> Page:
        return self.held.page

    @property
    def faults(self) -> list[str]:
        return self.held.faults

    async def look(self, part: str) -> Locator:
        """Turn to a part of the page behind the scenes."""
        await self.page.get_by_role("tab", name=part).click()
        return self.page.get_by_role("tabpanel", name=part)

    async def weather(self, platform: str, **changes: Any) -> None:
        """What goes wrong from now on."""
        await self.post(f"/{platform}/_sim/weather", **changes)

    async def post(self, path: str, **given: Any) -> None:
        # Not by the browser: it would do so on a connection that the playground, idle for five seconds, may just end.
        async with aiohttp.request("POST", f"{self.playing.url}{path}", json=given) as answer:
            assert answer.ok, await answer.text()

    async def clear_sky(self, calm: list[Fact]) -> None:
        """The weather as it was, and a month's pushes."""
        for fact in calm:
            changes = {name: value for name, value in fact.items() if name not in ("kind", "id", "platform")}
            if self.playing.scene.get("weather", fact["id"]) != fact:
                await self.weather(fact["platform"], **changes)
        await self.post("/line/_sim/quota", used=0)

    def facts(self, kind: str) -> list[Fact]:
        return [fact for fact in self.playing.scene.all() if fact["kind"] == kind]

    async def answered(self, platform: str, text: str) -> Fact:
        """Wait until the gateway is through with the message that says this; its turn."""

        def says(one: Fact) -> bool:
            return bool(one["platform"] == platform and one["who"] and text in one["text"])

        ref = (await until(self.playing.scene, "bubble", says))["message"]
        return await until(
            self.playing.scene,
            "turn",
            lambda turn: (turn["channel"], turn["ref"]) == (platform, ref) and turn["finished_at"],
        )


@contextlib.asynccontextmanager
async def sitting(browser: Browser, playing: Playing, url: str = "", **options: Any) -> AsyncIterator[Desk]:
    """A desk with the page open and drawn. When whoever sits there leaves, the sky is clear again, and there must
    have been no fault. `url`: another way to the playground."""
    url = url or playing.url
    calm = [fact for fact in playing.scene.all() if fact["kind"] == "weather"]
    async with phone(browser, url, **options) as held:

        def said(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                held.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

        held.page.on("console", said)
        await held.page.goto(url)
        await held.page.locator("article.phone").first.wait_for()
        desk = Desk(held, playing)
        try:
            yield desk
        finally:
            await desk.clear_sky(calm)
        assert desk.faults == []
