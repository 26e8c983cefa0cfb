"""What begins and ends sessions and answers, on a real database file, once, and past the queue."""

from __future__ import annotations

import asyncio

import pytest

from chatferry.errors import LeaseLost
from chatferry.ledger.accepting import Accepted
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.model import APOLOGY, Inbound, says
from chatferry.testing import ManualClock
from tests.talking import (
    ALWAYS,
    IGNORED,
    LANE,
    ROOM,
    TTL,
    answers,
    asks,
    begins,
    came_of,
    claimed,
    gate,
    inbound,
    known,
    orders,
    rows,
    takes,
)

# ── stop and clear ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_stop_ends_the_session_and_every_answer_that_is_owed(ledger: Ledger) -> None:
    await begins(ledger)
    running = await takes(ledger, asks("e1"), gate())
    await takes(ledger, asks("e2"), gate())
    elsewhere = await takes(ledger, asks("e3", room="elsewhere"), None)
    await claimed(ledger)
    stop = await takes(ledger, orders("s", "stop"), gate())
    assert (stop.ends, stop.lane, await came_of(ledger, stop)) == (running.turn, LANE, "ended")
    assert await takes(ledger, asks("e4"), gate()) == IGNORED
    shown = [await ledger.shown(turn) for turn in (running.turn, running.turn + 1, elsewhere.turn)]
    assert [one and one.stopped for one in shown] == [True, True, False]


async def test_stop_leaves_what_is_answered_and_what_comes_later(ledger: Ledger) -> None:
    await takes(ledger, asks("e1"), None)
    turn = await ledger.answered(await claimed(ledger), says("assistant", "reply"), [says("assistant", "reply")])
    stop = await takes(ledger, orders("s", "stop"), None)
    assert (stop.ends, await came_of(ledger, stop)) == (0, "nothing")
    later = await takes(ledger, asks("e2"), None)
    await ledger.finish(turn)
    claimed_ = await claimed(ledger)
    assert (claimed_.id, claimed_.stopped) == (later.turn, False)


async def test_stop_without_a_session_ends_the_answer(ledger: Ledger) -> None:
    asked = await takes(ledger, asks("e1"), None)
    await claimed(ledger)
    stop = await takes(ledger, orders("s", "stop"), None)
    assert (stop.ends, await came_of(ledger, stop)) == (asked.turn, "stopped")


async def test_stop_outside_of_a_session_has_nothing_to_end(ledger: Ledger) -> None:
    stop = await takes(ledger, orders("s", "stop"), gate())
    assert await came_of(ledger, stop) == "nothing"


async def test_stop_does_not_stop_a_greeting_or_another_command(ledger: Ledger) -> None:
    await takes(ledger, Inbound("g", "room", "greeting"), None)
    await takes(ledger, orders("h", "help"), None)
    assert await came_of(ledger, await takes(ledger, orders("s", "stop"), None)) == "nothing"
    assert not (await claimed(ledger)).stopped
    assert not (await claimed(ledger, LANE)).stopped


async def test_after_clear_nothing_older_is_known(ledger: Ledger) -> None:
    await begins(ledger)
    await takes(ledger, asks("e1", "one"), gate())
    await answers(ledger, "first")
    clear = await takes(ledger, orders("c", "clear"), gate())
    assert await came_of(ledger, clear) == "began"
    more = await takes(ledger, asks("e2", "two"), gate())
    assert await known(ledger, more.turn) == []
    await answers(ledger, "second")
    last = await takes(ledger, asks("e3"), gate())
    assert await known(ledger, last.turn) == ["two", "second"]
    whole = [one.message.text for one in await ledger.said(ROOM)][::-1]
    assert whole == ["one", "first", "two", "second"], "and the people's own history has all"


async def test_clear_works_where_there_are_no_sessions(ledger: Ledger) -> None:
    await takes(ledger, asks("e1", "one"), None)
    await answers(ledger)
    assert await came_of(ledger, await takes(ledger, orders("c", "clear"), None)) == "began"
    more = await takes(ledger, asks("e2"), None)
    assert await known(ledger, more.turn) == []


async def test_an_answer_in_the_making_stays_in_the_session_of_its_question(ledger: Ledger) -> None:
    await begins(ledger)
    asked = await takes(ledger, asks("e1", "one"), gate())
    turn = await claimed(ledger)
    clear = await takes(ledger, orders("c", "clear"), gate())
    assert clear.ends == 0
    more = await takes(ledger, asks("e2", "two"), gate())
    reply = says("assistant", "first")
    await ledger.finish(await ledger.answered(turn, reply, []), [says("user", "one"), reply])
    assert await known(ledger, more.turn) == []
    assert await known(ledger, asked.turn) == ["one", "first"]


async def test_what_is_asked_again_by_hand_does_not_know_of_later_sessions(ledger: Ledger) -> None:
    await takes(ledger, asks("e1", "one"), None)
    turn = await claimed(ledger)
    await ledger.finish(await ledger.answered(turn, says("assistant", "sorry"), [], finish=APOLOGY))
    await takes(ledger, orders("c", "clear"), None)
    await takes(ledger, asks("e2", "two"), None)
    await answers(ledger, "second")
    assert await ledger.reopen(turn.id)
    assert await known(ledger, turn.id) == []


async def test_sessions_are_told_for_the_turns_that_fall_in_them(ledger: Ledger, clock: ManualClock) -> None:
    began = await begins(ledger)
    asked = await takes(ledger, asks("e1"), gate())
    clock.advance(1)
    clear = await takes(ledger, orders("c", "clear"), gate())
    stop = await takes(ledger, orders("s", "stop"), gate())
    all_ = await ledger.sections(ROOM, 0, stop.turn)
    assert [(one.turn, one.open) for one in all_] == [(stop.turn, False), (clear.turn, True), (began.turn, True)]
    assert all_[1].began_at == all_[2].began_at + 1
    assert await ledger.sections(ROOM, asked.turn, asked.turn) == [all_[2]]
    assert await ledger.sections(ROOM, asked.turn, clear.turn) == [all_[1], all_[2]]
    assert await ledger.sections("board:elsewhere", 0, stop.turn) == []


# ── the same again ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_that_is_delivered_again_changes_nothing_again(ledger: Ledger, database: Database) -> None:
    began = await begins(ledger)
    stop = await takes(ledger, orders("s", "stop"), gate())
    assert await begins(ledger) == Accepted(began.turn, False, delivery=2)
    assert await takes(ledger, asks("e1"), gate()) == IGNORED
    another = await takes(ledger, orders("again", "start"), gate())
    assert await takes(ledger, asks("e2"), gate()) != IGNORED
    assert await takes(ledger, orders("s", "stop"), gate()) == Accepted(stop.turn, False, delivery=2)
    assert await rows(database) == [(began.turn, True), (stop.turn, False), (another.turn, True)]
    assert not (await claimed(ledger)).stopped
    assert await came_of(ledger, stop) == "ended"


async def test_a_message_that_is_delivered_again_after_its_session_is_the_same_turn(
    ledger: Ledger, clock: ManualClock, database: Database
) -> None:
    await begins(ledger)
    asked = await takes(ledger, asks("e1"), gate())
    await takes(ledger, orders("s", "stop"), gate())
    before = await rows(database)
    assert await takes(ledger, asks("e1"), gate()) == Accepted(asked.turn, False, delivery=2)
    clock.advance(TTL + 1)
    assert await takes(ledger, asks("e1"), gate()) == Accepted(asked.turn, False, delivery=3)
    assert await rows(database) == before


async def test_a_message_that_is_delivered_again_does_not_keep_the_session_alive(
    ledger: Ledger, clock: ManualClock
) -> None:
    await begins(ledger)
    await takes(ledger, asks("e1"), gate())
    await ledger.finish(await claimed(ledger))
    clock.advance(TTL * 0.9)
    await takes(ledger, asks("e1"), gate())
    clock.advance(TTL * 0.9)
    assert (await inbound(ledger, await takes(ledger, asks("e2"), gate()))).command == "expired"


async def test_the_word_that_silence_ended_it_is_one_turn_however_often_its_event_comes(
    ledger: Ledger, clock: ManualClock
) -> None:
    await begins(ledger)
    clock.advance(TTL + 1)
    first, copy = await ledger.accept("board", [asks("e1"), asks("e1")], [gate()] * 2)
    assert (first.new, copy.new, copy.turn) == (True, False, first.turn)
    await takes(ledger, orders("again", "start"), gate())
    assert (await takes(ledger, asks("e1"), gate())).turn == first.turn
    assert (await inbound(ledger, first)).command == "expired"


async def test_two_copies_of_a_command_in_one_write_are_one(ledger: Ledger, database: Database) -> None:
    results = await asyncio.gather(*[begins(ledger) for _ in range(5)])
    assert sum(result.new for result in results) == 1
    assert len({result.turn for result in results}) == 1
    assert len(await rows(database)) == 1


# ── past the queue ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_is_done_while_an_answer_is_made_and_commands_in_their_order(ledger: Ledger) -> None:
    await takes(ledger, asks("e1"), None)
    await claimed(ledger)
    await ledger.accept("board", [orders("h", "help"), orders("y", "history")], [None, None])
    assert await ledger.due() == [(LANE, False)]
    first = await claimed(ledger, LANE)
    assert first.inbound.command == "help"
    assert first.conversation == LANE
    assert await ledger.claim(LANE) is None
    await ledger.finish(first)
    assert (await claimed(ledger, LANE)).inbound.command == "history"


async def test_what_is_said_to_a_command_is_no_part_of_the_talk(ledger: Ledger) -> None:
    await takes(ledger, orders("h", "help"), None)
    await answers(ledger, lane=LANE)
    assert await ledger.said(ROOM) == []
    shown = await ledger.shown(1)
    assert shown is not None
    assert shown.conversation == ROOM


async def test_whoever_begins_a_session_among_people_makes_us_take_part(ledger: Ledger) -> None:
    assert await takes(ledger, asks("e0", joined=True), gate()) == IGNORED
    await begins(ledger)
    assert (await takes(ledger, asks("e1", joined=True), gate())).new
    assert (await takes(ledger, asks("e2", joined=True, room="elsewhere"), None)) == IGNORED


async def test_what_is_passed_over_begins_nothing(ledger: Ledger, database: Database) -> None:
    """Nobody has spoken to us there."""
    assert await takes(ledger, asks("e1", joined=True), ALWAYS) == IGNORED
    assert await rows(database) == []


async def test_whoever_holds_a_command_loses_it_like_any_turn(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    first = await claimed(ledger, LANE)
    clock.advance(61)
    again = await claimed(ledger, LANE)
    assert (again.id, again.finish) == (first.id, "began"), "what came of it is kept"
    with pytest.raises(LeaseLost):
        await ledger.finish(first)
