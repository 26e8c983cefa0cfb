"""What the processes of one account tell each other, and the next start: in the vault, where there is one.

Nothing here is lost with it, for all of it can be found out again; so no fault of the vault's stops anything.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
import structlog

from chatferry.channels.base import Vault
from chatferry.errors import ConfigError, Unavailable

log = structlog.get_logger(__name__)

_Shape = TypeVar("_Shape")


class Memory:
    """Small things by name. What was kept for another app is not seen."""

    def __init__(self, channel: str, app_id: str, vault: Vault | None) -> None:
        self._channel = channel
        self._app_id = app_id
        self._vault = vault

    async def recall(self, name: str, shape: type[_Shape]) -> _Shape | None:
        """What is kept; None where there is nothing, or it cannot be had or read."""
        if self._vault is None:
            return None
        try:
            kept = await self._vault.get(self._key(name))
            return msgspec.json.decode(kept, type=shape) if kept else None
        except (ConfigError, Unavailable, msgspec.MsgspecError, UnicodeError) as fault:
            # Of ConfigError: the secret is another one now, so what was kept is of no use.
            log.info("nothing is remembered", channel=self._channel, what=name, error=str(fault).partition("\n")[0])
            return None

    async def keep(self, name: str, value: object) -> None:
        if self._vault is None:
            return
        try:
            await self._vault.put(self._key(name), msgspec.json.encode(value))
        except (ConfigError, Unavailable) as fault:
            log.warning("cannot be remembered", channel=self._channel, what=name, error=str(fault).partition("\n")[0])

    def _key(self, name: str) -> str:
        return f"{name}/{self._app_id}"
