"""What the playground tells beside the phones: the way of a message, the wire; and all of it by keyboard."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from tests.browser.playground import LINE, WECHAT, Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTROLS = {"button", "checkbox", "combobox", "link", "menuitem", "radio", "slider", "switch", "tab", "textbox"}
FOCUSED = """(() => {
  const e = document.activeElement;
  return e.ariaLabel || e.labels?.[0]?.innerText || e.innerText;
})()"""
REACHED = {
    "Kill the gateway (SIGKILL)", "Language", "Ken's phone", "Lunch (3)", "general", "Nice to meet you, Kai", "Weather",
    "Message in LINE", "Message in WeChat", "Message in Slack", "Silence before the first word", "LINE delivers again",
}  # fmt: skip
WAY = [
    "calls the webhook",
    "Accepted",
    "Its turn has come",
    "The model is asked",
    "First word",
    "Answer complete",
    "Delivered",
]


async def test_a_message_tells_its_whole_way(desk: Desk) -> None:
    way = desk.page.get_by_role("tabpanel", name="Message")
    for app in (desk.line, desk.wechat, desk.slack):
        words = f"My name is Ivy{app.name}"
        await app.say(words)
        answer = await app.reads(f"Nice to meet you, Ivy{app.name}")
        await desk.answered(app.name, words)
        for row in (answer, app.row(words)):
            await row.locator(".touch").click()
            await expect(way.locator("blockquote")).to_have_text(words)
            await way.get_by_text("Answered, and delivered").first.wait_for()
            steps = await way.locator(".line .step").all_inner_texts()
            places = [next((at for at, step in enumerate(steps) if begin in step), -1) for begin in WAY]
            assert -1 not in places, steps
            assert places == sorted(places), steps


async def test_the_wire_has_what_came_and_what_went_and_no_secret(desk: Desk) -> None:
    await desk.line.say("My name is Jon")
    await (await desk.line.reads("Nice to meet you, Jon")).locator(".touch").click()
    turn = await desk.answered(LINE, "My name is Jon")
    way = desk.page.get_by_role("tabpanel", name="Message")
    await way.get_by_role("button", name="LINE calls the webhook").click()
    wire = desk.page.get_by_role("tabpanel", name="Wire")
    came = wire.get_by_role("listitem").filter(has_text='"replyToken"').filter(has_text="hooks/line")
    await expect(came).to_contain_text(turn["ref"])
    await expect(came).to_contain_text("x-line-signature")
    await wire.get_by_role("button", name="Only this message").click()
    ours = wire.locator("ol > li:visible")
    went = ours.filter(has_text="message/reply")
    await went.get_by_role("button").first.click()
    await expect(went).to_contain_text("Nice to meet you, Jon")
    await expect(went).to_contain_text("200")
    await ours.filter(has_text="chat/completions").get_by_role("button").first.click()
    assert {await row.get_attribute("data-platform") for row in await ours.all()} == {"line", "model"}
    given = desk.playing.gateway._plan.channels.values()
    secrets = {
        secret for channel in given for name, secret in channel.items() if "base" not in name and name != "app_id"
    }
    assert len(secrets) == 7
    shown = await desk.page.content() + json.dumps(desk.playing.scene.all())
    assert [secret for secret in secrets if secret in shown] == []


async def test_everything_can_be_reached_without_a_mouse(desk: Desk) -> None:
    """From the top of the page to its end, by Tab alone."""
    await desk.line.say("My name is Kai")
    await desk.line.reads("Nice to meet you, Kai")
    await desk.page.reload()
    await desk.line.reads("Nice to meet you, Kai")
    met: list[str] = []
    while "LINE delivers again" not in met and len(met) < 200:
        await desk.page.keyboard.press("Tab")
        met.append(await desk.page.evaluate(FOCUSED))
        if met[-1] == "Wire":
            await desk.page.keyboard.press("End")
            met.append(await desk.page.evaluate(FOCUSED))
    assert [what for what in REACHED if not any(what in one for one in met)] == [], met


async def test_arrows_go_from_tab_to_tab(desk: Desk) -> None:
    tabs = desk.page.get_by_role("tablist").get_by_role("tab")
    wire, way, weather = [tabs.nth(at) for at in range(3)]
    await wire.focus()
    for key, chosen in (
        ("ArrowRight", way),
        ("ArrowRight", weather),
        ("ArrowRight", wire),
        ("ArrowLeft", weather),
        ("Home", wire),
        ("End", weather),
    ):
        await desk.page.keyboard.press(key)
        await expect(chosen).to_be_focused()
        assert [await tab.get_attribute("aria-selected") for tab in (wire, way, weather)].count("true") == 1
        await expect(chosen).to_have_attribute("aria-selected", "true")
        await expect(desk.page.get_by_role("tabpanel")).to_have_count(1)


async def test_messages_are_opened_by_enter_and_their_menus_by_space(desk: Desk) -> None:
    for app in (desk.line, desk.wechat, desk.slack):
        await app.say("My name is Lou")
        await app.reads("Nice to meet you, Lou")
        await desk.answered(app.name, "My name is Lou")
        asked = app.rows.filter(has_text="My name is Lou").locator(".touch").last
        await app.rows.locator(".touch[tabindex='0']").focus()
        await desk.page.keyboard.press("End")
        await desk.page.keyboard.press("ArrowUp")
        await expect(asked).to_be_focused()
        await desk.page.keyboard.press("Enter")
        await expect(desk.page.locator("#way blockquote")).to_have_text("My name is Lou")
        await expect(asked).to_be_focused()
        if app.name == WECHAT:
            continue
        await desk.page.keyboard.press("Space")
        menu = app.frame.get_by_role("menu")
        await expect(menu.get_by_role("menuitem").first).to_be_focused()
        await desk.page.keyboard.press("End")
        await expect(menu.get_by_role("menuitem").last).to_be_focused()
        await desk.page.keyboard.press("Escape")
        await expect(menu).to_have_count(0)
        await expect(asked).to_be_focused()


async def test_everything_that_can_be_used_has_a_name(desk: Desk) -> None:
    for app in (desk.line, desk.wechat, desk.slack):
        await app.say("My name is Max")
        await app.reads("Nice to meet you, Max")
    reader = await desk.page.context.new_cdp_session(desk.page)
    for part in ("Wire", "Message", "Weather"):
        await desk.look(part)
        nodes = (await reader.send("Accessibility.getFullAXTree"))["nodes"]
        used = [node for node in nodes if not node["ignored"] and node["role"]["value"] in CONTROLS]
        assert len(used) > 30
        assert [node for node in used if not node.get("name", {}).get("value", "").strip()] == []
