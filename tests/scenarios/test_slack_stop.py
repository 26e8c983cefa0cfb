"""Stopping an answer on Slack: by shortcut, by button, by Slack's own stop, by saying something else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chatferry.model import Inbound
from chatferry.simulator.model import Break
from chatferry.simulator.slack_records import Fault
from chatferry.words import words
from tests.scenarios.slack_growing import (
    HALF,
    QUESTION,
    asked,
    either_way,
    half_said,
    is_quiet,
    is_stopped,
    next_prompt,
)
from tests.scenarios.slack_support import STOPPED, slack_world
from tests.scenarios.support import ended, until

STOP = "chatferry:stop"
EN = words("en")


@pytest.mark.parametrize(
    ("callback_id", "native"), [("stop_answer", False), ("stop_answer", True), ("abort_openai_api", False)]
)
async def test_the_shortcut_asks_whether_to_stop_and_its_yes_stops(
    tmp_path: Path, callback_id: str, native: bool
) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await world.slack.shortcut("ann", callback_id, world.slack.dm("ann"), growing.ts)
        await world.slack.until(lambda: world.slack.views)
        (view,) = world.slack.views.values()
        assert (view["title"]["text"], view["submit"]["text"]) == (EN.stop_answer, EN.stop)
        assert world.model.cancelled == 0
        await world.slack.submit("ann")
        assert not world.slack.views
        await is_stopped(world, gateway, ts)
        assert await next_prompt(world, ts) == [QUESTION, HALF, "and then?"]


async def test_a_dialog_that_nobody_confirms_stops_nothing(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await world.slack.shortcut("ann", "stop_answer", world.slack.dm("ann"), growing.ts)
        await world.slack.until(lambda: world.slack.views)
        world.slack.views.clear()
        world.model.release.set()
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stop")
        (answer,) = world.thread("ann", ts)
        assert answer.markdown == world.model.reply(QUESTION)
        assert world.model.cancelled == 0


async def test_a_dialog_that_is_confirmed_late_hurts_nobody(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await world.slack.shortcut("ann", "stop_answer", world.slack.dm("ann"), growing.ts)
        await world.slack.until(lambda: world.slack.views)
        world.model.release.set()
        await ended(gateway, 1, world.clock)
        assert (await world.slack.submit("ann")).status == 200
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stop")
        assert [post.markdown for post in world.thread("ann", ts)] == [world.model.reply(QUESTION)]


async def test_the_button_stops_in_the_language_of_the_assistant(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"language": "zh-TW"}) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        assert growing.buttons == [("停止", STOP)]
        await world.slack.click("ann", world.slack.dm("ann"), growing.ts, STOP)
        await is_stopped(world, gateway, ts, mark="…_[已終止]_")
        assert await next_prompt(world, ts) == [QUESTION, HALF, "and then?"]


async def test_an_answer_outside_of_threads_can_be_stopped(tmp_path: Path) -> None:
    async with slack_world(tmp_path, channel={"dm": "chat"}) as world, world.gateway() as gateway:
        await asked(world)
        dm = world.slack.dm("ann")
        await until(lambda: world.slack.screen(dm)[-1].markdown == HALF, world.clock)
        await world.slack.click("ann", dm, world.slack.screen(dm)[-1].ts, STOP)
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stopped")
        assert [post.markdown for post in world.slack.screen(dm)] == [QUESTION, HALF + STOPPED]


@either_way
async def test_in_a_channel_anybody_may_stop_the_answer(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        _, growing = await half_said(world, channel="general")
        await world.slack.shortcut("bob", "stop_answer", "general", growing.ts)
        await world.slack.until(lambda: world.slack.views)
        await world.slack.submit("bob")
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stopped")
        assert growing.markdown == f"echo: ann: one{STOPPED}"


async def test_a_stop_whose_message_is_not_known_yet_finds_it(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.slack.faults("chat.postMessage", Fault(drop=True))  # it is there, and nobody tells us
        ts = await asked(world)
        await until(lambda: world.thread("ann", ts), world.clock)
        (placeholder,) = world.thread("ann", ts)
        await world.slack.click("ann", world.slack.dm("ann"), placeholder.ts, STOP)
        await is_stopped(world, gateway, ts)
        assert world.thread("ann", ts)[0].ts == placeholder.ts


async def test_slacks_own_stop_ends_the_stream_and_the_session_is_active_again(tmp_path: Path) -> None:
    async with slack_world(tmp_path, native=True) as world, world.gateway() as gateway:
        ts, _ = await half_said(world)
        await world.slack.stop_session("ann", world.slack.dm("ann"), ts)
        await is_stopped(world, gateway, ts)
        assert await next_prompt(world, ts) == [QUESTION, HALF, "and then?"]


async def test_slacks_own_stop_before_the_first_word_leaves_the_session_active(tmp_path: Path) -> None:
    async with slack_world(tmp_path, native=True) as world, world.gateway() as gateway:
        await world.slack.say("bob", "hello")  # from here on it is known that Slack shows that we are at work
        await ended(gateway, 1, world.clock)
        ts = await asked(world, after=0)
        await until(lambda: not is_quiet(world), world.clock)
        await world.slack.stop_session("ann", None, ts)
        turn = (await ended(gateway, 2, world.clock))[-1]
        assert (turn.state, turn.finish) == ("done", "stopped")
        assert world.thread("ann", ts) == []
        await world.model.idle()
        assert world.model.cancelled == 1
        await until(lambda: is_quiet(world), world.clock)


@either_way
async def test_another_message_in_the_thread_stops_the_answer_and_is_answered(tmp_path: Path, native: bool) -> None:
    busy = {"busy": "interrupt"}
    async with slack_world(tmp_path, native=native, assistant=busy) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await world.slack.say("ann", "something else", thread=ts)
        first, second = await ended(gateway, 2, world.clock)
        assert (first.state, first.finish) == ("done", "stopped")
        assert (second.state, second.finish) == ("done", "stop")
        stopped, _, answer = world.thread("ann", ts)
        assert (stopped.ts, stopped.markdown, stopped.buttons) == (growing.ts, HALF + STOPPED, [])
        assert answer.markdown == world.model.reply("something else")
        assert world.asked() == [QUESTION, HALF, "something else"]
        assert world.model.cancelled == 1
        await until(lambda: is_quiet(world), world.clock)


async def test_a_placeholder_can_be_stopped(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, growing = await half_said(world, after=0)
        assert growing.markdown == EN.answering
        await world.slack.click("ann", world.slack.dm("ann"), growing.ts, STOP)
        await is_stopped(world, gateway, ts, said="")
        assert await next_prompt(world, ts) == [QUESTION, "and then?"]


async def test_whoever_stops_while_the_thread_is_read_spares_the_model(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        read = asyncio.Event()
        world.slack.faults("conversations.replies", Fault(delay=read))
        root = await world.slack.say("bob", "what a day", channel="general")
        await world.slack.say("ann", "is it?", channel="general", thread=root, mention=True)
        general = world.slack.channel("general")
        await until(lambda: world.calls("conversations.replies") and len(world.slack.thread(general, root)) == 3)
        placeholder = world.slack.thread(general, root)[-1]
        await world.slack.click("bob", general, placeholder.ts, STOP)
        (turn,) = await ended(gateway, 1, world.clock)
        read.set()
        assert (turn.state, turn.finish) == ("done", "stopped")
        assert world.slack.thread(general, root)[-1].markdown == STOPPED
        assert world.model.requests == []


@either_way
async def test_of_a_long_answer_only_the_last_message_says_that_it_was_stopped(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        world.model.reply = lambda text: "one " * 2000
        world.model.plans.append(Break(after=1100, how="hang"))
        ts = await world.slack.say("ann", "count")
        await until(
            lambda: "".join(post.markdown for post in world.thread("ann", ts)).count("one") == 1100, world.clock
        )
        first, last = world.thread("ann", ts)
        await world.slack.shortcut("ann", "stop_answer", world.slack.dm("ann"), first.ts)
        await world.slack.until(lambda: world.slack.views)
        await world.slack.submit("ann")
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stopped")
        assert [post.ts for post in world.thread("ann", ts)] == [first.ts, last.ts]
        assert not first.markdown.endswith(STOPPED)
        assert last.markdown.endswith(f"one{STOPPED}")
        assert "".join((first.markdown, last.markdown)).count("one") == 1100
        assert first.buttons == last.buttons == []
        assert not first.streaming
        assert not last.streaming
        assert world.model.cancelled == 1


@either_way
async def test_a_stop_that_comes_twice_is_one(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        await world.slack.shortcut("ann", "stop_answer", world.slack.dm("ann"), growing.ts)
        await world.slack.until(lambda: world.slack.views)
        stop = await world.slack.submit("ann")
        again, native_stop = await asyncio.gather(
            world.slack.deliver_again(stop), world.slack.stop_session("bob", world.slack.dm("ann"), ts)
        )
        assert again.status == native_stop.status == 200
        await is_stopped(world, gateway, ts)
        await world.slack.deliver_again(stop)
        await is_stopped(world, gateway, ts)


@either_way
async def test_a_stop_after_the_end_changes_nothing(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", QUESTION)
        await ended(gateway, 1, world.clock)
        (answer,) = world.thread("ann", ts)
        edits = answer.edits
        await world.slack.shortcut("ann", "stop_answer", world.slack.dm("ann"), answer.ts)
        await world.slack.until(lambda: world.slack.views)
        assert (await world.slack.submit("ann")).status == 200
        assert (await world.slack.stop_session("ann", None, ts)).status == 200
        assert await next_prompt(world, ts) == [QUESTION, world.model.reply(QUESTION), "and then?"]
        first, second = await ended(gateway, 2, world.clock)
        assert (first.finish, second.finish) == ("stop", "stop")
        assert (answer.markdown, answer.edits) == (world.model.reply(QUESTION), edits)


async def test_slacks_own_stop_between_two_questions_does_not_stop_the_next_one(tmp_path: Path) -> None:
    async with slack_world(tmp_path, native=True) as world, world.gateway() as gateway:
        ts, _ = await half_said(world)
        await world.slack.say("ann", "and then?", thread=ts)
        await world.slack.stop_session("ann", None, ts)
        first, second = await ended(gateway, 2, world.clock)
        assert (first.finish, second.finish) == ("stopped", "stop")


@either_way
async def test_a_stop_that_was_accepted_outlives_the_gateway(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world:
        async with world.gateway() as gateway:
            ts, growing = await half_said(world)
            # Kept, and then cut off before anybody acts on it.
            address = f"{world.slack.at(world.slack.dm('ann')).team}/{world.slack.dm('ann')}/{ts}"
            stop = Inbound("stop-1", address, "stop", sender=world.slack.user("ann"), ref=growing.ts)
            (accepted,) = await gateway.ledger.accept("slack", [stop])
            assert accepted.ends
        async with world.gateway() as gateway:
            (turn,) = await ended(gateway, 1, world.clock)
            assert (turn.state, turn.finish) == ("done", "stopped")
            (answer,) = world.thread("ann", ts)
            assert answer.ts == growing.ts
            assert answer.markdown == HALF + STOPPED
            assert answer.buttons == []
            assert not answer.streaming
            assert len(world.model.requests) == 1
            await until(lambda: is_quiet(world), world.clock)


async def test_the_mark_comes_however_much_slack_throttles(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts, growing = await half_said(world)
        busy = Fault(status=429, retry_after=30)
        world.slack.faults("chat.update", busy, busy)
        await world.slack.click("ann", world.slack.dm("ann"), growing.ts, STOP)
        await world.model.idle()
        assert world.model.cancelled == 1
        await ended(gateway, 1, world.clock, turn=1.0)
        await is_stopped(world, gateway, ts)
