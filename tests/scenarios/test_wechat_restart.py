"""The gateway ends in the middle of WeChat's calls and another starts at its address: the answer comes all the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_records import Fault
from chatferry.simulator.wechat_rules import NOTICE
from tests.ports import free_port
from tests.scenarios.support import ended, until
from tests.scenarios.wechat_support import (
    HOLD,
    SEND,
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


@contextlib.asynccontextmanager
async def standing_world(folder: Path, **more: object) -> AsyncIterator[World]:
    """One in which every gateway has the same address, as WeChat knows only that."""
    port = free_port()
    async with wechat_world(folder, server={"port": port}, **more) as world:  # type: ignore[arg-type]  # passed on
        world.wechat.webhook = f"http://127.0.0.1:{port}/hooks/wechat"
        yield world


async def test_a_later_call_brings_the_answer_of_the_process_before(tmp_path: Path) -> None:
    """The model was asked in the first call; its answer is kept when the process ends in the second."""
    async with standing_world(tmp_path) as world:
        async with world.gateway():
            world.slow()
            saying = await world.says("ann", "one")
            await world.passes(5)
            await world.thinking()
        assert world.model.cancelled == 1
        async with world.gateway() as gateway:
            await turn(gateway, 1, "parked")
            await world.passes(5)
            await saying.over()
            assert [(one.via, one.call, one.text) for one in world.seen()] == [("passive", 3, "echo: one")]
            # Not even an error went out when the process ended: WeChat might have shown it, and called no more.
            assert [attempt.status for attempt in saying.delivery.attempts] == [0, 0, 200]
        assert len(world.model.requests) == 2, "the answer was cut off, so it is asked for once more"


async def test_an_answer_that_was_kept_is_not_asked_for_again(tmp_path: Path) -> None:
    async with standing_world(tmp_path) as world:
        async with world.gateway() as gateway:
            world.slow()
            saying = await world.says("ann", "one")
            await world.passes(10 + HOLD)
            await saying.over()
            url = link(world.screen()[0])
            await world.answers(gateway)
        async with world.gateway() as gateway:
            assert (await page(url)).answer == "echo: one", "the link is good for the next process too"
            await turn(gateway, 1, "done")
            await world.say("ann", "two")
            assert world.screen()[1:] == ["echo: two"]
        assert len(world.model.requests) == 2


async def test_what_nobody_read_before_a_restart_comes_after_it(tmp_path: Path) -> None:
    async with standing_world(tmp_path) as world:
        async with world.gateway() as gateway:
            world.slow()
            saying = await world.says("ann", "one")
            await world.passes(10 + HOLD)
            await saying.over()
            await world.answers(gateway)
        async with world.gateway():
            await world.say("ann", "two")
            assert world.screen()[1:] == [together(earlier("echo: one"), "echo: two")]
        assert len(world.model.requests) == 2


async def test_a_process_that_has_only_the_third_call_knows_that_there_is_no_fourth(tmp_path: Path) -> None:
    async with standing_world(tmp_path) as world:
        saying = await world.begins(lambda: world.wechat.say("ann", "one"), taken=False)
        await world.until(lambda: len(saying.delivery.attempts) == 1)
        world.clock.advance(5)
        await world.until(lambda: len(saying.delivery.attempts) == 2)
        async with world.gateway():
            world.slow()
            world.clock.advance(5)
            await world.thinking()
            world.clock.advance(HOLD)
            await saying.over()
        assert saying.reasons == ["unreachable", "unreachable", ""]
        [told] = world.screen()
        assert told == later(told)


async def test_a_process_that_is_not_there_for_all_three_calls_is_a_fault_that_people_see(tmp_path: Path) -> None:
    """The one case in which WeChat's own sentence is right."""
    async with standing_world(tmp_path) as world:
        world.broken = True
        saying = await world.begins(lambda: world.wechat.say("ann", "one"), taken=False)
        for attempts in (1, 2):
            await world.until(lambda attempts=attempts: len(saying.delivery.attempts) == attempts)  # type: ignore[misc]
            world.clock.advance(5)
        await saying.over()
        assert world.screen() == [NOTICE]
        async with world.gateway():
            await world.say("ann", "two")
            assert world.screen()[1:] == ["echo: two"]


async def test_commands_survive_a_restart_too(tmp_path: Path) -> None:
    async with standing_world(tmp_path, session={"ttl": 300}) as world:
        async with world.gateway():
            await world.say("ann", "/chatgpt")
        async with world.gateway():
            await world.say("ann", "one")
        async with world.gateway():
            await world.say("ann", "two")
            assert world.screen() == [WORDS.session_began, "echo: one", "echo: two"]
            assert world.asked() == ["one", "echo: one", "two"]


async def test_the_rest_of_what_was_being_sent_is_sent_by_the_next_process(tmp_path: Path) -> None:
    async with standing_world(tmp_path, wechat=WeChatSimulator(verified=True)) as world:
        gate = asyncio.Event()
        async with world.gateway():
            world.model.reply = lambda asked: "\n\n".join(letter * 2048 for letter in asked)
            world.wechat.fail(SEND, Fault(), Fault(gate=gate))
            await world.say("ann", "abc")
            await until(lambda: len(world.calls(SEND)) == 2)
        assert world.screen() == ["a" * 2048]
        async with world.gateway() as gateway:
            await ended(gateway, 1, world.clock, turn=0.5)
            assert world.screen() == [letter * 2048 for letter in "abc"]
        gate.set()
        assert len(world.model.requests) == 1
