"""What goes wrong in the playground, and how it ends well all the same: late, slow, cut, twice, and killed."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.playground import LAST_WORDS, LINE, SLACK, Desk
from tests.watching import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREETED = "Nice to meet you, "


async def test_a_late_answer_on_line_is_fetched_by_a_button_if_nothing_may_be_pushed(desk: Desk) -> None:
    sky = await desk.look("Weather")
    await sky.get_by_role("switch", name="The month's pushes used up").check()
    await sky.get_by_role("switch", name="Webhooks 45 seconds late").check()
    await sky.get_by_role("group", name="The model's API").get_by_text("silent").click()
    await sky.get_by_text("Rough weather: 3").wait_for()
    await desk.line.say("My name is Ann")
    offer = await desk.line.reads("Your answer is still being written.")
    assert await desk.line.row(GREETED).count() == 0
    await sky.get_by_role("button", name="Clear sky").click()
    await sky.get_by_text("Make it rain").wait_for()
    turn = await until(desk.playing.scene, "turn", lambda fact: fact["channel"] == LINE and fact["state"] == "parked")
    assert await desk.line.row(GREETED).count() == 0
    await offer.get_by_role("button").click()
    await desk.line.reads(f"{GREETED}Ann")
    await until(desk.playing.scene, "turn", lambda fact: fact["id"] == turn["id"] and fact["state"] == "done")
    await desk.line.say("What is my name?")
    await desk.line.reads("Your name is Ann")
    assert await desk.line.row(GREETED).count() == 1
    assert await desk.line.row("Your answer is still being written.").count() == 1


@pytest.mark.long
async def test_an_answer_that_wechat_does_not_wait_for_is_read_on_a_page(desk: Desk) -> None:
    await desk.weather("model", fault="hang")
    await desk.wechat.say("My name is Ben")
    offer = await desk.wechat.reads("I'm still writing. Your answer appears here:")
    slots = desk.wechat.row("My name is Ben").get_by_role("img", name="Call 3 of 3")
    await slots.wait_for()
    wire = await desk.look("Wire")
    for call in ("Call 1 of 3", "Call 2 of 3"):
        await wire.get_by_role("listitem").filter(has_text=call).get_by_text("held open").wait_for()
    async with desk.page.expect_popup() as opening:
        await offer.get_by_role("link").click()
    answer = await opening.value
    await answer.locator("body[data-state]").wait_for()
    await desk.weather("model", fault="")
    await answer.get_by_text(f"{GREETED}Ben").wait_for()
    await answer.locator("body[data-state=done]").wait_for()
    assert answer.url.startswith(desk.facts("setup")[0]["gateway"])
    desk.faults.remove(f"opened {answer.url}")
    assert await desk.wechat.row(GREETED).count() == 0


@pytest.mark.long
async def test_a_killed_gateway_says_everything_to_the_end_and_nothing_twice(desk: Desk) -> None:
    await desk.weather("model", rate=40)
    await desk.line.say("Tell me something long, Cat")
    await desk.slack.say("Tell me something long, Cat")
    await desk.slack.reads("At dusk the ferryman")
    await desk.weather("model", rate=1)
    state = desk.page.locator("#gateway").get_by_role("status")
    await expect(state).to_have_text("Gateway up")
    await desk.page.get_by_role("button", name="Kill the gateway").click()
    await expect(state).to_have_text("Gateway killed")
    await desk.line.say("My name is Dov")
    await desk.weather("model", rate=0)
    await expect(state).to_have_text("Gateway up")
    await desk.line.reads(f"{GREETED}Dov")
    await desk.slack.reads(LAST_WORDS)
    for platform in (LINE, SLACK):
        await desk.answered(platform, "something long, Cat")
    await desk.answered(LINE, "My name is Dov")
    await expect(desk.slack.row(LAST_WORDS)).not_to_have_attribute("aria-busy", "true")
    for app in (desk.line, desk.slack):
        for words in ("At dusk the ferryman", LAST_WORDS):
            await expect(app.row(words)).to_have_count(1)
    assert await desk.line.row(f"{GREETED}Dov").count() == 1


@pytest.mark.long
async def test_a_model_that_refuses_or_breaks_off_is_asked_again(desk: Desk) -> None:
    sky = await desk.look("Weather")
    faults = sky.get_by_role("group", name="The model's API")
    await faults.get_by_text("429").click()
    await desk.line.say("My name is Eli")
    await until(desk.playing.scene, "exchange", lambda one: one["platform"] == "model" and one["status"] == 429)
    await faults.get_by_text("cut").click()
    await desk.slack.say("Tell me something long, Fay")
    await until(desk.playing.scene, "exchange", lambda one: one["platform"] == "model" and "cut" in one["reason"])
    await faults.get_by_text("fine").click()
    await desk.line.reads(f"{GREETED}Eli")
    await desk.slack.reads(LAST_WORDS)
    await desk.answered(LINE, "My name is Eli")
    await desk.answered(SLACK, "something long, Fay")
    assert await desk.line.row(f"{GREETED}Eli").count() == 1
    assert await desk.slack.row("At dusk the ferryman").count() == 1


@pytest.mark.long
async def test_a_platform_that_fails_gets_the_answer_once(desk: Desk) -> None:
    sky = await desk.look("Weather")
    faults = sky.locator("[data-platform=line]").get_by_role("group", name="The platform's API")
    await faults.get_by_text("500").click()
    await desk.line.say("My name is Gil")
    failed = await until(
        desk.playing.scene,
        "exchange",
        lambda one: one["platform"] == LINE and one["path"].endswith("/reply") and one["status"] == 500,
    )
    assert await desk.line.row(f"{GREETED}Gil").count() == 0
    await faults.get_by_text("answer lost").click()
    lost = await until(
        desk.playing.scene,
        "exchange",
        lambda one: (
            one["way"] == "call"
            and one["reason"] == "answer lost"
            and one["number"] > failed["number"]
            and "message" in one["path"]
        ),
    )
    await faults.get_by_text("fine").click()
    await desk.line.reads(f"{GREETED}Gil")
    await desk.answered(LINE, "My name is Gil")
    assert lost["seconds"] is not None
    assert await desk.line.row(f"{GREETED}Gil").count() == 1


@pytest.mark.long
async def test_webhooks_that_come_twice_are_answered_once(desk: Desk) -> None:
    sky = await desk.look("Weather")
    for app in (desk.line, desk.wechat, desk.slack):
        await sky.locator(f"[data-platform={app.name}]").get_by_role("switch", name="Every webhook twice").check()
        await app.say("My name is Hal")
        await app.reads(f"{GREETED}Hal")
        await desk.answered(app.name, "My name is Hal")
        await app.say("What is my name?")
        await app.reads("Your name is Hal")
        asked = [one for one in desk.facts("exchange") if one["way"] == "hook" and "My name is Hal" in one["request"]]
        assert len([one for one in asked if one["platform"] == app.name]) == 2
        assert await app.row(f"{GREETED}Hal").count() == 1
