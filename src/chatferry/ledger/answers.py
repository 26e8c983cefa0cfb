"""Answers that are kept, to be given again to the same question where nothing else was said (`again`).

They lie in the ledger, so that all processes share them. All functions that take a connection are synchronous and run
inside the ledger's one transaction (`writes`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.assistant import Assistant
from chatferry.config import CacheSettings
from chatferry.engines.base import Prompt
from chatferry.ledger.rows import padded
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import answers as table
from chatferry.ledger.tables import state_is, turns
from chatferry.model import Inbound, Options
from chatferry.text.likeness import narrow

_LONGEST = 500
"""Characters of a question that somebody else may ask in the same words."""
_TOUCH = 0.1
"""Share of the time to live after which it is noted again that an answer was asked for."""
_MANY = 100
"""Answers that are taken away at a time: more than are added."""
_FEW = 1000
"""Where there is room for more, it is not looked with each new answer whether there are too many, but in one of 16."""
_END = re.compile(r"(?<=\w)[\s?.。]+$")
"""What a question may end in or not. What stands alone, or is an exclamation mark, may be what is asked about: 5!"""


class Kept(msgspec.Struct, frozen=True):
    """An answer as it was given."""

    text: str
    model: str
    asked_at: float


class Keep(msgspec.Struct, frozen=True):
    """Keep the answer of a turn."""

    key: str
    assistant: str
    turn: int
    text: str
    model: str
    now: float
    size: int
    ttl: float


class Begin(msgspec.Struct, frozen=True):
    """Keep the place of an answer for a turn that asks, if nobody else does; whoever asks the same waits for it."""

    key: str
    assistant: str
    turn: int
    lease: int
    now: float
    since: float
    """An answer that was made before does not count."""
    expired: float
    """Nor does the place of a turn whose lease ended before."""


class Drop(msgspec.Struct, frozen=True):
    """There will be no answer in the place that was kept: who waits for it asks."""

    key: str
    turn: int
    lease: int


class Touch(msgspec.Struct, frozen=True):
    """Note that an answer was asked for again."""

    key: str
    now: float


def key_of(assistant: Assistant, inbound: Inbound, prompt: Prompt) -> str | None:
    """What two questions have in common that get the same answer; None where there is more to it than the question.

    What the assistant is told of the person, or finds in its documents, is part of it, and so is its configuration.
    """
    if len(prompt.messages) != 1 or prompt.options != Options() or inbound.files or inbound.confirms:
        return None
    (asked,) = prompt.messages
    if inbound.shared or asked.author or asked.name or len(asked.text) > _LONGEST:
        return None
    question = _END.sub("", " ".join(narrow(asked.text).split()))
    if not question:
        return None
    if " " in question:  # a word alone may be a name
        question = question[0].lower() + question[1:]
    told = msgspec.json.encode([assistant.name, assistant.made_of, prompt.system, prompt.tools, question])
    return hashlib.sha256(told).hexdigest()


def find(connection: sa.Connection, key: str, since: float, expired: float) -> Kept | int | None:
    """The answer, if it was made since then; or the turn that asks for it just now."""
    row = connection.execute(_FOUND, {"key": key, "since": since, "expired": expired}).first()
    if row is None or row.asking is not None:
        return row.asking if row else None
    return Kept(row.answer, row.model, row.asked_at)


def due(kept: Kept, its: CacheSettings, now: float) -> bool:
    """Is it time to note again that it was asked for?"""
    return now - kept.asked_at > its.ttl * _TOUCH


def _keep(connection: sa.Connection, operations: Sequence[Keep]) -> list[None]:
    # Of a turn that was forgotten meanwhile nothing comes back.
    there = set(connection.execute(_THERE, {"ids": padded(sorted({op.turn for op in operations}))}).scalars())
    rows = {
        op.key: {
            "key": op.key,
            "assistant": op.assistant,
            "turn": op.turn,
            "answer": op.text,
            "model": op.model,
            "made_at": op.now,
            "asked_at": op.now,
        }
        for op in operations
        if op.turn in there
    }
    if not rows:
        return [None] * len(operations)
    connection.execute(_keeping(connection.dialect.name), [rows[key] for key in sorted(rows)])
    for op in {op.assistant: op for op in operations}.values():
        _trim(connection, op)
    return [None] * len(operations)


@cache
def _keeping(dialect: str) -> Any:
    upsert = inserting(dialect, table)
    newer = {name: upsert.excluded[name] for name in ("turn", "answer", "model", "made_at", "asked_at")}
    return upsert.on_conflict_do_update(index_elements=[table.c.key], set_=newer).returning(table.c.key)


def _trim(connection: sa.Connection, op: Keep) -> None:
    """What nobody asked for longest goes: what is too old, and what is more than there is room for."""
    mine = {"assistant": op.assistant, "number": _MANY}
    _remove(connection, _OLD, {**mine, "past": op.now - op.ttl})
    # To step over many each time would cost more than all the rest.
    if op.size <= _FEW or op.key[0] == "0":
        _remove(connection, _BEYOND, {**mine, "size": op.size})


def _remove(connection: sa.Connection, which: sa.Select[tuple[str]], values: Mapping[str, object]) -> None:
    gone = list(connection.execute(which, values).scalars())
    if gone:
        connection.execute(_REMOVED, {"keys": padded(gone)})


def _begin(connection: sa.Connection, operations: Sequence[Begin]) -> list[bool]:
    first: dict[str, Begin] = {}
    for op in operations:
        first.setdefault(op.key, op)
    made = {"answer": "", "model": "", "made_at": 0.0}
    placing, begun = _placing(connection.dialect.name), set[str]()
    for key, op in sorted(first.items()):  # one by one: what is too old is another time for each assistant
        row = {"key": key, "assistant": op.assistant, "turn": op.turn, "lease": op.lease, "asked_at": op.now, **made}
        if connection.execute(placing, {**row, "since": op.since, "expired": op.expired}).first():
            begun.add(key)
    return [op.key in begun and first[op.key] is op for op in operations]


@cache
def _placing(dialect: str) -> Any:
    upsert = inserting(dialect, table)
    # The columns by name: what else is given is for the condition.
    upsert = upsert.values({name: sa.bindparam(name) for name in ("key", "assistant", *_PLACE)})
    return upsert.on_conflict_do_update(
        index_elements=[table.c.key],
        set_={name: upsert.excluded[name] for name in _PLACE},
        where=(table.c.made_at <= sa.bindparam("since", type_=sa.Double()))
        & ~_asking(sa.bindparam("expired", type_=sa.Double())),
    ).returning(table.c.key)


def _drop(connection: sa.Connection, operations: Sequence[Drop]) -> list[None]:
    gone = [{"_key": op.key, "_turn": op.turn, "_lease": op.lease} for op in operations]
    connection.execute(_DROPPED, sorted(gone, key=lambda row: str(row["_key"])))
    return [None] * len(operations)


def _touch(connection: sa.Connection, operations: Sequence[Touch]) -> list[None]:
    keys = sorted({op.key for op in operations})
    connection.execute(_TOUCHED, {"keys": padded(keys), "now": max(op.now for op in operations)})
    return [None] * len(operations)


_THERE = (
    sa.select(turns.c.id)
    .where(turns.c.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(turns.c.id)
    .with_for_update(read=True, key_share=True)
)


def _asking(expired: float | sa.BindParameter[float]) -> sa.ColumnElement[bool]:
    """The turn that keeps the place of an answer is at work on it."""
    # Written out: in ON CONFLICT the columns would be taken for those of another look at the table.
    turn, lease = sa.literal_column("answers.turn", sa.BigInteger), sa.literal_column("answers.lease", sa.Integer)
    holds = turns.c.id == turn, turns.c.lease == lease, turns.c.leased_until >= expired
    return sa.and_(table.c.made_at == 0.0, sa.exists().where(*holds, state_is("doing")))


_PLACE = ("turn", "lease", "answer", "model", "made_at", "asked_at")
_MADE = table.c.made_at > sa.bindparam("since")
_FOUND = sa.select(
    table.c.answer, table.c.model, table.c.asked_at, sa.case((~_MADE, table.c.turn)).label("asking")
).where(table.c.key == sa.bindparam("key"), _MADE | _asking(sa.bindparam("expired", type_=sa.Double())))
_DROPPED = sa.delete(table).where(
    table.c.key == sa.bindparam("_key"),
    table.c.turn == sa.bindparam("_turn"),
    table.c.lease == sa.bindparam("_lease"),
    table.c.made_at == 0.0,
)
_MINE = (
    sa.select(table.c.key)
    .where(table.c.assistant == sa.bindparam("assistant"))
    .limit(sa.bindparam("number", type_=sa.Integer()))
)
_OLD = _MINE.where(table.c.asked_at < sa.bindparam("past")).order_by(table.c.asked_at)
_BEYOND = _MINE.order_by(table.c.asked_at.desc()).offset(sa.bindparam("size", type_=sa.Integer()))
# What another process writes about just now, it writes: nobody waits for us in a circle.
_THESE = table.c.key.in_(
    sa.select(table.c.key)
    .where(table.c.key.in_(sa.bindparam("keys", expanding=True)))
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_REMOVED = sa.delete(table).where(_THESE)
_TOUCHED = sa.update(table).where(_THESE).values(asked_at=sa.bindparam("now"))

WRITES: dict[type, Any] = {Keep: _keep, Drop: _drop, Touch: _touch, Begin: _begin}
