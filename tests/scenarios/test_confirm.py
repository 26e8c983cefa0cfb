"""Tools that ask before they act: by a button or in words, once, and only on the word of whoever asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any, ClassVar

import pytest

from chatferry.config import AssistantSettings
from chatferry.engines.base import Call
from chatferry.ledger.consent import question
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.model_calls import Act, Wanted, acts
from chatferry.simulator.slack_people import BOT
from chatferry.text.plain import plain
from chatferry.tools.base import Caller
from chatferry.words import words
from tests.scenarios.slack_support import slack_world
from tests.scenarios.support import CLUB, ended, screen, texts, until, world
from tests.scenarios.wechat_support import wechat_world

PLACE = "tests.scenarios.test_confirm:cancel_order"
ASSISTANT: dict[str, Any] = {"tools": (PLACE,), "confirm": (PLACE,)}
EN = words("en")


class Desk:
    """What has been done, set anew by each test."""

    cancelled: ClassVar[list[tuple[str, str]]] = []
    entered = asyncio.Event()
    gate: asyncio.Event | None = None


async def cancel_order(number: str, caller: Caller) -> str:
    """Cancel an order. It cannot be undone."""
    Desk.cancelled.append((number, caller.key))
    Desk.entered.set()
    if Desk.gate is not None:
        await Desk.gate.wait()
    return f"order {number} is cancelled"


def look(number: str) -> str:
    """Where an order is."""
    return f"order {number} is at sea"


@pytest.fixture(autouse=True)
def _anew() -> None:
    Desk.cancelled, Desk.entered, Desk.gate = [], asyncio.Event(), None


def calling(model: ModelSimulator) -> None:
    """The model wants to cancel what it is asked to, and repeats what it hears of that."""
    model.act = lambda talk, _: (
        acts(("cancel_order", {"number": "17"}))
        if talk[-1]["role"] == "user" and "cancel" in talk[-1]["content"]
        else None
    )
    model.converse = lambda talk: f"{talk[-1]['content']}"


def asked(of: Any = EN) -> str:
    return f"{of.confirm_ask}\n\n• Cancel an order\n  • number: 17\n\n{of.confirm_how}"


async def test_on_line_a_button_says_yes_and_it_is_done_once(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=ASSISTANT) as it, it.gateway() as gateway:
        calling(it.model)
        await it.line.say("ann", "cancel my order")
        [question] = await it.line.seen("ann", 1)
        assert question.text == asked()
        assert [label for label, _ in question.buttons] == [EN.yes, EN.no]
        assert Desk.cancelled == []
        await ended(gateway, 1, it.clock)
        await until(lambda: gateway.worker.running == 0)  # nobody waits for the answer
        for _ in range(2):
            await it.line.tap("ann", question.buttons[0][1])
        await ended(gateway, 3, it.clock)
        assert [number for number, _ in Desk.cancelled] == ["17"]
        assert sorted(screen(it.line)[1:]) == sorted(["order 17 is cancelled", EN.confirm_over])


@pytest.mark.parametrize("said", ["No", "不要", "what would it cost?"])
async def test_a_no_or_anything_else_is_no_yes_and_the_model_hears_of_it(tmp_path: Path, said: str) -> None:
    async with world(tmp_path, assistant=ASSISTANT) as it, it.gateway() as gateway:
        calling(it.model)
        await it.line.say("ann", "cancel my order")
        await ended(gateway, 1, it.clock)
        await it.line.say("ann", said)
        await ended(gateway, 2, it.clock)
        await it.line.say("ann", "yes")
        await ended(gateway, 3, it.clock)
        assert Desk.cancelled == []
        assert screen(it.line)[1].startswith("Error: Not called: the person was asked")
        assert screen(it.line)[2] == "yes"


async def test_a_yes_comes_too_late_and_only_the_asker_may_say_it(tmp_path: Path) -> None:
    settings = ASSISTANT | {"confirm_timeout": 60.0}
    async with world(tmp_path, assistant=settings, channel={"groups": "all"}) as it, it.gateway() as gateway:
        calling(it.model)
        await it.line.say("ann", "cancel my order", group="club")
        await ended(gateway, 1, it.clock)
        await it.line.say("bob", "yes", group="club")
        await ended(gateway, 2, it.clock)
        assert Desk.cancelled == []
        assert texts(it.line.chats[CLUB])[1] == "yes", "it was none of his business"
        await it.line.say("ann", "yes", group="club")
        await ended(gateway, 3, it.clock)
        assert len(Desk.cancelled) == 1
        await it.line.say("ann", "cancel it again", group="club")
        await ended(gateway, 4, it.clock)
        it.clock.advance(61.0)
        await it.line.say("ann", "yes", group="club")
        await ended(gateway, 5, it.clock)
        assert len(Desk.cancelled) == 1


async def test_a_yes_to_what_is_gone_is_no_leave_for_anything_else(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=ASSISTANT) as it, it.gateway() as gateway:
        it.model.act = lambda talk, _: acts(("cancel_order", {"number": "17"})) if talk[-1]["role"] == "user" else None
        await it.line.say("ann", "cancel my order")
        await ended(gateway, 1, it.clock)
        with contextlib.closing(sqlite3.connect(tmp_path / "chatferry.db")) as database, database:
            assert database.execute("DELETE FROM steps").rowcount == 1
        await it.line.say("ann", "yes")
        await ended(gateway, 2, it.clock)
        assert Desk.cancelled == []
        assert screen(it.line)[1] == asked(), "it is asked about anew"


@pytest.mark.parametrize(
    ("said", "settings", "done", "shown"),
    [
        ("yes", {"tools": (f"{__name__}:look",)}, [], "Error: There is no tool 'cancel_order'. The tools are: look."),
        ("yes", {"tools": (PLACE,)}, ["17"], "order 17 is cancelled"),
        ("no", {"tools": (PLACE,)}, [], "no"),
    ],
)
async def test_a_yes_after_the_configuration_has_changed_is_a_call_or_the_model_hears_that_it_is_none(
    tmp_path: Path, said: str, settings: dict[str, Any], done: list[str], shown: str
) -> None:
    async with world(tmp_path, assistant=ASSISTANT) as it:
        calling(it.model)
        async with it.gateway() as gateway:
            await it.line.say("ann", "cancel my order")
            await ended(gateway, 1, it.clock)
        changed = AssistantSettings(language="en", **settings)
        it.settings = it.settings.model_copy(update={"assistants": {"default": changed}})
        async with it.gateway() as gateway:
            await it.line.say("ann", said)
            await ended(gateway, 2, it.clock)
        assert [number for number, _ in Desk.cancelled] == done
        assert screen(it.line)[1:] == [shown]


async def test_a_process_that_dies_in_the_call_makes_it_again_under_the_same_key(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=ASSISTANT) as it:
        calling(it.model)
        async with it.gateway() as gateway:
            await it.line.say("ann", "cancel my order")
            await ended(gateway, 1, it.clock)
            Desk.gate = asyncio.Event()
            await it.line.say("ann", "好")
            await Desk.entered.wait()
        Desk.gate = None
        async with it.gateway() as gateway:
            await ended(gateway, 2, it.clock)
            await until(lambda: len(screen(it.line)) == 2, it.clock)
        (first, key), (second, same) = Desk.cancelled
        assert (first, key) == (second, same)
        assert screen(it.line)[1] == "order 17 is cancelled"


@pytest.mark.parametrize("native", [False, True], ids=["edited", "streamed"])
async def test_on_slack_by_a_button_in_the_thread(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native, assistant=ASSISTANT) as it, it.gateway() as gateway:
        calling(it.model)
        ts = await it.slack.say("ann", "cancel my order")
        await ended(gateway, 1, it.clock)
        [question] = [post for post in it.thread("ann", ts) if post.user == BOT]
        assert EN.confirm_ask in question.markdown
        turn = (await gateway.ledger.entries())[0].id
        assert question.buttons
        await it.slack.click("ann", it.slack.dm("ann"), question.ts, f"chatferry:yes:{turn}")
        await ended(gateway, 2, it.clock)
        assert len(Desk.cancelled) == 1
        question, done = [post for post in it.thread("ann", ts) if post.user == BOT]
        assert done.markdown == "order 17 is cancelled"
        assert EN.confirm_ask in question.markdown
        assert question.buttons == []


async def test_in_a_thread_a_plain_yes_of_whoever_asked_counts_and_a_wrong_tap_is_told_to_nobody_else(
    tmp_path: Path,
) -> None:
    async with slack_world(tmp_path, assistant=ASSISTANT) as it, it.gateway() as gateway:
        calling(it.model)
        root = await it.slack.say("ann", "cancel my order", channel="general", mention=True)
        await ended(gateway, 1, it.clock)
        [question] = [post for post in it.slack.thread("general", root) if post.user == BOT]
        assert EN.confirm_how in question.markdown
        turn = (await gateway.ledger.entries())[0].id
        for _ in range(2):
            await it.slack.click("bob", "general", question.ts, f"chatferry:yes:{turn}")
        await until(lambda: len(it.slack.ephemeral("bob")) == 2, it.clock)
        assert {post.markdown for post in it.slack.ephemeral("bob")} == {EN.confirm_over}
        for who, said in (("bob", "yes"), ("ann", "let me think")):
            await it.slack.say(who, said, channel="general", thread=root)
        assert Desk.cancelled == []
        await it.slack.say("ann", "yes", channel="general", thread=root)
        await ended(gateway, 2, it.clock)
        question, done = [post for post in it.slack.thread("general", root) if post.user == BOT]
        assert (question.buttons, done.markdown) == ([], "order 17 is cancelled")
        await it.slack.say("ann", "yes", channel="general", thread=root)
        await ended(gateway, 2, it.clock)
        assert len(Desk.cancelled) == 1
        assert len(it.model.requests) == 2, "nothing is open any more, so nobody is talked to"


async def test_in_a_line_group_it_is_said_how_to_answer_and_a_wrong_tap_is_answered_once(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=ASSISTANT) as it, it.gateway() as gateway:
        calling(it.model)
        await it.line.say("ann", "cancel my order", group="club", mention_self=True)
        await ended(gateway, 1, it.clock)
        [question] = it.line.chats[CLUB]
        assert EN.confirm_mention in question.text
        for _ in range(3):
            await it.line.tap("bob", question.buttons[0][1], group="club")
        await it.line.tap("ann", question.buttons[0][1], group="club")
        await ended(gateway, 3, it.clock)
        await until(lambda: len(it.line.chats[CLUB]) == 3, it.clock)
        assert sorted(texts(it.line.chats[CLUB])[1:]) == sorted([EN.confirm_over, "order 17 is cancelled"])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("notjson", "the arguments are no JSON object"),
        ('{"number": "17", "extra": 1}', "extra: Extra inputs are not permitted"),
        ('{"number": "17", "caller": {}}', "caller: Extra inputs are not permitted"),
        ("{}", "number: Field required"),
        (json.dumps({"number": "1" * 5000 + " and all others"}), "Make them shorter"),
    ],
    ids=["no json", "unknown", "reserved", "missing", "too long"],
)
async def test_nobody_is_asked_about_what_cannot_be_called_or_seen(tmp_path: Path, given: str, why: str) -> None:
    async with world(tmp_path, assistant=ASSISTANT | {"context_tokens": 20_000}) as it, it.gateway() as gateway:
        calling(it.model)
        it.model.act = lambda talk, _: Act((Wanted("cancel_order", given),)) if talk[-1]["role"] == "user" else None
        await it.line.say("ann", "cancel my order")
        await ended(gateway, 1, it.clock)
        [said] = screen(it.line)
        assert EN.confirm_ask not in said
        assert why in said
        assert Desk.cancelled == []


def test_a_question_shows_all_of_the_arguments_and_nothing_that_turns_or_hides() -> None:
    given = {
        "long": f"{'x' * 900} and all others",
        "path": "gpj\u202eexe.\u200bsh\x00\u2066",
        "marks": "**[safe](https://evil.example)** `<!channel>`",
        "lines": "one\n\n- two",
        "empty": "",
        "filler\u3164": "葛\U000e0100城 ok\ufe0f\ufe0f",
    }
    made = question([(Call("c", "cancel", json.dumps(given)), "Cancel\u202e it. Not shown.")], EN, "")
    assert plain(made).splitlines()[2:9] == [
        "• Cancel⟨U+202E⟩ it",
        f"  • long: {'x' * 900} and all others",
        "  • path: gpj⟨U+202E⟩exe.⟨U+200B⟩sh⟨U+0000⟩⟨U+2066⟩",
        "  • marks: **[safe](https://evil.example)** `<!channel>`",
        "  • lines: one - two",
        '  • empty: ""',
        "  • filler⟨U+3164⟩: 葛\U000e0100城 ok\ufe0f⟨U+FE0F⟩",
    ]


async def test_on_wechat_in_words(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, assistants={"default": ASSISTANT}) as it, it.gateway() as gateway:
        calling(it.model)
        await it.say("ann", "cancel 我的订单")
        await ended(gateway, 1, it.clock)
        await it.say("ann", "好的")
        await ended(gateway, 2, it.clock)
        assert it.screen("ann") == [asked(words("zh-CN")), "order 17 is cancelled"]
        assert len(Desk.cancelled) == 1
