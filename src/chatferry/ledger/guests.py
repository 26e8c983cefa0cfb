"""Who is let in: lists of the operator's, and a code that strangers have to know.

It is decided when a message is accepted, in the ledger's own transaction, before sessions and limits are looked at: so
it holds whichever process takes it in, and nothing is kept of a stranger's words. Whoever has said the code is in from
then on; a group is once somebody speaks in it who is. All functions are synchronous and run in that transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from chatferry.ledger.rows import padded
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import guests as table
from chatferry.ledger.tables import strange
from chatferry.model import Inbound
from chatferry.rate import Rate

GUESSES = Rate(5, 3600.0)
"""Wrong codes that one person may say; then even the right one has to wait."""
_REMEMBERED = 30 * 86_400.0
"""Seconds for which we know that a stranger was told something."""


class Knock(msgspec.Struct, frozen=True):
    """What is to be known of an event at the door."""

    guest: str
    """Whose it is; empty where the platform does not tell."""
    talk: str
    """The group that it was said in; empty where there is none."""
    listed: Literal["", "in", "out"] = ""
    """What the operator's lists say."""
    code: bool = False
    """Strangers are asked for a code."""
    right: bool = False
    """It was said."""
    denied: str = ""
    """What whoever is not let in is told, once; empty: nothing."""

    @property
    def keys(self) -> list[str]:
        """Whose standing it depends on; none where the lists alone decide."""
        return [key for key in (self.guest, self.talk) if key] if self.listed != "in" and self._asks else []

    @property
    def _asks(self) -> bool:
        return bool(self.denied) or (self.code and self.listed != "out")


class _Guest(msgspec.Struct):
    standing: str = ""
    free_at: float = 0.0
    changed: bool = False


class Guests:
    """Lets the events of one transaction in, in their order; `write` then keeps what changed."""

    def __init__(self, connection: sa.Connection, knocks: Iterable[Knock | None], now: float) -> None:
        self._connection = connection
        self._now = now
        self._guests = {key: _Guest() for key in _keys(knocks)}
        if self._guests:
            found = connection.execute(_FOUND, {"keys": padded(self._guests)})
            self._guests |= {row.guest: _Guest(row.standing, row.free_at) for row in found}

    def admit(self, event: Inbound, knock: Knock) -> Inbound | None:
        """The event as it counts: itself, a word to whoever is not let in, or nothing."""
        if knock.listed == "in":
            return event
        guest, group = self._guests.get(knock.guest, _Guest()), self._guests.get(knock.talk, _Guest())
        if knock.listed == "out" or guest.standing.startswith("out"):
            return self._deny(event, knock, guest)
        if group.standing == "out":  # who is in there may be told nothing of it: they are welcome elsewhere
            return msgspec.structs.replace(event, joined=True) if event.kind == "retract" else None
        if not knock.code or (guest.standing == "in" and not knock.talk and not knock.right):
            return event
        if event.kind == "retract":  # whatever was kept goes
            return msgspec.structs.replace(event, joined=True)
        if knock.talk:
            return self._among(event, guest, group)
        return self._alone(event, guest, right=knock.right)

    def write(self) -> None:
        """Keep what changed."""
        rows = [
            {"guest": key, "standing": guest.standing, "free_at": guest.free_at, "changed_at": self._now}
            for key, guest in self._guests.items()
            if guest.changed
        ]
        if rows:
            put(self._connection, rows)

    def _among(self, event: Inbound, guest: _Guest, group: _Guest) -> Inbound | None:
        """In a group: whoever is in brings it in; strangers are told how, once."""
        if group.standing == "in":
            return event
        if guest.standing == "in":
            self._is(group, "in")
            return event
        if event.kind != "message" or group.standing:
            return None
        self._is(group, "asked")
        return _word(event, "code_group")

    def _alone(self, event: Inbound, guest: _Guest, *, right: bool) -> Inbound | None:
        if event.kind not in ("message", "command", "greeting"):
            return None
        if guest.standing == "in":
            return _word(event, "code_right")
        if not guest.standing and not right:
            self._is(guest, "asked")
            return _word(event, "code_ask")
        if wait := GUESSES.wait(guest.free_at, self._now):
            if guest.standing == "paused":
                return None
            self._is(guest, "paused")
            return _word(event, "code_pause", again_at=self._now + wait)
        if right:
            guest.free_at = 0.0
            self._is(guest, "in")
            return _word(event, "code_right")
        if event.kind == "greeting":
            return None
        guest.free_at = GUESSES.after(guest.free_at, self._now)
        self._is(guest, "asked")
        return _word(event, "code_wrong")

    def _deny(self, event: Inbound, knock: Knock, guest: _Guest) -> Inbound | None:
        if event.kind == "retract":
            return msgspec.structs.replace(event, joined=True)
        if not knock.denied or not knock.guest or event.kind != "message" or guest.standing.endswith("told"):
            return None
        self._is(guest, "out, told" if guest.standing.startswith("out") else "told")
        return _word(event, "reply", reply=knock.denied)

    def _is(self, guest: _Guest, standing: str) -> None:
        guest.standing, guest.changed = standing, True


def _word(event: Inbound, command: str, *, reply: str = "", again_at: float = 0.0) -> Inbound:
    """What is said in the place of an answer; nothing of the event's own words is in it."""
    return msgspec.structs.replace(
        event, kind="command", command=command, message=None, ref="", reply=reply, again_at=again_at
    )


class Stand(msgspec.Struct, frozen=True):
    """Let somebody in, or keep them out."""

    guest: str
    standing: str
    now: float


def _stand(connection: sa.Connection, operations: Sequence[Stand]) -> list[None]:
    for op in operations:
        put(connection, [{"guest": op.guest, "standing": op.standing, "free_at": 0.0, "changed_at": op.now}])
    return [None] * len(operations)


def put(connection: sa.Connection, rows: list[dict[str, object]]) -> None:
    """Let these stand so from now on."""
    connection.execute(_putting(connection.dialect.name), rows)


@cache
def _putting(dialect: str) -> Any:
    insert = inserting(dialect, table)
    new = {name: insert.excluded[name] for name in ("standing", "free_at", "changed_at")}
    return insert.on_conflict_do_update(index_elements=[table.c.guest], set_=new).returning(table.c.guest)


def lock(connection: sa.Connection, knocks: Iterable[Knock | None]) -> None:
    """Let no other process decide about these before we have; before anything else is locked, in one order for all."""
    for key in _keys(knocks):
        connection.execute(_LOCK, {"key": key})


def lapse(connection: sa.Connection, now: float) -> None:
    """Forget that strangers were told something long ago."""
    connection.execute(sa.delete(table).where(strange(), table.c.changed_at < now - _REMEMBERED))


def _keys(knocks: Iterable[Knock | None]) -> list[str]:
    return sorted({key for knock in knocks if knock is not None for key in knock.keys})


_LOCK = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("key", type_=sa.Text), 0x67)))
_FOUND = sa.select(table.c.guest, table.c.standing, table.c.free_at).where(
    table.c.guest.in_(sa.bindparam("keys", expanding=True))
)

WRITES: dict[type, Any] = {Stand: _stand}
