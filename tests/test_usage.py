"""What was asked and what it cost, as turns tell it, and those that are there no more."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from chatferry.ledger.ledger import Ledger
from chatferry.ledger.retention import Place
from chatferry.ledger.usage import Used, together
from chatferry.model import Inbound, Usage, says
from chatferry.testing import ManualClock

DAY = 86_400.0
UTC, TAIPEI = ZoneInfo("UTC"), ZoneInfo("Asia/Taipei")
NOON = 1_800_014_400.0
"""2027-01-15 12:00 UTC."""


async def answer(ledger: Ledger, event: str, *, sender: str = "ann", model: str = "m", cost: int = 10) -> None:
    inbound = Inbound(event, event, "message", says("user", event), sender=sender, ref=event)
    await ledger.accept("board", [inbound])
    turn = await ledger.claim(f"board:{event}")
    assert turn is not None
    usage = Usage(7, 3, cost)
    turn = await ledger.answered(turn, says("assistant", "a"), [], assistant="shop", model=model, usage=usage)
    await ledger.finish(turn, [says("assistant", "a")])


@pytest.fixture
async def busy(ledger: Ledger, clock: ManualClock) -> Ledger:
    """Twelve answers over three days: two to ann and two to bob on each, half of them by another model."""
    clock.advance(NOON - clock.now())
    for day in range(3):
        for sender in ("ann", "bob"):
            for model in ("m", "n"):
                await answer(ledger, f"{day}{sender}{model}", sender=sender, model=model, cost=10 + day)
        clock.advance(DAY)
    return ledger


async def test_turns_are_summed_up_by_day_channel_assistant_and_model(busy: Ledger) -> None:
    found = await busy.usage(NOON - DAY, NOON + 3 * DAY, UTC)
    assert len(found) == 6
    assert found[0] == Used("2027-01-15", "board", "shop", "m", "", 2, 14, 6, 20)
    assert [(one.day, one.cost) for one in together(found, ["day"])] == [
        ("2027-01-15", 40), ("2027-01-16", 44), ("2027-01-17", 48),
    ]  # fmt: skip


async def test_people_are_told_apart_where_that_is_asked(busy: Ledger) -> None:
    found = together(await busy.usage(NOON - DAY, NOON + 3 * DAY, UTC, people=True), ["person"])
    assert [(one.person, one.turns) for one in found] == [("ann", 6), ("bob", 6)]


async def test_only_the_days_that_are_asked_for_count(busy: Ledger) -> None:
    found = await busy.usage(NOON + DAY - 3600.0, NOON + DAY + 3600.0, UTC)
    assert [(one.day, one.model) for one in found] == [("2027-01-16", "m"), ("2027-01-16", "n")]
    assert await busy.usage(NOON + 10 * DAY, NOON + 11 * DAY, UTC) == []
    assert await busy.usage(NOON - 11 * DAY, NOON - 10 * DAY, UTC) == []


async def test_days_are_those_of_the_time_zone(ledger: Ledger, clock: ManualClock) -> None:
    clock.advance(NOON + 4.5 * 3600.0 - clock.now())  # half past midnight in Taipei
    await answer(ledger, "late")
    assert [one.day for one in await ledger.usage(NOON, NOON + DAY, UTC)] == ["2027-01-15"]
    assert [one.day for one in await ledger.usage(NOON, NOON + DAY, TAIPEI)] == ["2027-01-16"]


async def test_what_is_removed_leaves_its_sums_without_the_people(busy: Ledger, clock: ManualClock) -> None:
    before = await busy.usage(NOON - DAY, NOON + 3 * DAY, TAIPEI)
    place, more = Place(), True
    while more:
        pruned = await busy.prune(NOON + 1.5 * DAY, place, limit=3, zone="Asia/Taipei")
        place, more = pruned.place, pruned.more
    assert len(await busy.entries()) == 4
    assert await busy.usage(NOON - DAY, NOON + 3 * DAY, TAIPEI) == before
    people = together(await busy.usage(NOON - DAY, NOON + 3 * DAY, TAIPEI, people=True), ["person"])
    assert [(one.person, one.turns) for one in people] == [("", 8), ("ann", 2), ("bob", 2)]


async def test_ids_may_be_out_of_order_by_as_much_as_clocks_differ(ledger: Ledger, clock: ManualClock) -> None:
    clock.advance(NOON - clock.now())
    for ahead in (-90.0, 60.0, -60.0, 90.0):  # one process is behind, and the other one ahead
        clock.advance(ahead)
        await answer(ledger, f"{ahead}")
        clock.advance(-ahead)
    assert sum(one.turns for one in await ledger.usage(NOON - 600.0, NOON, UTC)) == 2
    assert sum(one.turns for one in await ledger.usage(NOON, NOON + 600.0, UTC)) == 2
