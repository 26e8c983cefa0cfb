"""Questions on Slack that are changed or taken back: while they wait, while they are answered, and afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chatferry.simulator.model import Break
from chatferry.simulator.slack_records import Fault
from tests.scenarios.slack_growing import HALF, QUESTION, asked, either_way, half_said, is_quiet, next_prompt
from tests.scenarios.slack_support import World, slack_world
from tests.scenarios.support import ended, state, until

OTHER = "seven eight nine"


# ── changed ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_that_waits_is_asked_as_it_reads_by_then(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, _ = await half_said(world)
        second = await world.slack.say("ann", "seven", thread=ts)
        await world.slack.edit("ann", world.slack.dm("ann"), second, OTHER)
        world.model.release.set()
        await ended(gateway, 2, world.clock)
        assert world.asked() == [QUESTION, world.model.reply(QUESTION), OTHER]
        assert len(world.model.requests) == 2
        assert world.model.cancelled == 0


@either_way
async def test_a_question_that_is_being_answered_is_asked_anew(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await world.slack.edit("ann", world.slack.dm("ann"), ts, OTHER)
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish, turn.error) == ("done", "stop", "")
        (answer,) = world.thread("ann", ts)
        assert (answer.ts, answer.markdown, answer.buttons) == (growing.ts, world.model.reply(OTHER), [])
        assert not answer.streaming
        await world.model.idle()
        assert world.model.cancelled == 1
        assert [world.asked(request) for request in range(2)] == [[QUESTION], [OTHER]]
        await until(lambda: is_quiet(world), world.clock)
        assert await next_prompt(world, ts) == [OTHER, world.model.reply(OTHER), "and then?"]


@either_way
async def test_the_last_of_several_changes_is_answered(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        world.model.hanging.clear()
        world.model.plans.append(Break(after=1, how="hang"))
        await world.slack.edit("ann", world.slack.dm("ann"), ts, "seven")
        await until(world.model.hanging.is_set, world.clock)
        await world.slack.edit("ann", world.slack.dm("ann"), ts, OTHER)
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "done"
        (answer,) = world.thread("ann", ts)
        assert (answer.ts, answer.markdown) == (growing.ts, world.model.reply(OTHER))
        await world.model.idle()
        assert world.model.cancelled == 2
        assert await next_prompt(world, ts) == [OTHER, world.model.reply(OTHER), "and then?"]


async def test_changes_in_quick_succession_ask_the_last_words(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        for words in ("seven", "seven eight", OTHER):
            await world.slack.edit("ann", world.slack.dm("ann"), ts, words)
        await ended(gateway, 1, world.clock)
        (answer,) = world.thread("ann", ts)
        assert (answer.ts, answer.markdown) == (growing.ts, world.model.reply(OTHER))
        assert world.asked() == [OTHER]


async def test_a_question_that_is_changed_after_the_answer_is_not_asked_again(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", QUESTION)
        await ended(gateway, 1, world.clock)
        await world.slack.edit("ann", world.slack.dm("ann"), ts, OTHER)
        assert await next_prompt(world, ts) == [QUESTION, world.model.reply(QUESTION), "and then?"]
        await ended(gateway, 2, world.clock)
        assert len(world.model.requests) == 2


async def test_what_slack_adds_to_a_link_changes_nothing(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        words = "one two <https://example.org>"
        ts, _ = await half_said(world, words)
        await world.slack.edit("ann", world.slack.dm("ann"), ts, words)
        world.model.release.set()
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stop")
        assert len(world.model.requests) == 1
        assert world.model.cancelled == 0


async def test_a_change_that_is_delivered_again_changes_nothing(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, _ = await half_said(world, channel="general")
        world.model.hanging.clear()
        world.model.plans.append(Break(after=2, how="hang"))
        await world.slack.edit("ann", "general", ts, f"<@U0BOT> {OTHER}")
        await until(world.model.hanging.is_set, world.clock)
        await world.slack.deliver_again(world.slack.deliveries[-1])
        world.model.release.set()
        await ended(gateway, 1, world.clock)
        assert [world.asked(request) for request in range(2)] == [[f"ann: {QUESTION}"], [f"ann: {OTHER}"]]
        assert len(world.model.requests) == 2


async def test_a_change_while_the_thread_is_read_asks_the_new_words_alone(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        read = asyncio.Event()
        world.slack.faults("conversations.replies", Fault(delay=read))
        root = await world.slack.say("bob", "what a day", channel="general")
        ts = await world.slack.say("ann", "is it?", channel="general", thread=root, mention=True)
        await until(lambda: world.calls("conversations.replies"))
        await world.slack.edit("ann", "general", ts, f"<@U0BOT> {OTHER}")
        read.set()
        await ended(gateway, 1, world.clock)
        assert [world.asked(request) for request in range(len(world.model.requests))] == [
            ["bob: what a day", f"ann: {OTHER}"]
        ]
        assert len(world.slack.thread("general", root)) == 3


async def test_of_merged_messages_the_changed_one_is_asked_as_it_reads_now(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"busy": "merge"}) as world, world.gateway() as gateway:
        ts, _, third = await merged(world)
        await world.slack.edit("ann", world.slack.dm("ann"), third, OTHER)
        await ended(gateway, 3, world.clock)
        assert world.asked()[-1] == f"four\n\n{OTHER}"
        assert world.model.cancelled == 1
        assert world.thread("ann", ts)[-1].markdown == world.model.reply(f"four\n\n{OTHER}")
        assert [post.deleted for post in world.slack.at(world.slack.dm("ann")).posts.values()] == [False] * 5


async def test_of_merged_messages_one_may_be_taken_back(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"busy": "merge"}) as world, world.gateway() as gateway:
        ts, second, _ = await merged(world)
        await world.slack.delete("ann", world.slack.dm("ann"), second)
        turns = await ended(gateway, 3, world.clock)
        assert [turn.state for turn in turns] == ["done", "done", "merged"]
        assert world.asked()[-1] == "five"
        assert world.thread("ann", ts)[-1].markdown == world.model.reply("five")
        prompt = await next_prompt(world, ts)
        assert prompt[-3:] == ["five", world.model.reply("five"), "and then?"]


async def test_when_all_merged_messages_are_taken_back_nothing_is_answered(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"busy": "merge"}) as world, world.gateway() as gateway:
        ts, second, third = await merged(world)
        world.model.plans.append(Break(after=2, how="hang"))
        await world.slack.delete("ann", world.slack.dm("ann"), third)
        await world.slack.delete("ann", world.slack.dm("ann"), second)
        turns = await ended(gateway, 3, world.clock)
        assert [turn.state for turn in turns][:2] == ["done", "withdrawn"]
        assert len(world.thread("ann", ts)) == 1
        assert (await next_prompt(world, ts))[-2:] == [world.model.reply(QUESTION), "and then?"]


async def merged(world: World) -> tuple[str, str, str]:
    """Two messages came while one was answered, and are now being answered together, half-way."""
    ts, _ = await half_said(world)
    second = await world.slack.say("ann", "four", thread=ts)
    third = await world.slack.say("ann", "five", thread=ts)
    world.model.hanging.clear()
    world.model.plans.append(Break(after=2, how="hang"))
    world.model.release.set()
    world.model.release = asyncio.Event()
    await until(world.model.hanging.is_set, world.clock)
    await until(
        lambda: len(world.thread("ann", ts)) == 4 and "four" in world.thread("ann", ts)[-1].markdown, world.clock
    )
    assert world.asked()[-1] == "four\n\nfive"
    return ts, second, third


# ── taken back ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_that_waits_may_be_taken_back(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, _ = await half_said(world)
        second = await world.slack.say("ann", OTHER, thread=ts)
        await world.slack.delete("ann", world.slack.dm("ann"), second)
        world.model.release.set()
        first, withdrawn = await ended(gateway, 2, world.clock)
        assert (first.state, withdrawn.state) == ("done", "withdrawn")
        assert len(world.model.requests) == 1
        assert [post.markdown for post in world.thread("ann", ts)] == [world.model.reply(QUESTION)]
        assert await next_prompt(world, ts) == [QUESTION, world.model.reply(QUESTION), "and then?"]


@either_way
async def test_a_question_that_is_being_answered_may_be_taken_back(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts, _ = await half_said(world)
        await world.slack.delete("ann", world.slack.dm("ann"), ts)
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.answer and turn.answer.text) == ("withdrawn", "")
        assert world.thread("ann", ts) == []
        assert world.slack.thread(world.slack.dm("ann"), ts) == []
        await world.model.idle()
        assert world.model.cancelled == 1
        await until(lambda: is_quiet(world), world.clock)
        await world.slack.say("ann", "hello")
        await ended(gateway, 2, world.clock)
        assert world.asked() == ["hello"]


async def test_a_question_taken_back_while_its_placeholder_is_on_the_way_leaves_none(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        posted = asyncio.Event()
        world.slack.faults("chat.postMessage", Fault(delay=posted))
        ts = await asked(world)
        await until(lambda: world.calls("chat.postMessage"))
        await world.slack.delete("ann", world.slack.dm("ann"), ts)
        posted.set()
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "withdrawn"
        assert world.thread("ann", ts) == []
        assert world.slack.screen(world.slack.dm("ann")) == []


async def test_a_question_taken_back_before_the_first_word_leaves_the_session_active(tmp_path: Path) -> None:
    async with slack_world(tmp_path, native=True) as world, world.gateway() as gateway:
        await world.slack.say("bob", "hello")
        await ended(gateway, 1, world.clock)
        ts = await asked(world, after=0)
        await until(lambda: not is_quiet(world), world.clock)
        await world.slack.delete("ann", world.slack.dm("ann"), ts)
        await state(gateway, 2, "withdrawn", world.clock)
        await world.model.idle()
        assert world.thread("ann", ts) == []
        await until(lambda: is_quiet(world), world.clock)


async def test_a_question_that_is_taken_back_after_the_answer_is_forgotten(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "hello")
        await ended(gateway, 1, world.clock)
        second = await world.slack.say("ann", OTHER, thread=ts)
        await ended(gateway, 2, world.clock)
        await world.slack.delete("ann", world.slack.dm("ann"), second)
        hello, other = world.model.reply("hello"), world.model.reply(OTHER)
        assert await next_prompt(world, ts) == ["hello", hello, other, "and then?"]
        assert [post.markdown for post in world.thread("ann", ts)][:3] == [hello, other, "and then?"]


async def test_a_question_that_an_admin_removes_counts_as_taken_back(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, _ = await half_said(world, channel="general")
        await world.slack.delete("eve", "general", ts)
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "withdrawn"
        assert world.slack.thread("general", ts) == []
        await world.model.idle()
        assert world.model.cancelled == 1


async def test_what_was_said_before_a_stop_is_what_the_changed_question_does_not_change(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await world.slack.click("ann", world.slack.dm("ann"), growing.ts, "chatferry:stop")
        await ended(gateway, 1, world.clock)
        await world.slack.edit("ann", world.slack.dm("ann"), ts, OTHER)
        assert await next_prompt(world, ts) == [QUESTION, HALF, "and then?"]


async def test_a_question_that_was_deleted_while_nobody_was_there_is_not_answered_when_it_comes_again(
    tmp_path: Path,
) -> None:
    async with slack_world(tmp_path) as world:
        ts = await world.slack.say("ann", QUESTION)
        await world.slack.delete("ann", world.slack.dm("ann"), ts)
        said, deleted = world.slack.deliveries
        async with world.gateway() as gateway:
            await world.slack.deliver_again(deleted)
            assert (await world.slack.deliver_again(said)).status == 200
            (turn,) = await ended(gateway, 1, world.clock)
            assert turn.state == "withdrawn"
        assert world.model.requests == []
        assert world.thread("ann", ts) == []
