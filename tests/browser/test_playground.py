"""The phones of the playground: what is typed there is answered by a real gateway."""

from __future__ import annotations

import struct
import zlib
from dataclasses import fields

import pytest
from playwright.async_api import FilePayload, expect

from chatferry.simulator.scene import Bubble
from tests.browser.playground import LAST_WORDS, LINE, SLACK, Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVIL = "<img src=x onerror=alert(1)>"


def picture() -> FilePayload:
    """Red, and wider than a phone."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head, row = struct.pack(">IIBBBBB", 800, 500, 8, 2, 0, 0, 0), b"\0" + 800 * b"\xff\0\0"
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(500 * row)) + chunk(b"IEND", b"")
    return {"name": "dot.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + body}


async def test_the_first_message_is_answered_on_each_phone(desk: Desk) -> None:
    for app in (desk.line, desk.wechat, desk.slack):
        await app.say("My name is Ada")
        await app.reads("Nice to meet you, Ada")
        await desk.answered(app.name, "My name is Ada")
        assert await app.composer.input_value() == ""
        assert await app.row("My name is Ada").count() == 1
        assert await app.row("Nice to meet you").count() == 1


async def test_enter_that_chooses_a_word_sends_nothing(desk: Desk) -> None:
    """People write Chinese and Japanese through an input method, where Enter takes the word that is proposed."""
    app = desk.line
    await app.composer.click()
    keyboard = await desk.page.context.new_cdp_session(desk.page)
    await keyboard.send("Input.imeSetComposition", {"text": "你好", "selectionStart": 2, "selectionEnd": 2})
    processed = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    await keyboard.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **processed})
    await keyboard.send("Input.dispatchKeyEvent", {"type": "keyUp", **processed})
    assert await app.composer.input_value() == "你好"
    await keyboard.send("Input.insertText", {"text": "你好"})
    # Safari tells of the key only after the word is taken.
    await keyboard.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **processed})
    assert await app.composer.input_value() == "你好"
    await app.composer.press("Shift+Enter")
    assert await app.composer.input_value() == "你好\n"
    await app.composer.press("Enter")
    await app.reads("你好")
    await desk.answered(LINE, "你好")
    assert await app.composer.input_value() == ""
    await expect(app.frame.locator("li.own", has_text="你好")).to_have_count(1)


async def test_an_answer_on_slack_grows_in_a_thread_and_is_stopped_or_deleted_there(desk: Desk) -> None:
    app = desk.slack
    await desk.weather("model", rate=40)
    await app.say("Tell me something long, Bob")
    growing = await app.reads("At dusk the ferryman")
    await desk.weather("model", rate=1)
    await expect(app.frame.get_by_role("heading", name="Thread")).to_be_visible()
    assert await growing.get_attribute("aria-busy") == "true"
    await app.act(growing, "Stop this answer")
    dialog = app.frame.get_by_role("dialog", name="Stop this answer")
    await dialog.get_by_role("button", name="Stop").click()
    await expect(dialog).to_have_count(0)
    await desk.answered(SLACK, "something long, Bob")
    await desk.weather("model", rate=0)
    await expect(growing).not_to_have_attribute("aria-busy", "true")
    await expect(growing).to_contain_text("[stopped]")
    said = await growing.inner_text()
    assert LAST_WORDS not in said
    await app.say("My name is Cid")
    other = await app.reads("Nice to meet you, Cid")
    assert await growing.inner_text() == said
    await app.act(other, "Delete this answer")
    await expect(other).to_have_count(0)
    assert await growing.inner_text() == said


async def test_the_thread_of_what_was_said_last_opens(desk: Desk) -> None:
    app = desk.slack
    for name in ("Abe", "Bea", "Cyd"):
        await app.say(f"My name is {name}")
        await app.reads(f"Nice to meet you, {name}")
        await app.frame.get_by_role("button", name="Back").click()
        await expect(app.row(f"My name is {name}").get_by_role("button", name="1 reply")).to_be_visible()


async def test_in_a_channel_the_bot_answers_whoever_calls_it(desk: Desk) -> None:
    app = desk.slack
    await app.open("general")
    await app.say("My name is Dan")
    await app.reads("Nice to meet you, Dan")
    await app.frame.get_by_role("button", name="Back").click()
    await app.be("Ken")
    await app.say("My name is Eve")
    await app.reads("Nice to meet you, Eve")
    await app.frame.get_by_role("button", name="Back").click()
    await expect(app.row("My name is Dan")).to_contain_text("Mei")
    await expect(app.row("My name is Eve")).to_contain_text("Ken")
    # Without being called it stays out of what people have to say to each other.
    await app.frame.get_by_role("button", name="@Ferry").click()
    await app.say("My name is nobody's business")
    await app.frame.get_by_role("button", name="@Ferry").click()
    await app.say("My name is Flo")
    await app.reads("Nice to meet you, Flo")
    await app.frame.get_by_role("button", name="Back").click()
    [unheard] = [one["message"] for one in desk.facts("bubble") if "nobody's business" in one["text"]]
    assert unheard not in [turn["ref"] for turn in desk.facts("turn")]
    assert await app.row("nobody's business").locator(".hanging").count() == 0


async def test_in_a_group_on_line_too(desk: Desk) -> None:
    app = desk.line
    await app.open("Lunch")
    await app.say("My name is Gus")
    await app.reads("Nice to meet you, Gus")
    await app.be("Ken")
    await expect(app.row("My name is Gus")).to_contain_text("Mei")
    await app.say("My name is Hal")
    await app.reads("Nice to meet you, Hal")
    await app.be("Mei")
    await expect(app.row("My name is Hal")).to_contain_text("Ken")


async def test_what_comes_too_late_for_a_reply_on_line_is_pushed(desk: Desk) -> None:
    await desk.weather(LINE, expired=True)
    await desk.line.say("My name is Amy")
    answer = await desk.line.reads("Nice to meet you, Amy")
    await expect(answer.get_by_text("push", exact=True)).to_be_visible()
    await expect(desk.line.row("My name is Amy").get_by_role("img", name="The free reply has expired")).to_be_visible()
    await expect(desk.line.frame.locator(".about")).to_contain_text("1 of 200")


async def test_each_person_has_a_talk_of_ones_own(desk: Desk) -> None:
    for app in (desk.line, desk.wechat, desk.slack):
        await app.say("My name is Ida")
        await app.reads("Nice to meet you, Ida")
        await app.be("Ken")
        await expect(app.row("Ida")).to_have_count(0)
        await app.say("What is my name?")
        await app.reads("You have not told me yet")


async def test_a_slash_command_is_answered_to_who_gave_it(desk: Desk) -> None:
    app = desk.slack
    await app.open("general")
    await app.say("/ask My name is Joy")
    await app.reads("Nice to meet you, Joy")
    assert await app.composer.input_value() == ""


async def test_a_picture_is_shown(desk: Desk) -> None:
    for app in (desk.line, desk.wechat, desk.slack):
        await app.frame.locator("input[type=file]").set_input_files(picture())
        await app.composer.press("Enter")
        shown = app.rows.get_by_role("img", name="Picture").or_(app.rows.get_by_role("img", name="dot.png"))
        await expect(shown).to_be_visible()
        await expect(shown).to_have_js_property("naturalWidth", 800)
        bubble = app.rows.locator(".bubble", has=shown)
        if await bubble.count():  # Slack has none
            box, around = await shown.bounding_box(), await bubble.bounding_box()
            assert box is not None
            assert around is not None
            assert box["width"] == pytest.approx(around["width"], abs=1)  # it ends where its bubble does
        await app.reads("I see a picture!")


async def test_what_people_and_bots_write_is_never_markup(desk: Desk) -> None:
    for app in (desk.line, desk.wechat, desk.slack):
        await app.say(f"My name is Kim {EVIL}")
        row = await app.reads(EVIL)
        await desk.answered(app.name, "Kim")
        await app.say("What did I just say?")
        await app.reads(f'Before this you said: "My name is Kim {EVIL}')
        await row.locator(".touch").click()
        await expect(desk.page.get_by_role("tabpanel", name="Message").get_by_text(EVIL)).to_be_visible()
    await desk.page.get_by_role("tab", name="Wire").click()
    wire = desk.page.get_by_role("tabpanel", name="Wire")
    for platform in ("LINE", "WeChat", "Slack", "Model"):
        await (
            wire.get_by_role("listitem")
            .filter(has=desk.page.get_by_role("img", name=platform))
            .last.get_by_role("button")
            .click()
        )
    assert await wire.get_by_text("onerror=alert(1)").count() >= 4
    assert await desk.page.locator("img[src=x], [onerror]").count() == 0


async def test_what_is_called_for_an_answer_on_slack_stands_above_it_with_how_it_ended(desk: Desk) -> None:
    await desk.slack.say("What is called?")
    await desk.answered(SLACK, "What is called?")
    answer = desk.facts("bubble")[-1]
    shown = {one.name: answer[one.name] for one in fields(Bubble)} | {"buttons": ()}
    tasks = (("Looking up: tea…", "in_progress"), ("Looking up: jam…", "complete"), ("Looking up: cups…", "error"))
    desk.playing.scene.show(Bubble(**{**shown, "tasks": tasks}))
    row = desk.slack.row("Looking up: cups…")
    await row.wait_for()
    assert await row.locator(".tasks p").all_inner_texts() == [title for title, _ in tasks]
    assert [await row.locator(f".tasks .{status} :is(svg, .spin)").count() for _, status in tasks] == [1, 1, 1]
