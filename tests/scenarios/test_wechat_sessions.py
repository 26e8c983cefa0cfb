"""Sessions on WeChat: what begins and ends them, what becomes of messages outside, and commands during slow answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatferry.commands import span
from chatferry.simulator.wechat import WeChatSimulator
from tests.scenarios.wechat_support import (
    HOLD,
    WORDS,
    World,
    earlier,
    later,
    link,
    page,
    together,
    turn,
    wechat_world,
)
from tests.web.opening import get

GATE: dict[str, Any] = {"ttl": 300.0}
SHOP: dict[str, dict[str, Any]] = {
    "default": {"session": GATE | {"outside": "shop"}},
    "shop": {"instructions": "You sell tea."},
}
ENDED = WORDS.session_ended.replace("{start}", "/chatgpt")
EXPIRED = WORDS.session_expired.replace("{time}", span(300.0, WORDS)).replace("{start}", "/chatgpt")
RENEWED = WORDS.session_renewed.replace("{time}", span(300.0, WORDS))


async def say(world: World, *texts: str, who: str = "ann") -> list[str]:
    """What is on the screen after all of this was said, one after the other, and nothing else before."""
    before = len(world.screen(who))
    for text in texts:
        await world.say(who, text)
    return world.screen(who)[before:]


def persona(world: World, request: int = -1) -> str:
    """Who the model was told to be."""
    system: str = world.model.requests[request].body["messages"][0]["content"]
    return system


# ── outside of a session ─────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_said_outside_is_not_for_us(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway() as gateway:
        delivery = await world.say("ann", "hello")
        assert [attempt.body for attempt in delivery.attempts] == [b"success"]
        assert (world.screen(), await gateway.ledger.entries()) == ([], [])
        assert await say(world, "/chatgpt", "one") == [WORDS.session_began, "echo: one"]
        assert world.asked() == ["one"]
        assert await say(world, "hello", who="bob") == [], "each person has a session of their own"


async def test_what_is_said_outside_has_a_prepared_answer(tmp_path: Path) -> None:
    session = GATE | {"outside": "想聊天请发送 /chatgpt"}
    async with wechat_world(tmp_path, session=session) as world, world.gateway():
        assert await say(world, "hello", "hello?") == [session["outside"]] * 2
        assert await say(world, "/chatgpt", "one") == [WORDS.session_began, "echo: one"]
        assert world.asked() == ["one"]


async def test_what_is_said_outside_is_for_another_assistant(tmp_path: Path) -> None:
    staff: dict[str, dict[str, Any]] = {
        "default": {"session": GATE | {"outside": "shop"}},
        "shop": {"instructions": "You sell tea."},
    }
    async with wechat_world(tmp_path, assistants=staff) as world, world.gateway():
        assert await say(world, "any tea?") == ["echo: any tea?"]
        assert persona(world) == "You sell tea."
        assert await say(world, "/chatgpt", "one") == [WORDS.session_began, "echo: one"]
        assert persona(world) != "You sell tea."
        assert world.asked() == ["one"]
        assert await say(world, "/stop", "and cups?") == [ENDED, "echo: and cups?"]
        assert persona(world) == "You sell tea."


async def test_keyword_replies_live_beside_a_session(tmp_path: Path) -> None:
    replies = [{"match": "营业时间", "reply": "每天 9 点到 18 点"}]
    async with wechat_world(tmp_path, session=GATE, replies=replies) as world, world.gateway():
        assert await say(world, "营业时间", "hello") == ["每天 9 点到 18 点"]
        assert await say(world, "/chatgpt", "营业时间") == [WORDS.session_began, "每天 9 点到 18 点"]
        assert world.model.requests == []


# ── begin, end, begin anew ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_may_follow_the_command(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway():
        assert await say(world, "／ChatGPT  how far is the moon?") == ["echo: how far is the moon?"]
        assert await say(world, "and the sun?", "/chatgpt") == ["echo: and the sun?", WORDS.session_ongoing]
        assert world.asked() == ["how far is the moon?", "echo: how far is the moon?", "and the sun?"]


async def test_what_comes_behind_the_command_is_under_it_at_once(tmp_path: Path) -> None:
    """People write the next message before they have read the answer to the command."""
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway():
        sayings = [await world.says("ann", text) for text in ("/chatgpt", "one", "/stop", "/chatgpt two")]
        for saying in sayings:
            await saying.over()
        assert [request.body["messages"][-1]["content"] for request in world.model.requests][-1] == "two"
        assert world.asked() == ["two"]


async def test_a_session_ends_and_what_was_said_in_it_does_not_count_in_the_next(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway():
        assert await say(world, "/chatgpt one", "/STOP", "two") == ["echo: one", ENDED]
        assert await say(world, "/chatgpt", "three") == [WORDS.session_began, "echo: three"]
        assert world.asked() == ["three"]
        assert await say(world, "/stop", "/stop") == [ENDED, WORDS.nothing_to_stop]


@pytest.mark.parametrize("command", ["/clear", "/new", "／Ｎｅｗ"])
async def test_a_new_session_knows_nothing_of_the_one_before(tmp_path: Path, command: str) -> None:
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway():
        said = await say(world, "/chatgpt one", command, "two")
        assert said == ["echo: one", WORDS.cleared, "echo: two"]
        assert world.asked() == ["two"]


async def test_without_a_gate_the_commands_are_the_same(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        said = await say(world, "one", "/clear", "two", "/stop", "/chatgpt", "three")
        assert said == [
            "echo: one",
            WORDS.cleared,
            "echo: two",
            WORDS.nothing_to_stop,
            WORDS.session_open,
            "echo: three",
        ]
        assert world.asked() == ["two", "echo: two", "three"]


# ── silence ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_silence_ends_a_session_and_that_is_told_once(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway():
        await say(world, "/chatgpt one")
        world.clock.advance(301)
        assert await say(world, "two", "three", "four") == [EXPIRED]
        assert await say(world, "/chatgpt five") == ["echo: five"]
        assert world.asked() == ["five"]


async def test_who_keeps_talking_keeps_the_session(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway():
        await say(world, "/chatgpt")
        for number in range(4):
            world.clock.advance(299)
            assert await say(world, f"{number}") == [f"echo: {number}"]
        assert len(world.asked()) == 7


async def test_what_is_said_keeps_the_session_though_nothing_is_answered_that_counts(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway():
        await say(world, "/chatgpt")
        for _ in range(3):
            world.clock.advance(299)
            assert await say(world, "/chatgpt") == [WORDS.session_ongoing]


async def test_silence_counts_from_the_end_of_a_slow_answer(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway() as gateway:
        world.slow()
        await world.says("ann", "/chatgpt one")
        await world.passes(10 + HOLD)
        world.clock.advance(1000)
        await world.answers(gateway)
        world.clock.advance(299)
        assert (await say(world, "two"))[-1:] == [together(earlier("echo: one"), "echo: two")]
        world.clock.advance(301)
        assert await say(world, "three") == [EXPIRED]


async def test_the_end_by_silence_is_told_with_the_prepared_answer(tmp_path: Path) -> None:
    session = GATE | {"outside": "想聊天请发送 /chatgpt"}
    async with wechat_world(tmp_path, session=session) as world, world.gateway():
        await say(world, "/chatgpt one")
        world.clock.advance(301)
        told, again = await say(world, "two", "three")
        assert again == session["outside"]
        assert told.startswith(EXPIRED)


async def test_the_end_by_silence_is_told_by_the_assistant_outside(tmp_path: Path) -> None:
    staff: dict[str, dict[str, Any]] = {
        "default": {"session": GATE | {"outside": "shop"}},
        "shop": {"instructions": "You sell tea."},
    }
    async with wechat_world(tmp_path, assistants=staff) as world, world.gateway():
        await say(world, "/chatgpt one")
        world.clock.advance(301)
        told, again = await say(world, "two", "three")
        assert again == "echo: three"
        assert told.startswith(EXPIRED)
        assert told.endswith("echo: two")


async def test_without_a_gate_silence_begins_a_new_session_and_says_so(tmp_path: Path) -> None:
    session = {"always": True, "ttl": 300.0}
    async with wechat_world(tmp_path, session=session) as world, world.gateway():
        assert await say(world, "one", "two") == ["echo: one", "echo: two"]
        assert world.asked() == ["one", "echo: one", "two"]
        world.clock.advance(301)
        assert await say(world, "three", "four") == [f"{RENEWED}\n\necho: three", "echo: four"]
        assert world.asked() == ["three", "echo: three", "four"]


# ── while a slow answer is being made ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("seconds", [2, 7, 12])
async def test_a_slow_answer_is_stopped(tmp_path: Path, gated: bool, seconds: float) -> None:
    async with wechat_world(tmp_path, session=GATE if gated else None) as world, world.gateway() as gateway:
        world.slow()
        saying = await world.says("ann", "/chatgpt one")
        await world.passes(seconds)
        await world.thinking()
        await world.say("ann", "/stop")
        delivery = await saying.over()
        assert delivery.attempts[-1].body == b"success"
        assert world.screen() == [ENDED if gated else WORDS.answer_stopped]
        await world.until(lambda: world.model.cancelled)
        await turn(gateway, 1, "done")
        said = await say(world, "/chatgpt two")
        assert said == ["echo: two"]
        assert world.asked()[-1] == "two"
        assert "echo: one" not in world.asked()


async def test_many_slow_answers_are_stopped_at_once(tmp_path: Path) -> None:
    """Who answers first, the call of the question or that of the command, must make no difference."""
    people = [f"person {number}" for number in range(30)]
    async with wechat_world(tmp_path) as world, world.gateway():
        world.slow(len(people))
        sayings = [await world.says(name, "one") for name in people]
        await world.until(lambda: world.model.connections == len(people))
        for name in people:
            sayings.append(await world.says(name, "/stop"))
        for saying in sayings:
            await saying.over()
        assert [world.screen(name) for name in people] == [[WORDS.answer_stopped]] * len(people)


async def test_all_that_waits_is_stopped(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        world.slow()
        sayings = [await world.says("ann", text) for text in ("one", "two", "three")]
        await world.thinking()
        await world.say("ann", "/stop")
        for saying in sayings:
            await saying.over()
        assert world.screen() == [WORDS.answer_stopped]
        assert len(world.model.requests) == 1
        assert await say(world, "four") == ["echo: four"]


async def test_who_stops_after_the_link_reads_nothing_more(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        world.slow()
        await world.says("ann", "one")
        await world.passes(10 + HOLD)
        assert await say(world, "/stop") == [WORDS.answer_stopped]
        url = link(world.screen()[0])
        assert (await page(url)).state in ("stopped", "stopping")
        assert await say(world, "two") == ["echo: two"]


async def test_what_is_stopped_on_the_page_does_not_come_with_the_next_message(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        world.slow()
        await world.says("ann", "one")
        await world.passes(10 + HOLD)
        await world.thinking()
        url = link(world.screen()[0])
        assert (await get(f"{url}/stop", "POST")).status == 303
        await turn(gateway, 1, "done")
        assert (await page(url)).state == "stopped"
        assert await say(world, "two") == ["echo: two"]


async def test_commands_are_answered_past_a_slow_answer(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        world.slow()
        saying = await world.says("ann", "one")
        await world.passes(6)
        told, past = await say(world, "/help", "/history")
        assert told.startswith(WORDS.help)
        assert past == WORDS.history_here.replace("{link}", link(past, "h"))
        await world.thinking()
        world.model.release.set()
        await saying.over()
        assert world.screen()[2:] == ["echo: one"]
        assert saying.reasons == ["timeout", ""]


async def test_a_slow_answer_of_a_session_that_is_over_comes_but_does_not_count(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        world.slow()
        await world.says("ann", "one")
        await world.passes(10 + HOLD)
        assert await say(world, "/clear") == [WORDS.cleared]
        await world.answers(gateway)
        assert await say(world, "two") == [together(earlier("echo: one"), "echo: two")]
        assert world.asked() == ["two"]


async def test_a_late_answer_comes_with_a_command_too(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        world.slow()
        await world.says("ann", "one")
        await world.passes(10 + HOLD)
        assert world.screen() == [later(world.screen()[0])]
        await world.answers(gateway)
        [said] = await say(world, "/clear")
        assert said == together(earlier("echo: one"), WORDS.cleared)


async def test_stopping_where_answers_are_sent(tmp_path: Path) -> None:
    wechat = WeChatSimulator(verified=True)
    async with wechat_world(tmp_path, wechat=wechat, session=GATE) as world, world.gateway() as gateway:
        world.slow()
        await world.say("ann", "/chatgpt one")
        await world.thinking()
        await world.say("ann", "/stop")
        await turn(gateway, 1, "done")
        await turn(gateway, 2, "done")
        assert world.screen() == [ENDED]
        await world.say("ann", "/chatgpt two")
        await turn(gateway, 3, "done")
        assert world.screen() == [ENDED, "echo: two"]


# ── the history ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_history_is_ones_own(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, session=GATE) as world, world.gateway():
        await say(world, "/chatgpt mine", "/new", "still mine")
        await say(world, "/chatgpt hers", who="bob")
        [said] = await say(world, "/history")
        got = await get(link(said, "h"))
        assert got.status == 200
        assert "echo: mine" in got.text
        assert "echo: still mine" in got.text
        assert "hers" not in got.text
        assert got.text.index("still mine") < got.text.index("echo: mine"), "newest first"
