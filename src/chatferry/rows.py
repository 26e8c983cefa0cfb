"""Values as the rows that hold them, and back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from chatferry.model import APOLOGY, Attempt, Grant, Inbound, Message, Turn
from chatferry.tables import turns

T = TypeVar("T")

BEFORE = "before"
"""The role of a row that holds all that was said before we came."""

INBOUND = msgspec.json.Decoder(Inbound)
MESSAGE = msgspec.json.Decoder(Message)
GRANT = msgspec.json.Decoder(Grant)
ATTEMPT = msgspec.json.Decoder(Attempt)
MESSAGES = msgspec.json.Decoder(tuple[Message, ...])
_encoder = msgspec.json.Encoder()

TURN = (turns.c.id, turns.c.lease, turns.c.channel, turns.c.inbound, turns.c.grant, turns.c.accepted_at,
        turns.c.attempts, turns.c.answer, turns.c.finish, turns.c.error, turns.c.stopped)  # fmt: skip


def dump(value: msgspec.Struct | Sequence[msgspec.Struct]) -> str:
    """A value as the JSON text that the tables hold."""
    return _encoder.encode(value).decode()


def turn_of(row: Any, *, taken_over: bool = False) -> Turn:
    """A row of `TURN` as the value."""
    return Turn(
        id=row.id,
        lease=row.lease,
        channel=row.channel,
        inbound=INBOUND.decode(row.inbound),
        accepted_at=row.accepted_at,
        attempts=row.attempts,
        grant=GRANT.decode(row.grant) if row.grant else None,
        answer=MESSAGE.decode(row.answer) if row.answer else None,
        finish=row.finish,
        # A fault of an earlier try to deliver is no word about the answer.
        error=row.error if row.finish == APOLOGY else "",
        stopped=row.stopped,
        taken_over=taken_over,
    )


def padded(values: Collection[T]) -> list[T]:
    """The same, the last one repeated until there are 1, 2, 4, 8 ...: for `IN`, where it changes nothing.

    PostgreSQL plans each length of a list anew.
    """
    found = list(values)
    wanted = 1 << (len(found) - 1).bit_length()
    return found + found[-1:] * (wanted - len(found))


def recorded(connection: sa.Connection, events: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The turns of those events, told by channel and id, that were accepted before."""
    query = sa.select(turns.c.channel, turns.c.event, turns.c.id)
    if connection.dialect.name != "postgresql":
        query = query.where(sa.tuple_(turns.c.channel, turns.c.event).in_(events))
    else:
        # One by one: for a list PostgreSQL reads the whole table, as long as it has no statistics that tell it better.
        columns = (sa.literal(list(column), postgresql.ARRAY(sa.Text)) for column in zip(*events, strict=True))
        given = sa.func.unnest(*columns).table_valued("channel", "event", name="given").render_derived()
        mine = turns.c.channel == given.c.channel, turns.c.event == given.c.event
        one = query.where(*mine).limit(1).lateral("one")
        query = sa.select(one.c.channel, one.c.event, one.c.id).select_from(given.join(one, sa.true()))
    return {(row.channel, row.event): row.id for row in connection.execute(query)}


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT in this database's dialect."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
