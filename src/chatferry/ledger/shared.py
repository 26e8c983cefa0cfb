"""What all processes of a database share: the key that signs links, and the address by which people reach us."""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from chatferry.ledger import news
from chatferry.ledger.database import Database
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import keys

_ADDRESS = "address"
"""The row of the table `keys` that says how people reach us, where they came to tell."""


async def signing_key(database: Database) -> bytes:
    """The key by which links are signed: made once, and the same for all processes of a database."""
    query = sa.select(keys.c.key).where(keys.c.name == "links")

    def make(connection: sa.Connection) -> bytes:
        row = {"name": "links", "key": secrets.token_bytes(32)}
        connection.execute(inserting(connection.dialect.name, keys).values(row).on_conflict_do_nothing())
        return bytes(connection.execute(query).scalar_one())

    known: bytes | None = await database.read(lambda connection: connection.execute(query).scalar())
    return bytes(known) if known is not None else await database.write(make)


async def told_address(database: Database) -> str | None:
    """How people reach us, as a process of this database has learned it."""
    query = sa.select(keys.c.key).where(keys.c.name == _ADDRESS)
    found: bytes | None = await database.read(lambda connection: connection.execute(query).scalar())
    return bytes(found).decode() if found is not None else None


async def tell_address(database: Database, base: str) -> None:
    """Let all processes of this database know how people reach us."""

    def tell(connection: sa.Connection) -> None:
        known = inserting(connection.dialect.name, keys).values(name=_ADDRESS, key=base.encode())
        connection.execute(known.on_conflict_do_update(index_elements=[keys.c.name], set_={"key": base.encode()}))
        if connection.dialect.name == "postgresql":
            news.tell(connection, {"address": (1,)})

    await database.write(tell)
