"""Deleting an answer on Slack: by the shortcut, for those who may, and by hand while it grows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chatferry.simulator.model import Break
from chatferry.simulator.slack import SlackSimulator
from chatferry.words import words
from tests.scenarios.slack_growing import HALF, QUESTION, asked, either_way, half_said, is_quiet, next_prompt
from tests.scenarios.slack_support import World, slack_world
from tests.scenarios.support import ended, until


async def delete(world: World, who: str, channel: str, ts: str) -> None:
    await world.slack.shortcut(who, "delete_answer", channel, ts)


@either_way
async def test_whoever_asked_deletes_the_answer_and_the_model_hears_no_more_of_it(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", QUESTION)
        await ended(gateway, 1, world.clock)
        (answer,) = world.thread("ann", ts)
        await delete(world, "ann", answer.channel, answer.ts)
        _, erasing = await ended(gateway, 2, world.clock)
        assert (erasing.kind, erasing.state, erasing.error) == ("erase", "done", "")
        assert world.thread("ann", ts) == []
        assert world.slack.ephemeral("ann") == []
        assert await next_prompt(world, ts) == [QUESTION, "and then?"]


@pytest.mark.parametrize("role", ["admins", "owners"])
async def test_an_admin_may_delete_the_answer_to_somebody_else(tmp_path: Path, role: str) -> None:
    slack = SlackSimulator(**{role: {"eve"}})  # type: ignore[arg-type]  # by name
    async with slack_world(tmp_path, slack=slack) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "hello", channel="general", mention=True)
        await ended(gateway, 1, world.clock)
        general = world.slack.channel("general")
        _, answer = world.slack.thread(general, ts)
        await delete(world, "eve", general, answer.ts)
        await ended(gateway, 2, world.clock)
        assert [post.user for post in world.slack.thread(general, ts)] == [world.slack.user("ann")]


async def test_anybody_else_is_told_why_not_and_the_answer_stays(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"language": "zh-TW"}) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "hello", channel="general", mention=True)
        await ended(gateway, 1, world.clock)
        general = world.slack.channel("general")
        _, answer = world.slack.thread(general, ts)
        await delete(world, "bob", general, answer.ts)
        _, erasing = await ended(gateway, 2, world.clock)
        assert "refused" in erasing.error
        (told,) = world.slack.ephemeral("bob")
        assert told.text == words("zh-TW").not_yours
        assert told.thread_ts == ts
        assert world.slack.ephemeral("ann") == []
        assert world.slack.thread(general, ts)[-1].markdown == world.model.reply("ann: hello")
        await world.slack.say("ann", "and then?", channel="general", thread=ts, mention=True)
        await ended(gateway, 3, world.clock)
        assert world.asked() == ["ann: hello", world.model.reply("ann: hello"), "ann: and then?"]


@pytest.mark.parametrize("pointed_at", [0, 2])
async def test_of_a_long_answer_all_messages_go(tmp_path: Path, pointed_at: int) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.model.reply = lambda text: "one " * 2500
        ts = await world.slack.say("ann", "count")
        await ended(gateway, 1, world.clock, turn=0.5)
        answer = world.thread("ann", ts)
        assert len(answer) == 3
        await delete(world, "ann", answer[0].channel, answer[pointed_at].ts)
        await ended(gateway, 2, world.clock)
        assert world.thread("ann", ts) == []
        assert await next_prompt(world, ts) == ["count", "and then?"]


@either_way
async def test_an_answer_that_grows_is_stopped_and_goes(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await delete(world, "ann", growing.channel, growing.ts)
        stopped, erasing = await ended(gateway, 2, world.clock)
        assert (stopped.state, stopped.finish) == ("done", "stopped")
        assert (erasing.state, erasing.error) == ("done", "")
        assert world.thread("ann", ts) == []
        await world.model.idle()
        assert world.model.cancelled == 1
        await until(lambda: is_quiet(world), world.clock)
        assert await next_prompt(world, ts) == [QUESTION, "and then?"]


async def test_a_message_that_is_not_ours_is_left_alone_and_a_hint_says_so(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "hello", channel="general", mention=True)
        await ended(gateway, 1, world.clock)
        general = world.slack.channel("general")
        await delete(world, "ann", general, ts)
        await world.slack.until(lambda: world.slack.ephemeral("ann"))
        (told,) = world.slack.ephemeral("ann")
        assert told.text == words("en").not_mine
        assert len(world.slack.thread(general, ts)) == 2
        assert len(await gateway.ledger.entries()) == 1
        assert world.calls("chat.delete") == []


async def test_who_deletes_twice_deletes_once(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", QUESTION)
        await ended(gateway, 1, world.clock)
        (answer,) = world.thread("ann", ts)
        await asyncio.gather(*(delete(world, "ann", answer.channel, answer.ts) for _ in range(2)))
        _, *erasing = await ended(gateway, 3, world.clock)
        assert [(turn.state, turn.error) for turn in erasing] == [("done", "")] * 2
        assert world.thread("ann", ts) == []


async def test_deleting_one_answer_leaves_the_one_that_grows(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "hello")
        await ended(gateway, 1, world.clock)
        (old,) = world.thread("ann", ts)
        _, growing = await half_said(world, thread=ts)
        await delete(world, "ann", old.channel, old.ts)
        world.model.release.set()
        await ended(gateway, 3, world.clock)
        answer = world.thread("ann", ts)[-1]
        assert (answer.ts, answer.markdown) == (growing.ts, world.model.reply(QUESTION))
        assert old.deleted
        assert world.model.cancelled == 0


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────────


@either_way
async def test_deleting_the_growing_message_by_hand_stops_the_model(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await world.slack.delete("eve", growing.channel, growing.ts)
        await gone(world, ts)
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stopped")
        await until(lambda: is_quiet(world), world.clock)


@either_way
async def test_a_deletion_that_we_are_not_told_of_is_found_at_the_next_edit(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        growing.deleted = True
        world.model.release.set()
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "done"
        assert "message_not_found" in turn.error
        assert world.thread("ann", ts) == []
        await until(lambda: is_quiet(world), world.clock)


@either_way
async def test_deleting_the_last_message_of_a_long_answer_stops_it_too(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        world.model.reply = lambda text: "one " * 2000
        world.model.plans.append(Break(after=1100, how="hang"))
        ts = await world.slack.say("ann", "count")
        await until(lambda: len(world.thread("ann", ts)) == 2, world.clock)
        first, last = world.thread("ann", ts)
        await world.slack.delete("eve", last.channel, last.ts)
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stopped")
        assert [post.ts for post in world.thread("ann", ts)] == [first.ts]
        assert first.buttons == []
        assert not first.streaming
        await world.model.idle()
        assert world.model.cancelled == 1
        await until(lambda: is_quiet(world), world.clock)


async def test_deleting_a_finished_answer_by_hand_is_nothing_to_us(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", QUESTION)
        await ended(gateway, 1, world.clock)
        (answer,) = world.thread("ann", ts)
        await world.slack.delete("eve", answer.channel, answer.ts)
        assert len(await ended(gateway, 1, world.clock)) == 1
        assert world.thread("ann", ts) == []


async def test_what_was_said_before_a_message_was_deleted_by_hand_is_remembered(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await world.slack.delete("eve", growing.channel, growing.ts)
        await ended(gateway, 1, world.clock)
        assert await next_prompt(world, ts) == [QUESTION, HALF, "and then?"]


async def test_a_placeholder_that_is_deleted_spares_the_model(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await asked(world, after=0)
        await until(lambda: world.thread("ann", ts), world.clock)
        (placeholder,) = world.thread("ann", ts)
        await world.slack.delete("ann", placeholder.channel, placeholder.ts)
        await gone(world, ts)
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stopped")


async def gone(world: World, ts: str) -> None:
    """Nothing is said in the place of what was deleted."""
    await world.model.idle()
    assert world.model.cancelled == 1
    await until(lambda: world.thread("ann", ts) == [], world.clock)
