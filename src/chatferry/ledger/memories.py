"""Summaries as they are kept, and how they end: with /clear, and with anything that they were made from.

All functions are synchronous and run inside the ledger's one transaction (`writes`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.ledger.recalling import Line, Memory
from chatferry.ledger.rows import padded
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import memories, messages


class Fold(msgspec.Struct, frozen=True):
    """Put a summary in the place of another, if nothing has changed meanwhile that either was made from."""

    conversation: str
    was: Memory | None
    now: Memory
    lines: tuple[Line, ...]
    """What was folded in."""


def _fold(connection: sa.Connection, operations: Sequence[Fold]) -> list[bool]:
    return [_one_fold(connection, op) for op in operations]


def _one_fold(connection: sa.Connection, op: Fold) -> bool:
    """What somebody else writes about just now counts as changed: so we wait for nobody, holding rows of ours."""
    mine = memories.c.conversation == op.conversation
    columns = [memories.c[name] for name in Memory.__struct_fields__]
    row = connection.execute(sa.select(*columns).where(mine).with_for_update(skip_locked=True)).first()
    if (None if row is None else Memory(*row)) != op.was:
        return False
    ids = padded([line.id for line in op.lines])
    said = sa.select(messages.c.id, messages.c.body).where(messages.c.id.in_(ids)).order_by(messages.c.id)
    found = connection.execute(said.with_for_update(skip_locked=True)).all()
    if {tuple(row) for row in found} != {(line.id, line.body) for line in op.lines}:
        return False
    kept = msgspec.structs.asdict(op.now)
    if op.was is not None:
        connection.execute(sa.update(memories).where(mine).values(kept))
        return True
    insert = inserting(connection.dialect.name, memories).on_conflict_do_nothing()
    return connection.execute(insert.values(conversation=op.conversation, **kept)).rowcount > 0


def forget(connection: sa.Connection, conversation: str, turn: int) -> None:
    """Nothing that was said before this turn counts any more."""
    insert = inserting(connection.dialect.name, memories).values(
        conversation=conversation, **msgspec.structs.asdict(Memory(since=turn))
    )
    empty = {name: insert.excluded[name] for name in Memory.__struct_fields__}
    connection.execute(insert.on_conflict_do_update(index_elements=[memories.c.conversation], set_=empty))


def drop(connection: sa.Connection, conversation: str, turn: int) -> None:
    """Something that was said in this turn is not there any more, or reads otherwise: nor shall it be in a summary."""
    holds = memories.c.conversation == conversation, memories.c.upto >= turn, memories.c.summary != ""
    connection.execute(sa.update(memories).where(*holds).values(_NONE))


def prune(
    connection: sa.Connection,
    talks: Collection[str],
    before: float,
    ended: Callable[[sa.ColumnElement[str]], sa.ColumnElement[bool]],
) -> None:
    """End the summaries among these talks that begin with what was said before that time; `ended` talks have none."""
    silent = ended(memories.c.conversation)
    among = memories.c.conversation.in_(talks)
    old = sa.and_(memories.c.summary != "", memories.c.began_at < before)
    query = sa.select(memories.c.conversation, silent.label("silent")).where(among, old | silent)
    found = connection.execute(query.with_for_update(of=memories, skip_locked=True)).all()
    if gone := [row.conversation for row in found if row.silent]:
        connection.execute(sa.delete(memories).where(memories.c.conversation.in_(gone)))
    if anew := [row.conversation for row in found if not row.silent]:
        connection.execute(sa.update(memories).where(memories.c.conversation.in_(anew)).values(_NONE))


_NONE = {"first": 0, "upto": 0, "summary": "", "began_at": 0.0}

WRITES: dict[type, Any] = {Fold: _fold}
