"""Slack, from the event to what people read."""

from __future__ import annotations

from pathlib import Path

from chatferry.simulator.model import Break
from tests.scenarios.slack_support import STOPPED, slack_world
from tests.scenarios.support import ended, until


async def test_a_direct_message_is_answered_in_its_thread(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "hello")
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "done"
        (answer,) = world.thread("ann", ts)
        assert answer.markdown == world.model.reply("hello")
        assert answer.buttons == []


async def test_a_placeholder_grows_into_the_answer(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.model.plans.append(Break(after=3, how="hang"))
        ts = await world.slack.say("ann", "one two three four five six")
        await world.model.hanging.wait()
        await until(lambda: world.thread("ann", ts) and "one" in world.thread("ann", ts)[0].markdown, world.clock)
        (growing,) = world.thread("ann", ts)
        assert growing.buttons == [("Stop", "chatferry:stop")]
        world.model.release.set()
        await ended(gateway, 1, world.clock)
        (answer,) = world.thread("ann", ts)
        assert answer.ts == growing.ts
        assert answer.markdown == world.model.reply("one two three four five six")


async def test_the_button_stops_the_model_and_leaves_what_was_said(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.model.plans.append(Break(after=3, how="hang"))
        ts = await world.slack.say("ann", "one two three four five six")
        await world.model.hanging.wait()
        await until(lambda: world.thread("ann", ts) and "one" in world.thread("ann", ts)[0].markdown, world.clock)
        (growing,) = world.thread("ann", ts)
        await world.slack.click("ann", world.slack.dm("ann"), growing.ts, "chatferry:stop")
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.finish) == ("done", "stopped")
        (answer,) = world.thread("ann", ts)
        assert answer.markdown.endswith(STOPPED)
        assert answer.buttons == []
        assert world.model.cancelled == 1
