"""What became of the messages of a time, of all processes: counted from the ledger, each second of the past once.

Time is cut into slices. One that lies far enough back does not change any more, and is remembered as the few numbers
that it comes to; so a look reads what has been closed since the last one, however long the window is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from chatferry.ledger.tables import ASKED, OPEN_STATES, state_is, turns
from chatferry.model import APOLOGY

SLICE = 15.0
"""Seconds."""
_SETTLED = 30.0
"""Seconds after which everything is committed that was closed in a slice."""
_AHEAD = 60
"""Slices that one look counts, at most: who begins with a long window knows it after a few looks."""


class Count(NamedTuple):
    """So many turns that have this in common."""

    channel: str
    assistant: str
    failed: bool
    seconds: float | None
    """From accepted to answered, to within a tenth from half a second on; None: there was no answer."""
    turns: int


_STEPS = ((1, "0.05"), (4, "0.2"), (10, "0.5"), (40, "2.0"), (100, "5.0"), (400, "20.0"))
"""Up to so many seconds a time is told in steps of so many: few different ones, each to within a tenth."""


def _rounded(seconds: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    def to(step: str) -> sa.ColumnElement[Any]:
        return sa.func.round(seconds / sa.literal_column(step)) * sa.literal_column(step)

    return sa.case(*((seconds < sa.literal_column(str(end)), to(step)) for end, step in _STEPS), else_=to("100.0"))


_apology = turns.c.finish == sa.literal_column(f"'{APOLOGY}'")
OUTCOMES = (
    sa.select(
        turns.c.channel,
        turns.c.assistant,
        sa.case((state_is("failed"), sa.true()), (_apology, sa.true()), else_=sa.false()).label("failed"),
        _rounded(turns.c.answered_at - turns.c.accepted_at).label("seconds"),
        sa.func.count().label("turns"),
    )
    .where(ASKED, turns.c.finished_at >= sa.bindparam("since"), turns.c.finished_at < sa.bindparam("until"))
    .where(state_is("done", "parked", "failed"))
    .group_by(turns.c.channel, turns.c.assistant, sa.text("failed"), sa.text("seconds"))
)
"""Messages that were closed in a time. What is parked was answered; whoever is gone waits for no answer."""


def count(connection: sa.Connection, since: float, until: float) -> list[Count]:
    """What became of the messages that were closed between these times."""
    return [Count(*row) for row in connection.execute(OUTCOMES, {"since": since, "until": until})]


@cache
def _waiting(channel: str | None) -> sa.Select[Any]:
    """Since when the message has been due that has waited longest for somebody to begin with it.

    Not one that waits behind another of its conversation, nor a push, for which nobody waits.
    """
    other = turns.alias()
    before = sa.or_(other.c.state == sa.literal_column("'doing'"), other.c.id < turns.c.id)
    behind = sa.exists().where(other.c.conversation == turns.c.conversation, other.c.state.in_(OPEN_STATES), before)
    due = sa.select(turns.c.due_at).where(state_is("due"), turns.c.due_at <= sa.bindparam("now"), ~behind)
    due = due.where(turns.c.kind != "push").order_by(turns.c.due_at).limit(1)
    return due if channel is None else due.where(turns.c.channel == channel)


@cache
def _silent(channel: str | None) -> sa.Select[Any]:
    """Since when a turn has been left alone whose holder died, and that nobody took over."""
    left = sa.select(turns.c.leased_until).where(state_is("doing"), turns.c.leased_until > sa.literal_column("0.0"))
    left = left.where(turns.c.leased_until < sa.bindparam("now")).order_by(turns.c.leased_until).limit(1)
    return left if channel is None else left.where(turns.c.channel == channel)


def oldest(connection: sa.Connection, channel: str | None, now: float) -> float:
    """Seconds for which a message has been waiting for somebody to begin or to go on with it, at most."""
    since = (connection.execute(query(channel), {"now": now}).scalar() for query in (_waiting, _silent))
    return max((now - one for one in since if one is not None), default=0.0)


class Outcomes:
    """What became of messages, slice by slice."""

    def __init__(self, look: Callable[[float, float], Awaitable[list[Count]]], *, longest: float) -> None:
        """look: counts what was closed between two times. longest: seconds of the longest window asked for."""
        self._look = look
        self._longest = longest
        self._counted: dict[int, list[Count]] = {}

    async def during(self, window: float, now: float) -> Iterator[Count] | None:
        """The messages of the last so many seconds; None as long as they are not all counted. Raises Unavailable."""
        last = int(now // SLICE)
        wanted = range(int((now - window) // SLICE) + 1, last + 1)
        unknown = [number for number in reversed(wanted) if number not in self._counted]
        fresh: dict[int, list[Count]] = {}
        for number in unknown[:_AHEAD]:
            counted = await self._look(number * SLICE, (number + 1) * SLICE)
            settled = (number + 1) * SLICE + _SETTLED < now
            (self._counted if settled else fresh)[number] = counted
        oldest = int((now - self._longest) // SLICE)
        for number in [number for number in self._counted if number < oldest]:
            del self._counted[number]
        if len(unknown) > _AHEAD:
            return None
        known = self._counted | fresh
        return (count for number in wanted for count in known[number])


def succeeded(counts: Iterable[Count]) -> tuple[int, float]:
    """How many messages there were, and which share of them was answered well."""
    found = list(counts)
    turns_ = sum(count.turns for count in found)
    failed = sum(count.turns for count in found if count.failed)
    return turns_, 1.0 - failed / turns_ if turns_ else 1.0


def slowest(counts: Iterable[Count], share: float = 0.95) -> tuple[int, float]:
    """How many messages were answered, and within how many seconds so large a share of them was."""
    found = sorted((count.seconds, count.turns) for count in counts if count.seconds is not None and not count.failed)
    left = share * (turns_ := sum(number for _, number in found))
    for seconds, number in found:
        left -= number
        if left < 1e-9:
            return turns_, seconds
    return turns_, 0.0
