"""What a model called while it made an answer, kept as it goes: whoever goes on with the turn does not call it again.

What takes a connection is synchronous and runs inside the ledger's one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.engines.base import Call, Result, Round
from chatferry.ledger.rows import dump
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import steps
from chatferry.text.cutting import clean

_CALL = msgspec.json.Decoder(Call)
_RESULT = msgspec.json.Decoder(Result)


class Step(msgspec.Struct, frozen=True):
    """One call of a turn. Those of one round were made at once, after the model had `said` this."""

    round: int
    place: int
    said: str
    call: Call
    key: str
    began_at: float = 0.0
    result: Result | None = None
    """None: it has not returned, as far as we know."""
    ended_at: float | None = None


class Returned(msgspec.Struct, frozen=True):
    """What came of a call."""

    round: int
    place: int
    result: Result


def round_of(made: Sequence[Step]) -> Round:
    """A round all of whose calls have returned."""
    results = tuple(step.result for step in made if step.result is not None)
    return Round(made[0].said, tuple(step.call for step in made), results)


def by_round(made: Sequence[Step]) -> list[list[Step]]:
    """The calls of each round, in their order."""
    return [list(calls) for _, calls in groupby(made, key=lambda step: step.round)]


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────────────────────

STEPS = (
    sa.select(*(steps.c[name] for name in ("round", "place", "said", "call", "key", "began_at", "result", "ended_at")))
    .where(steps.c.turn == sa.bindparam("turn", type_=sa.BigInteger()))
    .order_by(steps.c.round, steps.c.place)
)
_RETURNED = (
    sa.update(steps)
    .where(steps.c.turn == sa.bindparam("_turn"), steps.c.round == sa.bindparam("_round"))
    .where(steps.c.place == sa.bindparam("_place"))
    .values(result=sa.bindparam("_result"), ended_at=sa.bindparam("_at"))
)


def step_of(row: Any) -> Step:
    """A row of `STEPS` as the value."""
    result = _RESULT.decode(row.result) if row.result else None
    return Step(row.round, row.place, row.said, _CALL.decode(row.call), row.key, row.began_at, result, row.ended_at)


def note(connection: sa.Connection, began: Sequence[tuple[int, float, Step]]) -> None:
    """Calls begin, each of a turn at a time."""
    rows = [
        {
            "turn": turn,
            "round": step.round,
            "place": step.place,
            "said": clean(step.said),
            "call": dump(step.call),
            "key": step.key,
            "began_at": at,
        }
        for turn, at, step in began
    ]
    if rows:
        connection.execute(inserting(connection.dialect.name, steps), rows)


def end(connection: sa.Connection, ended: Sequence[tuple[int, float, Returned]]) -> None:
    """Calls have returned."""
    rows = [
        {"_turn": turn, "_round": its.round, "_place": its.place, "_result": dump(its.result), "_at": at}
        for turn, at, its in ended
    ]
    if rows:
        connection.execute(_RETURNED, rows)


def forget(connection: sa.Connection, turn: int, since: int = 0) -> None:
    """The turn asks for something else now: what was called from this round on counts no more."""
    connection.execute(sa.delete(steps).where(steps.c.turn == turn, steps.c.round >= since))


def begun(connection: sa.Connection, turn: int) -> bool:
    """Was anything called?"""
    return connection.execute(sa.select(steps.c.place).where(steps.c.turn == turn).limit(1)).first() is not None
