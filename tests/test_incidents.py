"""When an incident begins and when it is over, who decides, and who is told."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.ledger.incidents import Incident, Told, Verdict, after
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.measures import SLICE, Count, Outcomes, slowest, succeeded
from chatferry.model import APOLOGY, Inbound, Kind, Turn, says
from chatferry.testing import ManualClock

WELL = Incident("success", False, 0, 0.0, 0.0, None, 0, 0.0)
CALM = 60.0


def verdict(bad_at: float | None, *targets: str) -> Verdict:
    return Verdict("success", bad_at, None, 0, CALM, targets)


@given(st.lists(st.tuples(st.booleans(), st.floats(1.0, 100.0)), max_size=60))
def test_what_begins_is_told_and_what_is_over_is_told_in_turns_and_only_after_a_calm(
    looks: list[tuple[bool, float]],
) -> None:
    stands, now, told = WELL, 1e6, list[Told]()
    bad: list[float] = []
    for is_bad, passed in looks:
        now += passed
        if is_bad:
            bad.append(now)
        stands, said = after(stands, verdict(now if is_bad else None), now)
        if said is not None:
            told.append(said)
            assert said.state == "raised" or now - bad[-1] >= CALM
        assert stands.open or not is_bad, "what is bad now is an incident"
        assert not stands.open or now - bad[-1] < CALM
    expected = [("raised", n // 2 + 1) if n % 2 == 0 else ("over", n // 2 + 1) for n in range(len(told))]
    assert [(one.state, one.number) for one in told] == expected


async def test_one_process_decides_and_another_takes_its_place_when_it_falls_silent(
    ledger: Ledger, clock: ManualClock
) -> None:
    assert [one.alert for one in await ledger.watch_over(["a", "b"], "first", 30.0)] == ["a", "b"]
    assert await ledger.watch_over(["a", "b"], "second", 30.0) == []
    await ledger.judged([msgspec.structs.replace(verdict(clock.now(), "x"), alert="a")], "second")
    assert await ledger.alarms(["x"], 60.0) == [], "it has no say"
    await ledger.judged([msgspec.structs.replace(verdict(clock.now(), "x"), alert="a")], "first")
    clock.advance(50.0)
    (a, b) = await ledger.watch_over(["a", "b"], "second", 30.0)
    assert (a.open, b.open) == (True, False)
    assert a.bad_at == clock.now(), "while nobody looked it may have been bad"
    assert await ledger.watch_over(["a"], "first", 30.0) == []


async def test_an_alarm_is_given_to_one_at_a_time_the_oldest_of_each_target_first(
    ledger: Ledger, clock: ManualClock
) -> None:
    await ledger.watch_over(["success"], "me", 1000.0)
    await ledger.judged([verdict(clock.now(), "x", "y")], "me")
    clock.advance(CALM)
    await ledger.judged([verdict(None, "x", "y")], "me")
    given = await asyncio.gather(*[ledger.alarms(["x", "y"], 60.0) for _ in range(4)])
    taken = [alarm for some in given for alarm in some]
    assert sorted((alarm.target, alarm.told.state) for alarm in taken) == [("x", "raised"), ("y", "raised")]
    x = next(alarm for alarm in taken if alarm.target == "x")
    await ledger.alarmed(x, again=5.0)
    assert await ledger.alarms(["x"], 60.0) == [], "neither that nor what comes after it"
    clock.advance(5.0)
    (x,) = await ledger.alarms(["x"], 60.0)
    assert (x.told.state, x.attempts) == ("raised", 2)
    assert await ledger.alarms(["x"], 60.0) == []
    await ledger.alarmed(x)
    (over,) = await ledger.alarms(["x"], 60.0)
    assert over.told.state == "over"
    clock.advance(60.0)
    (again,) = await ledger.alarms(["x"], 60.0)
    assert again.id == over.id, "whoever had it has fallen silent"


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────────────


async def closed(ledger: Ledger, clock: ManualClock, name: str, seconds: float, finish: str, kind: Kind) -> Turn:
    await ledger.accept("board", [Inbound(f"{name} {kind}", name, kind, says("user", "hi"))])
    turn = await ledger.claim(f"board:{name}")
    assert turn is not None
    clock.advance(seconds)
    turn = await ledger.answered(turn, says("assistant", "a"), [], finish=finish, assistant="clerk")
    await ledger.finish(turn)
    return turn


async def test_messages_are_counted_once_however_often_one_looks_and_nothing_else_is(
    ledger: Ledger, clock: ManualClock
) -> None:
    looked: list[float] = []

    async def look(since: float, until: float) -> list[Count]:
        looked.append(since)
        return await ledger.outcomes(since, until)

    outcomes = Outcomes(look, longest=120.0)
    for number, seconds in enumerate((0.5, 2.0, 3.04, 40.2)):
        await closed(ledger, clock, f"room {number}", seconds, APOLOGY if seconds == 2.0 else "stop", "message")
    await closed(ledger, clock, "room", 1.0, "", "push")
    found = list(await outcomes.during(120.0, clock.now()) or ())
    assert {(one.channel, one.assistant, one.turns) for one in found} == {("board", "clerk", 1)}
    told = sorted((one.failed, round(one.seconds or 0.0, 3)) for one in found)
    assert told == [(False, 0.5), (False, 3.0), (False, 40.0), (True, 2.0)]
    assert succeeded(found) == (4, 0.75)
    assert [round(slowest(found, share)[1], 3) for share in (0.95, 0.6, 0.3)] == [40.0, 3.0, 0.5]
    looked.clear()
    assert sorted(await outcomes.during(120.0, clock.now()) or ()) == sorted(found)
    assert len(looked) <= 4, "what lies back is not counted again"
    assert min(looked) > clock.now() - 4 * SLICE
    clock.advance(200.0)
    assert list(await outcomes.during(120.0, clock.now()) or ()) == []


async def test_a_window_that_is_not_counted_yet_judges_nothing() -> None:
    async def look(since: float, until: float) -> list[Count]:
        return []

    outcomes = Outcomes(look, longest=3600.0)
    assert await outcomes.during(3600.0, 1e6) is None
    assert await outcomes.during(600.0, 1e6) is not None
    for _ in range(4):
        found = await outcomes.during(3600.0, 1e6)
    assert found is not None


async def test_who_waits_longest_is_told_and_not_who_waits_for_himself(ledger: Ledger, clock: ManualClock) -> None:
    for event, room, kind in (("1", "a", "message"), ("2", "a", "message"), ("3", "b", "push")):
        await ledger.accept("board", [Inbound(event, room, kind, says("user", "hi"))])  # type: ignore[arg-type]
    clock.advance(40.0)
    assert (await ledger.waited(), await ledger.waited("board"), await ledger.waited("other")) == (40.0, 40.0, 0.0)
    assert await ledger.claim("board:a") is not None
    assert await ledger.waited() == 0.0, "the second one waits behind the first, and nobody waits for a push"
    clock.advance(ledger.lease + 7.0)
    assert await ledger.waited("board") == pytest.approx(7.0), "its holder has died, and nobody took over"
