"""Who asks too fast, as the ledger counts it, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from chatferry.clock import SystemClock
from chatferry.ledger.accepting import Accepted
from chatferry.ledger.database import Database, migrate, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.pacing import Pace
from chatferry.ledger.tables import pace
from chatferry.model import Inbound, says
from chatferry.rate import Rate
from chatferry.testing import ManualClock
from tests.talking import LANE, ROOM, gate, orders, takes
from tests.test_plans import executed

MINUTE = Rate(3, 60.0)
BY_ANN = Pace((("user board:ann", MINUTE),), "first")


def asks(event: str, *, room: str = "room", sender: str = "ann", joined: bool = False) -> Inbound:
    return Inbound(event, room, "message", says("user", event), sender=sender, ref=f"m-{event}", joined=joined)


async def said(ledger: Ledger, *events: str, its: Pace = BY_ANN) -> list[Accepted]:
    """Ann says all this, one after the other."""
    return [(await ledger.accept("board", [asks(event)], (), [its]))[0] for event in events]


async def kinds(ledger: Ledger, accepted: Sequence[Accepted]) -> list[str]:
    """What became of each: `message`, the command that it is now, or nothing."""
    found = []
    for one in accepted:
        shown = await ledger.shown(one.turn) if one.turn else None
        found.append(shown.inbound.command or shown.inbound.kind if shown else "")
    return found


async def rows(database: Database) -> int:
    count = sa.select(sa.func.count()).select_from(pace)
    return int(await database.read(lambda connection: connection.execute(count).scalar_one()))


# ── one person ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_one_too_many_is_told_when_to_go_on_and_the_others_are_passed_over(
    ledger: Ledger, clock: ManualClock
) -> None:
    accepted = await said(ledger, *"abcdef")
    assert await kinds(ledger, accepted) == ["message"] * 3 + ["slow", "", ""]
    assert [one.wait for one in accepted] == [0.0] * 3 + [60.0] * 3
    assert (accepted[3].lane, accepted[3].new) == (LANE, True)
    told = await ledger.claim(LANE)
    assert told is not None
    assert (told.id, told.inbound.again_at) == (accepted[3].turn, clock.now() + 60)
    assert len(await ledger.entries()) == 4


async def test_who_pauses_as_told_has_room_for_as_many_again(ledger: Ledger, clock: ManualClock) -> None:
    await said(ledger, *"abcd")
    clock.advance(59.0)
    assert await kinds(ledger, await said(ledger, "e")) == [""], "nothing comes in by chance before that"
    clock.advance(1.0)
    assert await kinds(ledger, await said(ledger, *"fghijk")) == ["message"] * 3 + ["slow", "", ""]


async def test_who_asks_no_faster_than_allowed_never_waits(ledger: Ledger, clock: ManualClock) -> None:
    for number in range(20):
        assert await kinds(ledger, await said(ledger, f"e{number}")) == ["message"]
        clock.advance(20.0)


@pytest.mark.parametrize(("rate", "wait"), [(Rate(2, 1.0), 1.0), (Rate(2, 86400.0), 43200.0), (Rate(100, 3600.0), 60)])
async def test_the_pause_is_a_minute_unless_the_limit_says_less_or_more(
    ledger: Ledger, rate: Rate, wait: float
) -> None:
    its = Pace((("user board:ann", rate),), "first")
    events = [asks(f"e{number}") for number in range(rate.number + 1)]
    accepted = await ledger.accept("board", events, (), [its] * len(events))
    assert accepted[-1].wait == pytest.approx(wait)


async def test_messages_of_one_delivery_count_in_their_order(ledger: Ledger) -> None:
    events = [asks(event) for event in "abcde"]
    accepted = await ledger.accept("board", events, (), [BY_ANN] * 5)
    assert await kinds(ledger, accepted) == ["message"] * 3 + ["slow", ""]


async def test_what_is_delivered_again_is_neither_counted_twice_nor_refused_later(ledger: Ledger) -> None:
    first = await said(ledger, *"aab")
    assert (first[0].turn, first[0].new, first[1].new) == (first[1].turn, True, False)
    copies = await ledger.accept("board", [asks("c"), asks("c")], (), [BY_ANN] * 2)
    assert copies[0].turn == copies[1].turn
    told = await said(ledger, "d")
    again = await said(ledger, *"abcd")
    assert [one.turn for one in again] == [first[0].turn, first[2].turn, copies[0].turn, told[0].turn]
    assert not any(one.new for one in again)
    assert await kinds(ledger, again) == ["message"] * 3 + ["slow"]


async def test_a_pause_survives_a_new_start(database: Database, clock: ManualClock) -> None:
    async with Ledger(database, clock).open() as ledger:
        await said(ledger, *"abcd")
    async with Ledger(database, clock).open() as ledger:
        assert await kinds(ledger, await said(ledger, *"de")) == ["slow", ""]


# ── several, and several limits ──────────────────────────────────────────────────────────────────────────────────


async def test_a_person_counts_over_all_conversations_and_not_for_others(ledger: Ledger) -> None:
    bob = Pace((("user board:bob", MINUTE),), "first")
    events = [asks(room, room=room) for room in "abcd"]
    accepted = await ledger.accept("board", [*events, asks("bob", sender="bob")], (), [BY_ANN] * 4 + [bob])
    assert await kinds(ledger, accepted) == ["message"] * 3 + ["slow", "message"]


async def test_a_conversation_counts_whoever_speaks_and_is_told_once(ledger: Ledger) -> None:
    def by(who: str) -> Pace:
        return Pace(((f"user board:{who}", Rate(2, 60.0)), ("talk board:room", MINUTE)), "first")

    events = [asks(f"{who}{n}", sender=who) for who in ("ann", "bob", "cyd") for n in range(2)]
    accepted = await ledger.accept("board", events, (), [by(event.sender) for event in events])
    assert await kinds(ledger, accepted) == ["message"] * 3 + ["slow", "", ""]


async def test_what_one_limit_refuses_does_not_count_by_the_other(ledger: Ledger, clock: ManualClock) -> None:
    both = Pace((("user board:ann", Rate(1, 60.0)), ("talk board:room", Rate(2, 60.0))), "first")
    assert await kinds(ledger, await said(ledger, *"abc", its=both)) == ["message", "slow", ""]
    bob = Pace((("user board:bob", Rate(1, 60.0)), ("talk board:room", Rate(2, 60.0))), "first")
    assert await kinds(ledger, await said(ledger, "d", its=bob)) == ["message"]


# ── who is told ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_where_somebody_waits_for_words_each_one_is_told(ledger: Ledger, clock: ManualClock) -> None:
    its = Pace(BY_ANN.rates, "each")
    accepted = await said(ledger, *"abcd", its=its)
    clock.advance(10.0)
    accepted += await said(ledger, *"ee", its=its)
    assert await kinds(ledger, accepted) == ["message"] * 3 + ["slow"] * 3
    assert [one.wait for one in accepted[3:]] == [60.0, 50.0, 0.0], "the last one is only delivered again"


async def test_a_program_is_told_the_wait_and_nothing_is_kept(ledger: Ledger, clock: ManualClock) -> None:
    its = Pace(BY_ANN.rates, "caller")
    accepted = await said(ledger, *"abcd", its=its)
    assert accepted[3] == Accepted(0, False, wait=20.0)
    clock.advance(20.0)
    assert await kinds(ledger, await said(ledger, *"de", its=its)) == ["message", ""], "it may go on at once"
    assert len(await ledger.entries()) == 4


# ── what else comes ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_goes_through_and_stops_what_was_asked(ledger: Ledger) -> None:
    accepted = await said(ledger, *"abcde")
    assert await ledger.claim(ROOM) is not None
    stop = await takes(ledger, orders("s", "stop"), None)
    assert (stop.new, stop.ends) == (True, accepted[0].turn)


async def test_what_a_session_does_not_let_in_does_not_count(ledger: Ledger) -> None:
    for number in range(5):
        [out] = await ledger.accept("board", [asks(f"e{number}")], [gate()], [BY_ANN])
        assert out == Accepted(0, False)
    await takes(ledger, orders("begin", "start"), gate())
    inside = [(await ledger.accept("board", [asks(event)], [gate()], [BY_ANN]))[0] for event in "abcd"]
    assert await kinds(ledger, inside) == ["message"] * 3 + ["slow"]


async def test_a_question_that_begins_a_session_begins_it_though_it_is_one_too_many(ledger: Ledger) -> None:
    await said(ledger, *"abc")
    question = msgspec.structs.replace(asks("d"), command="start")
    [told] = await ledger.accept("board", [question], [gate()], [BY_ANN])
    assert await kinds(ledger, [told]) == ["slow"]
    assert [section.open for section in await ledger.sections(ROOM, 0, told.turn)] == [True]


async def test_what_people_say_among_themselves_does_not_count(ledger: Ledger) -> None:
    event = [asks(f"e{number}", joined=True) for number in range(5)]
    assert {one.turn for one in await ledger.accept("board", event, (), [BY_ANN] * 5)} == {0}
    accepted = await said(ledger, *"abc")
    [told] = await ledger.accept("board", [asks("d", joined=True)], (), [BY_ANN])
    assert await kinds(ledger, [*accepted, told]) == ["message"] * 3 + ["slow"]


# ── what it costs ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_without_a_limit_nothing_is_asked_or_kept(ledger: Ledger, database: Database) -> None:
    with executed() as statements:
        await ledger.accept("board", [asks("a")], (), [None])
    assert [statement for statement in statements if "pace" in statement] == []
    assert await rows(database) == 0


async def test_people_who_are_gone_leave_nothing(ledger: Ledger, database: Database, clock: ManualClock) -> None:
    for hour in range(5):
        people = [asks(f"e{hour}-{n}", sender=f"p{hour}-{n}") for n in range(40)]
        await ledger.accept(
            "board", people, (), [Pace(((f"user board:{one.sender}", MINUTE),), "first") for one in people]
        )
        assert await rows(database) <= 80
        clock.advance(3600.0)


async def test_a_pause_is_kept_as_long_as_it_lasts(ledger: Ledger, database: Database, clock: ManualClock) -> None:
    await said(ledger, *"abcd", its=Pace((("user board:ann", Rate(3, 1.0)),), "first"))
    slow = Pace((("user board:bob", Rate(1, 86400.0)),), "first")
    await said(ledger, "x", "y", its=slow)
    clock.advance(3600.0)
    await ledger.accept("board", [asks("z")], (), [Pace((("user board:cyd", MINUTE),), "first")])
    assert await rows(database) == 2
    assert await kinds(ledger, await said(ledger, "w", its=slow)) == [""]


async def test_a_clock_that_is_set_back_locks_nobody_out(database: Database) -> None:
    async with Ledger(database, ManualClock(1_900_000_000.0)).open() as ahead:
        await said(ahead, *"abcd")
    async with Ledger(database, ManualClock()).open() as ledger:
        [told] = await said(ledger, "e")
    assert told.wait <= 60.0


# ── several processes ────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def processes(postgres: str) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Two processes' ledgers on one database."""
    databases = open_database(postgres), open_database(postgres)
    await migrate(databases[0])
    clock = SystemClock()
    async with Ledger(databases[0], clock).open() as one, Ledger(databases[1], clock).open() as other:
        yield one, other
    for database in databases:
        await database.aclose()


@contextlib.asynccontextmanager
async def admin(postgres: str) -> AsyncIterator[Any]:
    import asyncpg

    connection = await asyncpg.connect(postgres)
    try:
        yield connection
    finally:
        await connection.close()


async def deadlocks(postgres: str) -> int:
    """How many there were; told when the connections that saw them are closed."""
    async with admin(postgres) as connection:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return int(await connection.fetchval(query))


@pytest.fixture
async def two(postgres: str) -> AsyncIterator[tuple[Ledger, Ledger]]:
    async with processes(postgres) as both:
        yield both


HOURLY = Pace((("user board:ann", Rate(20, 3600.0)),), "first")


async def test_two_processes_let_in_exactly_as_many_as_one(two: tuple[Ledger, Ledger]) -> None:
    accepted: list[Accepted] = []
    for n in range(25):  # at once, again and again
        calls = [process.accept("board", [asks(f"{n}-{i}")], (), [HOURLY]) for i, process in enumerate(two)]
        accepted += [one for [one] in await asyncio.gather(*calls)]
    assert sorted(await kinds(two[0], accepted)) == [""] * 29 + ["message"] * 20 + ["slow"]


async def test_a_flood_over_two_processes_is_let_in_exactly_so_far(two: tuple[Ledger, Ledger]) -> None:
    calls = [two[n % 2].accept("board", [asks(f"e{n}")], (), [HOURLY]) for n in range(50)]
    accepted = [one for [one] in await asyncio.gather(*calls)]
    assert sorted(await kinds(two[0], accepted)) == [""] * 29 + ["message"] * 20 + ["slow"]


async def test_an_event_that_reaches_two_processes_at_once_counts_once(two: tuple[Ledger, Ledger]) -> None:
    accepted: list[Accepted] = []
    for n in range(20):
        calls = [process.accept("board", [asks(f"e{n}")], (), [HOURLY]) for process in two]
        accepted += [one for [one] in await asyncio.gather(*calls)]
    assert await kinds(two[0], accepted) == ["message"] * 40
    assert sum(one.new for one in accepted) == 20


def person(name: str) -> Pace:
    return Pace(((f"user board:{name}", Rate(100, 3600.0)),), "first")


async def test_processes_that_count_the_same_people_never_wait_for_each_other_in_a_circle(postgres: str) -> None:
    people = ["ann", "bob", "cyd"]

    def speak(process: Ledger, name: str, order: Sequence[str]) -> Awaitable[list[Accepted]]:
        events = [asks(f"{name} {who}", sender=who) for who in order]
        return process.accept("board", events, (), [person(who) for who in order])

    async with processes(postgres) as two:
        await speak(two[0], "first", people)
        async with admin(postgres) as third:
            # The one in the middle is held until both wait, each with what it locked before.
            held = third.transaction()
            await held.start()
            await third.execute("SELECT key FROM pace WHERE key = 'user board:bob' FOR UPDATE")
            both = asyncio.gather(speak(two[0], "one", people), speak(two[1], "other", people[::-1]))
            waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
            async with asyncio.timeout(60):
                while await third.fetchval(waiting) < 2:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.001)
            await held.commit()
        assert all(one.new for accepted in await both for one in accepted)
    assert await deadlocks(postgres) == 0


async def test_commands_and_what_is_counted_never_wait_for_each_other_in_a_circle(postgres: str) -> None:
    """One writes about turns that the other's commands are to stop, and both count the same people."""
    rooms, people = [f"room{n}" for n in range(10)], [f"p{n}" for n in range(10)]

    def speak(process: Ledger, name: str) -> list[Awaitable[list[Accepted]]]:
        events = [(asks(f"{name} {who}", room="hall"), person(who)) for who in people]
        return [process.accept("board", [event], (), [its]) for event, its in events]

    async with processes(postgres) as two:
        owed = [(await two[0].accept("board", [asks(f"q {room}", room=room)]))[0].turn for room in rooms]
        for n in range(10):
            stops = [orders(f"stop {n} {room}", "stop", room=room) for room in rooms]
            one = [*[two[0].halt(turn) for turn in owed], *speak(two[0], f"one{n}")]
            other = [*speak(two[1], f"other{n}"), *[two[1].accept("board", [stop]) for stop in stops]]
            await asyncio.gather(*one, *other)
    assert await deadlocks(postgres) == 0
