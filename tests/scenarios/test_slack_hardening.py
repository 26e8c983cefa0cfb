"""Slack through the whole gateway, when things happen that nobody wishes for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chatferry.simulator.slack_records import Fault
from tests.scenarios.slack_growing import is_quiet
from tests.scenarios.slack_support import slack_world
from tests.scenarios.support import ended, until


async def test_a_session_that_an_earlier_process_began_ends_with_an_answer_that_only_had_to_be_sent(
    tmp_path: Path,
) -> None:
    async with slack_world(tmp_path, native=True) as world:
        world.slack.streams = False
        world.slack.faults("chat.postMessage", Fault(delay=asyncio.Event(), lose=True))
        async with world.gateway():
            ts = await world.slack.say("ann", "hi")
            await until(lambda: world.calls("chat.postMessage") and not is_quiet(world))
        async with world.gateway() as gateway:
            await ended(gateway, 1, world.clock)
            await until(lambda: is_quiet(world), world.clock)
    assert [post.markdown for post in world.thread("ann", ts)] == ["echo: hi"]
    assert len(world.model.requests) == 1
