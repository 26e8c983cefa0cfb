"""What may be spent, as the ledger counts it, on both databases."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
import sqlalchemy as sa

from chatferry.errors import LeaseLost
from chatferry.ledger.accepting import Accepted
from chatferry.ledger.budgets import Budget, Charge
from chatferry.ledger.database import Database
from chatferry.ledger.guests import Knock
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.tables import budgets as table
from chatferry.model import Inbound, Turn, Usage, says
from chatferry.testing import ManualClock
from tests.test_pacing import kinds

TODAY = Budget(
    channel="board",
    sender="ann",
    day="2027-01-15 shop board:ann",
    day_ends=1_800_050_000.0,
    messages=3,
    tokens=None,
    worst=100,
    month="2027-01 shop",
    month_ends=1_801_000_000.0,
    money=None,
    told="person",
)


def its(**changes: object) -> Budget:
    return msgspec.structs.replace(TODAY, **changes)


def asks(event: str, room: str = "room") -> Inbound:
    return Inbound(event, room, "message", says("user", event), sender="ann", ref=event)


async def said(ledger: Ledger, *events: str, budget: Budget = TODAY) -> list[Accepted]:
    return [(await ledger.accept("board", [asks(event)], (), (), (), [budget]))[0] for event in events]


async def answered(ledger: Ledger, turn: Turn, tokens: int, cost: int = 0) -> None:
    charges = (Charge(TODAY.day, TODAY.day_ends, tokens, cost), Charge(TODAY.month, TODAY.month_ends, tokens, cost))
    usage = Usage(tokens, 0, cost)
    turn = await ledger.answered(turn, says("assistant", "yes"), [], model="m", usage=usage, charges=charges)
    await ledger.finish(turn, [says("assistant", "yes")])


async def next_of(ledger: Ledger, room: str = "room") -> Turn:
    turn = await ledger.claim(f"board:{room}")
    assert turn is not None
    return turn


async def test_so_many_messages_are_let_in_and_the_next_is_told_when_to_come_again(ledger: Ledger) -> None:
    accepted = await said(ledger, *"abcde")
    assert await kinds(ledger, accepted) == ["message"] * 3 + ["spent"] * 2
    assert [one.spent for one in accepted] == [False] * 3 + [True] * 2
    shown = await ledger.shown(accepted[3].turn)
    assert shown is not None
    assert (shown.inbound.reply, shown.inbound.again_at) == ("day", TODAY.day_ends)
    tomorrow = its(day="2027-01-16 shop board:ann", day_ends=TODAY.day_ends + 86_400.0)
    assert await kinds(ledger, await said(ledger, "f", budget=tomorrow)) == ["message"]


async def test_what_is_delivered_again_is_charged_once(ledger: Ledger) -> None:
    accepted = await said(ledger, *"aaaabbcc")
    assert sum(one.new for one in accepted) == 3
    assert await kinds(ledger, await said(ledger, "d")) == ["spent"]


@pytest.mark.parametrize("rooms", [1, 50])
async def test_fifty_requests_at_once_are_let_in_as_far_as_the_budget_goes(ledger: Ledger, rooms: int) -> None:
    ten = its(messages=10)
    asked = [ledger.accept("board", [asks(f"e{n}", f"room{n % rooms}")], (), (), (), [ten]) for n in range(50)]
    accepted = [one for (one,) in await asyncio.gather(*asked)]
    assert sorted(await kinds(ledger, accepted)) == ["message"] * 10 + ["spent"] * 40


async def test_fifty_requests_at_once_by_two_processes(database: Database, clock: ManualClock) -> None:
    async with Ledger(database, clock).open() as one, Ledger(database, clock).open() as other:
        ten = its(messages=10)
        asked = [
            ledger.accept("board", [asks(f"{name}{n}", f"room{n}")], (), (), (), [ten])
            for n in range(25)
            for name, ledger in (("one", one), ("other", other))
        ]
        accepted = [found for (found,) in await asyncio.gather(*asked)]
        assert sorted(await kinds(one, accepted)) == ["message"] * 10 + ["spent"] * 40


async def test_tokens_are_charged_when_they_are_known_and_until_then_at_their_most(ledger: Ledger) -> None:
    thousand = its(messages=None, tokens=1000, worst=400)
    asked = [ledger.accept("board", [asks(f"e{n}", f"room{n}")], (), (), (), [thousand]) for n in range(50)]
    accepted = [one for (one,) in await asyncio.gather(*asked)]
    assert sorted(await kinds(ledger, accepted)) == ["message"] * 2 + ["spent"] * 48, "three might cost 1,200"
    for one, room in zip(accepted, range(50), strict=True):
        if not one.spent:
            await answered(ledger, await next_of(ledger, f"room{room}"), 300)
    assert await kinds(ledger, await said(ledger, "more", budget=thousand)) == ["message"], "600 of 1,000"
    await answered(ledger, await next_of(ledger), 500)
    assert await kinds(ledger, await said(ledger, "yet more", budget=thousand)) == ["spent"]


async def test_a_budget_smaller_than_an_answer_pays_for_one(ledger: Ledger) -> None:
    small = its(messages=None, tokens=100, worst=400)
    assert await kinds(ledger, await said(ledger, "a", "b", budget=small)) == ["message", "spent"]


async def test_one_is_told_once_that_most_is_used_up(ledger: Ledger) -> None:
    accepted = await said(ledger, *"abcdefghij", budget=its(messages=10))
    told = [shown.inbound.near for one in accepted if (shown := await ledger.shown(one.turn)) is not None]
    assert told == [False] * 7 + [True] + [False] * 2


async def test_money_ends_for_all_who_ask_the_assistant(ledger: Ledger) -> None:
    dear = its(messages=None, money=5_000_000)
    await said(ledger, "a", budget=dear)
    await answered(ledger, await next_of(ledger), 10, cost=4_999_999)
    bob = its(messages=None, money=5_000_000, sender="bob", day="2027-01-15 shop board:bob")
    assert await kinds(ledger, await said(ledger, "b", budget=bob)) == ["message"]
    await answered(ledger, await next_of(ledger), 10, cost=1)
    accepted = await said(ledger, "c", budget=bob)
    shown = await ledger.shown(accepted[0].turn)
    assert shown is not None
    assert (shown.inbound.command, shown.inbound.reply, shown.inbound.again_at) == ("spent", "month", TODAY.month_ends)
    assert await ledger.purses([TODAY.month]) == {TODAY.month: 5_000_000}


async def test_a_caller_is_told_by_the_response_alone(ledger: Ledger) -> None:
    caller = its(told="caller", messages=1)
    first, second = await said(ledger, "a", "b", budget=caller)
    assert (first.wait, first.spent) == (0.0, False)
    assert (second.turn, second.spent) == (0, True)
    assert second.wait == TODAY.day_ends - 1_800_000_000.0


async def test_days_that_are_over_do_not_stay(ledger: Ledger, clock: ManualClock) -> None:
    await said(ledger, "a")
    clock.advance(7 * 86_400.0)
    await said(ledger, "b", budget=its(day="2027-01-22 shop board:ann", day_ends=TODAY.day_ends + 7 * 86_400.0))
    assert await ledger.purses([TODAY.day, "2027-01-22 shop board:ann"]) == {"2027-01-22 shop board:ann": 0}


async def test_who_is_kept_out_is_not_charged_and_leaves_no_turn(ledger: Ledger) -> None:
    one, knock = its(messages=1), Knock("board:ann", "board:room", listed="out")
    (accepted,) = await ledger.accept("board", [asks("a")], (), (), [knock], [one])
    assert (accepted.turn, accepted.spent) == (0, False)
    assert await ledger.entries() == []
    assert await kinds(ledger, await said(ledger, "b", "c", budget=one)) == ["message", "spent"]


def edits(event: str, text: str, at: float) -> Inbound:
    return Inbound(f"{event} {text}", "room", "change", says("user", text), sender="ann", ref=event, at=at)


async def charged(ledger: Ledger) -> int:
    query = sa.select(table.c.messages).where(table.c.key == TODAY.day)
    return int(await ledger.look(lambda connection: connection.execute(query).scalar_one()))


async def test_an_edit_of_what_is_being_answered_is_charged_and_told_once_when_it_is_one_too_many(
    ledger: Ledger,
) -> None:
    (asked,) = await said(ledger, "a")
    told = set()
    for n in range(6):
        held = await ledger.claim("board:room")
        assert (held is None) == (n > 2), "nobody has to begin anew"
        (edited,) = await ledger.accept("board", [edits("a", f"b{n}", n + 1.0)], (), (), (), [TODAY])
        assert (edited.ends, edited.spent) == ((asked.turn, False) if n < 2 else (0, True))
        told |= {edited.turn} if edited.spent else set()
        assert await charged(ledger) == min(n + 2, 3)
    assert len(told) == 1
    shown = await ledger.shown(asked.turn)
    assert shown is not None
    assert shown.inbound.message == says("user", "b1")


async def test_an_edit_of_what_waits_is_free(ledger: Ledger) -> None:
    (asked,) = await said(ledger, "a")
    for n in range(6):
        (edited,) = await ledger.accept("board", [edits("a", f"b{n}", n + 1.0)], (), (), (), [TODAY])
        assert (edited.ends, edited.spent) == (0, False)
    assert await charged(ledger) == 1
    turn = await next_of(ledger)
    assert (turn.id, turn.inbound.message) == (asked.turn, says("user", "b5"))


async def test_what_failed_gives_all_back_that_was_charged_for_it_once(ledger: Ledger) -> None:
    (asked,) = await said(ledger, "a")
    await next_of(ledger)
    await ledger.accept("board", [edits("a", "b", 1.0)], (), (), (), [TODAY])
    assert await charged(ledger) == 2
    for _ in range(3):
        turn = await next_of(ledger)
        assert await ledger.finish(turn, state="failed", error="no") == "failed"
        assert await charged(ledger) == 0
        assert await ledger.reopen(asked.turn)


async def test_who_has_lost_the_turn_gives_nothing_back(ledger: Ledger, clock: ManualClock) -> None:
    await said(ledger, "a")
    turn = await next_of(ledger)
    clock.advance(ledger.lease * 3)
    await next_of(ledger)
    with pytest.raises(LeaseLost):
        await ledger.finish(turn, state="failed", error="no")
    assert await charged(ledger) == 1
