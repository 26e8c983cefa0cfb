"""Whatever was said and done in whatever order: for what is kept, nothing changes when the rest is removed."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

import msgspec
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from chatferry.ledger.database import Database, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.retention import Place
from chatferry.ledger.sessions import Admitted, Doors, Gate
from chatferry.ledger.tables import metadata, turns
from chatferry.model import Inbound, express_key, says
from chatferry.testing import ManualClock

DAY = 86_400.0
KEEP = 10 * DAY
GATES = {"a": Gate(300.0, False, None), "b": Gate(None, False, None), "c": Gate(300.0, True, None)}
"""The rooms, and how sessions work in each."""
ENDS = ("done", "failed", "parked", "open", "later")

Step = tuple[Any, ...]
ROOM = st.sampled_from(sorted(GATES))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), ROOM, st.sampled_from(ENDS)),
        st.tuples(
            st.just("order"), st.sampled_from(sorted(GATES)), st.sampled_from(["start", "stop", "clear", "help"])
        ),
        st.tuples(st.just("heard"), ROOM),
        st.tuples(st.just("answer"), ROOM, st.sampled_from(ENDS)),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 400.0, DAY, 4 * DAY, 9 * DAY])),
        st.tuples(st.just("prune"), st.integers(1, 5)),
    ),
    max_size=40,
)


class World:
    """Three rooms on one channel, and what is known of them."""

    def __init__(self, database: Database, ledger: Ledger, clock: ManualClock) -> None:
        self.database = database
        self.ledger = ledger
        self.clock = clock
        self.events = 0

    async def step(self, step: Step) -> None:
        match step:
            case "ask", room, end:
                await self.accept(Inbound(self.name(), room, message=says("user", f"q{self.events}")))
                await self.answer(f"x:{room}", end)
            case "order", room, name:
                await self.accept(Inbound(self.name(), room, "command", says("user", "/"), command=name))
                await self.answer(express_key(f"x:{room}"), "done")
            case "heard", room:
                await self.accept(Inbound(self.name(), room, "heard", says("user", f"q{self.events}"), joined=True))
            case "answer", room, end:
                await self.answer(f"x:{room}", end)
            case "wait", seconds:
                self.clock.advance(seconds)
            case "prune", limit:
                await self.prune(limit)

    def name(self) -> str:
        self.events += 1
        return f"e{self.events}"

    async def accept(self, event: Inbound) -> None:
        await self.ledger.accept("x", [event], [GATES[event.conversation] if event.kind != "heard" else None])

    async def answer(self, lane: str, end: str) -> None:
        """Bring the lane's next turn to this end, if there is one."""
        turn = await self.ledger.claim(lane) if end != "open" else None
        if turn is None:
            return
        if end == "later":
            await self.ledger.retry(turn, 12 * DAY, "busy")
            return
        said = says("assistant", f"a{turn.inbound.event[1:]}")
        turn = await self.ledger.answered(turn, said, [said], finish=turn.finish)
        asked = turn.inbound.said
        words = [asked, said] if turn.inbound.kind == "message" and asked is not None and end != "failed" else []
        await self.ledger.finish(turn, words, state=end)

    async def prune(self, limit: int) -> None:
        """A whole pass, in batches of `limit`."""
        before = await self.known()
        place, more, gone = Place(), True, 0
        while more:
            pruned = await self.ledger.prune(self.clock.now() - KEEP, place, limit=limit)
            place, more = pruned.place, pruned.more
            gone += pruned.removed.get("turns", 0)
        after = await self.known()
        assert len(before.turns) - len(after.turns) == gone
        assert after == before.without(before.turns.keys() - after.turns.keys())

    async def known(self) -> Known:
        """All that anybody can learn of what there is."""

        def look(connection: sa.Connection) -> dict[int, Turn]:
            assert connection.execute(sa.text("PRAGMA foreign_key_check")).all() == []
            fields = turns.c.id, turns.c.event, turns.c.conversation, turns.c.state, turns.c.accepted_at
            return {row[0]: Turn(*row[1:]) for row in connection.execute(sa.select(*fields))}

        found = await self.database.read(look)
        session, history = {}, {}
        for turn, its in found.items():
            talk = its.lane.removeprefix("!")
            sections = await self.ledger.sections(talk, turn, turn)
            session[turn] = [(one.turn, one.open, one.began_at) for one in sections]
            history[turn] = [message.text async for message in self.ledger.history(talk, turn)]
        return Known(found, session, history, {room: await self.next(room) for room in GATES})

    async def next(self, room: str) -> list[Admitted]:
        """What the next question in a room would be, and the next orders."""
        events = [Inbound("next", room, message=says("user", "and?"))]
        events += [Inbound("next", room, "command", says("user", "/"), command=name) for name in ("start", "stop")]
        now = self.clock.now()

        def look(connection: sa.Connection) -> list[Admitted]:
            return [Doors(connection, now).admit(f"x:{room}", event, GATES[room]) for event in events]

        return await self.database.read(look)


class Turn(msgspec.Struct, frozen=True):
    event: str
    lane: str
    state: str
    accepted_at: float


class Known(msgspec.Struct):
    turns: dict[int, Turn]
    session: dict[int, list[tuple[int, bool, float]]]
    """The session that each turn is in."""
    history: dict[int, list[str]]
    """What each turn is told of the past."""
    next: dict[str, list[Admitted]]

    def without(self, gone: set[int]) -> Known:
        """The same, less these turns and their words; of rooms that none is left of, nothing is known."""
        kept = {turn: its for turn, its in self.turns.items() if turn not in gone}
        words = {f"{side}{self.turns[turn].event[1:]}" for turn in gone for side in "qa"}
        rooms = {its.lane.rpartition(":")[2] for its in kept.values()}
        stranger = {room: _stranger(room) for room in GATES if room not in rooms}
        return Known(
            kept,
            {turn: self.session[turn] for turn in kept},
            {turn: [text for text in self.history[turn] if text not in words] for turn in kept},
            self.next | stranger,
        )


def _stranger(room: str) -> list[Admitted]:
    """What somebody's next words are of whom nothing is known."""
    question = Inbound("next", room, message=says("user", "and?"))
    start, stop = (Inbound("next", room, "command", says("user", "/"), command=name) for name in ("start", "stop"))
    if GATES[room].always:
        return [Admitted(question, "began", True), Admitted(start, "open"), Admitted(stop)]
    return [Admitted(None), Admitted(start, "began", True), Admitted(stop)]


@settings(max_examples=40)
@given(STEPS)
def test_what_is_kept_is_as_it_was(steps: list[Step]) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as folder:
            database, clock = open_database(f"sqlite:///{folder}/ledger.db"), ManualClock()
            try:
                await database.write(metadata.create_all)
                async with Ledger(database, clock, lease=100 * DAY).open() as ledger:
                    world = World(database, ledger, clock)
                    for step in (*steps, ("wait", 9 * DAY), ("prune", 3), ("wait", 5 * DAY), ("prune", 2)):
                        await world.step(step)
            finally:
                await database.aclose()

    asyncio.run(play())
