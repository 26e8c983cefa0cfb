"""Too fast or not: what people ask is counted when it is accepted, in the ledger's own transaction.

So it holds whichever process takes it in; a message that is delivered again counts once, and the person is told once.
Who is too fast is told so, and pauses: until the time that was told nothing more of theirs is let in, nor counted, and
then there is room for more than one. All functions are synchronous and run inside that transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from chatferry.ledger.rows import padded
from chatferry.ledger.sessions import Admitted
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import pace as table
from chatferry.model import ASKING
from chatferry.rate import Rate

_PAUSE = 60.0
"""Seconds of the longest pause that there need not be: then people are told of a minute, not of every other second."""
_PAST = 60.0
"""Seconds after which a row that says nothing any more is taken away; by that much clocks may differ."""


class Pace(msgspec.Struct, frozen=True):
    """What a message is counted by, and how it is told that it is one too many."""

    rates: tuple[tuple[str, Rate], ...]
    told: Literal["first", "each", "caller"]
    """To the person, for the first in a pause or for each; or by `Admitted.wait` alone, and then there is no pause."""
    whole: tuple[str, Rate, str] | None = None
    """What everybody on the channel is counted by together; and under which key it is noted that this one pauses."""

    @property
    def keys(self) -> list[str]:
        return [*(key for key, _ in self.rates), *(self.whole[::2] if self.whole else ())]


class _Row(msgspec.Struct):
    free_at: float = 0.0
    pause_until: float = 0.0
    changed: bool = False


class Paces:
    """Counts the messages of one transaction, in their order; `write` then keeps the counts."""

    def __init__(self, connection: sa.Connection, paces: Iterable[Pace | None], now: float) -> None:
        self._connection = connection
        self._now = now
        self._rows = {key: _Row() for key in _keys(paces)}
        if self._rows:
            found = connection.execute(_FOUND, {"keys": padded(self._rows)})
            self._rows |= {row.key: _Row(row.free_at, row.pause_until) for row in found}
        self._new = sum(row.free_at == 0.0 for row in self._rows.values())

    def admit(self, admitted: Admitted, pace: Pace) -> Admitted:
        """Count what asks the assistant; what is one too many becomes a word to the person, or nothing."""
        now, mine = self._now, [(self._rows[key], rate) for key, rate in pace.rates]
        pausing = list(mine)
        if pace.whole is not None:
            key, rate, own = pace.whole
            mine.append((self._rows[key], rate))
            # Each of them is told, and waits for himself.
            pausing.append((self._rows[own], rate))
        if admitted.event is None or admitted.event.kind not in ASKING:
            return admitted
        # Longer ones are of other settings, or of a clock that was wrong.
        pauses = [row.pause_until for row, rate in pausing if now < row.pause_until <= now + rate.period + _PAST]
        if pace.told == "caller":
            pauses = []
        over = [(i, rate, wait) for i, (row, rate) in enumerate(mine) if (wait := rate.wait(row.free_at, now))]
        if not pauses and not over:
            for row, rate in mine:
                row.free_at, row.changed = rate.after(row.free_at, now), True
            return admitted
        if pace.told == "caller":
            return msgspec.structs.replace(admitted, event=None, wait=max(wait for _, _, wait in over))
        first = not pauses
        if first:
            for i, rate, wait in over:
                row = pausing[i][0]
                row.pause_until, row.changed = now + max(wait, min(rate.period, _PAUSE)), True
        until = max(pauses or [pausing[i][0].pause_until for i, _, _ in over])
        told = msgspec.structs.replace(admitted.event, kind="command", command="slow", again_at=until)
        event = told if first or pace.told == "each" else None
        return msgspec.structs.replace(admitted, event=event, wait=until - now)

    def write(self) -> None:
        """Keep what was counted; for each row that is new, up to two go that say nothing any more."""
        rows = [
            {"key": key, "free_at": row.free_at, "pause_until": row.pause_until}
            for key, row in self._rows.items()
            if row.changed
        ]
        if rows:
            self._connection.execute(_putting(self._connection.dialect.name, "free_at", "pause_until"), rows)
        for _ in range(0, self._new, _FEW // 2):
            if self._connection.execute(_CLEAR, {"past": self._now - _PAST}).rowcount < _FEW:
                break


def lock(connection: sa.Connection, paces: Iterable[Pace | None]) -> None:
    """Let no other process count by these keys before we have; before anything else is locked, in one order for all."""
    rows = [{"key": key, "free_at": 0.0, "pause_until": 0.0} for key in _keys(paces)]
    if rows:
        connection.execute(_putting(connection.dialect.name, "key"), rows)


@cache
def _putting(dialect: str, *columns: str) -> Any:
    """A row for each key; of those that are there these columns are changed."""
    upsert = inserting(dialect, table)
    new = {name: upsert.excluded[name] for name in columns}
    # To return something lets SQLAlchemy write many rows by one statement.
    return upsert.on_conflict_do_update(index_elements=[table.c.key], set_=new).returning(table.c.key)


def _keys(paces: Iterable[Pace | None]) -> list[str]:
    return sorted({key for pace in paces if pace is not None for key in pace.keys})


_FOUND = sa.select(table.c.key, table.c.free_at, table.c.pause_until).where(
    table.c.key.in_(sa.bindparam("keys", expanding=True))
)
_FEW = 20
_USELESS = (
    sa.select(table.c.key)
    .where(table.c.free_at < sa.bindparam("past"), table.c.pause_until < sa.bindparam("past"))
    .order_by(table.c.free_at)
    .limit(sa.literal_column(str(_FEW)))  # written out, for the planner to see that they are few
    .with_for_update(skip_locked=True)
)
_CLEAR = sa.delete(table).where(table.c.key.in_(_USELESS.scalar_subquery()))
