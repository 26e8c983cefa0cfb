"""What is old goes, on both databases; what is kept is as it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from chatferry.errors import Unavailable
from chatferry.ledger.database import Database, migrate, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Standing
from chatferry.ledger.retention import Place, Pruned, retain
from chatferry.ledger.rows import BEFORE
from chatferry.ledger.tables import messages, outbox, turns
from chatferry.model import Attempt, Inbound, Receipt, Turn, says
from chatferry.testing import ManualClock
from tests.talking import LANE, ROOM, answers, asks, begins, claimed, gate, inbound, known, orders, rows, takes

DAY = 86_400.0
KEEP = 90 * DAY
LOCK = 0x6B656570


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = open_database(url)
    try:
        yield database
    finally:
        await database.aclose()


async def prune(ledger: Ledger, clock: ManualClock, *, limit: int = 500) -> Counter[str]:
    """A whole pass: what it removed."""
    removed: Counter[str] = Counter()
    place, more = Place(), True
    while more:
        pruned = await ledger.prune(clock.now() - KEEP, place, limit=limit)
        assert pruned.removed.get("turns", 0) <= limit
        removed.update(pruned.removed)
        place, more = pruned.place, pruned.more
    return +removed


async def left(database: Database) -> dict[str, str]:
    """The state of every turn there is, by its event. What belongs to a turn belongs to one of these."""

    def look(connection: sa.Connection) -> Sequence[Any]:
        found = connection.execute(sa.select(turns.c.id, turns.c.event, turns.c.state)).all()
        ids = [row.id for row in found]
        for table in (outbox, messages):
            assert connection.execute(sa.select(table.c.id).where(table.c.turn.not_in(ids))).all() == []
        return found

    return {row.event: row.state for row in await database.read(look)}


async def answered(ledger: Ledger, event: str, *, room: str = "room", state: str = "done") -> Turn:
    """A turn that was answered in one message, and that is remembered."""
    await ledger.accept("board", [asks(event, event, room=room)])
    turn = await claimed(ledger, f"board:{room}")
    said = says("assistant", f"re {event}")
    turn = await ledger.answered(turn, said, [said])
    pieces = [piece for piece in await ledger.pending(turn.conversation) if piece.turn == turn.id]
    sent = [(piece, Receipt(f"p-{event}")) for piece in pieces] if state == "done" else []
    await ledger.finish(turn, [says("user", event), said], state=state, sent=sent)
    return turn


# ── what goes ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_closed_long_ago_goes_with_its_pieces_and_its_words(
    ledger: Ledger, clock: ManualClock, database: Database
) -> None:
    old = await answered(ledger, "old")
    clock.advance(KEEP / 2)
    young = await answered(ledger, "young")
    assert await prune(ledger, clock) == {}
    clock.advance(KEEP / 2 + 1)
    assert await prune(ledger, clock) == {"turns": 1, "outbox": 1, "messages": 2}
    assert await left(database) == {"young": "done"}
    assert await ledger.shown(old.id) is None
    assert [one.message.text for one in await ledger.said(ROOM)] == ["re young", "young"]
    assert list(await ledger.delivered([old.id, young.id])) == [young.id]
    clock.advance(KEEP / 2)
    assert (await prune(ledger, clock))["turns"] == 1
    assert await left(database) == {}


async def test_what_is_open_stays_however_old_it_is(ledger: Ledger, clock: ManualClock, database: Database) -> None:
    for state in ("done", "failed", "parked", "gone"):
        await answered(ledger, state, room=state, state=state)
    await ledger.accept("board", [Inbound("heard", "done", "heard", says("user", "x"), joined=True)])
    await ledger.accept("board", [asks("taken back")])
    await ledger.accept("board", [Inbound("-", "room", "retract", ref="m-taken back")])
    await ledger.accept("board", [asks("working"), asks("waiting"), orders("ordered", "help")])
    await ledger.accept("board", [asks("later", room="elsewhere")])
    working = await claimed(ledger)
    await ledger.retry(await claimed(ledger, "board:elsewhere"), 2 * KEEP, "busy")
    clock.advance(KEEP + 1)
    await prune(ledger, clock)
    assert await left(database) == {"working": "doing", "waiting": "due", "later": "due", "ordered": "due"}
    await ledger.finish(working)
    assert (await claimed(ledger)).inbound.event == "waiting"


async def test_what_was_closed_only_lately_stays(ledger: Ledger, clock: ManualClock, database: Database) -> None:
    turn = await answered(ledger, "again", state="failed")
    await answered(ledger, "old")
    clock.advance(KEEP)
    assert await ledger.reopen(turn.id)
    again = await claimed(ledger)
    await ledger.finish(again, [])
    clock.advance(KEEP - 1)
    await prune(ledger, clock)
    assert await left(database) == {"again": "done"}
    clock.advance(2)
    await prune(ledger, clock)
    assert await left(database) == {}


async def test_what_was_said_before_we_came_goes_with_the_turn_that_read_it(
    ledger: Ledger, clock: ManualClock, database: Database
) -> None:
    await ledger.accept("board", [asks("first")])
    turn = await claimed(ledger)
    await ledger.briefed(turn, turn.inbound, [says("user", "long ago")])
    await ledger.finish(turn, [says("user", "first"), says("assistant", "yes")])
    clock.advance(KEEP / 2)
    await answered(ledger, "second")
    clock.advance(KEEP / 2 + 1)
    await prune(ledger, clock)
    assert [one.message.text for one in await ledger.said(ROOM)] == ["re second", "second"]
    kinds = await database.read(lambda connection: connection.execute(sa.select(messages.c.role)).scalars().all())
    assert BEFORE not in kinds
    assert await ledger.acquainted(ROOM)


async def test_an_event_that_is_delivered_again_after_it_was_removed_is_a_new_one(
    ledger: Ledger, clock: ManualClock
) -> None:
    first = await answered(ledger, "e1")
    clock.advance(KEEP + 1)
    await prune(ledger, clock)
    [again] = await ledger.accept("board", [asks("e1")])
    assert again.new
    assert again.turn > first.id, "no number is given twice"


# ── in small batches ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_removes_no_more_than_it_may_and_others_write_between(
    ledger: Ledger, clock: ManualClock, database: Database
) -> None:
    await ledger.accept("board", [asks(f"open {n}", room=f"open {n}") for n in range(3)])
    for n in range(10):
        await answered(ledger, f"e{n}", room=f"room {n % 3}")
    clock.advance(KEEP + 1)
    place, more, sizes = Place(), True, []
    while more:
        pruned = await ledger.prune(clock.now() - KEEP, place, limit=4)
        place, more = pruned.place, pruned.more
        sizes.append(pruned.removed.get("turns", 0))
        await answered(ledger, f"meanwhile {len(sizes)}")
    assert sizes == [1, 4, 4, 1, 0]
    assert len(await left(database)) == 3 + len(sizes)
    assert place.left == 1, "the first one that is open"


async def test_no_batch_reads_what_an_earlier_one_has_read(ledger: Ledger, clock: ManualClock) -> None:
    await ledger.accept("board", [asks(f"open {n}", room=f"open {n}") for n in range(8)])
    clock.advance(KEEP + 1)
    pruned = await ledger.prune(clock.now() - KEEP, Place(), limit=4)
    assert (pruned.place.past, pruned.more, pruned.removed) == (4, True, {})
    pruned = await ledger.prune(clock.now() - KEEP, pruned.place, limit=4)
    assert pruned.place.past == 8


async def test_a_turn_that_was_stamped_by_a_clock_ahead_hides_none(
    ledger: Ledger, clock: ManualClock, database: Database
) -> None:
    ahead = ManualClock(clock.now() + KEEP)
    async with Ledger(database, ahead).open() as other:
        await answered(other, "ahead", room="ahead")
    await answered(ledger, "old")
    clock.advance(KEEP + 1)
    await prune(ledger, clock)
    assert await left(database) == {"ahead": "done"}


# ── what is kept is as it was ────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_goes_on_without_its_first_turns(
    ledger: Ledger, clock: ManualClock, database: Database
) -> None:
    began = await begins(ledger, gate(None))
    await ledger.finish(await claimed(ledger, LANE))
    await takes(ledger, asks("old"), gate(None))
    await answers(ledger, "old answer")
    clock.advance(KEEP / 2)
    young = await takes(ledger, asks("young", "young"), gate(None))
    await answers(ledger, "young answer")
    before = await ledger.sections(ROOM, young.turn, young.turn)
    clock.advance(KEEP / 2 + 1)
    assert (await prune(ledger, clock))["turns"] == 2
    assert await ledger.sections(ROOM, young.turn, young.turn) == before
    inside = await takes(ledger, asks("more"), gate(None))
    assert (await inbound(ledger, inside)).kind == "message"
    assert await known(ledger, inside.turn) == ["young", "young answer"]
    assert await rows(database) == [(began.turn, True)]


async def test_whoever_ended_a_session_stays_outside(ledger: Ledger, clock: ManualClock, database: Database) -> None:
    await begins(ledger)
    asked = await takes(ledger, asks("e1"), gate())
    await ledger.retry(await claimed(ledger), 2 * KEEP, "busy")
    ended = await takes(ledger, orders("end", "stop"), gate())
    for _ in range(2):
        await ledger.finish(await claimed(ledger, LANE))
    clock.advance(KEEP + 1)
    await prune(ledger, clock)
    assert list(await left(database)) == ["e1"], "it is still to be tried again"
    assert not (await takes(ledger, asks("e2"), gate())).turn
    assert [row[1] for row in await rows(database)] == [True, False]
    assert [one.open for one in await ledger.sections(ROOM, asked.turn, ended.turn)] == [False, True]


async def test_sessions_that_nothing_is_left_of_are_forgotten(
    ledger: Ledger, clock: ManualClock, database: Database
) -> None:
    for n in range(3):
        clock.advance(301.0)
        await takes(ledger, asks(f"old {n}"), gate(always=True))
        await answers(ledger)
    clock.advance(KEEP / 2)
    young = await takes(ledger, asks("young"), gate(always=True))
    await answers(ledger)
    clock.advance(KEEP / 2 + 1)
    assert len(await rows(database)) == 4
    await prune(ledger, clock, limit=2)
    assert await rows(database) == [(young.turn, True)]
    clock.advance(KEEP)
    await prune(ledger, clock)
    assert await rows(database) == [], "nor is it known that they ever talked to us"


async def test_an_order_alone_keeps_its_session(ledger: Ledger, clock: ManualClock, database: Database) -> None:
    await begins(ledger, gate(None))
    clock.advance(KEEP + 1)
    await takes(ledger, orders("again", "start"), gate(None))
    while turn := await ledger.claim(LANE):
        await ledger.finish(turn)
    clock.advance(KEEP - 1)
    await prune(ledger, clock)
    clock.advance(2)
    assert len(await left(database)) == 2, "both were answered lately"
    assert (await takes(ledger, asks("e1"), gate(None))).new


async def test_a_merged_turn_may_outlive_the_one_that_answered_for_it_for_a_moment(
    ledger: Ledger, clock: ManualClock, database: Database
) -> None:
    first, second, third = [one.turn for one in await ledger.accept("board", [asks(f"e{n}") for n in range(3)])]
    turn = await claimed(ledger)
    turn = await ledger.absorb(turn, await ledger.waiting(turn, "message"))
    turn = await ledger.answered(turn, says("assistant", "all"), [])
    await ledger.finish(turn, [says("user", "hi"), says("assistant", "all")])
    assert await ledger.standing(second) == Standing(first, False, None)
    clock.advance(KEEP + 1)
    pruned = await ledger.prune(clock.now() - KEEP, Place(), limit=1)
    assert await left(database) == {"e1": "merged", "e2": "merged"}
    assert await ledger.standing(second) == Standing(first, False, None)
    assert await ledger.standing(first) == Standing(first, False, None)
    await ledger.accept("board", [Inbound("back", "room", "retract", ref="m-e1")])
    await ledger.accept("board", [Inbound("other", "room", "change", says("user", "x"), ref="m-e2")])
    shown = await ledger.shown(second)
    assert shown is not None
    assert shown.inbound.message is None
    await ledger.prune(clock.now() - KEEP, pruned.place)
    assert await left(database) == {}
    assert third == second + 1


# ── several processes ────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_processes_remove_everything_once_while_others_write(postgres: str, clock: ManualClock) -> None:
    async with opened(postgres) as first, opened(postgres) as second:
        await migrate(first)
        async with Ledger(first, clock).open() as one, Ledger(second, clock).open() as two:
            for n in range(60):
                await answered(one, f"e{n}", room=f"room {n % 7}", state="done" if n % 3 else "parked")
            clock.advance(KEEP + 1)

            async def talk(ledger: Ledger, room: str) -> None:
                for n in range(20):
                    await ledger.accept("board", [asks(f"{room} {n}", room=room)])
                    turn = await claimed(ledger, f"board:{room}")
                    turn = await ledger.answered(turn, says("assistant", "yes"), [says("assistant", "yes")])
                    # What was parked in this talk comes along, and some of it is just being removed.
                    pieces = await ledger.pending(turn.conversation)
                    turn = await ledger.sending(turn, pieces, Attempt(key=f"{room} {n}"))
                    await ledger.finish(turn, sent=[(piece, Receipt(f"{room} {n}")) for piece in pieces])

            talks = [talk(ledger, f"room {n}") for n, ledger in enumerate((one, two) * 3)]
            passes = [asyncio.ensure_future(prune(ledger, clock, limit=5)) for ledger in (one, two, one, two)]
            async with asyncio.timeout(60):
                await asyncio.gather(*passes, *talks)
            passes.append(asyncio.ensure_future(prune(one, clock)))
            gone = sum([(await its)["turns"] for its in passes])
        states = Counter((await left(first)).values())
        # What came along in time was closed just now, and is kept.
        assert gone + states.total() == 60 + 6 * 20
        assert gone >= 40, "all that had been sent"
        assert states["parked"] == 0


async def test_a_turn_that_somebody_writes_about_waits_for_the_next_pass(postgres: str, clock: ManualClock) -> None:
    import asyncpg

    async with opened(postgres) as database:
        await migrate(database)
        async with Ledger(database, clock).open() as ledger:
            ids = {name: (await answered(ledger, name)).id for name in ("turn", "piece", "word", "free")}
            clock.advance(KEEP + 1)
            other = await asyncpg.connect(postgres)
            try:
                writing = other.transaction()
                await writing.start()
                await other.execute("UPDATE turns SET error = '' WHERE id = $1", ids["turn"])
                await other.execute("UPDATE outbox SET attempt = NULL WHERE turn = $1", ids["piece"])
                await other.execute("DELETE FROM messages WHERE turn = $1 AND role = 'user'", ids["word"])
                async with asyncio.timeout(60):
                    assert (await prune(ledger, clock))["turns"] == 1
                assert sorted(await left(database)) == ["piece", "turn", "word"]
                await writing.rollback()
                assert (await prune(ledger, clock))["turns"] == 3
            finally:
                await other.close()


async def test_one_process_at_a_time_removes_something(postgres: str, clock: ManualClock) -> None:
    import asyncpg

    async with opened(postgres) as database:
        await migrate(database)
        async with Ledger(database, clock).open() as ledger:
            await answered(ledger, "old")
            clock.advance(KEEP + 1)
            other = await asyncpg.connect(postgres)
            await other.execute("SELECT pg_advisory_lock($1)", LOCK)
            assert await ledger.prune(clock.now() - KEEP, Place()) == Pruned(Place(), True)
            await other.close()
            assert (await prune(ledger, clock))["turns"] == 1


# ── again and again ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_passes_begin_a_while_after_the_start_and_then_every_hour(clock: ManualClock) -> None:
    told: list[Mapping[str, int]] = []
    asked: asyncio.Queue[tuple[float, Place]] = asyncio.Queue()
    plays: list[Pruned | Unavailable] = [
        Pruned(Place(100), True, {"turns": 100}),
        Pruned(Place(150), False, {"turns": 50}),
        Unavailable("away"),
        Pruned(Place(), False),
    ]

    async def play(before: float, place: Place) -> Pruned:
        asked.put_nowait((before, place))
        play = plays.pop(0)
        if isinstance(play, Unavailable):
            raise play
        return play

    async def after(seconds: float) -> tuple[float, Place]:
        for _ in range(5):  # it is asleep, then
            await asyncio.sleep(0)
        assert asked.empty()
        clock.advance(seconds)
        return await asked.get()

    start = clock.now()
    task = asyncio.create_task(retain(KEEP, play, told.append, clock))
    assert await after(60.0) == (start + 60.0 - KEEP, Place())
    assert await after(0.2) == (start + 60.0 - KEEP, Place(100)), "one pass is of one moment"
    for _ in range(5):
        await asyncio.sleep(0)
    clock.advance(0.2)
    assert (await after(3600.0))[1] == Place()
    assert (await after(60.0))[1] == Place(), "sooner, after a fault"
    task.cancel()
    assert [its.get("turns") for its in told] == [100, 50, None]
