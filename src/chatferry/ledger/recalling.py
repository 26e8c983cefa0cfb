"""What an assistant remembers when it is asked: a summary, facts, and what was said since, in one look."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.ledger import profiles, rows
from chatferry.ledger.looking import Looking
from chatferry.ledger.profiles import Fact
from chatferry.ledger.statements import PAGE, began
from chatferry.ledger.tables import OPEN, memories, messages, sessions, turns
from chatferry.ledger.tables import profiles as profiles_table
from chatferry.model import Message


class Memory(msgspec.Struct, frozen=True):
    """A row of `memories`."""

    since: int = 0
    first: int = 0
    upto: int = 0
    summary: str = ""
    began_at: float = 0.0


class Recollection(msgspec.Struct, frozen=True):
    """What is known of a talk, for one turn of it."""

    conversation: str
    row: Memory | None
    """What stands in the ledger, if it is of this talk at all."""
    low: int
    """The first turn that counts."""
    high: int
    """The first one that does not count any more."""
    busy: int
    """The first one that is open: what was said from there on is not all there yet."""
    over: bool
    """Another session has begun since, or all was forgotten: nothing will be added."""
    facts: tuple[Fact, ...]
    page: Sequence[Any]
    """The newest of what was said since the summary."""

    @property
    def summary(self) -> str:
        """What was said before the history begins."""
        whole = self.row is not None and self.row.first == self.low
        return self.row.summary if self.row is not None and whole else ""

    @property
    def start(self) -> int:
        """The first turn that the summary does not hold."""
        return self.row.upto + 1 if self.row is not None and self.summary else self.low


class Line(msgspec.Struct, frozen=True):
    """A row of the history as it stands there."""

    id: int
    turn: int
    body: str
    said_at: float
    messages: tuple[Message, ...]


class Recalling(Looking):
    """The part of the ledger that assistants remember by."""

    async def recalled(
        self, conversation: str, turn: int, *, across: bool, person: str = "", paged: bool = True
    ) -> Recollection:
        """What counts for this turn: of its session, or `across` sessions back to the last /clear.

        person: whose facts, if any. paged: with the newest page of what was said; without it `page` is empty.
        """

        def look(connection: sa.Connection) -> Recollection:
            given = {"talk": conversation, "turn": turn, "person": person}
            found = _recollection(conversation, turn, connection.execute(_PLACE, given).one(), across=across)
            if not paged:
                return found
            page = connection.execute(_said(newest=True, paged=False), _range(found)).all()
            return msgspec.structs.replace(found, page=page)

        return await self._look(look)

    async def said_since(self, found: Recollection) -> AsyncIterator[Message]:
        """What was said since the summary, newest first; the first page is there, and more is read as it is asked."""
        page = found.page
        while True:
            for row in page:
                for message in reversed(_messages(row)):
                    yield message
            if len(page) < PAGE:
                return
            place = {"turn_place": page[-1].turn, "id_place": page[-1].id}
            page = await self._rows(_said(newest=True, paged=True), _range(found) | place)

    async def unfolded(self, found: Recollection) -> AsyncIterator[Line]:
        """The same, oldest first, as far as everything is there; read a page at a time."""
        given = _range(found) | {"high": min(found.high, found.busy)}
        paged = False
        while True:
            page = await self._rows(_said(newest=False, paged=paged), given)
            for row in page:
                yield Line(row.id, row.turn, row.body, row.said_at, _messages(row))
            if len(page) < PAGE:
                return
            given |= {"turn_place": page[-1].turn, "id_place": page[-1].id}
            paged = True


def _messages(row: Any) -> tuple[Message, ...]:
    return rows.MESSAGES.decode(row.body) if row.role == rows.BEFORE else (rows.MESSAGE.decode(row.body),)


def _recollection(conversation: str, turn: int, place: Any, *, across: bool) -> Recollection:
    row = None
    if place.since is not None:
        row = Memory(place.since, place.first, place.upto, place.summary, place.began_at)
    since = row.since if row is not None else 0
    low, high = place.began, place.after or sys.maxsize
    over = place.after is not None
    if turn < since:  # it was asked before all was forgotten: of what counts now it knows nothing
        high, over = min(high, since), True
    elif across:
        low, high, over = since, sys.maxsize, False
    else:
        low = max(low, since)
    facts = profiles.read(place.facts)
    return Recollection(conversation, row, low, high, place.busy or sys.maxsize, over, facts, ())


def _range(found: Recollection) -> dict[str, Any]:
    return {"talk": found.conversation, "low": found.start, "high": found.high}


def _given(name: str, type_: sa.types.TypeEngine[Any]) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=type_)


_TALK = _given("talk", sa.Text())
_TURN = _given("turn", sa.BigInteger())

_later = (
    sa.select(sa.func.min(sessions.c.turn))
    .where(sessions.c.conversation == _TALK, sessions.c.turn > _TURN)
    .scalar_subquery()
)
_busy = sa.select(sa.func.min(turns.c.id)).where(turns.c.conversation == _TALK, OPEN).scalar_subquery()
_one = sa.select(sa.literal(1).label("one")).subquery()
_PLACE = sa.select(
    began(_TALK, _TURN).label("began"),
    _later.label("after"),
    _busy.label("busy"),
    memories.c.since,
    memories.c.first,
    memories.c.upto,
    memories.c.summary,
    memories.c.began_at,
    profiles_table.c.facts,
).select_from(
    _one.outerjoin(memories, memories.c.conversation == _TALK).outerjoin(
        profiles_table, profiles_table.c.person == _given("person", sa.Text())
    )
)
"""Where a turn stands in its talk, and what is kept of that."""


@cache
def _said(*, newest: bool, paged: bool) -> sa.Select[Any]:
    """A page of what was said in a range of turns."""
    fields = messages.c.id, messages.c.turn, messages.c.role, messages.c.body, messages.c.said_at
    low, high = _given("low", sa.BigInteger()), _given("high", sa.BigInteger())
    query = sa.select(*fields).where(messages.c.conversation == _TALK, messages.c.turn >= low, messages.c.turn < high)
    if paged:
        at = sa.tuple_(messages.c.turn, messages.c.id)
        place = sa.tuple_(_given("turn_place", sa.BigInteger()), _given("id_place", sa.BigInteger()))
        query = query.where(at < place if newest else at > place)
    order = (messages.c.turn, messages.c.id)
    return query.order_by(*(column.desc() for column in order) if newest else order).limit(PAGE)
