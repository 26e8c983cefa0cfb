"""The playground's page in four languages, on small and large screens, in the dark, and without its server."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import Literal

import pytest
from playwright.async_api import Browser, expect

from chatferry.cli.demo import Playing
from tests.browser.phone import NARROW, Line
from tests.browser.playground import WIDE, Desk, sitting

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORDS = """() => {
  const machine = ".exchanges, pre, code, script";  // what machines say has such words
  const said = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest(machine)) said.push(walker.currentNode.data);
  for (const one of document.querySelectorAll("[title], [aria-label], [placeholder], [aria-description]")) {
    if (one.closest(machine)) continue;
    const told = one.getAttributeNames().filter((name) => /title|aria-label$|placeholder|description/.test(name));
    said.push(...told.map((name) => one.getAttribute(name)));
  }
  return said.join("\\n");
}"""
RAW = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b|\{\w+\}|\bundefined\b|\bNaN\b")
"""A word's key, or its hole, where the word should be."""
TOO_WIDE = """() => [...document.querySelectorAll("body, body *")].filter((one) =>
  one.checkVisibility() && one.scrollWidth > one.clientWidth && /auto|scroll/.test(getComputedStyle(one).overflowX)
).map((one) => one.className || one.id || one.tagName)"""
LIGHT = """(name) => {
  const part = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0) / 765;
  const one = document.querySelector(name);
  let under = one;
  while (getComputedStyle(under).backgroundColor === "rgba(0, 0, 0, 0)") under = under.parentElement;
  return [part(getComputedStyle(under).backgroundColor), part(getComputedStyle(one).color)];
}"""
SURFACES = ["body", "#side", "#phone-line .log", "#phone-slack .log", "#phone-wechat .log", "#phone-slack textarea"]


def words(lang: str) -> dict[str, str]:
    found = resources.files("chatferry.playground").joinpath(f"words/{lang}.toml").read_text("utf-8")
    return tomllib.loads(found)


@pytest.mark.parametrize(
    ("locale", "lang"),
    [
        ("en-GB", "en"),
        pytest.param("zh-TW", "zh-TW", marks=pytest.mark.long),
        pytest.param("zh-CN", "zh-CN", marks=pytest.mark.long),
        ("ja-JP", "ja"),
    ],
)
async def test_the_page_speaks_the_browsers_language(browser: Browser, played: Playing, locale: str, lang: str) -> None:
    async with sitting(browser, played, viewport=WIDE, locale=locale) as desk:
        ours = words(lang)
        assert await desk.page.locator("html").get_attribute("lang") == lang
        tabs = desk.page.get_by_role("tab")
        await expect(tabs).to_have_text([ours["wire"], ours["message"], ours["weather"]])
        for app in (desk.line, desk.wechat, desk.slack):
            await app.frame.get_by_role("textbox").fill("Hello")
            await app.frame.get_by_role("textbox").press("Enter")
            await app.row("Hello!").first.wait_for()
        said = ""
        for at in range(3):
            await tabs.nth(at).click()
            if at == 1:
                await desk.line.rows.locator(".touch").last.click()
            said += await desk.page.evaluate(WORDS)
        assert RAW.findall(said) == []
        lines = {line.strip() for line in said.splitlines()}
        assert lang == "en" or lines & set(ours) == set()


async def test_the_language_can_be_chosen_and_is_kept(browser: Browser, played: Playing) -> None:
    async with sitting(browser, played, viewport=WIDE, locale="en") as desk:
        await desk.page.get_by_role("combobox", name="Language").select_option("ja")
        await expect(desk.page.locator("html")).to_have_attribute("lang", "ja")
        await desk.page.goto(played.url)
        await expect(desk.page.locator("html")).to_have_attribute("lang", "ja")


async def test_on_a_small_screen_everything_is_one_tap_away(browser: Browser, played: Playing) -> None:
    async with sitting(browser, played, viewport=NARROW, has_touch=True, is_mobile=True) as desk:
        bar = desk.page.get_by_role("navigation", name="Parts of the page")
        for app, name in ((desk.line, "LINE"), (desk.wechat, "WeChat"), (desk.slack, "Slack")):
            await desk.page.get_by_role("group", name="App").get_by_role("button", name=name).tap()
            await expect(desk.page.locator("article.phone:visible")).to_have_count(1)
            await app.composer.fill("Show me a table")
            await app.frame.get_by_role("button", name="Send", exact=True).tap()
            await app.reads("A table:")
            await expect(app.composer).to_be_in_viewport(ratio=1)
            assert await desk.held.fits()
            assert await sideways(desk) == []
            await app.rows.locator(".touch").last.tap()
            await expect(desk.page.get_by_role("tabpanel", name="Message")).to_be_visible()
            await expect(app.frame).to_be_hidden()
            await bar.get_by_role("button", name="Phones").tap()
            await expect(app.frame).to_be_visible()
        for part in ("Wire", "Message", "Weather"):
            await bar.get_by_role("button", name=part).tap()
            await expect(desk.page.get_by_role("tabpanel", name=part)).to_be_visible()
            assert await desk.held.fits()
            assert await sideways(desk) == []


async def test_on_any_screen_no_phone_is_out_of_reach(desk: Desk) -> None:
    apps = desk.page.get_by_role("group", name="App")
    for width in (320, 768, 1024, 1100, 1440, 1920):
        await desk.page.set_viewport_size({"width": width, "height": 900})
        for app, name in ((desk.line, "LINE"), (desk.wechat, "WeChat"), (desk.slack, "Slack")):
            if not await app.frame.is_visible():
                await apps.get_by_role("button", name=name).click()
            await expect(app.composer).to_be_in_viewport(ratio=1)
        assert await desk.held.fits()
        assert await sideways(desk) == []
    await expect(desk.page.locator("article.phone:visible")).to_have_count(3)
    await expect(desk.page.get_by_role("tabpanel")).to_be_visible()


async def sideways(desk: Desk) -> list[str]:
    """What has to be scrolled sideways; tables and code may."""
    found: list[str] = await desk.page.evaluate(TOO_WIDE)
    return [name for name in found if name not in ("table", "PRE")]


async def test_light_and_dark(desk: Desk) -> None:
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        await desk.page.emulate_media(color_scheme=scheme)
        for name in SURFACES:
            under, ink = await desk.page.evaluate(LIGHT, name)
            assert abs(under - ink) > 0.5, name
            assert (under > ink) == (scheme == "light"), name
    button = desk.page.get_by_role("button", name="Appearance")
    while not (await button.get_attribute("aria-label") or "").endswith("light"):
        await button.click()
    await desk.page.reload()
    under, ink = await desk.page.evaluate(LIGHT, "body")
    assert under > ink


async def test_a_page_without_its_server_says_so_and_goes_on_by_itself(browser: Browser, played: Playing) -> None:
    async with Line.to(played.url) as way, sitting(browser, played, way.url, viewport=WIDE) as desk:
        banner = desk.page.get_by_text("The playground's server does not answer.")
        await expect(banner).to_be_hidden()
        way.cuts = True
        way.cut()
        await expect(banner).to_be_visible()
        await desk.line.say("My name is Pia")
        await desk.page.get_by_text("That did not work").wait_for()
        assert await desk.line.composer.input_value() == "My name is Pia"
        assert await desk.line.row("My name is Pia").count() == 0
        await desk.post("/line/_sim/say", user="Mei", words="My name is Ria")
        way.cuts = False
        await expect(banner).to_be_hidden()
        await desk.line.reads("Nice to meet you, Ria")
        assert await desk.line.row("My name is Ria").count() == 1
        await desk.line.composer.press("Enter")
        await desk.line.reads("Nice to meet you, Pia")
        broken = [fault for fault in desk.faults if "net::ERR_" in fault]
        assert broken == desk.faults
        desk.faults.clear()
