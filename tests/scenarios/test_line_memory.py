"""What the model is told of the talk: its memory, its groups, and what is not text."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.engines.tokens import estimate
from chatferry.simulator import line_people as people
from chatferry.simulator.line import BOT
from chatferry.testing import ManualClock
from tests.scenarios.support import CLUB, asked, ended
from tests.stack import Stack, running


async def happens(stack: Stack, message: dict[str, object], *, user: str = "ann") -> None:
    where = people.source(user, None)
    await stack.line.deliver([people.event("message", where, stack.line.clock(), message=message)])


async def test_the_second_question_brings_the_first_and_its_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        await stack.line.say("ann", "I'm Ann.")
        await stack.line.seen("ann", 1)
        await ended(stack.gateway, 1)
        await stack.line.say("ann", "Who am I?")
        await stack.line.seen("ann", 2)
        assert asked(stack.model) == ["I'm Ann.", "echo: I'm Ann.", "Who am I?"]
        roles = [said["role"] for said in stack.model.requests[-1].body["messages"]]
        assert roles == ["system", "user", "assistant", "user"]


async def test_two_people_never_see_each_others_talk(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        for name in ("ann", "bob"):
            await stack.line.say(name, f"{name}'s secret")
            await stack.line.seen(name, 1)
        await ended(stack.gateway, 2)
        await stack.line.say("bob", "and?")
        await stack.line.seen("bob", 2)
        assert asked(stack.model) == ["bob's secret", "echo: bob's secret", "and?"]


async def test_a_long_talk_stays_within_the_budget_and_keeps_what_is_newest(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"context_tokens": 300}) as stack:
        for n in range(25):
            await stack.line.say("ann", f"question {n} " + "字" * 10)
            await stack.line.seen("ann", n + 1)
            await ended(stack.gateway, n + 1)
        for request in stack.model.requests:
            said = request.body["messages"]
            assert sum(estimate(message["content"]) for message in said) <= 300
            assert said[0]["role"] == "system"
        last = asked(stack.model)
        assert last[-1].startswith("question 24 ")
        assert last[-2].startswith("echo: question 23 ")
        assert len(last) > 4
        assert not any("question 1 " in text for text in last)


async def test_a_group_has_one_talk_and_its_members_have_their_own(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        await stack.line.say("ann", "in private")
        await stack.line.seen("ann", 1)
        for n, name in enumerate(("ann", "bob"), 1):
            await stack.line.say(name, f"{name} here", group="club", mention_self=True)
            await stack.line.seen(CLUB, n)
            await ended(stack.gateway, 1 + n)
        assert asked(stack.model) == ["ann here", "echo: ann here", "bob here"]


async def test_in_a_group_only_what_is_said_to_us_is_heard_and_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        await stack.line.say("ann", "between us", group="club")
        await stack.line.sticker("ann", "love", group="club")
        await stack.line.say("bob", "what's the time?", group="club", mention_self=True)
        await stack.line.seen(CLUB, 1)
        assert asked(stack.model) == ["what's the time?"]
        assert len(await stack.gateway.ledger.entries()) == 1


async def test_a_group_can_be_answered_at_every_word(tmp_path: Path) -> None:
    async with running(tmp_path, channel={"groups": "all"}) as stack:
        await stack.line.say("ann", "hello", group="club")
        [answer] = await stack.line.seen(CLUB, 1)
        assert answer.text == "echo: hello"


async def test_groups_can_be_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path, channel={"groups": "off"}) as stack:
        assert (await stack.line.say("ann", "hello", group="club", mention_self=True)).status == 200
        assert (await stack.line.join("club")).status == 200
        assert not await stack.gateway.ledger.entries()


async def test_a_mention_is_cut_out_where_it_stands_also_behind_emoji(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        mention = {"mentionees": [{"type": "user", "index": 3, "length": 6, "userId": BOT, "isSelf": True}]}
        message = people.text("😀 @Ferry what's up?") | {"mention": mention}
        where = people.source("ann", "club")
        await stack.line.deliver([people.event("message", where, stack.line.clock(), message=message)])
        await stack.line.seen(CLUB, 1)
        assert asked(stack.model) == ["😀  what's up?"]


async def test_what_is_not_text_is_told_in_words(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        place = {"type": "location", "id": people.new_message_id(), "title": "Harbour", "address": "1 Pier Road"}
        await stack.line.sticker("ann", "happy", "thanks")
        await stack.line.seen("ann", 1)
        await happens(stack, place | {"latitude": 25.0, "longitude": 121.5})
        await stack.line.seen("ann", 2)
        await stack.line.show("ann", "image", b"\x89PNG")
        await stack.line.seen("ann", 3)
        await stack.line.show("ann", "file", b"PK\x03\x04", "menu.zip")
        await stack.line.seen("ann", 4)
        await stack.line.tap("ann", "order=tea")
        await stack.line.seen("ann", 5)
        questions = [said for said in asked(stack.model) if not said.startswith("echo")]
        assert questions == [
            "[sticker: happy, thanks]",
            "[location: Harbour, 1 Pier Road, 25.0, 121.5]",
            "[image]",
            "[file: menu.zip] It is of a kind that cannot be read here.",
            "order=tea",
        ]


@pytest.mark.parametrize("language", ["zh-TW", "ja"])
async def test_a_picture_is_named_in_the_assistants_language(tmp_path: Path, language: str) -> None:
    async with running(tmp_path, clock=ManualClock(), assistant={"language": language}) as stack:
        await stack.line.show("ann", "image", b"\x89PNG")
        await stack.line.seen("ann", 1)
        assert asked(stack.model) == [{"zh-TW": "[圖片]", "ja": "[画像]"}[language]]
