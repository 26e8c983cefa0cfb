"""The tables [api] and [api.jwt]: who may ask the API, and how much."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from chatferry.config.file import Draft
from chatferry.config.types import Duration, Filled, Secret, Table, at_least, matching

LARGEST_BODY = 64 << 20
"""Bytes of a request to the API, whatever is set."""
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""By which issuers with public keys sign. With `secret` it is HS256."""


_a_place = matching(r"https?://[^\s/?#@]+[^\s#]*", "must be an address that begins with http:// or https://")


class JwtSettings(Table):
    """Users of an identity provider, or of an application of yours, ask by tokens of theirs."""

    issuer: Filled
    """Who makes the tokens, exactly as their `iss` says it."""
    audience: Filled
    """For whom they are made: their `aud`, or one of it."""
    jwks_url: Annotated[str, AfterValidator(_a_place)] | None = None
    """Where the issuer's public keys are."""
    secret: (
        Annotated[Secret, AfterValidator(at_least(32, why="for what signs tokens can be guessed at leisure"))] | None
    ) = None
    """Or what we share with whoever makes the tokens (HS256)."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    """What the issuer may sign by, where it has public keys. A token has no say in this."""
    leeway: Annotated[Duration, Field(le=300)] = 30.0
    """How far clocks may be apart."""
    scope_claim: Filled | None = None
    """The claim that tells the scopes, such as `scope`. None: every user may ask every assistant."""


class ApiSettings(Table):
    keys: tuple[Secret, ...] = ()
    """Each of them opens the API, and may do everything there; `chatferry keys` makes others."""
    jwt: JwtSettings | None = None
    body_limit: int | None = Field(default=None, ge=1024, le=LARGEST_BODY)
    """Bytes of a request. None: the largest `file_limit` of the assistants in base64, and `[server] body_limit`."""
    rate: int | None = Field(default=None, ge=1)
    """Requests per minute and caller. None: what [limits] says of a user."""
    message: int | None = Field(default=None, ge=1)
    """Characters that the message which is to be answered may have. None: as many as a body has room for."""
    concurrency: int | None = Field(default=None, ge=1)
    """Conversations of the API that are answered at once, in a process. None: as many as there is room for."""


def check(draft: Draft) -> None:
    """Pin a fault where it is not said, or said twice, how tokens are verified."""
    jwt = draft.table("api").get("jwt")
    if not isinstance(jwt, dict):
        return
    if "jwks_url" in jwt and "secret" in jwt:
        mend = "leave out what the issuer does not sign by"
        draft.fault(("api", "jwt", "secret"), "cannot be beside jwks_url", mend)
    elif "jwks_url" not in jwt and "secret" not in jwt:
        mend = 'jwks_url = "https://..." in [api.jwt], or secret = "${NAME}" for HS256'
        draft.fault(("api", "jwt"), "does not say how tokens are verified", mend)
    elif "secret" in jwt and "algorithms" in jwt:
        draft.fault(("api", "jwt", "algorithms"), "is for jwks_url: with a secret it is HS256", "leave it out")
    listed = jwt.get("algorithms")
    for index, name in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(name, str) and name not in get_args(Algorithm):
            mend = f"one of {', '.join(get_args(Algorithm))}"
            draft.fault(("api", "jwt", "algorithms", index), "is no algorithm with public keys", mend)
