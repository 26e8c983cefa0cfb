"""A process that was frozen, or cut off, and comes back when another one has taken its turn: it shows nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatferry.assistant import Assistant
from chatferry.channels.base import Capabilities
from chatferry.config import AssistantSettings
from chatferry.errors import LeaseLost
from chatferry.held import Held
from chatferry.ledger.ledger import Ledger
from chatferry.model import Inbound, says
from chatferry.testing import Board, LiveEngine, ManualClock
from tests.growing import LEASE, WORDS, World, asks, world
from tests.scenarios.support import until

WHOLE = Capabilities(markdown=True, unprompted="always")
"""A board on which nothing grows."""


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as one:
        yield one


async def back(frozen: ManualClock) -> None:
    """It goes on where it was, and much time has passed."""
    frozen.advance(2 * LEASE)
    for _ in range(200):
        frozen.advance(0.1)
        await asyncio.sleep(0.001)


async def test_who_was_frozen_while_the_model_spoke_edits_nothing_more(talk: World) -> None:
    frozen = ManualClock()
    async with talk.process(frozen) as first:
        await first.accept(asks("e1", "What is it?"))
        one = await talk.engine.asked()
        await until(lambda: talk.screen == [WORDS.answering], frozen, turn=0.01)
        one.says("It is a")
        await until(lambda: talk.screen == ["It is a"], frozen, turn=0.1)
        talk.clock.advance(2 * LEASE)
        async with talk.process(talk.clock) as second:
            two = await talk.asked()
            two.ends("It was a ferry.")
            [turn] = await talk.ended(second)
            assert talk.screen == ["It was a ferry."]
            calls = list(talk.board.calls)
            one.says(" bridge")
            one.ends(".")
            await back(frozen)
            assert talk.board.calls == calls
            assert talk.screen == ["It was a ferry."]
            assert (turn.state, turn.attempts) == ("done", 2)
            assert await talk.said(second) == ["What is it?", "It was a ferry."]


async def test_who_was_frozen_with_an_answer_in_hand_does_not_send_it_again(talk: World) -> None:
    talk.board.waits = None  # the answer is sent when it is there
    frozen = ManualClock()
    async with talk.process(frozen) as first:
        await first.accept(asks("e1"))
        one = await talk.engine.asked()
        talk.clock.advance(2 * LEASE)
        async with talk.process(talk.clock) as second:
            two = await talk.asked()
            two.ends("second")
            await talk.ended(second)
            one.ends("first")
            await back(frozen)
            assert talk.screen == ["second"]
            assert len(talk.calls("send")) == 1


async def test_who_is_only_slow_keeps_its_turn(talk: World) -> None:
    slow = ManualClock()
    async with talk.process(slow) as first, talk.process(talk.clock):
        await first.accept(asks("e1"))
        one = await talk.engine.asked()
        for _ in range(100):  # both live through more than a lease, the slow one a little behind
            talk.clock.advance(1.0)
            slow.advance(1.0)
            await asyncio.sleep(0.001)
            await first.ledger.accept("board", [])  # what is renewed is written before more time passes
        one.ends("still mine")
        await until(lambda: talk.screen == ["still mine"], slow, turn=0.1)
        assert len(talk.engine.talks) == 1


async def held_by(ledger: Ledger, clock: ManualClock) -> Held:
    await ledger.accept("board", [Inbound("e1", "room", message=says("user", "hi"))])
    turn = await ledger.claim("board:room")
    assert turn is not None
    assistant = Assistant("default", AssistantSettings(language="en"), LiveEngine(), WORDS)
    return Held(turn, Board(clock, caps=WHOLE), assistant, asyncio.Event(), clock.now() + ledger.lease)


async def test_before_a_call_whose_lease_has_run_out_is_renewed(ledger: Ledger, clock: ManualClock) -> None:
    held = await held_by(ledger, clock)
    clock.advance(ledger.lease + 1.0)
    await held.secure(ledger, clock)
    assert held.until == clock.now() + ledger.lease
    clock.advance(ledger.lease - 1.0)
    assert await ledger.claim("board:room") is None


async def test_before_a_call_whose_turn_was_taken_over_it_is_lost(ledger: Ledger, clock: ManualClock) -> None:
    held = await held_by(ledger, clock)
    clock.advance(ledger.lease + 1.0)
    taken = await ledger.claim("board:room")
    assert taken is not None
    assert (taken.lease, taken.taken_over) == (2, True)
    with pytest.raises(LeaseLost):
        await held.secure(ledger, clock)


async def test_where_nobody_could_renew_nobody_is_taken_over_for_a_lease(ledger: Ledger, clock: ManualClock) -> None:
    held = await held_by(ledger, clock)
    clock.advance(ledger.lease + 1.0)
    ledger.beware()
    assert await ledger.due() == []
    assert await ledger.claim("board:room") is None
    clock.advance(ledger.lease)
    assert await ledger.due() == [("board:room", False)]
    taken = await ledger.claim("board:room")
    assert taken is not None
    assert taken.lease == held.turn.lease + 1
