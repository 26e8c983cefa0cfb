"""What a person on LINE sees when LINE itself fails: the answer, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.channels.base import COLLECT
from chatferry.model import Inbound, says
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_records import Fault
from chatferry.simulator.model import Break
from chatferry.words import words
from tests.scenarios.support import (
    BUSY,
    PUSH,
    REPLY,
    World,
    asked,
    calls,
    ended,
    paragraphs,
    said_while_it_hangs,
    screen,
    state,
    texts,
    until,
    world,
)

LOST = [
    pytest.param(Fault(status=500), id="500"),
    pytest.param(Fault(status=500, done=True), id="500-done"),
    pytest.param(Fault(drop=True), id="dropped"),
    pytest.param(Fault(drop=True, done=True), id="dropped-done"),
]
PUSHED = {"late": "push"}


async def late(it: World, words: str = "hello") -> None:
    """A message whose answer comes after its reply token has run out."""
    it.model.plans.append(Break("hang"))
    await said_while_it_hangs(it, words)
    it.clock.advance(51)
    it.model.release.set()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("fault", LOST)
async def test_a_reply_whose_end_is_unknown_is_on_the_screen_once(tmp_path: Path, fault: Fault, times: int) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.line.fail(REPLY, *[fault] * times)
        await it.line.say("ann", "hello")
        [entry] = await ended(gateway, 1, it.clock)
        assert entry.state == "done"
        assert screen(it.line) == ["echo: hello"]
        assert it.line.used == 0
        assert len(it.model.requests) == 1


@pytest.mark.parametrize("fault", LOST)
async def test_a_reply_that_stays_unknown_for_a_while_is_on_the_screen_once(tmp_path: Path, fault: Fault) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.line.fail(REPLY, fault, *[Fault(status=500)] * 3)
        await it.line.say("ann", "hello")
        await ended(gateway, 1, it.clock)
        assert screen(it.line) == ["echo: hello"]


@pytest.mark.parametrize("fault", LOST)
async def test_a_refusal_after_an_unknown_end_does_not_make_it_known(tmp_path: Path, fault: Fault) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.line.fail(REPLY, fault, BUSY)
        await it.line.say("ann", "hello")
        await ended(gateway, 1, it.clock)
        assert screen(it.line) == ["echo: hello"]


async def test_a_reply_token_that_is_refused_is_made_good_by_a_push(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway():
        it.line.fail(REPLY, Fault(status=400, message="Invalid reply token"))
        await it.line.say("ann", "hello")
        [answer] = await it.line.seen("ann", 1)
        assert (answer.text, answer.via) == ("echo: hello", "push")


async def test_a_reply_that_line_had_no_time_for_is_made_again_with_the_same_token(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.line.fail(REPLY, BUSY)
        await it.line.say("ann", "hello")
        await ended(gateway, 1, it.clock)
        [answer] = await it.line.seen("ann", 1)
        assert (answer.text, answer.via) == ("echo: hello", "reply")
        assert len(it.model.requests) == 1


@pytest.mark.parametrize("fault", LOST)
async def test_a_push_is_made_again_under_the_same_key(tmp_path: Path, fault: Fault) -> None:
    async with world(tmp_path, channel=PUSHED) as it, it.gateway() as gateway:
        it.line.fail(PUSH, fault, fault)
        await late(it)
        await ended(gateway, 1, it.clock)
        pushes = calls(it.line, PUSH)
        assert len(pushes) == 3
        assert len({push.headers["x-line-retry-key"] for push in pushes}) == 1
        assert screen(it.line) == ["echo: hello"]
        assert it.line.used == 1
        assert pushes[-1].status == (409 if fault.done else 200)


async def test_two_answers_of_the_same_words_are_pushed_under_two_keys(tmp_path: Path) -> None:
    async with world(tmp_path, channel=PUSHED | {"waiting": "message"}) as it, it.gateway() as gateway:
        for n in (1, 2):
            await it.line.say("ann", "hello")
            await ended(gateway, n)
        first, second = calls(it.line, PUSH)
        assert first.headers["x-line-retry-key"] != second.headers["x-line-retry-key"]
        assert len(screen(it.line)) == 4


async def test_a_push_that_used_up_the_quota_without_our_knowing_is_not_repeated(tmp_path: Path) -> None:
    async with world(tmp_path, line=LineSimulator(quota=1)) as it:
        async with it.gateway() as gateway:
            it.line.fail(PUSH, Fault(drop=True, done=True))
            await late(it)
            await state(gateway, 1, "due")
            assert it.line.used == 1
        async with it.gateway() as gateway:  # knows nothing of the quota yet
            await ended(gateway, 1, it.clock)
            await it.line.say("ann", "and?")
            await ended(gateway, 2, it.clock)
            assert screen(it.line) == ["echo: hello", "echo: and?"]


async def test_somebody_who_has_blocked_us_ends_the_turn_quietly(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "hello")
        await it.line.unfollow("ann")
        it.model.release.set()
        [entry] = await ended(gateway, 1)
        assert entry.state == "done"
        assert screen(it.line) == []
        assert it.line.used == 0


async def test_somebody_whom_line_does_not_know_ends_the_turn_as_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        unasked = Inbound("cron-1", it.line.address("nobody"), "push", message=says("assistant", "Rain at eight."))
        await gateway.ledger.accept("line", [unasked])
        await gateway.dispatcher.wake(f"line:{unasked.conversation}")
        [entry] = await ended(gateway, 1)
        assert entry.state == "gone"
        assert len(calls(it.line, PUSH)) == 1


async def test_a_token_that_line_refuses_fails_the_turn_until_it_is_opened_again(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        right, it.line.token = it.line.token, "issued-anew"
        await it.line.say("ann", "hello")
        [entry] = await ended(gateway, 1)
        assert entry.state == "failed"
        assert "401" in entry.error
        assert "access token" in entry.error
        it.line.token = right
        it.clock.advance(120)
        assert await gateway.ledger.reopen(entry.id)
        await gateway.dispatcher.wake(entry.conversation)
        await state(gateway, entry.id, "done")
        assert screen(it.line) == ["echo: hello"]
        assert len(it.model.requests) == 1


async def test_what_was_said_while_line_was_down_arrives_in_order_when_it_is_back(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.line.fail(REPLY, *[BUSY] * 4)
        await it.line.say("ann", "one")
        await until(lambda: calls(it.line, REPLY))
        await state(gateway, 1, "due")
        await it.line.say("ann", "two")
        await it.line.say("bob", "hello")
        entries = await ended(gateway, 3, it.clock)
        assert screen(it.line) == ["echo: one", "echo: two"]
        assert screen(it.line, "bob") == ["echo: hello"]
        assert {entry.state for entry in entries} == {"done"}
        assert len(it.model.requests) == 3
        assert asked(it.model, 1 if asked(it.model, 1)[-1] == "two" else 2) == ["one", "echo: one", "two"]


@pytest.mark.parametrize("fault", LOST)
async def test_the_pieces_of_a_long_answer_come_once_each_whatever_call_fails(tmp_path: Path, fault: Fault) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.reply = lambda _: paragraphs("abcdefg")
        it.line.fail(REPLY, fault)
        it.line.fail(PUSH, fault)
        await it.line.say("ann", "hello")
        await ended(gateway, 1, it.clock)
        assert screen(it.line) == [letter * 4000 for letter in "abcdefg"]


@pytest.mark.parametrize("fault", LOST)
async def test_the_button_for_the_rest_comes_once_whatever_call_fails(tmp_path: Path, fault: Fault) -> None:
    async with world(tmp_path, line=LineSimulator(quota=0)) as it, it.gateway() as gateway:
        it.model.reply = lambda _: paragraphs("abcdefg")
        it.line.fail(REPLY, fault)
        await it.line.say("ann", "hello")
        await ended(gateway, 1, it.clock)
        assert screen(it.line) == [letter * 4000 for letter in "abcd"] + [words("en").more]
        it.line.fail(REPLY, fault)
        await it.line.tap("ann", COLLECT)
        await ended(gateway, 2, it.clock)
        assert screen(it.line)[5:] == [letter * 4000 for letter in "efg"]


async def test_a_refused_first_try_of_the_button_leaves_no_stray_button_behind(tmp_path: Path) -> None:
    async with world(tmp_path, line=LineSimulator(quota=0)) as it, it.gateway() as gateway:
        it.model.reply = lambda _: paragraphs("abcdefg")
        it.line.fail(REPLY, BUSY, BUSY)
        await it.line.say("ann", "hello")
        await ended(gateway, 1, it.clock)
        assert texts(await it.line.seen("ann", 5)) == [letter * 4000 for letter in "abcd"] + [words("en").more]
        assert len(screen(it.line)) == 5
