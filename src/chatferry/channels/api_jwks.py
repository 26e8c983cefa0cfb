"""The public keys of whoever makes tokens (RFC 7517), fetched and kept."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from chatferry.clock import Clock

log = structlog.get_logger(__name__)

_LIMIT = 256 * 1024
"""Bytes of the document, and then of keys in it."""
_MOST = 100
_TIMEOUT = 5.0
_PAUSE = 60.0
"""Seconds between two calls, whatever is asked of us: who invents key ids must not make us call."""
_FRESH = 3600.0
"""Seconds after which we look whether a key was taken back."""
_STRONG = 2048 // 6
"""Letters of an RSA modulus, in base64, that has 2,048 bits."""


class Jwks:
    """The keys at an address. One that does not answer, or answers nonsense, leaves what was known before."""

    def __init__(self, url: str, http: aiohttp.ClientSession, clock: Clock) -> None:
        self._url = url
        self._http = http
        self._clock = clock
        self._calling = asyncio.Lock()
        self._next = 0.0
        self.keys: KeySet | None = None
        """None until there was an answer."""

    def known(self, kid: str | None) -> bool:
        """Is this a key of ours? Without a name it is, where there is only one."""
        if self.keys is None:
            return False
        return len(self.keys.keys) == 1 if kid is None else any(key.kid == kid for key in self.keys)

    async def learn(self, kid: str | None) -> None:
        """Have the key of this name, if it is there and we may call; else go on with what we have."""
        if not self.known(kid) and (self._calling.locked() or self._clock.now() >= self._next):
            async with self._calling:
                if not self.known(kid):
                    await self._call()

    async def keep(self) -> None:
        """Have all keys, and go on looking which are good, until cancelled."""
        while True:
            async with self._calling:
                await self._call()
            await self._clock.sleep(_PAUSE if self.keys is None else _FRESH)

    async def fetch(self) -> KeySet:
        """What is there now. Raises ValueError, and what a call raises."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        async with self._http.get(self._url, timeout=timeout, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"the answer was {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > _LIMIT:
                    raise ValueError(f"the answer is larger than {_LIMIT} bytes")
        return _read(bytes(body))

    async def _call(self) -> None:
        if self._clock.now() < self._next:
            return
        self._next = self._clock.now() + _PAUSE
        try:
            self.keys = await self.fetch()
        except (aiohttp.ClientError, OSError, ValueError) as fault:  # TimeoutError is an OSError
            log.warning("keys of tokens cannot be fetched", url=self._url, error=str(fault) or type(fault).__name__)


_KINDS: dict[str, type[RSAKey] | type[ECKey]] = {"RSA": RSAKey, "EC": ECKey}


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


def _read(body: bytes) -> KeySet:
    """The keys by which signatures can be verified; others are passed over. Raises ValueError where there is none."""
    try:
        document = msgspec.json.decode(body, type=_Document)
    except (msgspec.DecodeError, RecursionError):  # it is a ValueError only in some versions
        raise ValueError("the answer is no set of keys") from None
    found: list[RSAKey | ECKey] = []
    for told in document.keys[:_MOST]:
        # Never one with a shared secret: what is public signs nothing.
        kind = _KINDS.get(str(told.get("kty")))
        weak = kind is RSAKey and len(str(told.get("n"))) < _STRONG
        if kind is None or weak or told.get("use", "sig") != "sig":
            continue
        try:
            found.append(kind.import_key(told))
        except (JoseError, ValueError, TypeError):
            log.warning("a key of tokens cannot be read", kid=str(told.get("kid"))[:80])
    if not found:
        raise ValueError("there is no key in the answer that we could verify tokens with")
    return KeySet(list(found))
