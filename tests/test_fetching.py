"""Answers that nobody sends, on a real database file: said in a response, read on a page, stopped, or left behind."""

from __future__ import annotations

import asyncio

import pytest

from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Entry, Standing
from chatferry.model import APOLOGY, Attempt, Inbound, Receipt, Turn, says
from chatferry.testing import ManualClock

ROOM = "board:room"


async def takes(ledger: Ledger, event: str, *, command: str = "") -> int:
    inbound = Inbound(event, "room", "command" if command else "message", says("user", event), "ann", command=command)
    [accepted] = await ledger.accept("board", [inbound])
    return accepted.turn


async def claimed(ledger: Ledger, lane: str = ROOM) -> Turn:
    turn = await ledger.claim(lane)
    assert turn is not None
    return turn


async def parks(ledger: Ledger, event: str, *texts: str, finish: str = "", command: str = "") -> int:
    """A turn whose answer, in these pieces, waits to be fetched."""
    await takes(ledger, event, command=command)
    turn = await claimed(ledger, f"!{ROOM}" if command else ROOM)
    said = [says("assistant", text) for text in texts]
    turn = await ledger.answered(turn, says("assistant", "\n\n".join(texts)), said, finish=finish)
    await ledger.finish(turn, [says("user", event)], state="parked")
    return turn.id


async def waiting(ledger: Ledger) -> dict[str, int]:
    """The pieces that wait, by their text."""
    return {piece.message.text: piece.id for piece in await ledger.parked(ROOM)}


async def entry(ledger: Ledger, turn: int) -> Entry:
    [found] = await ledger.entries(turn=turn)
    return found


async def state(ledger: Ledger, turn: int) -> str:
    return (await entry(ledger, turn)).state


# ── in a response ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_response_says_is_kept_and_what_is_in_it_is_out(ledger: Ledger, clock: ManualClock) -> None:
    turn = await parks(ledger, "e1", "one", "two")
    clock.advance(5)
    assert await ledger.replied(turn, "one, two", list((await waiting(ledger)).values())) == "one, two"
    assert await waiting(ledger) == {}
    assert await ledger.standing(turn) == Standing(turn, False, "one, two")
    done = await entry(ledger, turn)
    assert (done.state, done.finished_at) == ("done", clock.now())


async def test_a_part_of_an_answer_may_go_out(ledger: Ledger) -> None:
    turn = await parks(ledger, "e1", "one", "two")
    pieces = await waiting(ledger)
    await ledger.replied(turn, "one", [pieces["one"]])
    assert list(await waiting(ledger)) == ["two"]
    assert await state(ledger, turn) == "parked"


async def test_an_apology_that_is_out_is_a_failure_still(ledger: Ledger) -> None:
    turn = await parks(ledger, "e1", "sorry", finish=APOLOGY)
    await ledger.replied(turn, "sorry", list((await waiting(ledger)).values()))
    assert await state(ledger, turn) == "failed"


async def test_earlier_answers_go_out_in_the_response_to_a_question_that_is_open(ledger: Ledger) -> None:
    earlier = await parks(ledger, "e1", "one")
    command = await parks(ledger, "e2", "help", command="help")
    now = await takes(ledger, "e3")
    assert list(await waiting(ledger)) == ["one", "help"]
    await ledger.replied(now, "all", list((await waiting(ledger)).values()))
    assert [await state(ledger, turn) for turn in (earlier, command, now)] == ["done", "done", "due"]
    assert await ledger.standing(now) == Standing(now, True, "all")


async def test_a_request_is_answered_once_and_says_the_same_again(ledger: Ledger) -> None:
    turn = await parks(ledger, "e1", "one")
    pieces = list((await waiting(ledger)).values())
    texts = await asyncio.gather(*[ledger.replied(turn, f"text {n}", pieces) for n in range(5)])
    assert texts == ["text 0"] * 5
    later = await parks(ledger, "e2", "two")
    assert await ledger.replied(turn, "more", list((await waiting(ledger)).values())) == "text 0"
    assert await state(ledger, later) == "parked"


async def test_nothing_is_an_answer_too(ledger: Ledger) -> None:
    turn = await takes(ledger, "e1")
    assert await ledger.replied(turn, "", []) == ""
    assert await ledger.replied(turn, "text", []) == ""


async def test_of_two_requests_with_the_same_piece_the_other_has_to_look_again(ledger: Ledger) -> None:
    shared = await parks(ledger, "e1", "one")
    second, third = await takes(ledger, "e2"), await takes(ledger, "e3")
    pieces = list((await waiting(ledger)).values())
    said = await asyncio.gather(*[ledger.replied(turn, str(turn), pieces) for turn in (second, third)])
    assert said == [str(second), None]
    assert (await ledger.standing(third)).reply is None
    assert await state(ledger, shared) == "done"


@pytest.mark.parametrize("way", ["opened", "sent", "gone", "sending"])
async def test_what_goes_out_in_another_way_meanwhile_is_not_said(ledger: Ledger, way: str) -> None:
    earlier, own = await parks(ledger, "e1", "one"), await parks(ledger, "e2", "two")
    pieces = await waiting(ledger)
    last = await takes(ledger, "e3")
    if way == "opened":
        await ledger.opened(earlier)
    elif way == "gone":
        assert await ledger.reopen(earlier)
    else:
        turn = await claimed(ledger)
        assert turn.id == last
        [first, _] = await ledger.pending(ROOM)
        turn = await ledger.sending(turn, [first], Attempt(key="key"))
        if way == "sent":
            await ledger.sent(turn, [(first, Receipt())])
    assert await ledger.replied(own, "one, two", list(pieces.values())) is None
    assert (await ledger.standing(own)).reply is None
    assert list(await waiting(ledger)) == ["two"], "nothing was written"
    assert await ledger.replied(own, "two", [pieces["two"]]) == "two"


async def test_what_could_not_be_sent_after_all_waits_again(ledger: Ledger) -> None:
    await parks(ledger, "e1", "one")
    await takes(ledger, "e2")
    turn = await claimed(ledger)
    pieces = await ledger.pending(ROOM)
    turn = await ledger.sending(turn, pieces, Attempt(key="key"))
    assert await waiting(ledger) == {}
    await ledger.unsent(turn, pieces)
    assert list(await waiting(ledger)) == ["one"]


# ── that nobody heard ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("finish", ["", APOLOGY])
async def test_a_response_that_came_too_late_was_never_said(ledger: Ledger, finish: str) -> None:
    earlier, turn = await parks(ledger, "e1", "one"), await parks(ledger, "e2", "two", finish=finish)
    pieces = await waiting(ledger)
    await ledger.replied(turn, "one, two", list(pieces.values()))
    await ledger.unreplied(turn, ROOM)
    assert await waiting(ledger) == pieces
    assert [await state(ledger, one) for one in (earlier, turn)] == ["parked", "parked"]
    assert await ledger.standing(turn) == Standing(turn, False, None)
    assert await ledger.replied(turn, "again", list(pieces.values())) == "again"


async def test_a_question_that_is_still_open_stays_so(ledger: Ledger) -> None:
    earlier, turn = await parks(ledger, "e1", "one"), await takes(ledger, "e2")
    pieces = list((await waiting(ledger)).values())
    await ledger.replied(turn, "one, and later", pieces)
    await ledger.unreplied(turn, ROOM)
    assert [await state(ledger, one) for one in (earlier, turn)] == ["parked", "due"]


# ── on a page ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_read_on_its_page_waits_no_more(ledger: Ledger) -> None:
    read, other = await parks(ledger, "e1", "one", "two"), await parks(ledger, "e2", "three")
    await ledger.opened(read)
    await ledger.opened(read)
    assert list(await waiting(ledger)) == ["three"]
    assert [await state(ledger, turn) for turn in (read, other)] == ["done", "parked"]


async def test_an_apology_that_was_read_is_a_failure_still(ledger: Ledger) -> None:
    turn = await parks(ledger, "e1", "sorry", finish=APOLOGY)
    await ledger.opened(turn)
    assert await state(ledger, turn) == "failed"


async def test_to_read_what_is_not_parked_changes_nothing(ledger: Ledger) -> None:
    await takes(ledger, "e1")
    await ledger.opened(1)
    turn = await claimed(ledger)
    await ledger.opened(1)
    turn = await ledger.answered(turn, says("assistant", "one"), [says("assistant", "one")])
    await ledger.opened(1)
    assert [piece.message.text for piece in await ledger.pending(ROOM)] == ["one"]
    await ledger.finish(turn, state="failed")
    await ledger.opened(1)
    assert await state(ledger, 1) == "failed"
    await ledger.opened(999)


# ── left to the page ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_message_may_stand_for_several_answers(ledger: Ledger) -> None:
    earlier, partly = await parks(ledger, "e1", "one"), await parks(ledger, "e2", "two", "three")
    await takes(ledger, "e3")
    turn = await claimed(ledger)
    turn = await ledger.answered(turn, says("assistant", "4 5"), [says("assistant", text) for text in "45"])
    pieces = await ledger.pending(ROOM)
    await ledger.gather(turn, [pieces[3], pieces[0], pieces[1]], "read it there")
    assert [(piece.turn, piece.message.text) for piece in await ledger.pending(ROOM)] == [
        (partly, "three"), (turn.id, "read it there"), (turn.id, "5"),
    ]  # fmt: skip
    assert [await state(ledger, one) for one in (earlier, partly, turn.id)] == ["done", "parked", "doing"]


@pytest.mark.parametrize("read", [0, 1])
async def test_nothing_is_gathered_that_was_read_meanwhile(ledger: Ledger, read: int) -> None:
    """Else what stands behind it would be told by a message that is not sent any more."""
    earlier = [await parks(ledger, "e1", "one"), await parks(ledger, "e2", "two")]
    await takes(ledger, "e3")
    turn = await claimed(ledger)
    turn = await ledger.answered(turn, says("assistant", "three"), [says("assistant", "three")])
    pieces = await ledger.pending(ROOM)
    await ledger.opened(earlier[read])
    await ledger.gather(turn, pieces, "read it there")
    left = ["one", "two", "three"]
    del left[read]
    assert [piece.message.text for piece in await ledger.pending(ROOM)] == left


async def test_a_gathered_apology_is_a_failure_still(ledger: Ledger) -> None:
    await parks(ledger, "e1", "one")
    sorry = await parks(ledger, "e2", "sorry", finish=APOLOGY)
    await takes(ledger, "e3")
    turn = await claimed(ledger)
    await ledger.gather(turn, await ledger.pending(ROOM), "read it there")
    assert await state(ledger, sorry) == "failed"


# ── stopped ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_that_is_made_or_waits_can_be_stopped(ledger: Ledger) -> None:
    running, queued = await takes(ledger, "e1"), await takes(ledger, "e2")
    turn = await claimed(ledger)
    assert [await ledger.halt(one) for one in (running, queued)] == [True, True]
    await ledger.finish(turn)
    assert (await claimed(ledger)).stopped


async def test_what_is_answered_or_over_or_no_question_cannot(ledger: Ledger) -> None:
    command, answered = await takes(ledger, "c", command="help"), await takes(ledger, "e1")
    turn = await ledger.answered(await claimed(ledger), says("assistant", "one"), [])
    assert [await ledger.halt(one) for one in (command, answered, 999)] == [False] * 3
    await ledger.finish(turn)
    parked = await parks(ledger, "e2", "two")
    assert [await ledger.halt(one) for one in (answered, parked)] == [False] * 2
    for one in (command, answered, parked):
        shown = await ledger.shown(one)
        assert shown is not None
        assert not shown.stopped


# ── how far a turn is ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_turn_stands_where_the_one_is_that_answers_for_it(ledger: Ledger) -> None:
    first, second, third = [await takes(ledger, event) for event in ("e1", "e2", "e3")]
    turn = await claimed(ledger)
    turn = await ledger.absorb(turn, await ledger.waiting(turn, "message"))
    assert await ledger.standing(third) == Standing(first, True, None)
    await ledger.finish(await ledger.answered(turn, says("assistant", "all"), []))
    await ledger.replied(second, "all", [])
    assert [(await ledger.standing(one)) for one in (first, second, third)] == [
        Standing(first, False, None), Standing(first, False, "all"), Standing(first, False, None),
    ]  # fmt: skip


async def test_only_one_conversation_is_looked_at(ledger: Ledger) -> None:
    await parks(ledger, "e1", "one")
    assert await ledger.parked("board:other") == []
    assert await ledger.parked("board-2:room") == []
