"""Incidents: what is bad begins one, once; and one is over when all has been well for a while.

Each alert of the configuration has a row. One process at a time watches it, and decides; what somebody is to be told
is kept in the transaction that decides it, and goes when he has been told. All functions that take a connection are
synchronous and run inside the ledger's one transaction (`writes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import alarms, incidents


class Incident(msgspec.Struct, frozen=True):
    """How an alert stands: the incident that is open, or the last one."""

    alert: str
    open: bool
    number: int
    began_at: float
    bad_at: float
    """When it was bad last."""
    value: float | None
    """What was measured last, where something is measured."""
    turns: int
    """The messages that this rests on."""
    looked_at: float


class Told(msgspec.Struct, frozen=True):
    """What somebody is told of an incident."""

    alert: str
    number: int
    state: Literal["raised", "over", "try"]
    at: float
    began_at: float
    value: float | None
    turns: int


class Alarm(msgspec.Struct, frozen=True):
    """Something that a target is to be told."""

    id: int
    target: str
    told: Told
    made_at: float
    attempts: int


class Verdict(msgspec.Struct, frozen=True):
    """What a look at an alert came to."""

    alert: str
    bad_at: float | None
    """When it was so bad that an incident begins; None: all is well."""
    value: float | None
    turns: int
    calm: float
    """Seconds for which all must have been well for an incident to be over."""
    targets: tuple[str, ...]


class Hold(msgspec.Struct, frozen=True):
    """Watch these alerts, as far as nobody else does."""

    alerts: tuple[str, ...]
    holder: str
    now: float
    until: float


class Raise(msgspec.Struct, frozen=True):
    """These alerts are bad, as one of the processes sees it."""

    alerts: tuple[str, ...]
    now: float


class Judge(msgspec.Struct, frozen=True):
    """How alerts stand that the holder watches."""

    verdicts: tuple[Verdict, ...]
    holder: str
    now: float


class Take(msgspec.Struct, frozen=True):
    """Give what these targets are to be told, for somebody to do it by then."""

    targets: tuple[str, ...]
    now: float
    until: float


class Rung(msgspec.Struct, frozen=True):
    """What came of telling: done, or due again."""

    alarm: int
    due: float | None


def after(was: Incident, verdict: Verdict, now: float) -> tuple[Incident, Told | None]:
    """How an alert stands after a look, and what is to be told of it."""
    bad_at = max(was.bad_at, verdict.bad_at or 0.0)
    now_is = msgspec.structs.replace(was, bad_at=bad_at, value=verdict.value, turns=verdict.turns, looked_at=now)
    state: Literal["raised", "over"]
    if verdict.bad_at is not None and not was.open:
        now_is, state = msgspec.structs.replace(now_is, open=True, number=was.number + 1, began_at=now), "raised"
    elif was.open and now - bad_at >= verdict.calm:
        now_is, state = msgspec.structs.replace(now_is, open=False), "over"
    else:
        return now_is, None
    return now_is, Told(was.alert, now_is.number, state, now, now_is.began_at, verdict.value, verdict.turns)


_FIELDS = [incidents.c[name] for name in Incident.__struct_fields__]


def all_of(connection: sa.Connection) -> list[Incident]:
    """Every alert that was ever looked at."""
    return [Incident(*row) for row in connection.execute(sa.select(*_FIELDS).order_by(incidents.c.alert))]


def _locked(connection: sa.Connection, alerts: Sequence[str], *more: sa.ColumnElement[bool]) -> dict[str, Incident]:
    """These alerts, locked in the order of their names: processes that write about the same ones do not clash."""
    rows = sa.select(*_FIELDS).where(incidents.c.alert.in_(alerts), *more)
    return {row.alert: Incident(*row) for row in connection.execute(rows.order_by(incidents.c.alert).with_for_update())}


def _hold(connection: sa.Connection, operations: Sequence[Hold]) -> list[list[Incident]]:
    return [_one_hold(connection, op) for op in operations]


def _one_hold(connection: sa.Connection, op: Hold) -> list[Incident]:
    known = set(connection.execute(sa.select(incidents.c.alert).where(incidents.c.alert.in_(op.alerts))).scalars())
    if new := [
        {"alert": alert, "holder": op.holder, "held_until": op.until, "open": False, "number": 0, "turns": 0,
         "began_at": 0.0, "bad_at": 0.0, "looked_at": 0.0}
        for alert in sorted(set(op.alerts) - known)
    ]:  # fmt: skip
        connection.execute(inserting(connection.dialect.name, incidents).on_conflict_do_nothing(), new)
    mine, left = incidents.c.holder == op.holder, incidents.c.held_until < op.now
    held = _locked(connection, op.alerts, mine | left)
    if not held:
        return []
    rows = sa.update(incidents).where(incidents.c.alert.in_(held))
    # While nobody looked it may have been bad: to be over, it has to be well for a while before our eyes.
    unseen = sa.case((left & incidents.c.open, op.now), else_=incidents.c.bad_at)
    connection.execute(rows.values(holder=op.holder, held_until=op.until, bad_at=unseen))
    return list(_locked(connection, sorted(held)).values())


def _raise(connection: sa.Connection, operations: Sequence[Raise]) -> list[None]:
    names = sorted({alert for op in operations for alert in op.alerts})
    known = _locked(connection, names)
    bad = sa.update(incidents).where(incidents.c.alert.in_(known))
    connection.execute(bad.values(bad_at=max(op.now for op in operations)))
    return [None] * len(operations)


def _judge(connection: sa.Connection, operations: Sequence[Judge]) -> list[None]:
    for op in operations:
        found = _locked(connection, [one.alert for one in op.verdicts], incidents.c.holder == op.holder)
        for verdict in op.verdicts:
            if verdict.alert not in found:
                continue  # another process watches it now
            stands, told = after(found[verdict.alert], verdict, op.now)
            row = msgspec.structs.asdict(stands)
            connection.execute(sa.update(incidents).where(incidents.c.alert == row.pop("alert")).values(row))
            if told is not None and verdict.targets:
                said = msgspec.json.encode(told).decode()
                same = {"told": said, "made_at": op.now, "due_at": op.now, "attempts": 0}
                connection.execute(sa.insert(alarms), [{"target": target, **same} for target in verdict.targets])
    return [None] * len(operations)


def _take(connection: sa.Connection, operations: Sequence[Take]) -> list[list[Alarm]]:
    return [_one_take(connection, op) for op in operations]


def _one_take(connection: sa.Connection, op: Take) -> list[Alarm]:
    # The oldest of each target: that an incident is over is not told before that it began.
    first = sa.select(sa.func.min(alarms.c.id)).where(alarms.c.target.in_(op.targets)).group_by(alarms.c.target)
    rows = sa.select(alarms).where(alarms.c.id.in_(first.scalar_subquery()), alarms.c.due_at <= op.now)
    found = connection.execute(rows.order_by(alarms.c.id).with_for_update(skip_locked=True)).all()
    if found:
        taken = sa.update(alarms).where(alarms.c.id.in_([row.id for row in found]))
        connection.execute(taken.values(due_at=op.until, attempts=alarms.c.attempts + 1))
    return [
        Alarm(row.id, row.target, msgspec.json.decode(row.told, type=Told), row.made_at, row.attempts + 1)
        for row in found
    ]


def _rung(connection: sa.Connection, operations: Sequence[Rung]) -> list[None]:
    for op in operations:
        mine = alarms.c.id == op.alarm
        done = sa.delete(alarms).where(mine)
        connection.execute(done if op.due is None else sa.update(alarms).where(mine).values(due_at=op.due))
    return [None] * len(operations)


WRITES: dict[type, Any] = {Hold: _hold, Raise: _raise, Judge: _judge, Take: _take, Rung: _rung}
