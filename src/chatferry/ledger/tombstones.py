"""Events that were forgotten, and are not let in when a platform delivers them again.

What is kept of one is a keyed hash, which tells nobody what it was, and a time after which nobody delivers it any more.
All functions that take a connection are synchronous and run inside the ledger's one transaction (`writes`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection

import sqlalchemy as sa

from chatferry.ledger.rows import padded
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import tombstones

REDELIVERED = 86_400.0
"""Seconds for which a platform may deliver what we did not take (Slack, "Delayed Events": a day)."""


def mark(key: bytes, channel: str, event: str) -> bytes:
    """What is kept of an event. `key` is the installation's own."""
    return hmac.digest(key, f"forgotten {channel}:{event}".encode("utf-8", "surrogatepass"), hashlib.sha256)


def lay(connection: sa.Connection, marks: Collection[bytes], now: float) -> None:
    """Keep these out for as long as they may come."""
    rows = [{"event": one, "until": now + REDELIVERED} for one in marks]
    if rows:
        kept = inserting(connection.dialect.name, tombstones).on_conflict_do_nothing()
        connection.execute(kept.returning(tombstones.c.event), rows)


def standing(connection: sa.Connection, marks: Collection[bytes], now: float) -> set[bytes]:
    """Those of these that were forgotten."""
    if not marks:
        return set()
    return {bytes(one) for one in connection.execute(_STANDING, {"marks": padded(marks), "now": now}).scalars()}


def lapse(connection: sa.Connection, now: float) -> int:
    """Take away what keeps nothing out any more."""
    return connection.execute(sa.delete(tombstones).where(tombstones.c.until <= now)).rowcount


_STANDING = sa.select(tombstones.c.event).where(
    tombstones.c.event.in_(sa.bindparam("marks", expanding=True)), tombstones.c.until > sa.bindparam("now")
)
