"""What an assistant has noted of a person: a few facts, each with the time at which it was noted.

What takes a connection is synchronous and runs inside the ledger's one transaction (`writes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.ledger.statements import inserting, owned
from chatferry.ledger.tables import profiles, turns
from chatferry.model import Inbound

MOST = 20
"""Facts of one person."""
LONGEST = 200
"""Characters of a fact."""
_TURNS = 5
"""Turns that are kept of those that told a fact: the newest."""
_BATCH = 100
"""Profiles that one batch of retention looks at."""


class Fact(msgspec.Struct, frozen=True):
    text: str
    at: float
    turns: tuple[int, ...] = ()
    """In which the person told it; none: it was noted before that was kept."""


class Note(msgspec.Struct, frozen=True):
    """Note a fact, put it in the place of another, or (without a fact) forget that one."""

    person: str
    turn: int
    """The turn that wants it: one that was asked before the profile was cleared notes nothing."""
    now: float
    fact: str
    replaces: str


class Refused(msgspec.Struct, frozen=True):
    """It was not noted: `full`, `unknown` (there is nothing like that to be replaced) or `cleared` since."""

    reason: str
    facts: tuple[Fact, ...] = ()


_FACTS = msgspec.json.Decoder(tuple[Fact, ...])


def key(channel: str, person: str, assistant: str) -> str:
    """Under which somebody's facts are kept; empty where nobody knows who it is."""
    return msgspec.json.encode((channel, person, assistant)).decode() if person else ""


def read(facts: str | None) -> tuple[Fact, ...]:
    """A row's facts, the newest first."""
    return _FACTS.decode(facts) if facts else ()


def changed(facts: Sequence[Fact], note: Note) -> tuple[Fact, ...] | Refused:
    """The facts after a note, the newest first."""
    old = note.replaces.casefold()
    rest = [fact for fact in facts if not old or fact.text.casefold() != old]
    if old and len(rest) == len(facts) and not _has(facts, note.fact):
        return Refused("unknown", tuple(facts))
    if not note.fact:
        return tuple(rest)
    same = next((fact for fact in facts if fact.text.casefold() == note.fact.casefold()), None)
    rest = [fact for fact in rest if fact is not same]
    if len(rest) >= MOST:
        return Refused("full", tuple(facts))
    told = [note.turn] if same is None else [*same.turns, note.turn] if same.turns else []
    return (Fact(note.fact, note.now, tuple(dict.fromkeys(told))[-_TURNS:]), *rest)


def _has(facts: Sequence[Fact], text: str) -> bool:
    """Was it noted already? The same call may be made twice."""
    return bool(text) and any(fact.text.casefold() == text.casefold() for fact in facts)


def _note(connection: sa.Connection, operations: Sequence[Note]) -> list[tuple[Fact, ...] | Refused]:
    return [_one_note(connection, op) for op in operations]


def _one_note(connection: sa.Connection, op: Note) -> tuple[Fact, ...] | Refused:
    # Held, lest the person be forgotten meanwhile, or take back what was said: then nothing is noted that comes back.
    asked = sa.select(turns.c.state).where(turns.c.id == op.turn).with_for_update(read=True, key_share=True)
    if connection.execute(asked).scalar() in (None, "withdrawn"):
        return Refused("cleared")
    new = {"person": op.person, "since": 0, "facts": "[]", "oldest_at": op.now}
    connection.execute(inserting(connection.dialect.name, profiles).on_conflict_do_nothing().values(new))
    mine = sa.select(profiles.c.since, profiles.c.facts).where(profiles.c.person == op.person)
    row = connection.execute(mine.with_for_update()).one()
    if op.turn < row.since:
        return Refused("cleared")
    facts = changed(read(row.facts), op)
    if not isinstance(facts, Refused):
        _write(connection, op.person, facts, row.since, op.now)
    return facts


def _write(connection: sa.Connection, person: str, facts: Sequence[Fact], since: int, now: float) -> None:
    oldest = min((fact.at for fact in facts), default=now)
    insert = inserting(connection.dialect.name, profiles).values(
        person=person, since=since, facts=msgspec.json.encode(facts).decode(), oldest_at=oldest
    )
    new = {name: insert.excluded[name] for name in ("since", "facts", "oldest_at")}
    connection.execute(insert.on_conflict_do_update(index_elements=[profiles.c.person], set_=new))


def forget(connection: sa.Connection, person: str, turn: int, now: float) -> None:
    """Nothing is known of this person any more, nor noted by what was asked before this turn."""
    _write(connection, person, (), turn, now)


def untell(connection: sa.Connection, channel: str, inbound: Inbound, turn: int, now: float) -> None:
    """Something that was said in this turn is taken back: what it told of the person goes, if no other told it too."""
    if not inbound.confidant:
        return
    mine = owned(profiles.c.person, channel, inbound.confidant, connection.dialect.name)
    found = sa.select(profiles.c.person, profiles.c.since, profiles.c.facts).where(mine).order_by(profiles.c.person)
    for row in connection.execute(found.with_for_update()).all():
        facts = [(fact, tuple(one for one in fact.turns if one != turn)) for fact in read(row.facts)]
        if any(left != fact.turns for fact, left in facts):
            kept = [msgspec.structs.replace(fact, turns=left) for fact, left in facts if left or not fact.turns]
            _write(connection, row.person, kept, row.since, now)


def prune(connection: sa.Connection, before: float) -> bool:
    """Forget facts that were noted before that time. True where there may be more of them."""
    old = sa.select(profiles.c.person, profiles.c.since, profiles.c.facts).where(profiles.c.oldest_at < before)
    old = old.order_by(profiles.c.oldest_at).limit(_BATCH).with_for_update(skip_locked=True)
    found = connection.execute(old).all()
    for row in found:
        if young := [fact for fact in read(row.facts) if fact.at >= before]:
            _write(connection, row.person, young, row.since, before)
    gone = [row.person for row in found if all(fact.at < before for fact in read(row.facts))]
    if gone:
        connection.execute(sa.delete(profiles).where(profiles.c.person.in_(gone)))
    return len(found) == _BATCH


WRITES: dict[type, Any] = {Note: _note}
