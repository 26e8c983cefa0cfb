"""The keys of the API where they lie: made, listed, rotated and revoked. What opens the API is never kept, its hash is.

A key is `cf_`, eight letters and digits by which its row is found, `_`, and a secret of 256 random bits. So one round
of SHA-256 is right: a slow hash protects what can be guessed, and nobody guesses these; it would only let whoever sends
wrong keys keep us busy.

A name has one key, and after a rotation the one before it too, until its grace ends: the database lets it have no
third. Both are the same caller.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.access import PREFIX
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import api_keys, keys

OLD = 90 * 86400.0
"""Seconds after which a key should have been rotated."""

_LETTERS = string.ascii_letters + string.digits
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{8}})_[0-9A-Za-z]{{43}}")
"""43 letters of 62 are 256 bits."""
_EDITION = "api keys"
"""The row of the table `keys` that is another one after every change of these."""


class ApiKey(msgspec.Struct, frozen=True):
    """A key as it is kept."""

    id: str
    name: str
    caller: str
    digest: bytes
    scopes: str
    replaced: bool
    """A newer one has its place; it is good until its grace ends."""
    created_at: float
    expires_at: float | None = None
    used_at: float | None = None

    @property
    def shown(self) -> str:
        """So much of it as may be seen."""
        return f"{PREFIX}{self.id}_…"

    def expired(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def old(self, now: float) -> bool:
        """It should be rotated."""
        return not self.replaced and not self.expired(now) and now - self.created_at > OLD


def digest(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


def id_of(key: str) -> str | None:
    """By what its row is found; None where it has not the form of a key of ours."""
    found = _FORM.fullmatch(key)
    return found[1] if found else None


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _made(name: str, caller: str, scopes: str, now: float, lifetime: float | None) -> tuple[str, dict[str, Any]]:
    id_ = _random(8)
    key = f"{PREFIX}{id_}_{_random(43)}"
    expires = now + lifetime if lifetime else None
    row = {"id": id_, "name": name, "caller": caller, "digest": digest(key), "scopes": scopes, "replaced": False}
    return key, {**row, "created_at": now, "expires_at": expires}


# ── changes, by hand ─────────────────────────────────────────────────────────────────────────────────────────────


def create(
    connection: sa.Connection, name: str, scopes: Sequence[str], now: float, lifetime: float | None
) -> str | None:
    """A new key with a caller of its own, and this is the only time that it is told. None: the name has one."""
    key, row = _made(name, f"key.{_random(12)}", " ".join(scopes), now, lifetime)
    if not connection.execute(inserting(connection.dialect.name, api_keys).on_conflict_do_nothing(), row).rowcount:
        return None
    _changed(connection)
    return key


def rotate(connection: sa.Connection, name: str, now: float, grace: float, lifetime: float | None = None) -> str | None:
    """A new key for the same caller, good for as long as the one before it was to be; that one is, for its grace.

    One that was still in its grace is not good any more. None: the name has no key.
    """
    mine = api_keys.c.name == name
    current = connection.execute(sa.select(api_keys).where(mine, ~api_keys.c.replaced).with_for_update()).one_or_none()
    if current is None:
        return None
    if lifetime is None and current.expires_at is not None:
        lifetime = current.expires_at - current.created_at
    until = min(now + grace, current.expires_at or now + grace)
    key, row = _made(name, current.caller, current.scopes, now, lifetime)
    connection.execute(sa.delete(api_keys).where(mine, api_keys.c.replaced))
    connection.execute(sa.update(api_keys).where(api_keys.c.id == current.id).values(replaced=True, expires_at=until))
    connection.execute(sa.insert(api_keys), row)
    _changed(connection)
    return key


def revoke(connection: sa.Connection, name: str) -> int:
    """No key of this name is good any more. Returns how many there were."""
    gone = connection.execute(sa.delete(api_keys).where(api_keys.c.name == name)).rowcount
    _changed(connection)
    return gone


def _changed(connection: sa.Connection) -> None:
    new = secrets.token_bytes(8)
    row = inserting(connection.dialect.name, keys).values(name=_EDITION, key=new)
    connection.execute(row.on_conflict_do_update(index_elements=[keys.c.name], set_={"key": new}))


# ── looks ────────────────────────────────────────────────────────────────────────────────────────────────────────

_edition = sa.select(keys.c.key).where(keys.c.name == _EDITION)
_all = sa.select(*(api_keys.c[name] for name in ApiKey.__struct_fields__)).order_by(
    api_keys.c.name, api_keys.c.replaced, api_keys.c.id
)


def edition(connection: sa.Connection) -> bytes:
    """Another one after every change: as long as it is the same, nobody need read the keys again."""
    return bytes(connection.execute(_edition).scalar() or b"")


def read(connection: sa.Connection) -> list[ApiKey]:
    """All keys, by name."""
    return [ApiKey(**{**row._mapping, "digest": bytes(row.digest)}) for row in connection.execute(_all)]


# ── last use ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Used(msgspec.Struct, frozen=True):
    """These keys, by their ids, were last used then."""

    at: Mapping[str, float]


_used = (
    sa.update(api_keys)
    .where(api_keys.c.id == sa.bindparam("_id"), sa.func.coalesce(api_keys.c.used_at, 0.0) < sa.bindparam("_at"))
    .values(used_at=sa.bindparam("_at"))
)


def _use(connection: sa.Connection, operations: Sequence[Used]) -> list[None]:
    latest: dict[str, float] = {}
    for op in operations:
        latest |= op.at
    # In one order in all processes, so that none waits for another in a circle.
    if rows := [{"_id": key, "_at": latest[key]} for key in sorted(latest)]:
        connection.execute(_used, rows)
    return [None] * len(operations)


WRITES: dict[type, Any] = {Used: _use}
