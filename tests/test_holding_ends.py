"""Requests whose turn ends in another way, whose platform has left, or whose answer is made elsewhere."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from chatferry.delivering.holding import OpenRequest
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.model import APOLOGY, Inbound, says
from chatferry.testing import ManualClock
from tests.open_requests import HOLD, ROOM, WORDS, Process, another


@pytest.fixture
async def here(ledger: Ledger, clock: ManualClock) -> Process:
    return Process(ledger, clock)


# ── turns that end in other ways ─────────────────────────────────────────────────────────────────────────────────


async def test_a_stopped_turn_has_nothing_to_say(here: Process) -> None:
    held = await here.comes("e1")
    task = here.waits(held)
    await here.passes(task, 1.0)
    await here.answers("", finish="stopped")
    assert await task == ""


async def test_an_apology_is_an_answer(here: Process) -> None:
    held = await here.comes("e1")
    await here.answers("sorry", finish=APOLOGY)
    assert await here.said(held) == "sorry"
    [entry] = await here.ledger.entries()
    assert entry.state == "failed"


@pytest.mark.parametrize("state", ["failed", "gone", "done", "withdrawn"])
async def test_a_turn_that_ended_without_an_answer_has_nothing_to_say(here: Process, state: str) -> None:
    held = await here.comes("e1")
    task = here.waits(held)
    await here.passes(task, 1.0)
    await here.ledger.finish(await here.claims(), state=state)
    await here.passes(task, 1.0)
    assert await task == ""


async def test_so_has_a_question_that_was_taken_back(here: Process) -> None:
    held = await here.comes("e1")
    event = msgspec.structs.replace(held.event, event="e2", ref="m2")
    [accepted] = await here.ledger.accept("board", [event])
    task = here.waits(OpenRequest(event, HOLD, accepted, here.clock.now()))
    await here.passes(task, 1.0)
    await here.ledger.accept("board", [Inbound("r", "room", "retract", ref="m2")])
    await here.passes(task, 1.0)
    assert await task == ""


async def test_a_turn_that_is_put_off_is_waited_for(here: Process) -> None:
    held = await here.comes("e1")
    task = here.waits(held)
    await here.passes(task, 1.0)
    await here.ledger.retry(await here.claims(), 0.0, "busy")
    await here.passes(task, 1.0)
    assert not task.done()
    await here.answers("one")
    assert (await task) == "one"


async def test_a_message_that_another_turn_answers_gets_that_answer_once(here: Process) -> None:
    first, second = await here.comes("e1"), await here.comes("e2")
    tasks = [here.waits(first), here.waits(second)]
    await here.passes(tasks[1], 1.0)
    turn = await here.claims()
    turn = await here.ledger.absorb(turn, await here.ledger.waiting(turn, "message"))
    await here.passes(tasks[1], 1.0)
    assert not any(task.done() for task in tasks)
    await here.answers("both", turn)
    async with asyncio.timeout(60):
        replies = await asyncio.gather(*tasks)
    assert sorted(reply for reply in replies if reply is not None) == ["", "both"]


async def test_a_merged_message_is_linked_to_the_turn_that_answers_it(here: Process) -> None:
    await here.comes("e1")
    held = await here.comes("e2", at=here.clock.now() - 12)
    turn = await here.claims()
    await here.ledger.absorb(turn, await here.ledger.waiting(turn, "message"))
    assert here.later(await here.said(held)) == turn.id


# ── late ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("why", ["late", "left"])
async def test_what_nobody_heard_the_last_time_waits_again(here: Process, why: str) -> None:
    held = await here.comes("e1", at=here.clock.now() - 12)
    await here.answers("one")
    reply = await here.hears(held)
    assert reply is not None
    here.left.set() if why == "left" else here.clock.advance(5.0)
    assert not await here.holding.heard(here.board, held, here.left)
    assert [piece.message.text for piece in await here.ledger.parked(ROOM)] == ["one"]
    here.left.clear()
    following = await here.comes("e2")
    await here.answers("two")
    assert await here.said(following) == f"{WORDS.earlier}\n\none\n\n———\n\ntwo"


async def test_where_the_platform_asks_again_it_is_said_again(here: Process) -> None:
    held = await here.comes("e1")
    await here.answers("one")
    reply = await here.hears(held)
    assert reply is not None
    here.clock.advance(5.0)
    assert not await here.holding.heard(here.board, held, here.left)
    assert await here.ledger.parked(ROOM) == []
    assert await here.said(await here.comes("e1")) == "one"


async def test_what_is_said_again_the_last_time_and_comes_too_late_waits_again(here: Process) -> None:
    held = await here.comes("e1")
    await here.answers("one")
    assert await here.said(held) == "one"  # and never arrives
    last = await here.comes("e1", at=here.clock.now() - 12)
    assert await here.said(last) == "one"
    here.clock.advance(5.0)
    assert not await here.holding.heard(here.board, last, here.left)
    assert [piece.message.text for piece in await here.ledger.parked(ROOM)] == ["one"]


async def test_whoever_has_left_is_not_answered(here: Process) -> None:
    held = await here.comes("e1")
    task = here.waits(held)
    await here.passes(task, 1.0)
    here.left.set()
    async with asyncio.timeout(60):
        assert await task is None
    assert (await here.ledger.standing(1)).reply is None


# ── other processes ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_process_that_ends_answers_nobody(here: Process) -> None:
    held = await here.comes("e1", at=here.clock.now() - 12)
    task = here.waits(held)
    await here.passes(task, 1.0)
    here.feed.close()
    async with asyncio.timeout(60):
        assert await task is None
        assert await here.waits(await here.comes("e1")) is None, "nor anybody who comes then"


async def test_but_says_what_is_there(here: Process) -> None:
    held = await here.comes("e1")
    await here.answers("one")
    here.feed.close()
    assert await here.said(held) == "one"


async def test_an_answer_that_another_process_makes_is_seen_soon(
    here: Process, database: Database, clock: ManualClock
) -> None:
    held = await here.comes("e1")
    task = here.waits(held)
    await here.passes(task, 1.0)
    async with another(database, clock) as there:
        await there.answers("one")
        before = clock.now()
        await here.passes(task, 3.0)
        assert (await task) == "one"
        assert clock.now() - before <= 0.6


async def test_the_requests_of_one_event_may_come_to_several_processes(
    here: Process, database: Database, clock: ManualClock
) -> None:
    async with another(database, clock) as there:
        assert await here.said(await here.comes("e1")) is None
        assert await there.said(await there.comes("e1")) is None
        last = await here.comes("e1")
        assert last.accepted.delivery == 3
        link = await here.said(last)
        assert here.later(link) == 1
        assert await there.said(await there.comes("e1")) == link


async def test_a_turn_that_ends_while_it_is_looked_at_is_answered(here: Process) -> None:
    """Its end may be told between two looks at the database, of which the older one still says that it is open."""
    held = await here.comes("e1", at=here.clock.now() - 12)
    turn = await here.claims()
    looks, look = 0, here.ledger.standing

    async def standing(of: int) -> object:
        nonlocal looks
        looks, seen = looks + 1, await look(of)
        if looks == 2:
            await here.answers("one", turn)
        return seen

    here.ledger.standing = standing  # type: ignore[method-assign,assignment]
    assert await here.said(held) == "one"


# ── where nobody knows how people reach us ───────────────────────────────────────────────────────────────────────


async def test_without_an_address_short_answers_are_said_all_the_same(ledger: Ledger, clock: ManualClock) -> None:
    here = Process(ledger, clock, base=None)
    held = await here.comes("e1")
    await here.answers("one")
    assert await here.said(held) == "one"


async def test_and_long_ones_come_piece_by_piece_with_what_is_asked_next(ledger: Ledger, clock: ManualClock) -> None:
    here = Process(ledger, clock, base=None)
    await here.comes("e1")
    turn = await here.claims()
    parts = [says("assistant", letter * 600) for letter in "ab"]
    await ledger.finish(await ledger.answered(turn, says("assistant", "ab"), parts), state="parked")
    assert await here.said(await here.comes("e1")) == "a" * 600
    last = await here.comes("e2", at=clock.now() - 12)
    assert await here.said(last) == "b" * 600, "and no link that leads nowhere"
    assert await here.said(await here.comes("e3", at=clock.now() - 12)) == ""
