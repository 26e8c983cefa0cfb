"""An identity provider: it makes tokens, and shows its public keys at an address."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ISSUER, AUDIENCE = "https://login.test/", "chatferry"

RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig", "alg": "RS256"})
OTHER = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig", "alg": "RS256"})
"""Somebody else's, under the same name."""
EC = ECKey.generate_key("P-256", {"kid": "ec"})


class Issuer:
    """What is at the address can be changed while it is asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [RSA.as_dict(private=False)]
        self.calls = 0
        self.answer: Response | None = None
        """In the place of the keys."""
        self.open = asyncio.Event()
        self.open.set()
        self.app = Starlette(routes=[Route("/jwks", self._jwks)])

    async def _jwks(self, request: Request) -> Response:
        self.calls += 1
        await self.open.wait()
        return self.answer or Response(json.dumps({"keys": self.keys}), media_type="application/json")


def claims(now: float, **other: Any) -> dict[str, Any]:
    """Those of a good token; one that is None is left out."""
    told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": int(now) + 600, "iat": int(now), **other}
    return {name: value for name, value in told.items() if value is not None}


def signed(payload: Any, key: RSAKey | ECKey | OctKey = RSA, alg: str = "RS256", **header: Any) -> str:
    """A token, however wrong: whoever attacks keeps to no rule either."""
    header = {"alg": alg, "kid": key.kid, **header}
    header = {name: value for name, value in header.items() if value is not None}
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jws.serialize_compact(header, body, key, registry=registry)
