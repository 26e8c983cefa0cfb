"""Answers that miss the free reply: pushed, or fetched by a button, and never lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.channels.base import COLLECT
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_records import Fault
from chatferry.simulator.model import Break
from chatferry.words import words
from tests.scenarios.support import (
    BUSY,
    PUSH,
    REPLY,
    calls,
    ended,
    said_while_it_hangs,
    screen,
    state,
    texts,
    until,
    world,
)

WORDS = words("en")
BUTTON = {"late": "button"}


async def test_an_answer_after_the_token_has_run_out_is_pushed(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"late": "push"}) as it, it.gateway():
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "hello")
        it.clock.advance(51)
        it.model.release.set()
        [answer] = await it.line.seen("ann", 1)
        assert (answer.text, answer.via) == ("echo: hello", "push")
        assert not calls(it.line, REPLY)


async def test_an_answer_at_the_last_moment_still_goes_by_the_free_reply(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"late": "push"}) as it, it.gateway():
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "hello")
        it.clock.advance(49)
        it.model.release.set()
        [answer] = await it.line.seen("ann", 1)
        assert (answer.text, answer.via) == ("echo: hello", "reply")


async def test_at_45_seconds_the_token_is_spent_on_a_button_and_a_tap_brings_leave_for_the_answer(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, channel=BUTTON) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "hello")
        it.clock.advance(44.9)
        assert screen(it.line) == []
        it.clock.advance(0.2)
        [notice] = await it.line.seen("ann", 1)
        assert (notice.text, notice.via) == (WORDS.on_its_way, "reply")
        assert notice.buttons == [(WORDS.fetch, COLLECT)]

        await it.line.tap("ann", COLLECT)
        await state(gateway, 2, "merged")
        it.model.release.set()
        _, answer = await it.line.seen("ann", 2)
        assert (answer.text, answer.via) == ("echo: hello", "reply")
        assert it.line.used == 0
        entries = await ended(gateway, 2)
        assert [entry.state for entry in entries] == ["done", "merged"]


async def test_a_model_that_outlasts_the_tap_too_gets_another_button(tmp_path: Path) -> None:
    async with world(tmp_path, channel=BUTTON) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "hello")
        it.clock.advance(45)
        await it.line.seen("ann", 1)
        await it.line.tap("ann", COLLECT)
        await state(gateway, 2, "merged")
        await until(lambda: len(screen(it.line)) == 2, it.clock, turn=0.5)
        assert screen(it.line) == [WORDS.on_its_way] * 2
        it.model.release.set()
        await state(gateway, 1, "parked")
        await it.line.tap("ann", COLLECT)
        assert texts(await it.line.seen("ann", 3))[2:] == ["echo: hello"]


async def test_an_answer_that_waits_is_fetched_by_the_button_and_a_second_tap_is_told_so(tmp_path: Path) -> None:
    async with world(tmp_path, channel=BUTTON) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "hello")
        it.clock.advance(45)
        await it.line.seen("ann", 1)
        it.model.release.set()
        await state(gateway, 1, "parked")
        await it.line.tap("ann", COLLECT)
        _, answer = await it.line.seen("ann", 2)
        assert (answer.text, answer.via) == ("echo: hello", "reply")
        await it.line.tap("ann", COLLECT)
        assert texts(await it.line.seen("ann", 3))[2:] == [WORDS.nothing_waiting]
        assert {entry.state for entry in await ended(gateway, 3)} == {"done"}
        assert it.line.used == 0


async def test_an_answer_that_nobody_fetched_comes_ahead_of_the_next_one_in_the_same_reply(tmp_path: Path) -> None:
    async with world(tmp_path, channel=BUTTON) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "one")
        it.clock.advance(45)
        await it.line.seen("ann", 1)
        it.model.release.set()
        await state(gateway, 1, "parked")
        await it.line.say("ann", "two")
        _, first, second = await it.line.seen("ann", 3)
        assert texts([first, second]) == ["echo: one", "echo: two"]
        assert first.event == second.event != ""
        assert {entry.state for entry in await ended(gateway, 2)} == {"done"}


async def test_auto_pushes_while_there_is_quota_and_shows_no_button(tmp_path: Path) -> None:
    async with world(tmp_path, line=LineSimulator(quota=1)) as it, it.gateway():
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "hello")
        it.clock.advance(45)
        await until(lambda: calls(it.line, "/v2/bot/message/quota/consumption"))
        it.clock.advance(6)
        it.model.release.set()
        [answer] = await it.line.seen("ann", 1)
        assert (answer.text, answer.via) == ("echo: hello", "push")
        assert it.line.used == 1


async def test_auto_without_quota_shows_the_button(tmp_path: Path) -> None:
    async with world(tmp_path, line=LineSimulator(quota=5, used=5)) as it, it.gateway():
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "hello")
        it.clock.advance(45)
        [notice] = await it.line.seen("ann", 1)
        assert notice.text == WORDS.on_its_way
        await it.line.tap("ann", COLLECT)
        it.model.release.set()
        assert texts(await it.line.seen("ann", 2))[1:] == ["echo: hello"]
        assert not calls(it.line, PUSH)


async def test_a_quota_that_runs_out_at_the_push_leaves_the_answer_to_be_collected(tmp_path: Path) -> None:
    async with world(tmp_path, line=LineSimulator(quota=1)) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "one")
        it.clock.advance(45)
        await until(lambda: calls(it.line, "/v2/bot/message/quota/consumption"))
        it.line.used = 1  # another program has pushed
        it.clock.advance(6)
        it.model.release.set()
        await state(gateway, 1, "parked")
        [push] = calls(it.line, PUSH)
        assert push.status == 429
        await it.line.say("ann", "two")
        answers = await it.line.seen("ann", 2)
        assert texts(answers) == ["echo: one", "echo: two"]
        assert {one.via for one in answers} == {"reply"}


async def test_please_wait_takes_the_free_reply_and_the_answer_is_pushed(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"waiting": "message"}, assistant={"language": "zh-TW"}) as it, it.gateway():
        await it.line.say("ann", "hello")
        wait, answer = await it.line.seen("ann", 2)
        assert (wait.text, wait.via, wait.buttons) == ("好的,請稍候 ...", "reply", [])
        assert (answer.text, answer.via) == ("echo: hello", "push")


async def test_please_wait_carries_the_button_where_nothing_can_be_pushed(tmp_path: Path) -> None:
    line = LineSimulator(quota=0)
    async with world(tmp_path, line=line, channel={"waiting": "message"}) as it, it.gateway() as gateway:
        await it.line.say("ann", "hello")
        [wait] = await it.line.seen("ann", 1)
        assert (wait.text, wait.buttons) == (WORDS.waiting, [(WORDS.fetch, COLLECT)])
        await state(gateway, 1, "parked")
        await it.line.tap("ann", COLLECT)
        assert texts(await it.line.seen("ann", 2))[1:] == ["echo: hello"]


@pytest.mark.parametrize("waiting", ["message", "loading"])
async def test_a_notice_that_line_did_not_take_leaves_the_token_for_the_answer(tmp_path: Path, waiting: str) -> None:
    async with world(tmp_path, channel=BUTTON | {"waiting": waiting}) as it, it.gateway():
        it.model.plans.append(Break("hang"))
        it.line.fail(REPLY, BUSY)
        await said_while_it_hangs(it, "hello")
        if waiting == "loading":
            it.clock.advance(46)
        await until(lambda: calls(it.line, REPLY))
        it.model.release.set()
        [answer] = await it.line.seen("ann", 1)
        assert (answer.text, answer.via) == ("echo: hello", "reply")


async def test_a_notice_whose_end_is_unknown_is_shown_once(tmp_path: Path) -> None:
    async with world(tmp_path, channel=BUTTON) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        it.line.fail(REPLY, Fault(drop=True, done=True))
        await said_while_it_hangs(it, "hello")
        it.clock.advance(45)
        await until(lambda: len(calls(it.line, REPLY)) == 2, it.clock)
        it.model.release.set()
        await state(gateway, 1, "parked", it.clock)
        assert screen(it.line) == [WORDS.on_its_way]


async def test_a_message_that_waited_too_long_behind_another_is_answered_all_the_same(tmp_path: Path) -> None:
    async with world(tmp_path, channel=BUTTON) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "one")
        await it.line.say("ann", "two")
        it.clock.advance(45)
        await it.line.seen("ann", 1)
        it.clock.advance(20)
        it.model.release.set()
        await state(gateway, 2, "parked")
        await it.line.tap("ann", COLLECT)
        seen = await until_text(it.line, "echo: two")
        assert [text for text in seen if text.startswith("echo")] == ["echo: one", "echo: two"]
        assert it.line.used == 0
        assert {entry.state for entry in await ended(gateway, 3)} == {"done"}


async def test_a_tap_spares_the_push_of_an_answer_that_line_had_no_time_for(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"late": "push"}) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        it.line.fail(REPLY, BUSY)
        await said_while_it_hangs(it, "hello")
        it.clock.advance(30)
        it.model.release.set()
        await state(gateway, 1, "due")
        tap = await it.line.tap("ann", COLLECT)
        it.clock.advance(21)
        await until(lambda: screen(it.line), it.clock)
        [answer] = await it.line.seen("ann", 1)
        assert (answer.text, answer.event) == ("echo: hello", tap.events[0]["webhookEventId"])
        assert not calls(it.line, PUSH)


async def test_after_a_push_was_refused_for_the_quota_the_button_is_shown(tmp_path: Path) -> None:
    async with world(tmp_path, line=LineSimulator(quota=0), channel={"late": "push"}) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "one")
        it.clock.advance(51)
        it.model.release.set()
        await state(gateway, 1, "parked")
        it.model.release.clear()
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "two")
        it.clock.advance(45)
        [notice] = await it.line.seen("ann", 1)
        assert notice.buttons == [(WORDS.fetch, COLLECT)]
        it.model.release.set()
        await state(gateway, 2, "parked")
        await it.line.tap("ann", COLLECT)
        assert texts(await it.line.seen("ann", 3))[1:] == ["echo: one", "echo: two"]
        assert len(calls(it.line, PUSH)) == 1


async def until_text(line: LineSimulator, text: str) -> list[str]:
    await until(lambda: text in screen(line))
    return screen(line)


@pytest.mark.parametrize("lost", [Fault(drop=True, done=True), Fault(drop=True)])
async def test_a_tap_after_a_push_whose_end_is_unknown_repeats_nothing(tmp_path: Path, lost: Fault) -> None:
    async with world(tmp_path, channel={"late": "push"}) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        it.line.fail(PUSH, lost)
        await said_while_it_hangs(it, "hello")
        it.clock.advance(51)
        it.model.release.set()
        await state(gateway, 1, "due")
        await it.line.tap("ann", COLLECT)
        await ended(gateway, 2, it.clock)
        assert [text for text in screen(it.line) if text != WORDS.nothing_waiting] == ["echo: hello"]
