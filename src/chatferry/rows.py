"""Values as the rows that hold them, and back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from chatferry import statements
from chatferry.model import APOLOGY, Attempt, Grant, Inbound, Message, Turn

T = TypeVar("T")

BEFORE = "before"
"""The role of a row that holds all that was said before we came."""

INBOUND = msgspec.json.Decoder(Inbound)
MESSAGE = msgspec.json.Decoder(Message)
GRANT = msgspec.json.Decoder(Grant)
ATTEMPT = msgspec.json.Decoder(Attempt)
MESSAGES = msgspec.json.Decoder(tuple[Message, ...])
_encoder = msgspec.json.Encoder()


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
    query, names = statements.recorded(connection.dialect.name)
    given = [list(map(list, events))] if len(names) == 1 else [list(column) for column in zip(*events, strict=True)]
    found = connection.execute(query, dict(zip(names, given, strict=True)))
    return {(row.channel, row.event): row.id for row in found}
