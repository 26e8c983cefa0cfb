"""Secrets that were given to us at run time, such as tokens of workspaces: encrypted where they lie."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from chatferry.clock import Clock
from chatferry.errors import ConfigError
from chatferry.ledger.commit import unavailable
from chatferry.ledger.database import Database, Work
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import vault

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
"""Bytes, new and random for every write: NIST SP 800-38D, 8.2.2, finds that good for 2^32 writes with one key."""


class Vault:
    """The secrets of one channel. Whoever has the database alone can neither read one nor put it in another's place.

    `get`, `put` and `drop` raise Unavailable when the database does not answer, and ConfigError when what is needed
    is not installed; `get` also when `secret` is not what the value was encrypted with.
    """

    def __init__(self, database: Database, channel: str, secret: str, clock: Clock) -> None:
        self._database = database
        self._channel = channel
        self._secret = secret
        self._clock = clock

    async def get(self, name: str) -> bytes | None:
        cipher = self._cipher
        query = sa.select(vault.c.secret).where(*self._is(name))
        kept: bytes | None = await self._do(lambda connection: connection.execute(query).scalar(), write=False)
        if kept is None:
            return None
        from cryptography.exceptions import InvalidTag

        try:
            return cipher.decrypt(kept[:_NONCE], kept[_NONCE:], self._place(name))
        except (InvalidTag, ValueError):  # ValueError: too short to be ours
            raise ConfigError(
                f"server.secret: what was kept for channels.{self._channel} was encrypted with another one\n"
                "  mend: set CHATFERRY_SECRET to what it was then; if that is lost, let the workspaces install us again"
            ) from None

    async def put(self, name: str, secret: bytes) -> None:
        nonce = os.urandom(_NONCE)
        encrypted = nonce + self._cipher.encrypt(nonce, secret, self._place(name))
        key = {"channel": self._channel, "name": name}
        row = {"secret": encrypted, "changed_at": self._clock.now()}

        def upsert(connection: sa.Connection) -> None:
            insert = inserting(connection.dialect.name, vault).values(**key, **row)
            connection.execute(insert.on_conflict_do_update(index_elements=list(key), set_=row))

        await self._do(upsert)

    async def drop(self, name: str) -> None:
        query = sa.delete(vault).where(*self._is(name))
        await self._do(lambda connection: connection.execute(query))

    @cached_property
    def _cipher(self) -> AESGCM:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        except ImportError:
            raise ConfigError(
                f"channels.{self._channel}: needs what is not installed\n  mend: pip install 'chatferry[slack]'"
            ) from None
        return AESGCM(HKDF(SHA256(), 32, salt=None, info=b"chatferry vault").derive(self._secret.encode()))

    def _place(self, name: str) -> bytes:
        """What a value is bound to: in another row it cannot be decrypted. No channel's name has a slash in it."""
        return f"{self._channel}/{name}".encode()

    def _is(self, name: str) -> tuple[sa.ColumnElement[bool], ...]:
        return vault.c.channel == self._channel, vault.c.name == name

    async def _do(self, work: Work[Any], *, write: bool = True) -> Any:
        try:
            return await (self._database.write if write else self._database.read)(work)
        except (SQLAlchemyError, OSError) as fault:
            raise unavailable(fault) from fault
