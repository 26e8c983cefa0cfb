"""The ledger's promises, on a real database file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa

from chatferry.errors import LeaseLost, Unavailable
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.model import APOLOGY, Attempt, Grant, Inbound, Receipt, Turn, says
from chatferry.testing import ManualClock

GRANT = Grant("token", until=1_800_000_050.0)


def asks(
    event: str,
    text: str = "hi",
    *,
    who: str = "ann",
    kind: Literal["message", "collect"] = "message",
    grant: Grant | None = GRANT,
) -> Inbound:
    said = None if kind == "collect" else says("user", text)
    return Inbound(event, who, kind, said, ref=f"m-{event}", grant=grant)


async def claimed(ledger: Ledger, who: str = "ann") -> Turn:
    turn = await ledger.claim(f"line:{who}")
    assert turn is not None
    return turn


async def states(ledger: Ledger) -> list[str]:
    return [entry.state for entry in reversed(await ledger.entries())]


async def heard(ledger: Ledger, who: str = "ann") -> list[str]:
    return [message.text async for message in ledger.history(f"line:{who}", 1)]


async def answer(ledger: Ledger, turn: Turn, *pieces: str) -> Turn:
    return await ledger.answered(turn, says("assistant", " ".join(pieces)), [says("assistant", p) for p in pieces])


# ── accepting ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_that_comes_again_is_the_same_turn(ledger: Ledger) -> None:
    [first] = await ledger.accept("line", [asks("e1")])
    [again] = await ledger.accept("line", [asks("e1")])
    assert first.new
    assert not again.new
    assert again.turn == first.turn


async def test_copies_of_an_event_that_come_at_once_are_one_turn(ledger: Ledger) -> None:
    accepted = await asyncio.gather(*[ledger.accept("line", [asks("e1"), asks("e1")]) for _ in range(20)])
    flat = [one for batch in accepted for one in batch]
    assert len({one.turn for one in flat}) == 1
    assert sum(one.new for one in flat) == 1


async def test_the_same_event_id_on_another_channel_is_another_event(ledger: Ledger) -> None:
    [line] = await ledger.accept("line", [asks("e1")])
    [other] = await ledger.accept("line-2", [asks("e1")])
    assert other.new
    assert other.turn != line.turn


async def test_an_operation_that_the_database_refuses_does_not_fail_its_neighbours(ledger: Ledger) -> None:
    broken = asks("\ud800")  # no database takes half a character
    results = await asyncio.gather(
        *[ledger.accept("line", [event]) for event in (asks("e1"), broken, asks("e2"))], return_exceptions=True
    )
    assert isinstance(results[1], Unavailable)
    assert await states(ledger) == ["due", "due"]


# ── claiming ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_turns_of_a_conversation_are_claimed_one_at_a_time_in_order(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1", "one"), asks("e2", "two"), asks("b1", "other", who="bob")])
    first = await claimed(ledger)
    assert await ledger.claim("line:ann") is None
    assert (await claimed(ledger, "bob")).inbound.event == "b1"
    await ledger.finish(first)
    assert (await claimed(ledger)).inbound.event == "e2"


async def test_only_one_of_many_claims_gets_the_turn(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    turns = await asyncio.gather(*[ledger.claim("line:ann") for _ in range(20)])
    assert sum(turn is not None for turn in turns) == 1


async def test_the_database_itself_refuses_a_second_running_turn(ledger: Ledger, database: Database) -> None:
    await ledger.accept("line", [asks("e1"), asks("e2")])
    await claimed(ledger)
    both = sa.text("UPDATE turns SET state = 'doing' WHERE event = 'e2'")
    with pytest.raises(sa.exc.IntegrityError):
        await database.write(lambda connection: connection.execute(both))


async def test_a_turn_whose_lease_has_run_out_is_taken_over_and_its_old_holder_writes_nothing(
    ledger: Ledger, clock: ManualClock
) -> None:
    await ledger.accept("line", [asks("e1")])
    old = await claimed(ledger)
    clock.advance(61)
    assert await ledger.due() == [("line:ann", False)]
    new = await claimed(ledger)
    assert new.lease == old.lease + 1
    with pytest.raises(LeaseLost):
        await answer(ledger, old, "late")
    with pytest.raises(LeaseLost):
        await ledger.finish(old)
    assert (await ledger.renew([old, new])).lost == [old]
    await answer(ledger, new, "in time")
    assert [piece.message.text for piece in await ledger.pending("line:ann")] == ["in time"]


async def test_a_renewed_lease_lasts(ledger: Ledger, clock: ManualClock) -> None:
    await ledger.accept("line", [asks("e1")])
    turn = await claimed(ledger)
    clock.advance(50)
    assert (await ledger.renew([turn])).lost == []
    clock.advance(50)
    assert await ledger.claim("line:ann") is None


async def test_a_turn_given_back_blocks_its_conversation_until_it_is_due(ledger: Ledger, clock: ManualClock) -> None:
    await ledger.accept("line", [asks("e1"), asks("e2")])
    await ledger.retry(await claimed(ledger), 30.0, "LINE: 500")
    assert await ledger.claim("line:ann") is None
    assert await ledger.due() == []
    clock.advance(30)
    assert await ledger.due() == [("line:ann", False)]
    again = await claimed(ledger)
    assert again.inbound.event == "e1"
    assert again.attempts == 2


async def test_an_old_turn_that_is_done_again_waits_for_the_one_that_runs(ledger: Ledger, clock: ManualClock) -> None:
    await ledger.accept("line", [asks("e1"), asks("e2")])
    old = await claimed(ledger)
    await ledger.finish(old, state="failed", error="LINE: 400")
    new = await claimed(ledger)
    await ledger.reopen(old.id)
    assert await ledger.claim("line:ann") is None
    assert await ledger.due() == []
    clock.advance(61)
    assert (await claimed(ledger)).id == new.id


async def test_a_released_turn_counts_no_attempt(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    await ledger.release(await claimed(ledger))
    assert (await claimed(ledger)).attempts == 1


async def test_whoever_is_alone_adopts_what_a_dead_process_was_doing(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1"), asks("b1", who="bob")])
    await claimed(ledger)
    await claimed(ledger, "bob")
    assert await ledger.adopt() == 2
    assert sorted(await ledger.due()) == [("line:ann", False), ("line:bob", False)]


# ── answering ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_turn_that_was_answered_is_claimed_with_its_answer(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    await ledger.release(await answer(ledger, await claimed(ledger), "one", "two"))
    again = await claimed(ledger)
    assert again.answer == says("assistant", "one two")
    assert [piece.message.text for piece in await ledger.pending("line:ann")] == ["one", "two"]


async def test_what_was_sent_is_not_pending_any_more(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    turn = await answer(ledger, await claimed(ledger), "one", "two")
    first, second = await ledger.pending("line:ann")
    await ledger.sent(turn, [(first, Receipt("m1"))])
    assert await ledger.pending("line:ann") == [second]


async def test_a_send_that_was_begun_is_known_after_a_crash_and_its_grant_is_spent(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    turn = await answer(ledger, await claimed(ledger), "one")
    await ledger.sending(turn, await ledger.pending("line:ann"), Attempt(GRANT))
    await ledger.adopt()
    again = await claimed(ledger)
    assert again.grant is None
    assert [piece.attempt for piece in await ledger.pending("line:ann")] == [Attempt(GRANT)]


async def test_a_send_that_did_not_happen_gives_its_grant_back_and_drops_its_notice(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    turn = await answer(ledger, await claimed(ledger), "one")
    turn = await ledger.notice(turn, says("assistant", "more"), Attempt(GRANT), pieces=await ledger.pending("line:ann"))
    assert [piece.notice for piece in await ledger.pending("line:ann")] == [False, True]
    turn = await ledger.unsent(turn, await ledger.pending("line:ann"), GRANT)
    assert turn.grant == GRANT
    assert [(piece.message.text, piece.attempt) for piece in await ledger.pending("line:ann")] == [("one", None)]


async def test_a_closed_turn_is_remembered_once_with_both_sides(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1", "question")])
    turn = await answer(ledger, await claimed(ledger), "reply")
    said = [says("user", "question"), says("assistant", "reply")]
    await ledger.finish(turn, said, state="parked")
    await ledger.reopen(turn.id)
    await ledger.finish(await claimed(ledger), said)
    assert await heard(ledger) == ["reply", "question"]


async def test_a_turn_closed_with_an_apology_has_failed(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    turn = await ledger.answered(
        await claimed(ledger), says("assistant", "sorry"), [], finish=APOLOGY, error="model: 500"
    )
    assert await ledger.finish(turn) == "failed"
    [entry] = await ledger.entries()
    assert (entry.state, entry.error) == ("failed", "model: 500")


async def test_a_parked_answer_waits_for_the_next_turn_and_is_then_done(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1"), asks("e2")])
    await ledger.finish(await answer(ledger, await claimed(ledger), "first"), state="parked")
    turn = await answer(ledger, await claimed(ledger), "second")
    waiting = await ledger.pending("line:ann")
    assert [piece.message.text for piece in waiting] == ["first", "second"]
    await ledger.finish(turn, sent=[(piece, Receipt()) for piece in waiting])
    assert await states(ledger) == ["done", "done"]


async def test_what_a_failed_turn_could_not_send_does_not_hinder_the_next(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1"), asks("e2")])
    await ledger.finish(await answer(ledger, await claimed(ledger), "refused"), state="failed", error="LINE: 400")
    await answer(ledger, await claimed(ledger), "fine")
    assert [piece.message.text for piece in await ledger.pending("line:ann")] == ["fine"]


# ── doing it again, taking it back ───────────────────────────────────────────────────────────────────────────────


async def test_a_turn_that_failed_for_want_of_an_answer_is_asked_again(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    sorry = [says("assistant", "sorry")]
    turn = await ledger.answered(await claimed(ledger), sorry[0], sorry, finish=APOLOGY, error="model: 500")
    await ledger.finish(turn)
    assert await ledger.reopen(turn.id)
    again = await claimed(ledger)
    assert again.answer is None
    assert await ledger.pending("line:ann") == []


async def test_a_turn_that_failed_on_its_way_out_is_only_sent_again(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    turn = await answer(ledger, await claimed(ledger), "reply")
    await ledger.finish(turn, state="failed", error="LINE: 400")
    assert await ledger.reopen(turn.id)
    again = await claimed(ledger)
    assert again.answer == says("assistant", "reply")
    assert [piece.message.text for piece in await ledger.pending("line:ann")] == ["reply"]


@pytest.mark.parametrize("state", ["due", "doing", "done"])
async def test_a_turn_that_is_open_or_done_is_not_reopened(ledger: Ledger, state: str) -> None:
    [accepted] = await ledger.accept("line", [asks("e1")])
    if state != "due":
        turn = await claimed(ledger)
        if state == "done":
            await ledger.finish(turn)
    assert not await ledger.reopen(accepted.turn)
    assert await states(ledger) == [state]


async def test_a_message_taken_back_before_its_turn_is_never_asked(ledger: Ledger) -> None:
    [accepted] = await ledger.accept("line", [asks("e1", "secret")])
    [withdrawn] = await ledger.accept("line", [asks_back("e1")])
    assert withdrawn.turn == accepted.turn
    assert await ledger.claim("line:ann") is None
    assert await states(ledger) == ["withdrawn"]


async def test_a_message_taken_back_while_it_is_answered_ends_its_turn(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1")])
    turn = await claimed(ledger)
    await ledger.accept("line", [asks_back("e1")])
    with pytest.raises(LeaseLost):
        await answer(ledger, turn, "reply")


async def test_a_message_taken_back_later_leaves_the_history_and_no_other_does(ledger: Ledger, tmp_path: Path) -> None:
    await ledger.accept("line", [asks("e1", "secret"), asks("e2", "harmless")])
    for text in ("secret", "harmless"):
        await ledger.finish(await claimed(ledger), [says("user", text), says("assistant", f"re: {text}")])
    await ledger.accept("line", [asks_back("e1")])
    assert await heard(ledger) == ["re: harmless", "harmless", "re: secret"]


async def test_a_turn_that_answers_for_others_has_their_words_and_the_newest_grant(ledger: Ledger) -> None:
    newest = Grant("newest", GRANT.until)
    await ledger.accept("line", [asks("e1", "one"), asks("e2", "two"), asks("e3", "three", grant=newest)])
    turn = await claimed(ledger)
    merged = await ledger.absorb(turn, await ledger.waiting(turn, "message", "collect"))
    assert merged.inbound.said is not None
    assert merged.inbound.said.text == "one\n\ntwo\n\nthree"
    assert merged.grant == newest
    assert await states(ledger) == ["doing", "merged", "merged"]
    await ledger.adopt()
    assert (await claimed(ledger)).inbound == merged.inbound


async def test_a_message_taken_back_just_before_it_would_be_merged_stays_forgotten(ledger: Ledger) -> None:
    await ledger.accept("line", [asks("e1", "one"), asks("e2", "secret"), asks("e3", "three")])
    turn = await claimed(ledger)
    waiting = await ledger.waiting(turn, "message")
    await ledger.accept("line", [asks_back("e2")])
    with pytest.raises(LeaseLost):
        await ledger.absorb(turn, waiting)
    assert await states(ledger) == ["due", "withdrawn", "due"]
    again = await claimed(ledger)
    merged = await ledger.absorb(again, await ledger.waiting(again, "message"))
    assert merged.inbound.said is not None
    assert merged.inbound.said.text == "one\n\nthree"


# ── the database ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_history_comes_newest_first_over_several_pages(ledger: Ledger) -> None:
    for number in range(70):
        await ledger.accept("line", [asks(f"e{number}")])
        await ledger.finish(await claimed(ledger), [says("user", f"q{number}"), says("assistant", f"a{number}")])
    history = await heard(ledger)
    assert len(history) == 140
    assert history[:2] == ["a69", "q69"]
    assert history[-1] == "q0"


async def test_a_ledger_that_is_closed_accepts_nothing(database: Database, clock: ManualClock) -> None:
    with pytest.raises(Unavailable):
        await Ledger(database, clock).accept("line", [asks("e1")])


def asks_back(event: str) -> Inbound:
    return Inbound(f"unsend-{event}", "ann", "retract", ref=f"m-{event}")
