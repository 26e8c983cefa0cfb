"""The keys of the API as a process knows them: no request looks at the database for its key."""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping

import structlog
from sqlalchemy.exc import SQLAlchemyError

from chatferry.access import Caller
from chatferry.clock import Clock
from chatferry.errors import Rejected, Unavailable
from chatferry.ledger import apikeys
from chatferry.ledger.apikeys import ApiKey
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger

log = structlog.get_logger(__name__)

PULSE = 2.0
"""Seconds between two looks whether a key was made or revoked: after so long every process knows."""
_DAY = 86_400.0
_USES = 60.0
"""Seconds that the last use of a key, as it is kept, may be behind."""


class Keyring:
    """All keys in memory. While the database is away, those stay good that were; nothing is accepted then anyway."""

    def __init__(self, database: Database, ledger: Ledger, clock: Clock) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._edition = b""
        self._known: Mapping[str, tuple[ApiKey, Caller]] = {}
        self._uses: dict[str, float] = {}
        """When each was used, where that is not kept yet."""
        self._kept: dict[str, float] = {}

    def find(self, key: str) -> Caller | None:
        """Whose key it is; None where it is none of ours. Raises Rejected(401) where it has expired.

        By its id, which is no secret; what is secret is compared as a digest, in a time that tells nothing.
        """
        id_ = apikeys.id_of(key)
        found = self._known.get(id_) if id_ is not None else None
        if found is None or not hmac.compare_digest(apikeys.digest(key), found[0].digest):
            return None
        kept, caller = found
        now = self._clock.now()
        if kept.expired(now):
            raise Rejected(401, "this API key has expired", code="invalid_api_key")
        if now - self._kept.get(kept.id, kept.used_at or 0.0) >= _USES:
            self._uses[kept.id] = now
        return caller

    async def look(self) -> None:
        """Read the keys, if they have changed since the last look. Raises SQLAlchemyError or OSError."""
        edition = await self._database.read(apikeys.edition)
        if edition == self._edition:
            return
        # What changes from here on makes another edition, and is seen by the next look.
        known = await self._database.read(apikeys.read)
        self._known = {key.id: (key, Caller(key.caller, frozenset(key.scopes.split()))) for key in known}
        self._edition = edition

    async def keep(self) -> None:
        """Know of every change, and keep when keys were used, until cancelled."""
        away, warned = False, -math.inf
        while True:
            if self._clock.now() - warned >= _DAY:
                warned = self._clock.now()
                self._warn(warned)
            await self._clock.sleep(PULSE)
            try:
                await self.look()
                await self._note()
            except (SQLAlchemyError, OSError, Unavailable) as fault:
                if not away:
                    log.warning("changes of API keys are not seen", error=type(fault).__name__)
                away = True
            else:
                away = False

    def _warn(self, now: float) -> None:
        for key, _ in self._known.values():
            if key.old(now):
                days = int((now - key.created_at) / _DAY)
                log.warning("an API key is old; `chatferry keys rotate` makes a new one", key=key.name, days=days)

    async def _note(self) -> None:
        """Keep the uses of this while: all together, beside whatever else is written."""
        if uses := self._uses:
            self._uses = {}
            await self._ledger.used(uses)
            self._kept |= uses
            self._kept = {id_: at for id_, at in self._kept.items() if id_ in self._known}
