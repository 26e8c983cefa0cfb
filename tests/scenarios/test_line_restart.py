"""The gateway ends and another starts on the same database: nothing twice, nothing lost, nothing asked again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatferry.channels.base import COLLECT
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_records import Fault
from chatferry.simulator.model import Break
from chatferry.words import words
from tests.scenarios.support import (
    BUSY,
    PUSH,
    REPLY,
    asked,
    calls,
    ended,
    paragraphs,
    said_while_it_hangs,
    screen,
    state,
    until,
    world,
)

WORDS = words("en")


async def test_a_question_that_was_being_answered_is_asked_once_more(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        async with it.gateway():
            it.model.plans.append(Break("hang", after=1))
            await said_while_it_hangs(it, "hello")
            await it.line.say("ann", "and?")
        assert screen(it.line) == []
        async with it.gateway() as gateway:
            entries = await ended(gateway, 2)
            assert screen(it.line) == ["echo: hello", "echo: and?"]
            assert len(it.model.requests) == 3
            assert asked(it.model) == ["hello", "echo: hello", "and?"]
            assert [entry.attempts for entry in entries] == [1, 1]  # to be stopped is no failure
        assert it.model.cancelled == 1


async def test_an_answer_that_was_stored_is_sent_without_asking_again(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        async with it.gateway() as gateway:
            it.line.fail(REPLY, BUSY)
            await it.line.say("ann", "hello")
            await until(lambda: calls(it.line, REPLY))
            await state(gateway, 1, "due")
        async with it.gateway() as gateway:
            await ended(gateway, 1, it.clock)
            assert screen(it.line) == ["echo: hello"]
            assert len(it.model.requests) == 1


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_reply_that_was_under_way_is_on_the_screen_once(tmp_path: Path, carried_out: bool) -> None:
    async with world(tmp_path) as it:
        gate = asyncio.Event()
        async with it.gateway():
            it.line.fail(REPLY, Fault(gate=gate, drop=True, done=carried_out))
            await it.line.say("ann", "hello")
            await until(lambda: calls(it.line, REPLY))
        gate.set()
        if carried_out:
            await it.line.seen("ann", 1)
        with capture_logs() as logs:
            async with it.gateway() as gateway:
                [entry] = await ended(gateway, 1, it.clock)
        assert entry.state == "done"
        assert screen(it.line) == ["echo: hello"]
        assert it.line.used == 0
        assert "sent twice, perhaps" not in {line["event"] for line in logs}  # the token settles it
        assert len(it.model.requests) == 1


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_push_that_was_under_way_is_on_the_screen_once(tmp_path: Path, carried_out: bool) -> None:
    async with world(tmp_path, channel={"late": "push"}) as it:
        gate = asyncio.Event()
        async with it.gateway():
            it.line.fail(PUSH, Fault(gate=gate, drop=True, done=carried_out))
            it.model.plans.append(Break("hang"))
            await said_while_it_hangs(it, "hello")
            it.clock.advance(51)
            it.model.release.set()
            await until(lambda: calls(it.line, PUSH))
        gate.set()
        if carried_out:
            await it.line.seen("ann", 1)
        async with it.gateway() as gateway:
            await ended(gateway, 1, it.clock)
            assert screen(it.line) == ["echo: hello"]
            assert it.line.used == 1


async def test_between_the_pieces_of_a_long_answer_nothing_is_repeated(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        gate = asyncio.Event()
        async with it.gateway():
            it.model.reply = lambda _: paragraphs("abcdefghijklm")
            it.line.fail(PUSH, Fault(), Fault(gate=gate))
            await it.line.say("ann", "hello")
            await until(lambda: len(calls(it.line, PUSH)) == 2)
        gate.set()
        async with it.gateway() as gateway:
            await ended(gateway, 1, it.clock)
            assert screen(it.line) == [letter * 4000 for letter in "abcdefghijklm"]
            assert len(it.model.requests) == 1


async def test_what_was_parked_can_be_collected_from_the_next_process(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"late": "button"}) as it:
        async with it.gateway() as gateway:
            it.model.plans.append(Break("hang"))
            await said_while_it_hangs(it, "hello")
            it.clock.advance(45)
            await it.line.seen("ann", 1)
            it.model.release.set()
            await state(gateway, 1, "parked")
        async with it.gateway() as gateway:
            await it.line.tap("ann", COLLECT)
            await ended(gateway, 2)
            assert screen(it.line) == [WORDS.on_its_way, "echo: hello"]


async def test_a_notice_that_was_under_way_does_not_come_after_the_answer(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"late": "button"}) as it:
        gate = asyncio.Event()
        async with it.gateway():
            it.line.fail(REPLY, Fault(gate=gate, drop=True))
            it.model.plans.append(Break("hang"))
            await said_while_it_hangs(it, "hello")
            it.clock.advance(45)
            await until(lambda: calls(it.line, REPLY))
        gate.set()
        async with it.gateway() as gateway:
            await ended(gateway, 1)
            assert screen(it.line) == ["echo: hello"]


async def test_a_notice_that_was_under_way_is_not_sent_with_answers_that_were_parked(tmp_path: Path) -> None:
    line = LineSimulator(quota=0)
    async with world(tmp_path, line=line, channel={"waiting": "message"}) as it:
        gate = asyncio.Event()
        async with it.gateway() as gateway:
            await it.line.say("ann", "one")
            await state(gateway, 1, "parked")
            it.line.fail(REPLY, Fault(gate=gate, drop=True))
            it.model.plans.append(Break("hang"))
            await said_while_it_hangs(it, "two")
            await until(lambda: len(calls(it.line, REPLY)) == 2)
        gate.set()
        async with it.gateway() as gateway:
            await state(gateway, 2, "done")
            assert screen(it.line) == [WORDS.waiting, "echo: one", "echo: two"]


async def test_a_tap_that_came_just_before_the_end_is_served_by_the_next_process(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"late": "button"}) as it:
        async with it.gateway() as gateway:
            it.model.plans.append(Break("hang"))
            await said_while_it_hangs(it, "hello")
            it.clock.advance(45)
            await it.line.seen("ann", 1)
            await it.line.tap("ann", COLLECT)
            await state(gateway, 2, "merged")
        async with it.gateway() as gateway:
            await ended(gateway, 2)
            assert screen(it.line) == [WORDS.on_its_way, "echo: hello"]
            assert it.line.used == 0


async def test_merged_messages_stay_merged(tmp_path: Path) -> None:
    async with world(tmp_path, assistant={"busy": "merge"}) as it:
        async with it.gateway() as gateway:
            it.model.plans.extend([Break("hang")] * 2)
            await said_while_it_hangs(it, "one")
            await it.line.say("ann", "two")
            await it.line.say("ann", "three")
            it.model.release.set()
            await state(gateway, 3, "merged")
        async with it.gateway() as gateway:
            await ended(gateway, 3)
            assert screen(it.line) == ["echo: one", "echo: two\n\nthree"]
