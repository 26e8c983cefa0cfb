"""What people do beside asking, on a real database file: they talk among themselves, think again, stop, take back."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
import sqlalchemy as sa

from chatferry.errors import LeaseLost
from chatferry.ledger.accepting import Accepted
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.tables import turns
from chatferry.model import APOLOGY, Attempt, Inbound, Kind, Message, Receipt, Turn, says

NOTHING = Accepted(0, False)


def asks(event: str, text: str = "hi", *, room: str = "room", joined: bool = False) -> Inbound:
    return Inbound(event, room, "message", says("user", text), sender="ann", ref=f"m-{event}", joined=joined)


def overheard(event: str, text: str = "psst", *, room: str = "room") -> Inbound:
    return msgspec.structs.replace(asks(event, text, room=room, joined=True), kind="heard")


def about(kind: Kind, ref: str = "", text: str = "", *, room: str = "room") -> Inbound:
    said = says("user", text) if text else None
    return Inbound(f"{kind} {ref} {text}", room, kind, said, sender="ann", ref=ref)


async def takes(ledger: Ledger, event: Inbound) -> Accepted:
    [accepted] = await ledger.accept("board", [event])
    return accepted


async def claimed(ledger: Ledger, room: str = "room") -> Turn:
    turn = await ledger.claim(f"board:{room}")
    assert turn is not None
    return turn


async def grows(ledger: Ledger, turn: Turn, receipt: str = "p1") -> None:
    """The answer has begun on the platform."""
    piece = await ledger.draft(turn, says("assistant", "…"), Attempt(key=f"key of {receipt}"))
    await ledger.begun(turn, piece, Receipt(receipt))


async def answers(ledger: Ledger, turn: Turn, text: str = "reply") -> Turn:
    return await ledger.answered(turn, says("assistant", text), [says("assistant", text)])


async def states(ledger: Ledger) -> list[str]:
    return [entry.state for entry in reversed(await ledger.entries())]


async def said(ledger: Ledger, room: str = "room") -> list[str]:
    """What is remembered, oldest first."""
    return [one.message.text for one in await ledger.said(f"board:{room}")][::-1]


def words(turn: Turn) -> str:
    return (turn.inbound.said or Message("user", ())).text


# ── where we take part ───────────────────────────────────────────────────────────────────────────────────────────


async def test_talk_of_others_counts_only_where_we_take_part(ledger: Ledger) -> None:
    assert await takes(ledger, overheard("h1")) == NOTHING
    assert await takes(ledger, asks("j1", joined=True)) == NOTHING
    asked = await takes(ledger, asks("e1"))
    heard, joined = await takes(ledger, overheard("h2")), await takes(ledger, asks("j2", joined=True))
    assert asked.new
    assert heard.new
    assert joined.new
    assert await takes(ledger, overheard("h3", room="elsewhere")) == NOTHING
    assert await said(ledger) == ["psst"]


async def test_it_counts_where_the_same_delivery_makes_us_take_part(ledger: Ledger) -> None:
    first, second, elsewhere = await ledger.accept(
        "board", [asks("e1"), overheard("h1"), overheard("h2", room="elsewhere")]
    )
    assert (first.new, second.new) == (True, True)
    assert elsewhere == NOTHING


async def test_the_same_talk_on_another_channel_is_another_talk(ledger: Ledger) -> None:
    await takes(ledger, asks("e1"))
    assert await ledger.accept("board-2", [overheard("h1")]) == [NOTHING]


async def test_whoever_wants_something_removed_where_we_have_no_part_does_not_make_us_take_part(ledger: Ledger) -> None:
    erased, heard = await ledger.accept("board", [about("erase", "p9"), overheard("h1")])
    assert erased.new
    assert heard == NOTHING
    assert await takes(ledger, overheard("h2")) == NOTHING


async def test_what_is_heard_is_remembered_and_makes_no_work(ledger: Ledger) -> None:
    await takes(ledger, asks("e1", "question"))
    await ledger.finish(await claimed(ledger), [says("user", "question"), says("assistant", "reply")])
    heard = await takes(ledger, overheard("h1", "lunch?"))
    assert await ledger.due() == []
    assert await ledger.claim("board:room") is None
    assert await ledger.backlog() == {"due": 0, "doing": 0}
    assert [entry.kind for entry in await ledger.entries()] == ["message"]
    assert await ledger.entries(turn=heard.turn) == []
    assert await said(ledger) == ["question", "reply", "lunch?"]


async def test_what_is_heard_twice_is_remembered_once(ledger: Ledger) -> None:
    await takes(ledger, asks("e1"))
    copies = await asyncio.gather(*[ledger.accept("board", [overheard("h1"), overheard("h1")]) for _ in range(5)])
    flat = [one for batch in copies for one in batch]
    again = await takes(ledger, overheard("h1"))
    assert len({one.turn for one in (*flat, again)}) == 1
    assert sum(one.new for one in flat) == 1
    assert not again.new
    assert await said(ledger) == ["psst"]


async def test_a_heard_message_that_is_changed_or_taken_back_is_remembered_so(ledger: Ledger) -> None:
    await ledger.accept("board", [asks("e1"), overheard("h1", "lunhc?"), overheard("h2", "secret")])
    assert (await takes(ledger, about("change", "m-h1", "lunch?"))).ends == 0
    await takes(ledger, about("retract", "m-h2"))
    assert await said(ledger) == ["lunch?"]
    assert await states(ledger) == ["due"]


# ── in other words ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_that_is_changed_before_it_is_asked_is_asked_in_its_new_words(ledger: Ledger) -> None:
    await takes(ledger, asks("e1", "Rom?"))
    assert await takes(ledger, about("change", "m-e1", "Rome?")) == NOTHING
    turn = await claimed(ledger)
    assert words(turn) == "Rome?"
    await answers(ledger, turn)


async def test_a_question_that_is_changed_while_it_is_asked_is_asked_anew(ledger: Ledger) -> None:
    asked = await takes(ledger, asks("e1", "Rom?"))
    old = await claimed(ledger)
    assert (await takes(ledger, about("change", "m-e1", "Rome?"))).ends == asked.turn
    assert await ledger.due() == [("board:room", False)]
    with pytest.raises(LeaseLost):
        await answers(ledger, old)
    with pytest.raises(LeaseLost):
        await grows(ledger, old)
    new = await claimed(ledger)
    assert (new.lease, words(new)) == (old.lease + 1, "Rome?")
    await answers(ledger, new)


async def test_an_answer_that_grows_is_kept_for_the_changed_question(ledger: Ledger) -> None:
    await takes(ledger, asks("e1", "Rom?"))
    await grows(ledger, await claimed(ledger))
    await takes(ledger, about("change", "m-e1", "Rome?"))
    await claimed(ledger)
    assert [piece.receipt for piece in await ledger.pending("board:room")] == ["p1"]


@pytest.mark.parametrize("closed", [False, True])
async def test_a_question_that_is_changed_after_its_answer_stays_as_it_was(ledger: Ledger, closed: bool) -> None:
    await takes(ledger, asks("e1", "Rom?"))
    turn = await answers(ledger, await claimed(ledger))
    if closed:
        await ledger.finish(turn, [says("user", "Rom?"), says("assistant", "reply")])
    assert await takes(ledger, about("change", "m-e1", "Rome?")) == NOTHING
    if not closed:
        await ledger.finish(turn, [says("user", "Rom?"), says("assistant", "reply")])
    assert await said(ledger) == ["Rom?", "reply"]


async def test_equal_words_change_nothing(ledger: Ledger) -> None:
    await takes(ledger, asks("e1", "Rome?"))
    turn = await claimed(ledger)
    assert await takes(ledger, about("change", "m-e1", "Rome?")) == NOTHING
    await answers(ledger, turn)


@pytest.mark.parametrize("change", [about("change", "m-e9", "Rome?"), about("change", "m-e1", "x", room="elsewhere")])
async def test_the_change_of_a_message_that_we_do_not_know_is_nothing(ledger: Ledger, change: Inbound) -> None:
    await takes(ledger, asks("e1", "Rom?"))
    assert await takes(ledger, change) == NOTHING
    assert words(await claimed(ledger)) == "Rom?"


async def test_a_merged_message_is_changed_in_the_turn_that_answers_for_it(ledger: Ledger) -> None:
    first, _ = await ledger.accept("board", [asks("e1", "one"), asks("e2", "tow")])
    turn = await claimed(ledger)
    await ledger.absorb(turn, await ledger.waiting(turn, "message"))
    assert (await takes(ledger, about("change", "m-e2", "two"))).ends == first.turn
    again = await claimed(ledger)
    assert (again.id, words(again)) == (turn.id, "one\n\ntwo")
    await answers(ledger, again)
    assert await takes(ledger, about("change", "m-e2", "three")) == NOTHING


async def test_a_message_that_is_changed_just_before_it_would_be_merged_is_not_asked_in_its_old_words(
    ledger: Ledger,
) -> None:
    await ledger.accept("board", [asks("e1", "one"), asks("e2", "tow")])
    turn = await claimed(ledger)
    waiting = await ledger.waiting(turn, "message")
    await takes(ledger, about("change", "m-e2", "two"))
    with pytest.raises(LeaseLost):
        await ledger.absorb(turn, waiting)
    again = await claimed(ledger)
    assert words(await ledger.absorb(again, await ledger.waiting(again, "message"))) == "one\n\ntwo"


# ── taken back ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_whose_answer_grows_is_due_with_nothing_said_so_that_the_answer_is_removed(
    ledger: Ledger,
) -> None:
    asked = await takes(ledger, asks("e1", "secret"))
    old = await claimed(ledger)
    await grows(ledger, old)
    assert (await takes(ledger, about("retract", "m-e1"))).ends == asked.turn
    with pytest.raises(LeaseLost):
        await answers(ledger, old)
    new = await claimed(ledger)
    assert new.inbound.said is None
    assert [piece.receipt for piece in await ledger.pending("board:room")] == ["p1"]


async def test_so_it_is_where_the_answer_is_whole_but_not_all_out(ledger: Ledger) -> None:
    await takes(ledger, asks("e1", "secret"))
    turn = await claimed(ledger)
    await grows(ledger, turn)
    drafts = await ledger.pending("board:room")
    reply = says("assistant", "reply")
    await ledger.answered(turn, reply, [reply], drafts=drafts)
    await takes(ledger, about("retract", "m-e1"))
    new = await claimed(ledger)
    assert (new.inbound.said, new.answer) == (None, None)


async def test_so_it_is_where_we_do_not_know_whether_the_answer_has_begun(ledger: Ledger) -> None:
    await takes(ledger, asks("e1", "secret"))
    await ledger.draft(await claimed(ledger), says("assistant", "…"), Attempt(key="key"))
    await takes(ledger, about("retract", "m-e1"))
    assert (await claimed(ledger)).inbound.said is None
    assert [piece.attempt for piece in await ledger.pending("board:room")] == [Attempt(key="key")]


async def test_a_question_without_a_growing_answer_is_withdrawn(ledger: Ledger) -> None:
    await takes(ledger, asks("e1", "secret"))
    turn = await ledger.notice(await claimed(ledger), says("assistant", "wait"), Attempt(key="key"))
    await takes(ledger, about("retract", "m-e1"))
    assert await states(ledger) == ["withdrawn"]
    with pytest.raises(LeaseLost):
        await answers(ledger, turn)


async def test_one_of_several_questions_that_is_taken_back_while_the_answer_is_sent_is_not_remembered(
    ledger: Ledger,
) -> None:
    await ledger.accept("board", [asks("e1", "one"), asks("e2", "secret")])
    turn = await claimed(ledger)
    turn = await answers(ledger, await ledger.absorb(turn, await ledger.waiting(turn, "message")))
    await takes(ledger, about("retract", "m-e2"))
    with pytest.raises(LeaseLost):
        await ledger.finish(turn, [says("user", words(turn)), says("assistant", "reply")])
    again = await claimed(ledger)
    assert (words(again), again.answer) == ("one", says("assistant", "reply"))


# ── stopped ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ref", ["", "p1"])
async def test_a_stop_ends_the_answer_that_is_made_also_for_whoever_goes_on_with_it(ledger: Ledger, ref: str) -> None:
    asked = await takes(ledger, asks("e1"))
    turn = await claimed(ledger)
    await grows(ledger, turn)
    assert not turn.stopped
    assert await takes(ledger, about("stop", ref)) == Accepted(asked.turn, False, asked.turn)
    await ledger.release(turn)
    assert (await claimed(ledger)).stopped


async def test_an_answer_that_waits_for_another_try_is_stopped_by_its_message(ledger: Ledger) -> None:
    asked = await takes(ledger, asks("e1"))
    turn = await claimed(ledger)
    await grows(ledger, turn)
    await ledger.retry(turn, 0.0, "busy")
    assert await takes(ledger, about("stop")) == NOTHING
    assert (await takes(ledger, about("stop", "p1"))).ends == asked.turn
    assert (await claimed(ledger)).stopped


@pytest.mark.parametrize("stop", [about("stop", "p9"), about("stop", room="other"), about("stop", "p1", room="other")])
async def test_a_stop_that_means_something_else_is_nothing(ledger: Ledger, stop: Inbound) -> None:
    await ledger.accept("board", [asks("e1"), asks("e2", room="other")])
    turn = await claimed(ledger)
    await grows(ledger, turn)
    assert await takes(ledger, stop) == NOTHING
    await ledger.release(turn)
    assert not (await claimed(ledger)).stopped


@pytest.mark.parametrize("ref", ["", "p1"])
async def test_a_stop_that_comes_after_the_answer_is_nothing(ledger: Ledger, ref: str) -> None:
    await takes(ledger, asks("e1"))
    turn = await claimed(ledger)
    await grows(ledger, turn)
    reply = says("assistant", "reply")
    turn = await ledger.answered(turn, reply, [reply], drafts=await ledger.pending("board:room"))
    assert await takes(ledger, about("stop", ref)) == NOTHING
    [piece] = await ledger.pending("board:room")
    await ledger.finish(turn, sent=[(piece, Receipt("p1"))])
    assert await takes(ledger, about("stop", ref)) == NOTHING


async def test_what_is_done_again_is_not_stopped_any_more(ledger: Ledger) -> None:
    await takes(ledger, asks("e1"))
    turn = await claimed(ledger)
    await takes(ledger, about("stop"))
    sorry = says("assistant", "sorry")
    await ledger.finish(await ledger.answered(turn, sorry, [sorry], finish=APOLOGY))
    assert await ledger.reopen(turn.id)
    assert not (await claimed(ledger)).stopped


async def test_whoever_wants_a_growing_answer_removed_ends_it_and_makes_a_turn(ledger: Ledger) -> None:
    asked = await takes(ledger, asks("e1"))
    turn = await claimed(ledger)
    await grows(ledger, turn)
    erase = await takes(ledger, about("erase", "p1"))
    assert erase.new
    assert erase.turn != asked.turn
    assert erase.ends == asked.turn
    assert await takes(ledger, about("erase", "p1")) == Accepted(erase.turn, False, delivery=2)
    await ledger.finish(await answers(ledger, turn))
    again = await claimed(ledger)
    assert (again.id, again.inbound.kind) == (erase.turn, "erase")


async def test_whoever_wants_another_answer_removed_does_not_end_the_one_that_is_made(ledger: Ledger) -> None:
    await takes(ledger, asks("e1"))
    await grows(ledger, await claimed(ledger))
    assert (await takes(ledger, about("erase", "p9"))).ends == 0


async def test_a_message_that_was_taken_back_before_it_came_is_neither_asked_nor_kept(
    ledger: Ledger, database: Database
) -> None:
    back = about("retract", "m-e1")
    assert [await takes(ledger, back) for _ in range(2)] == [NOTHING, NOTHING]
    late = await takes(ledger, asks("e1", "not for you"))
    assert late.new
    assert await takes(ledger, asks("e1", "not for you")) == Accepted(late.turn, False, delivery=2)
    assert await ledger.claim("board:room") is None
    assert await states(ledger) == ["withdrawn"]
    kept = await database.read(lambda connection: connection.execute(sa.select(turns.c.inbound)).scalars().all())
    assert not any("not for you" in inbound for inbound in kept)
    await takes(ledger, asks("e2"))
    assert words(await claimed(ledger)) == "hi"


async def test_what_was_heard_after_it_was_taken_back_is_not_remembered(ledger: Ledger) -> None:
    await takes(ledger, asks("e1"))
    await takes(ledger, about("retract", "m-h1"))
    await takes(ledger, overheard("h1"))
    assert await said(ledger) == []


async def test_what_people_take_back_where_we_take_no_part_leaves_nothing(ledger: Ledger, database: Database) -> None:
    await takes(ledger, msgspec.structs.replace(about("retract", "m-e1"), joined=True))
    count = sa.select(sa.func.count()).select_from(turns)
    assert await database.read(lambda connection: connection.execute(count).scalar()) == 0
    await takes(ledger, about("retract", "m-e1"))
    assert await takes(ledger, overheard("h1")) == NOTHING
