"""Tokens of users (JWT, RFC 7519) that somebody else makes for them: an identity provider, an application.

By what a token is verified is said by the configuration alone (RFC 8725): its header names a key among those that we
have, and nothing else that it says is looked at.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import KeySet, OctKey
from joserfc.jws import JWSRegistry

from chatferry.access import ALL, Caller
from chatferry.channels.api_jwks import Jwks
from chatferry.clock import Clock
from chatferry.config import JwtSettings
from chatferry.errors import Rejected
from chatferry.model import Finding

_LIMIT = 8192
"""Bytes of a token, and of its header: nothing longer is looked into."""
_HEADER = 2048
_NAME = 255
"""Characters of a `sub`, as OpenID Connect has it."""


class _Header(msgspec.Struct):
    kid: str | None = None


class Tokens:
    """Reads tokens of one issuer, made for us."""

    def __init__(self, settings: JwtSettings, http: aiohttp.ClientSession, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._jwks = Jwks(settings.jwks_url, http, clock) if settings.jwks_url else None
        self._secret = OctKey.import_key(settings.secret.get_secret_value()) if settings.secret else None
        self._algorithms = list(settings.algorithms) if self._jwks else ["HS256"]
        self._registry = JWSRegistry(algorithms=self._algorithms, strict_check_header=False)
        self._registry.max_header_length = _HEADER
        self._realm = hashlib.sha256(settings.issuer.encode()).hexdigest()[:8]

    @staticmethod
    def like(given: str) -> bool:
        """Is it meant to be a token?"""
        return given.count(".") == 2

    async def learn(self, token: str) -> None:
        """Have the key that a token names, if it is to be had. Raises Rejected."""
        header = _header(token)
        if self._jwks is not None:
            await self._jwks.learn(header.kid)

    def read(self, token: str) -> Caller:
        """Whose token it is, and what they may. Raises Rejected: 401, or 503 while we have no key to tell."""
        _header(token)
        try:
            claims = jwt.decode(token, self._key(), registry=self._registry).claims
            self._check(claims)
            return Caller(f"user.{self._realm}.{quote(claims['sub'], safe='@')}", self._scopes(claims))
        except ExpiredTokenError:
            raise _refused("the token has expired") from None
        except (MissingClaimError, InvalidClaimError) as fault:
            raise _refused(f"the token is not good here, by its `{fault.claim}`") from None
        except (JoseError, ValueError, RecursionError):
            raise _refused("the token cannot be verified") from None

    def _key(self) -> OctKey | KeySet:
        if self._secret is not None:
            return self._secret
        if self._jwks is None or self._jwks.keys is None:
            waits = {"Retry-After": "5"}
            raise Rejected(503, "tokens cannot be verified now; try again", code="unavailable", headers=waits)
        return self._jwks.keys

    def _check(self, claims: dict[str, Any]) -> None:
        its, leeway = self._settings, int(self._settings.leeway)
        jwt.JWTClaimsRegistry(
            now=int(self._clock.now()),
            leeway=leeway,
            iss={"essential": True, "value": its.issuer},
            aud={"essential": True, "value": its.audience},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(claims)
        if len(claims["sub"]) > _NAME:
            raise InvalidClaimError("sub")

    def _scopes(self, claims: dict[str, Any]) -> frozenset[str]:
        """A list, or words in a text. What else is in it is for others."""
        if self._settings.scope_claim is None:
            return ALL
        told = claims.get(self._settings.scope_claim, "")
        listed = told.split() if isinstance(told, str) else told if isinstance(told, list) else ()
        return frozenset(scope for scope in listed if isinstance(scope, str))

    async def keep(self) -> None:
        """Have the issuer's keys, until cancelled."""
        if self._jwks is not None:
            await self._jwks.keep()

    async def check(self) -> AsyncIterator[Finding]:
        """Are there keys?"""
        if self._jwks is None:
            yield Finding(True, "api tokens", "HS256, by a secret")
            return
        url = str(self._settings.jwks_url)
        try:
            keys = await self._jwks.fetch()
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            mend = "check api.jwt.jwks_url: an issuer's /.well-known/openid-configuration has it as jwks_uri"
            yield Finding(False, "api tokens", f"{url}: {str(fault) or type(fault).__name__}", mend)
            return
        plain = url.startswith("http://")
        told = f"{len(keys.keys)} key(s) at {url}" + (", which anybody on the way can replace" if plain else "")
        yield Finding(True, "api tokens", told, "an https:// address for api.jwt.jwks_url" if plain else "")


def _header(token: str) -> _Header:
    """What we want to know of it before it is verified. Raises Rejected."""
    encoded, _, _ = token.partition(".")
    try:
        if len(token) > _LIMIT or not token.isascii():
            raise ValueError
        return msgspec.json.decode(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), type=_Header)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _refused("the token cannot be verified") from None


def _refused(reason: str) -> Rejected:
    challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return Rejected(401, reason, code="invalid_token", headers=challenge)
