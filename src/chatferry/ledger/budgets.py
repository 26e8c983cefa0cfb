"""How much may be spent: a person's messages and tokens of a day, an assistant's money of a month.

A message is charged when it is accepted, in the ledger's own transaction, and so the count is exact on whatever process
it comes in. What its answer costs is known, and charged, when that is kept. Until then it counts with the most that it
may cost, if the person has asked several things at once: a budget of tokens is exceeded by one answer at most.
All functions that take a connection are synchronous and run inside that transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from chatferry.ledger.rows import padded
from chatferry.ledger.sessions import Admitted, Left
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import OPEN, turns
from chatferry.ledger.tables import budgets as table
from chatferry.model import ASKING, Usage

NEAR = 80
"""Hundredths of a budget at which somebody is told."""


class Budget(msgspec.Struct, frozen=True):
    """What a message is charged to, and how much there is. Money is in millionths."""

    channel: str
    sender: str
    day: str
    """The key of the person's day."""
    day_ends: float
    messages: int | None
    tokens: int | None
    worst: int
    """Tokens that one answer costs at most."""
    month: str
    """The key of the assistant's month."""
    month_ends: float
    money: int | None
    told: Literal["person", "caller"]
    """That there is nothing left is told in a message, or by `Admitted.wait` alone."""

    @property
    def keys(self) -> list[tuple[str, float]]:
        """What it is charged to, and when that ends."""
        days = [(self.day, self.day_ends)] if self.messages or self.tokens else []
        return [*days, *([(self.month, self.month_ends)] if self.money else [])]


class Charge(msgspec.Struct, frozen=True):
    """What an answer cost one who pays."""

    key: str
    ends_at: float
    tokens: int
    cost: int
    personal: bool = False
    """It is a person's: once they are forgotten nobody pays."""
    messages: int = 0


class Besides(msgspec.Struct, frozen=True):
    """What else a turn cost, after it was closed, or without coming to an answer of its own."""

    turn: int
    assistant: str
    usage: Usage
    charges: tuple[Charge, ...] = ()


class Warned(msgspec.Struct, frozen=True):
    """Note that somebody is told how much of a budget is used up, in hundredths."""

    key: str
    told: int


class _Row(msgspec.Struct):
    ends_at: float
    messages: int = 0
    tokens: int = 0
    cost: int = 0
    told: int = 0
    new: int = 0


class Budgets:
    """Charges the messages of one transaction, in their order; `write` then keeps the counts."""

    def __init__(self, connection: sa.Connection, budgets: Iterable[Budget | None], now: float) -> None:
        self._connection = connection
        self._now = now
        self._rows: dict[str, _Row] = {}
        self._asking: dict[tuple[str, str], int] = {}
        given = [budget for budget in budgets if budget is not None]
        for budget in given:
            self._rows |= {key: _Row(ends) for key, ends in budget.keys}
            if budget.tokens:
                self._asking[budget.channel, budget.sender] = 0
        if self._rows:
            for row in connection.execute(_FOUND, {"keys": padded(self._rows)}):
                self._rows[row.key] = _Row(row.ends_at, row.messages, row.tokens, row.cost, row.told)
        for channel, sender in self._asking:
            found = connection.execute(_ASKING, {"channel": channel, "sender": sender}).scalar()
            self._asking[channel, sender] = found or 0

    def admit(self, admitted: Admitted, budget: Budget) -> Admitted:
        """Charge what asks the assistant; for what there is nothing left becomes a word to the person, or nothing."""
        event = admitted.event
        if event is None or event.kind not in ASKING or (event.context is not None and not budget.keys):
            return admitted
        day, month = self._rows.get(budget.day), self._rows.get(budget.month)
        if month is not None and budget.money is not None and month.cost >= budget.money:
            return self._refused(admitted, budget, budget.month_ends, "month")
        if day is not None and self._spent(day, budget):
            return self._refused(admitted, budget, budget.day_ends, "day")
        if day is not None:
            day.messages, day.new = day.messages + 1, day.new + 1
            event = msgspec.structs.replace(event, charged=((budget.day, budget.day_ends),))
            if (budget.channel, budget.sender) in self._asking:
                self._asking[budget.channel, budget.sender] += 1
            if not day.told and _share(day.messages, budget.messages, day.tokens, budget.tokens) >= NEAR:
                day.told = NEAR
                event = msgspec.structs.replace(event, near=True)
            admitted = msgspec.structs.replace(admitted, left=_left(day, budget))
        return msgspec.structs.replace(admitted, event=event)

    def _spent(self, day: _Row, budget: Budget) -> bool:
        if budget.messages is not None and day.messages >= budget.messages:
            return True
        if budget.tokens is None:
            return False
        asking = self._asking[budget.channel, budget.sender]
        return day.tokens >= budget.tokens or (asking > 0 and day.tokens + (asking + 1) * budget.worst > budget.tokens)

    def _refused(self, admitted: Admitted, budget: Budget, ends: float, which: str) -> Admitted:
        wait = max(ends - self._now, 1.0)
        if budget.told == "caller" or admitted.event is None:
            return msgspec.structs.replace(admitted, event=None, wait=wait, spent=True)
        told = msgspec.structs.replace(admitted.event, kind="command", command="spent", reply=which, again_at=ends)
        return msgspec.structs.replace(admitted, event=told, wait=wait, spent=True)

    def write(self) -> None:
        """Keep the counts; up to twenty days and months that are over go with each write."""
        rows = {key: _Row(row.ends_at, row.new, told=row.told) for key, row in self._rows.items() if row.new}
        if rows:
            _add(self._connection, rows)
            self._connection.execute(_CLEAR, {"past": self._now - _PAST})


def _left(day: _Row, budget: Budget) -> Left:
    return Left(
        None if budget.messages is None else max(0, budget.messages - day.messages),
        None if budget.tokens is None else max(0, budget.tokens - day.tokens),
    )


def _share(messages: int, most: int | None, tokens: int, most_tokens: int | None) -> float:
    return max(100 * messages / most if most else 0.0, 100 * tokens / most_tokens if most_tokens else 0.0)


def charge(connection: sa.Connection, charges: Sequence[Charge]) -> None:
    """Add what answers cost."""
    due: dict[str, _Row] = {}
    for one in charges:
        row = due.setdefault(one.key, _Row(one.ends_at))
        row.tokens, row.cost, row.messages = row.tokens + one.tokens, row.cost + one.cost, row.messages + one.messages
    if due:
        _add(connection, due)


def _add(connection: sa.Connection, more: Mapping[str, _Row]) -> None:
    rows = [
        {
            "key": key,
            "ends_at": row.ends_at,
            "messages": row.messages,
            "tokens": row.tokens,
            "cost": row.cost,
            "told": row.told,
        }
        for key, row in sorted(more.items())
    ]
    connection.execute(_adding(connection.dialect.name), rows)


@cache
def _adding(dialect: str) -> Any:
    upsert = inserting(dialect, table)
    more = {name: table.c[name] + upsert.excluded[name] for name in ("messages", "tokens", "cost")}
    # Who was told of it stays told.
    told = sa.case((upsert.excluded.told > table.c.told, upsert.excluded.told), else_=table.c.told)
    return upsert.on_conflict_do_update(index_elements=[table.c.key], set_={**more, "told": told}).returning(
        table.c.key
    )


def given_back(charged: Iterable[tuple[str, float]]) -> tuple[Charge, ...]:
    """These messages are not charged any more."""
    return tuple(Charge(key, ends, 0, 0, messages=-1) for key, ends in charged)


def lock(connection: sa.Connection, keys: Iterable[tuple[str, float]]) -> None:
    """Let no other process charge to these before we have; before anything else is locked, in one order for all."""
    if rows := {key: _Row(ends) for key, ends in keys}:
        _add(connection, rows)


_PAST = 3600.0
"""Seconds after its end for which a row stays; by that much clocks may differ."""
_FOUND = sa.select(table).where(table.c.key.in_(sa.bindparam("keys", expanding=True)))
_ASKING = (
    sa.select(sa.func.count())
    .select_from(turns)
    .where(
        turns.c.channel == sa.bindparam("channel"),
        turns.c.sender == sa.bindparam("sender"),
        OPEN,
        turns.c.kind == sa.literal_column("'message'"),
        turns.c.answer.is_(None),
    )
)
_OVER = (
    sa.select(table.c.key)
    .where(table.c.ends_at < sa.bindparam("past"))
    .order_by(table.c.ends_at)
    .limit(sa.literal_column("20"))
    .with_for_update(skip_locked=True)
)
_CLEAR = sa.delete(table).where(table.c.key.in_(_OVER.scalar_subquery()))


def _warned(connection: sa.Connection, operations: Sequence[Warned]) -> list[bool]:
    """Whether each is the first to tell it."""
    return [
        connection.execute(
            sa.update(table).where(table.c.key == op.key, table.c.told < op.told).values(told=op.told)
        ).rowcount
        > 0
        for op in operations
    ]


def _besides(connection: sa.Connection, operations: Sequence[Besides]) -> list[None]:
    charges: list[Charge] = []
    for op in operations:
        more = {
            "assistant": op.assistant,
            "prompt_tokens": turns.c.prompt_tokens + op.usage.prompt,
            "completion_tokens": turns.c.completion_tokens + op.usage.completion,
            "cost": turns.c.cost + op.usage.cost,
        }
        there = connection.execute(sa.update(turns).where(turns.c.id == op.turn).values(more)).rowcount
        charges += [one for one in op.charges if there or not one.personal]
    charge(connection, charges)
    return [None] * len(operations)


WRITES: dict[type, Any] = {Warned: _warned, Besides: _besides}
