"""The access token: one at a time for all processes, renewed before it ends.

It is the stable one: WeChat gives the same to everybody who asks until five minutes before its end, and the old one
stays good for these. So processes need no lock among each other, and share it to be quick rather than right.
"""

from __future__ import annotations

import asyncio
import re

import aiohttp
import msgspec
import structlog

from chatferry.channels.wechat_api import Told, exchange, fault
from chatferry.channels.wechat_memory import Memory
from chatferry.clock import Clock
from chatferry.errors import NoLeave, TryLater

log = structlog.get_logger(__name__)

STABLE = "/cgi-bin/stable_token"
EARLY_SECONDS = 240.0
"""How long before its end a token is renewed: a minute after WeChat has a new one."""
AGAIN_SECONDS = 30.0
"""After which a renewal that failed is tried again, while the old token is good."""

WRONG_ID = {40013, 41002}
WRONG_SECRET = {40001, 40125, 41004}
NOT_LISTED = 40164
_IP = re.compile(r"invalid ip ([0-9a-fA-F.:]{3,45})")


class Token(Told):
    """What `stable_token` answers."""

    access_token: str = ""
    expires_in: float = 0.0


class _Held(msgspec.Struct, frozen=True):
    token: str
    until: float
    """Unix seconds."""
    renew_at: float

    def __repr__(self) -> str:
        return f"_Held(until={self.until})"  # no secret, wherever it may be printed


class StableTokens:
    """The token of one account."""

    def __init__(
        self,
        app_id: str,
        app_secret: str,
        base: str,
        http: aiohttp.ClientSession,
        clock: Clock,
        memory: Memory,
    ) -> None:
        self._app_id = app_id
        self._app_secret = app_secret
        self._base = base.rstrip("/")
        self._http = http
        self._clock = clock
        self._memory = memory
        self._held: _Held | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """What to speak with now. Raises `TryLater`, or `NoLeave` where WeChat does not give us one."""
        if (held := self._good()) is not None:
            return held.token
        async with self._lock:
            if (held := self._good()) is not None:
                return held.token
            await self._look()
            if (held := self._good()) is not None:
                return held.token
            try:
                return await self._renew()
            except (TryLater, NoLeave) as failed:
                old, now = self._held, self._clock.now()
                if old is None or now >= old.until:
                    raise
                log.warning("the token was not renewed; it is good for a while", error=str(failed))
                self._held = msgspec.structs.replace(old, renew_at=now + AGAIN_SECONDS)
                return old.token

    async def renewed(self, refused: str) -> str:
        """A token in the place of one that WeChat does not take. Raises as `get` does.

        By force only where WeChat gives us the refused one again: it allows that twenty times a day.
        """
        async with self._lock:
            if self._held is not None and self._held.token == refused:
                await self._look()
            if (held := self._good()) is not None and held.token != refused:
                return held.token  # somebody was quicker
            token = await self._renew()
            return token if token != refused else await self._renew(force=True)

    async def ask(self, *, force: bool = False) -> Token:
        """WeChat's answer, good or bad. Raises `TryLater` when none came."""
        asked = {"grant_type": "client_credential", "appid": self._app_id, "secret": self._app_secret}
        body = msgspec.json.encode(asked | ({"force_refresh": True} if force else {}))
        return await exchange(self._http, self._base, STABLE, body, Token)

    async def _renew(self, *, force: bool = False) -> str:
        told = await self.ask(force=force)
        if told.errcode or not told.access_token:
            failed = fault(STABLE, told)
            if isinstance(failed, TryLater) and told.errcode not in WRONG_SECRET:
                raise failed
            log.error("WeChat gives us no access token", answer=str(told), mend="`chatferry check` says what to do")
            raise NoLeave(f"{failed} (`chatferry check` says what to do)")
        now = self._clock.now()
        renew_at = now + told.expires_in - min(EARLY_SECONDS, told.expires_in / 2)
        self._held = _Held(told.access_token, now + told.expires_in, renew_at)
        await self._memory.keep("token", self._held)
        return told.access_token

    async def _look(self) -> None:
        """Another process may have a newer one."""
        kept = await self._memory.recall("token", _Held)
        if kept and (self._held is None or kept.until > self._held.until):
            self._held = kept

    def _good(self) -> _Held | None:
        return self._held if self._held is not None and self._clock.now() < self._held.renew_at else None


def seen_from(told: Told) -> str:
    """The address that WeChat saw us come from, where it says so."""
    found = _IP.search(told.errmsg or "")
    return found[1] if found else ""
