"""What a batch of writes owes the other processes: locks in the order that all keep, and news of what it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from chatferry import budgets, fetching, forgetting, guests, news, pacing, statements
from chatferry.accepting import Accept
from chatferry.model import lane_key
from chatferry.operations import Change, Renew, Reopen, Watch
from chatferry.rows import padded, recorded
from chatferry.tables import outbox


def lock(connection: sa.Connection, operations: Sequence[Any]) -> None:
    """Lock the turns that a batch is about, in the order of their ids, before anything is done about one of them.

    Else two processes that write about the same people wait for each other until the database ends one of the two,
    after a second in which neither writes anything.
    """
    guests.lock(connection, [knock for op in operations if isinstance(op, Accept) for knock in op.knocks])
    budgets.lock(connection, [key for op in operations for key in _charged(op)])
    pacing.lock(connection, [pace for op in operations if isinstance(op, Accept) for pace in op.paces])
    ids: set[int] = set()
    alone = {op.turn.id for op in operations if isinstance(op, Change)}
    """Where there are no others, the one statement that looks at their leases locks them in the same order."""
    pieces: set[int] = set()
    events: set[tuple[str, str]] = set()
    for op in operations:
        match op:
            case Accept():
                events.update((op.channel, event.event) for event in op.events)
            case Change():
                ids.update((op.turn.id, *(turn.id for turn in op.absorb), *(piece.turn for piece, _ in op.sent)))
                pieces.update(op.gather[0])
            case budgets.Besides():
                ids.add(op.turn)
            case Renew():
                ids.update(turn.id for turn in op.held)
            case fetching.Reply():
                ids.add(op.turn)
                pieces.update(op.pieces)
            case fetching.Unreply() | fetching.Opened() | fetching.Halt() | Reopen():
                ids.add(op.turn)
    if events:
        ids.update(recorded(connection, events).values())
    if pieces:
        ids.update(connection.execute(sa.select(outbox.c.turn).where(outbox.c.id.in_(pieces))).scalars())
    if len(ids) > 1 and ids != alone:
        connection.execute(statements.LOCK, {"ids": padded(ids)})


def _charged(op: object) -> list[tuple[str, float]]:
    match op:
        case Accept():
            return [key for budget in op.budgets if budget is not None for key in budget.keys]
        case Change():
            return [(charge.key, charge.ends_at) for charge in op.charge]
        case budgets.Besides():
            return [(charge.key, charge.ends_at) for charge in op.charges]
    return []


_SEEN = {"state", "partial"}
"""The columns of a turn that others wait for."""


def tell(connection: sa.Connection, operations: Sequence[Any], results: Sequence[Any]) -> None:
    """Let the other processes know what the batch has changed for them."""
    changed: set[int] = set()
    stop: set[int] = set()
    watch: set[int] = set()
    lanes: set[str] = set()
    for op, result in zip(operations, results, strict=True):
        match op:
            case Change() if result is None and not _SEEN.isdisjoint(op.columns):
                changed.add(op.turn.id)
            case Change() if result is None:
                changed.update(turn.id for turn in op.absorb)
            case Accept():
                stop.update(one.ends for one in result)
                lanes.update(
                    one.lane or lane_key(op.channel, event)
                    for event, one in zip(op.events, result, strict=True)
                    if one.new
                )
            case fetching.Halt() if result:
                stop.add(op.turn)
            case Watch():
                watch.update(op.turns)
            case forgetting.Withdraw() | forgetting.Forget():
                # Whoever works on one looks whether it still has it; whoever waits for one, what came of it.
                stop.update(result.ended)
                changed.update(result.ended)
    nudge: set[int] = set()
    if lanes:
        nudge.update(connection.execute(statements.RUNNING, {"lanes": padded(lanes)}).scalars())
    news.tell(connection, {"changed": changed, "stop": stop, "nudge": nudge, "watch": watch})
