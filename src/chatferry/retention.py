"""Retention: what was closed long ago goes, in batches so small that nobody waits for one.

A turn goes with its pieces and its words. What is open stays, however old it is, and so does what was closed only
lately. A pass walks the turns in the order of their ids and carries along how far it has come, so that no batch reads
what an earlier one has read. What takes a connection is synchronous and runs inside the ledger's one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog

from chatferry import memories, profiles, usage
from chatferry.clock import Clock
from chatferry.errors import Unavailable
from chatferry.model import express_key, talk_key
from chatferry.tables import OPEN, answers, files, messages, outbox, sessions, steps, turns

log = structlog.get_logger(__name__)

BATCH = 100
"""Turns that one batch looks at: some milliseconds of the writer's time, however much there is to remove."""
_PAUSE = 0.2
"""Seconds between two batches."""
_FIRST, _EVERY = 60.0, 3600.0
"""Seconds before the first pass, and between two."""
_LOCK = 0x6B656570
"""PostgreSQL's number for the lock of the one process that removes something just now."""


OF_A_TURN = (*((table, table.c.turn) for table in (outbox, messages, steps, files, answers)), (turns, turns.c.id))
"""What goes with a turn, and the turn last."""


class Place(msgspec.Struct, frozen=True):
    """How far a pass has come."""

    past: int = 0
    """It has looked at all turns up to this one."""
    left: int = 0
    """The first turn that it left where it is; 0: none so far."""


class Prune(msgspec.Struct, frozen=True):
    """Remove what was closed before this time, among the next turns of a pass."""

    before: float
    place: Place
    limit: int
    now: float
    zone: str = "UTC"
    """Where the days begin by which it stays known what they cost."""


class Pruned(msgspec.Struct, frozen=True):
    """What a batch removed, by table, and whether there may be more."""

    place: Place
    more: bool
    removed: Mapping[str, int] = {}


async def retain(
    keep: float,
    prune: Callable[[float, Place], Awaitable[Pruned]],
    tell: Callable[[Mapping[str, int]], None],
    clock: Clock,
) -> None:
    """Keep what is younger than so many seconds, until cancelled. `tell` hears what each batch removed."""
    wait = _FIRST
    while True:
        await clock.sleep(wait)
        before, place, more, gone = clock.now() - keep, Place(), True, 0
        try:
            while more:
                pruned = await prune(before, place)
                tell(pruned.removed)
                gone += pruned.removed.get("turns", 0)
                place, more = pruned.place, pruned.more
                await clock.sleep(_PAUSE)
            wait = _EVERY
        except Unavailable as fault:
            log.error("old turns not removed", error=str(fault))
            wait = _FIRST
        if gone:
            log.info("old turns removed", turns=gone)


def _prune(connection: sa.Connection, operations: Sequence[Prune]) -> list[Pruned]:
    return [_batch(connection, op) for op in operations]


def _batch(connection: sa.Connection, op: Prune) -> Pruned:
    shared = connection.dialect.name == "postgresql"
    if shared and not connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK))).scalar():
        return Pruned(op.place, more=True)  # another process is at it
    more = profiles.prune(connection, op.before)
    ahead = sa.select(turns.c.id, turns.c.accepted_at).where(turns.c.id > op.place.past)
    looked = connection.execute(ahead.order_by(turns.c.id).limit(op.limit)).all()
    # Clocks differ: a young turn alone does not say that there is no older one behind it.
    if not any(row.accepted_at < op.before for row in looked):
        return Pruned(op.place, more)
    past = looked[-1].id
    closed = ~OPEN, sa.func.coalesce(turns.c.finished_at, 0.0) < op.before
    old = sa.select(turns.c.id, turns.c.conversation).where(
        turns.c.id > op.place.past, turns.c.id <= past, turns.c.accepted_at < op.before, *closed
    )
    # Whoever writes about one of them now has it to themselves: it goes with the next pass.
    found = connection.execute(old.order_by(turns.c.id).with_for_update(skip_locked=True))
    lanes = {row.id: row.conversation for row in found}
    if shared:
        for busy in _busy(connection, lanes):
            del lanes[busy]
    left = op.place.left or next((row.id for row in looked if row.id not in lanes), 0)
    removed = {}
    if lanes:
        usage.fold(connection, lanes, op.zone)
        for table, column in OF_A_TURN:
            removed[table.name] = connection.execute(sa.delete(table).where(column.in_(lanes))).rowcount
        _close(connection, {talk_key(lane) for lane in lanes.values()}, left or past + 1, past)
        # What a summary holds of what goes stays in it, but no longer than it was kept itself.
        twice = 2 * op.before - op.now
        memories.prune(connection, {talk_key(lane) for lane in lanes.values()}, twice, _silent)
    return Pruned(Place(past, left), more or len(looked) == op.limit, removed)


def _busy(connection: sa.Connection, among: Collection[int]) -> set[int]:
    """Those of these turns of which another process holds a piece or a word.

    Some writes have these without their turn. We wait for none of them, so nobody waits for us in a circle.
    """
    busy: set[int] = set()
    for table in (outbox, messages):
        rows = sa.select(table.c.id, table.c.turn).where(table.c.turn.in_(among))
        free = set(connection.execute(rows.order_by(table.c.id).with_for_update(skip_locked=True)).all())
        busy.update(row.turn for row in connection.execute(rows).all() if row not in free)
    return busy


def _close(connection: sa.Connection, talks: Collection[str], left: int, past: int) -> None:
    """Forget the sessions that nothing that is kept belongs to: a row stays where it is when its first turn goes.

    The last row of a talk says what its next message is, and stays as long as there is a turn of the talk.
    """
    later = sessions.alias()
    over = sa.exists().where(
        later.c.conversation == sessions.c.conversation, later.c.turn > sessions.c.turn, later.c.turn <= left
    )

    ended = sa.select(sessions.c.conversation, sessions.c.turn).where(
        sessions.c.conversation.in_(talks), sessions.c.turn <= past, over | _silent(sessions.c.conversation)
    )
    rows = connection.execute(ended.with_for_update(of=sessions, skip_locked=True)).all()
    if rows:
        connection.execute(sa.delete(sessions).where(sa.tuple_(sessions.c.conversation, sessions.c.turn).in_(rows)))


def _silent(talk: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """There is no turn of the talk any more."""

    def turn_in(lane: sa.ColumnElement[str]) -> sa.ScalarSelect[int]:
        # In the order of the index, lest the planner look through all turns for one of which there is none.
        its = sa.select(turns.c.id).where(turns.c.conversation == lane)
        return its.order_by(turns.c.ref).limit(1).scalar_subquery()

    return sa.and_(*(turn_in(lane).is_(None) for lane in (talk, sa.literal(express_key("")) + talk)))


WRITES: dict[type, Any] = {Prune: _prune}
