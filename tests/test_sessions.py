"""Sessions on a real database file: who is let in, and what silence does."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.sessions import Gate
from chatferry.model import APOLOGY, says
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
    claimed_and_closed,
    gate,
    inbound,
    known,
    opening,
    orders,
    rows,
    takes,
    told,
)
from tests.test_plans import executed

# ── the gate ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_where_there_are_no_sessions_and_no_commands_nothing_is_asked_about_them(ledger: Ledger) -> None:
    with executed() as statements:
        await ledger.accept("board", [asks("e1"), asks("e2")], [None, None])
        await ledger.accept("board", [asks("e1")])
    assert statements
    assert not [statement for statement in statements if "sessions" in statement]


async def test_outside_of_a_session_a_message_is_not_for_us_and_nothing_is_kept_of_it(ledger: Ledger) -> None:
    assert await takes(ledger, asks("e1"), gate()) == IGNORED
    assert await ledger.entries() == []
    assert await ledger.due() == []


async def test_or_it_counts_as_the_gate_says(ledger: Ledger) -> None:
    event = asks("e1")
    accepted = await takes(ledger, event, gate(outside=told(event)))
    assert (accepted.new, accepted.lane) == (True, LANE)
    assert (await inbound(ledger, accepted)).reply == "not here"
    assert await ledger.claim(ROOM) is None
    assert (await claimed(ledger, LANE)).id == accepted.turn


async def test_another_assistant_answers_outside_in_the_same_queue(ledger: Ledger) -> None:
    event = asks("e1")
    accepted = await takes(ledger, event, gate(outside=msgspec.structs.replace(event, assistant="other")))
    assert (await claimed(ledger)).inbound.assistant == "other"
    assert accepted.lane == ROOM


async def test_start_begins_a_session_and_lets_messages_in(ledger: Ledger) -> None:
    began = await begins(ledger)
    assert (began.new, began.lane, await came_of(ledger, began)) == (True, LANE, "began")
    inside = await takes(ledger, asks("e1"), gate())
    assert inside.new
    assert (await claimed(ledger)).inbound == asks("e1")


async def test_a_session_is_of_one_conversation(ledger: Ledger) -> None:
    await begins(ledger)
    assert await takes(ledger, asks("e1", room="elsewhere"), gate()) == IGNORED
    assert await ledger.accept("board-2", [asks("e1")], [gate()]) == [IGNORED]


async def test_start_in_a_session_is_told_so_and_changes_nothing(ledger: Ledger, database: Database) -> None:
    began = await begins(ledger)
    again = await takes(ledger, orders("again", "start"), gate())
    assert await came_of(ledger, again) == "ongoing"
    assert await rows(database) == [(began.turn, True)]


@pytest.mark.parametrize("its", [None, gate(always=True), gate(None, always=True)])
async def test_where_no_session_is_needed_start_says_so(ledger: Ledger, database: Database, its: Gate | None) -> None:
    assert await came_of(ledger, await begins(ledger, its) if its else await takes(ledger, orders("s", "start"), None))
    [entry] = await ledger.entries()
    assert entry.finish == "open"
    assert await rows(database) == []


async def test_a_question_behind_start_is_in_the_session_that_it_begins(ledger: Ledger, database: Database) -> None:
    asked = await takes(ledger, opening("e1", "what?"), gate())
    assert (asked.new, asked.lane) == (True, ROOM)
    assert (await claimed(ledger)).inbound.message == says("user", "what?")
    assert await rows(database) == [(asked.turn, True)]
    assert (await takes(ledger, asks("e2"), gate())).new
    again = await takes(ledger, opening("e3", "and?"), gate())
    assert again.new
    assert await rows(database) == [(asked.turn, True)], "it goes on"


async def test_events_of_one_delivery_count_in_their_order(ledger: Ledger) -> None:
    events = [asks("e1"), orders("s1", "start"), asks("e2"), orders("s2", "stop"), asks("e3")]
    before, began, inside, ended, after = await ledger.accept("board", events, [gate()] * 5)
    assert (before, after) == (IGNORED, IGNORED)
    assert began.turn < inside.turn < ended.turn
    assert [await came_of(ledger, one) for one in (began, ended)] == ["began", "ended"]
    assert (await claimed(ledger)).stopped


async def test_deliveries_that_are_written_together_count_in_their_order(ledger: Ledger) -> None:
    events = [asks("e1"), orders("s1", "start"), asks("e2"), orders("c", "clear"), asks("e3"), orders("s2", "stop"),
              asks("e4"), orders("s3", "start"), asks("e5")]  # fmt: skip
    results = await asyncio.gather(*[takes(ledger, event, gate()) for event in events])
    assert [bool(result.turn) for result in results] == [False, True, True, True, True, True, False, True, True]
    turns = [result.turn for result in results if result.turn]
    assert turns == sorted(turns)
    assert [await came_of(ledger, results[i]) for i in (1, 3, 5, 7)] == ["began", "began", "ended", "began"]
    found = await ledger.sections(ROOM, 0, turns[-1])
    assert [(one.turn, one.open) for one in reversed(found)] == [
        (results[1].turn, True), (results[3].turn, True), (results[5].turn, False), (results[7].turn, True),
    ]  # fmt: skip
    assert [(await claimed_and_closed(ledger)).stopped for _ in range(3)] == [True, True, False]


async def test_a_conversation_of_many_channels_and_rooms_is_written_together_without_mixing(ledger: Ledger) -> None:
    rooms = [f"room {n}" for n in range(20)]
    begun = [takes(ledger, orders(f"s {room}", "start", room=room), gate()) for room in rooms[::2]]
    asked = [takes(ledger, asks(f"e {room}", room=room), gate()) for room in rooms]
    results = (await asyncio.gather(*begun, *asked))[len(begun) :]
    assert [bool(result.turn) for result in results] == [True, False] * 10


# ── silence ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_silence_ends_a_session_and_is_told_once(ledger: Ledger, clock: ManualClock, database: Database) -> None:
    began = await begins(ledger)
    clock.advance(TTL + 1)
    late = await takes(ledger, asks("e1"), gate())
    assert (await inbound(ledger, late)).command == "expired"
    assert (late.lane, (await inbound(ledger, late)).kind) == (LANE, "command")
    assert await rows(database) == [(began.turn, True), (late.turn, False)]
    assert await takes(ledger, asks("e2"), gate()) == IGNORED
    clock.advance(TTL + 1)
    assert await takes(ledger, asks("e3"), gate()) == IGNORED


async def test_silence_is_told_once_however_many_come_at_once(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    clock.advance(TTL + 1)
    results = await asyncio.gather(*[takes(ledger, asks(f"e{n}"), gate()) for n in range(5)])
    assert [bool(result.turn) for result in results] == [True, False, False, False, False]


async def test_until_then_it_lasts(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    clock.advance(TTL)
    assert (await inbound(ledger, await takes(ledger, asks("e1"), gate()))).kind == "message"


async def test_an_event_that_counts_outside_says_that_the_session_is_over(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    clock.advance(TTL + 1)
    first, second = asks("e1"), asks("e2")
    late = await inbound(ledger, await takes(ledger, first, gate(outside=told(first))))
    later = await inbound(ledger, await takes(ledger, second, gate(outside=told(second))))
    assert (late.reply, late.expired) == ("not here", True)
    assert (later.reply, later.expired) == ("not here", False)


async def test_whatever_is_said_keeps_it_alive(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    for n in range(4):
        clock.advance(TTL * 0.9)
        accepted = await takes(ledger, asks(f"e{n}"), gate())
        assert (await inbound(ledger, accepted)).kind == "message"
        await ledger.finish(await claimed(ledger))


async def test_start_keeps_it_alive_too(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    clock.advance(TTL * 0.9)
    await takes(ledger, orders("again", "start"), gate())
    clock.advance(TTL * 0.9)
    assert (await inbound(ledger, await takes(ledger, asks("e1"), gate()))).kind == "message"


async def test_silence_counts_from_the_answer(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    await takes(ledger, asks("e1"), gate())
    clock.advance(TTL * 2)
    await answers(ledger)
    clock.advance(TTL * 0.9)
    assert (await inbound(ledger, await takes(ledger, asks("e2"), gate()))).kind == "message"
    await answers(ledger)
    clock.advance(TTL + 1)
    assert (await inbound(ledger, await takes(ledger, asks("e3"), gate()))).command == "expired"


@pytest.mark.parametrize("finish", [APOLOGY, "stopped"])
async def test_silence_counts_from_an_apology_or_a_stop_too(ledger: Ledger, clock: ManualClock, finish: str) -> None:
    await begins(ledger)
    await takes(ledger, asks("e1"), gate())
    clock.advance(TTL * 2)
    turn = await ledger.answered(await claimed(ledger), says("assistant", ""), [], finish=finish)
    await ledger.finish(turn, [says("user", "hi")] if finish == "stopped" else [])
    clock.advance(TTL * 0.9)
    assert (await inbound(ledger, await takes(ledger, asks("e2"), gate()))).kind == "message"
    await ledger.finish(await claimed(ledger))
    clock.advance(TTL + 1)
    assert (await inbound(ledger, await takes(ledger, asks("e3"), gate()))).command == "expired"


async def test_silence_counts_from_the_answer_where_others_talked_meanwhile(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    await takes(ledger, asks("e1"), gate())
    heard = msgspec.structs.replace(asks("h1", "lunch?", joined=True), kind="heard")
    assert (await takes(ledger, heard, None)).new
    clock.advance(TTL * 2)
    await answers(ledger)
    clock.advance(TTL * 0.9)
    assert (await inbound(ledger, await takes(ledger, asks("e2"), gate()))).kind == "message"


@pytest.mark.parametrize("waits", [False, True])
async def test_no_silence_counts_while_an_answer_is_made(ledger: Ledger, clock: ManualClock, waits: bool) -> None:
    await begins(ledger)
    await takes(ledger, asks("e1"), gate())
    turn = await claimed(ledger)
    if waits:
        await ledger.retry(turn, 10 * TTL, "busy")
    clock.advance(TTL * 2)
    assert (await inbound(ledger, await takes(ledger, asks("e2"), gate()))).kind == "message"


async def test_a_session_without_an_end_lasts(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger, gate(None))
    clock.advance(365 * 86400.0)
    assert (await inbound(ledger, await takes(ledger, asks("e1"), gate(None)))).kind == "message"


async def test_start_after_silence_begins_anew_without_a_word_about_it(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    clock.advance(TTL + 1)
    asked = await takes(ledger, opening("e1", "what?"), gate())
    assert (await inbound(ledger, asked)) == opening("e1", "what?")
    assert [one.turn for one in await ledger.sections(ROOM, asked.turn, asked.turn)] == [asked.turn]
    await ledger.finish(await claimed(ledger))
    clock.advance(TTL + 1)
    assert await came_of(ledger, await takes(ledger, orders("s2", "start"), gate())) == "began"


async def test_stop_after_silence_has_nothing_to_end(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    clock.advance(TTL + 1)
    assert await came_of(ledger, await takes(ledger, orders("s2", "stop"), gate())) == "nothing"


async def test_clear_after_silence_begins_a_session(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    clock.advance(TTL + 1)
    assert await came_of(ledger, await takes(ledger, orders("c", "clear"), gate())) == "began"
    assert (await takes(ledger, asks("e1"), gate())).new


# ── without a gate to pass ───────────────────────────────────────────────────────────────────────────────────────


async def test_where_everything_is_inside_silence_begins_a_new_session_and_says_so_once(
    ledger: Ledger, clock: ManualClock
) -> None:
    await takes(ledger, asks("e1", "one"), ALWAYS)
    await answers(ledger, "first")
    clock.advance(TTL + 1)
    late = await takes(ledger, asks("e2", "two"), ALWAYS)
    assert (await inbound(ledger, late)) == msgspec.structs.replace(asks("e2", "two"), expired=True)
    assert await known(ledger, late.turn) == []
    await answers(ledger, "second")
    more = await takes(ledger, asks("e3", "three"), ALWAYS)
    assert not (await inbound(ledger, more)).expired
    assert await known(ledger, more.turn) == ["two", "second"]


async def test_there_what_was_asked_with_start_belongs_to_what_follows(ledger: Ledger, clock: ManualClock) -> None:
    await takes(ledger, opening("e1", "one"), ALWAYS)
    await answers(ledger, "first")
    more = await takes(ledger, asks("e2", "two"), ALWAYS)
    assert await known(ledger, more.turn) == ["one", "first"]
    await answers(ledger, "second")
    clock.advance(TTL + 1)
    assert (await inbound(ledger, await takes(ledger, asks("e3"), ALWAYS))).expired


async def test_there_start_after_silence_begins_anew(ledger: Ledger, clock: ManualClock) -> None:
    await takes(ledger, asks("e1", "one"), ALWAYS)
    await answers(ledger, "first")
    clock.advance(TTL + 1)
    more = await takes(ledger, opening("e2", "two"), ALWAYS)
    assert await known(ledger, more.turn) == []


async def test_there_stop_ends_answers_and_no_session(ledger: Ledger, database: Database) -> None:
    asked = await takes(ledger, asks("e1"), ALWAYS)
    stop = await takes(ledger, orders("s", "stop"), ALWAYS)
    assert await came_of(ledger, stop) == "stopped"
    assert (await claimed(ledger)).stopped
    assert await rows(database) == [(asked.turn, True)]


async def test_whoever_was_outside_when_the_gate_was_taken_away_is_inside(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    await takes(ledger, asks("e0", "old"), gate())
    await answers(ledger)
    await takes(ledger, orders("s", "stop"), gate())
    event = asks("e1", "new")
    inside = await takes(ledger, event, gate(always=True, outside=told(event)))
    assert await inbound(ledger, inside) == event
    more = await takes(ledger, asks("e2"), ALWAYS)
    assert await known(ledger, more.turn) == []
    assert [one.turn for one in await ledger.sections(ROOM, more.turn, more.turn)] == [inside.turn]


async def test_so_it_is_where_silence_does_not_matter(ledger: Ledger, clock: ManualClock) -> None:
    await begins(ledger)
    await takes(ledger, orders("s", "stop"), gate())
    clock.advance(TTL * 2)
    inside = await takes(ledger, asks("e1"), gate(None, always=True))
    assert await inbound(ledger, inside) == asks("e1")
