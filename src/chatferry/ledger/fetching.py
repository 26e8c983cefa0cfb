"""Answers that nobody sends: they go out in the response of a request that waits, or are read on a page.

All functions are synchronous and run inside the ledger's one transaction (`writes`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.ledger.tables import OPEN, OUT, outbox, state_is, turns
from chatferry.model import APOLOGY, express_key


class Reply(msgspec.Struct, frozen=True):
    """Answer the request of a turn's event, once; the pieces go out with it, all of them or none."""

    turn: int
    text: str
    pieces: tuple[int, ...]
    now: float


class Unreply(msgspec.Struct, frozen=True):
    """Nobody heard the answer to the request: what went out with it waits again."""

    turn: int
    conversation: str


class Opened(msgspec.Struct, frozen=True):
    """A parked answer was read on its page."""

    turn: int
    now: float


class Halt(msgspec.Struct, frozen=True):
    """Stop the answer of a turn."""

    turn: int


def _reply(connection: sa.Connection, operations: Sequence[Reply]) -> list[str | None]:
    return [_one_reply(connection, op) for op in operations]


def _one_reply(connection: sa.Connection, op: Reply) -> str | None:
    mine = turns.c.id == op.turn
    said: str | None = connection.execute(sa.select(turns.c.reply).where(mine).with_for_update()).scalar()
    if said is not None:
        return said
    # One that somebody is just sending may be out.
    waits = sa.and_(outbox.c.id.in_(op.pieces), outbox.c.sent_at.is_(None), outbox.c.attempt.is_(None))
    found = connection.execute(
        sa.select(outbox.c.turn)
        .join(turns, turns.c.id == outbox.c.turn)
        .where(waits, state_is("parked"))
        .with_for_update()
    )
    concerned = list(found.scalars())
    if len(concerned) != len(op.pieces):
        return None
    connection.execute(sa.update(turns).where(mine).values(reply=op.text))
    connection.execute(sa.update(outbox).where(waits).values(sent_at=op.now, receipt=_receipt(op.turn)))
    complete(connection, concerned, op.now)
    return op.text


def _receipt(turn: int) -> str:
    """By what a piece is known that went out in the response to a turn's request."""
    return f"reply {turn}"


def _unreply(connection: sa.Connection, operations: Sequence[Unreply]) -> list[None]:
    for op in operations:
        connection.execute(sa.update(turns).where(turns.c.id == op.turn).values(reply=None))
        talk = outbox.c.conversation.in_((op.conversation, express_key(op.conversation)))
        again = sa.update(outbox).where(talk, outbox.c.receipt == _receipt(op.turn), OUT)
        concerned = connection.execute(again.values(sent_at=None, receipt="").returning(outbox.c.turn))
        closed = sa.and_(turns.c.id.in_(set(concerned.scalars())), state_is("done", "failed"))
        connection.execute(sa.update(turns).where(closed).values(state="parked"))
    return [None] * len(operations)


def _opened(connection: sa.Connection, operations: Sequence[Opened]) -> list[None]:
    for op in operations:
        parked = sa.exists().where(turns.c.id == outbox.c.turn, state_is("parked"))
        read = sa.update(outbox).where(outbox.c.turn == op.turn, outbox.c.sent_at.is_(None), parked)
        connection.execute(read.values(sent_at=op.now))
        complete(connection, (op.turn,), op.now)
    return [None] * len(operations)


def _halt(connection: sa.Connection, operations: Sequence[Halt]) -> list[bool]:
    asked = turns.c.kind == "message", OPEN, turns.c.answer.is_(None)
    return [
        connection.execute(sa.update(turns).where(turns.c.id == op.turn, *asked).values(stopped=True)).rowcount > 0
        for op in operations
    ]


def complete(connection: sa.Connection, concerned: Collection[int], now: float) -> None:
    """Close the parked ones among these turns of which nothing waits any more."""
    if not concerned:
        return
    unsent = sa.exists().where(outbox.c.turn == turns.c.id, outbox.c.sent_at.is_(None))
    through = sa.update(turns).where(turns.c.id.in_(set(concerned)), state_is("parked"), ~unsent)
    ended = sa.case((turns.c.finish == APOLOGY, "failed"), else_="done")
    connection.execute(through.values(state=ended, finished_at=now))


WRITES: dict[type, Any] = {Reply: _reply, Unreply: _unreply, Opened: _opened, Halt: _halt}
