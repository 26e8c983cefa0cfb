"""Who a person is in the ledger: the id by which a channel knows them, and the talks in which they take part.

A talk is somebody's own where nobody else has spoken in it: then all of it is theirs, what was sent unasked included.
In one that they share, theirs is what they said and what they were answered. All functions are synchronous and read a
page at a time, so that it makes no difference how much there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from chatferry.ledger import rows
from chatferry.ledger.retention import OF_A_TURN
from chatferry.ledger.statements import owned
from chatferry.ledger.tables import budgets, guests, messages, pace, profiles, turns
from chatferry.model import Inbound, conversation_key, express_key, talk_key

PAGE = 200
"""Turns, or talks, of one look."""
_BEFORE = 3
"""Messages among which the row is that holds what was said before we came, if there is one: it is of the oldest."""


class Person(NamedTuple):
    """Somebody on a channel."""

    channel: str
    id: str
    """The platform's id of them; or, where programs talk for people, the address of their talk."""

    @property
    def key(self) -> str:
        return conversation_key(self.channel, self.id)


class Talk(NamedTuple):
    """A conversation in which a person takes part."""

    key: str
    channel: str
    sender: str
    """As whom they speak there."""
    shared: bool
    """Others speak there too."""

    @property
    def address(self) -> str:
        return self.key.removeprefix(f"{self.channel}:")

    @property
    def lanes(self) -> tuple[str, str]:
        return _lanes(self.key)

    @property
    def senders(self) -> tuple[str, ...]:
        """By whom the turns are that are theirs: what nobody asked for is, in a talk of their own."""
        return (self.sender,) if self.shared else (self.sender, "")


# ── who and where ────────────────────────────────────────────────────────────────────────────────────────────────


def channels(connection: sa.Connection) -> list[str]:
    """The channels on which anything was ever said, each found by one step in the index."""
    found: list[str] = []
    query = sa.select(sa.func.min(turns.c.channel)).where(turns.c.channel > sa.bindparam("past"))
    while (one := connection.execute(query, {"past": found[-1] if found else ""}).scalar()) is not None:
        found.append(one)
    return found


def is_known(connection: sa.Connection, person: Person) -> bool:
    """Is anything kept of them? A group, in which several people speak, is nobody."""
    found, _ = talks(connection, person)
    return bool(found) or bool(extent_elsewhere(connection, person, ()))


def talks(connection: sa.Connection, person: Person, past: str = "") -> tuple[list[Talk], str | None]:
    """The person's talks, a page of them behind `past`; and where the next page begins, None at the end."""
    addressed = _addressed(connection, person)
    found = [addressed] if addressed is not None and not past else []
    given = {"channel": person.channel, "sender": person.id}
    lanes = connection.execute(_LANES, {**given, "past": past}).scalars().all()
    for lane in lanes:
        key = talk_key(lane)
        if addressed is not None and key == addressed.key:
            continue  # it came first of all
        if key != lane and connection.execute(_SPOKE, {**given, "lane": key}).first():
            continue  # it is found by more than commands
        found.append(Talk(key, person.channel, person.id, _shared(connection, key, person.id)))
    return found, lanes[-1] if len(lanes) == PAGE else None


def _addressed(connection: sa.Connection, person: Person) -> Talk | None:
    """The talk whose address the id is: on most platforms that of the two of us."""
    senders = _speakers(connection, person.key)
    if not senders and not any(connection.execute(_ANY, {"lane": lane}).first() for lane in _lanes(person.key)):
        return None
    if len(senders) > 1 and person.id not in senders:
        return None
    sender = senders[0] if senders and person.id not in senders else person.id
    return Talk(person.key, person.channel, sender, _shared(connection, person.key, sender))


def _lanes(talk: str) -> tuple[str, str]:
    return talk, express_key(talk)


def _speakers(connection: sa.Connection, talk: str, *but: str) -> list[str]:
    """Up to two who speak in a talk, beside these."""
    found: list[str] = []
    while len(found) < 2:
        asked = {"but": ["", *but, *found]}
        one = next(
            filter(None, (connection.execute(_SPEAKER, {**asked, "lane": lane}).scalar() for lane in _lanes(talk))), ""
        )
        if not one:
            break
        found.append(one)
    return found


def _shared(connection: sa.Connection, talk: str, sender: str) -> bool:
    if _speakers(connection, talk, sender):
        return True
    row = before_row(connection, talk)
    said = rows.MESSAGES.decode(row.body) if row is not None else ()
    return any(message.author not in ("", sender) for message in said)


def before_row(connection: sa.Connection, talk: str) -> Any:
    """The row that holds what was said before we came."""
    found = connection.execute(_OLDEST, {"talk": talk})
    return next((row for row in found if row.role == rows.BEFORE), None)


# ── what is theirs ───────────────────────────────────────────────────────────────────────────────────────────────


def turn_ids(connection: sa.Connection, talk: Talk, past: int, upto: int, limit: int = PAGE) -> list[int]:
    """The person's turns in a talk, behind one turn and not beyond another, oldest first."""
    found: list[int] = []
    for sender in talk.senders:
        for lane in talk.lanes:
            given = {"channel": talk.channel, "sender": sender, "lane": lane, "past": past, "upto": upto}
            found += connection.execute(_TURNS.limit(limit), given).scalars()
    # What lies beyond the page of one queue is asked for again.
    return sorted(found)[:limit]


def extent(connection: sa.Connection, talk: Talk, past: int, upto: int) -> tuple[dict[str, int], int]:
    """How many rows the next turns of a talk have, by table; and the last of these turns, 0 where there is none."""
    ids = turn_ids(connection, talk, past, upto)
    if not ids:
        return {}, 0
    counts = {}
    for table, column in OF_A_TURN:
        count = sa.select(sa.func.count()).select_from(table).where(column.in_(rows.padded(ids)))
        counts[table.name] = connection.execute(count).scalar_one()
    return counts, ids[-1]


def extent_elsewhere(connection: sa.Connection, person: Person, addresses: Collection[str]) -> dict[str, int]:
    """How much more is kept about a person, by table."""
    counts: Counter[str] = Counter()
    for table, which in elsewhere(person, addresses, connection.dialect.name):
        counts[table.name] += connection.execute(
            sa.select(sa.func.count()).select_from(table).where(which)
        ).scalar_one()
    return +counts


def whole(connection: sa.Connection, table: sa.Table, column: sa.Column[Any], ids: Collection[int]) -> Sequence[Any]:
    """All rows of a table that belong to these turns, in the order of their keys."""
    query = sa.select(table).where(column.in_(rows.padded(ids)))
    return in_order(table, connection.execute(query).mappings().all()) if ids else []


def in_order(table: sa.Table, found: Sequence[Any]) -> list[Any]:
    """A few rows, as mappings, in the order of their keys."""
    names = [column.name for column in table.primary_key.columns]
    return sorted(found, key=lambda row: tuple(row[name] for name in names))


def merged(connection: sa.Connection, ids: Collection[int]) -> Sequence[Any]:
    """The turns that answered for one of these and are not among them."""
    into = sa.select(turns.c.merged_into).where(turns.c.id.in_(rows.padded(ids)), turns.c.merged_into.is_not(None))
    others = {one for one in connection.execute(into).scalars() if one not in ids} if ids else set()
    return whole(connection, turns, turns.c.id, others)


def without(inbound: Inbound, sender: str) -> Inbound | None:
    """The same without what this person said in it; None where nothing is left."""
    others = [one for one in (msgspec.structs.replace(inbound, also=()), *inbound.also) if one.sender != sender]
    return msgspec.structs.replace(others[0], also=tuple(others[1:])) if others else None


def only(inbound: Inbound, sender: str) -> Inbound | None:
    """The same without what anybody else said in it."""
    theirs = [one for one in (msgspec.structs.replace(inbound, also=()), *inbound.also) if one.sender == sender]
    return msgspec.structs.replace(theirs[0], also=tuple(theirs[1:])) if theirs else None


def elsewhere(person: Person, addresses: Collection[str], dialect: str) -> Iterator[tuple[sa.Table, Condition]]:
    """Where more is kept about a person, by their id or by the addresses of their own talks."""
    keys = {conversation_key(person.channel, one) for one in (person.id, *addresses)}
    counted = [f"{what} {key}" for key in sorted(keys) for what in ("user", "talk", "wait")]
    yield pace, pace.c.key.in_(counted)
    yield guests, guests.c.guest.in_(sorted(keys))
    for one in sorted({person.id, *addresses}):
        yield profiles, owned(profiles.c.person, person.channel, one, dialect)
        yield budgets, owned(budgets.c.key, person.channel, one, dialect)


Condition = sa.ColumnElement[bool]


def _given(name: str, *, several: bool = False) -> sa.BindParameter[str]:
    return sa.bindparam(name, type_=sa.Text(), expanding=several)


_THEIRS = turns.c.channel == _given("channel"), turns.c.sender == _given("sender")
_LANE = turns.c.conversation == _given("lane")
_LANES = (
    sa.select(turns.c.conversation)
    .where(*_THEIRS, turns.c.conversation > _given("past"))
    .distinct()
    .order_by(turns.c.conversation)
    .limit(PAGE)
)
_SPOKE = sa.select(turns.c.id).where(*_THEIRS, _LANE).limit(1)
# In the order of the index, lest the planner look through all turns for one of which there is none.
_ANY = sa.select(turns.c.id).where(_LANE).order_by(turns.c.ref).limit(1)
_SPEAKER = (
    sa.select(turns.c.sender).where(_LANE, turns.c.sender.not_in(_given("but", several=True))).order_by(turns.c.ref)
).limit(1)
_OLDEST = (
    sa.select(messages.c.id, messages.c.turn, messages.c.role, messages.c.body)
    .where(messages.c.conversation == _given("talk"))
    .order_by(messages.c.turn, messages.c.id)
    .limit(_BEFORE)
)
_TURNS = (
    sa.select(turns.c.id)
    .where(*_THEIRS, _LANE, turns.c.id > sa.bindparam("past"), turns.c.id <= sa.bindparam("upto"))
    .order_by(turns.c.id)
)
