"""Users with tokens that somebody else made for them, and what attackers make of tokens."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
from joserfc.jwk import OctKey, RSAKey
from pydantic import SecretStr
from starlette.responses import RedirectResponse, Response
from websockets.asyncio.client import connect

from chatferry.config import JwtSettings
from chatferry.simulator.serving import serving
from chatferry.testing import ManualClock
from tests.scenarios.asking import ask, client, is_error, prompt, text
from tests.scenarios.issuer import AUDIENCE, EC, ISSUER, OTHER, RSA, Issuer, claims, signed
from tests.stack import KEY, Stack, running

SECRET = "0123456789abcdef0123456789abcdef"
SHARED = OctKey.import_key(SECRET)


@contextlib.asynccontextmanager
async def trusting(
    folder: Path, clock: ManualClock, issuer: Issuer | None = None, **settings: Any
) -> AsyncIterator[Stack]:
    """A gateway that takes tokens by the keys of an issuer, or else by a secret."""
    async with contextlib.AsyncExitStack() as stack:
        if issuer is not None:
            settings["jwks_url"] = f"{await stack.enter_async_context(serving(issuer.app))}/jwks"
        else:
            settings["secret"] = SecretStr(SECRET)
        jwt = JwtSettings(issuer=ISSUER, audience=AUDIENCE, **settings)
        yield await stack.enter_async_context(running(folder, clock=clock, api={"jwt": jwt}))


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest_asyncio.fixture(name="stack")
async def _stack(tmp_path: Path, clock: ManualClock, issuer: Issuer) -> AsyncIterator[Stack]:
    async with trusting(tmp_path, clock, issuer, algorithms=("RS256", "ES256")) as stack:
        yield stack


async def refused(stack: Stack, token: str) -> tuple[int, str]:
    """What a token gets: the status, and the reason where it is not 200."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as http, http.get(f"{stack.url}/v1/models", headers=headers) as answer:
        told = await answer.json()
        return answer.status, told["error"]["message"] if answer.status != 200 else ""


async def asked(stack: Stack, token: str, question: str, session: str | None = None) -> str:
    async with client(stack, key=token) as api:
        return text(await ask(api, question, session=session))


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_user_has_conversations_of_their_own_whatever_token_they_come_with(
    stack: Stack, clock: ManualClock, issuer: Issuer
) -> None:
    issuer.keys.append(EC.as_dict(private=False))
    await asked(stack, signed(claims(clock.now())), "my name is Ann", "a")
    for sub in ("bob", "Ann", "ann ", "ann/a", "../ann", "ann\x00", "安"):
        await asked(stack, signed(claims(clock.now(), sub=sub)), "who am I?", "a")
        assert prompt(stack) == ["who am I?"]
    async with client(stack) as api:
        await ask(api, "who am I?", session="a")
    assert prompt(stack) == ["who am I?"]
    clock.advance(300)
    later = signed(claims(clock.now(), aud=["other", AUDIENCE]), EC, "ES256")
    await asked(stack, later, "who am I?", "a")
    assert prompt(stack) == ["my name is Ann", "echo: my name is Ann", "who am I?"]


async def test_a_claim_may_tell_what_a_user_may(tmp_path: Path, clock: ManualClock) -> None:
    async with trusting(tmp_path, clock, scope_claim="scp") as stack:

        async def may(**told: Any) -> tuple[bool, int]:
            """May they ask, and how many assistants do they see?"""
            token = signed(claims(clock.now(), **told), SHARED, "HS256")
            async with client(stack, key=token) as api:
                seen = len([model async for model in api.models.list()])
                try:
                    await ask(api, "hello")
                except openai.PermissionDeniedError:
                    return False, seen
                return True, seen

        assert await may(scp="openid chat") == (True, 1)
        assert await may(scp=["chat:default", 7]) == (True, 1)
        assert await may(scp="read chat:poet") == (False, 1)
        assert await may(scp={"chat": True}) == (False, 0)
        assert await may() == (False, 0)


async def test_over_a_websocket_a_token_comes_in_a_frame_and_never_in_the_address(
    stack: Stack, clock: ManualClock
) -> None:
    token = signed(claims(clock.now()))
    address = stack.url.replace("http:", "ws:") + "/v1/stream"
    question = {"messages": [{"role": "user", "content": "hello"}]}
    async with connect(f"{address}?token={token}&api_key={token}&access_token={token}", proxy=None) as socket:
        await socket.send(json.dumps(question))
        assert is_error(json.loads(await socket.recv()), "invalid_api_key")
        await socket.send(json.dumps({**question, "api_key": token}))
        assert json.loads(await socket.recv())["content"] == "echo: hello"
        clock.advance(700)
        await socket.send(json.dumps(question))
        told = json.loads(await socket.recv())
    assert is_error(told, "invalid_token")
    assert "expired" in told["error"]["message"]


# ── attacks ──────────────────────────────────────────────────────────────────────────────────────────────────────


def unsigned(header: Any, payload: Any, signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def by_hand(payload: Any, secret: bytes) -> str:
    """HS256 with whatever is at hand: no library would sign by a public key."""
    token = unsigned({"alg": "HS256", "kid": "rsa"}, payload).rstrip(".")
    signature = hmac.digest(secret, token.encode(), hashlib.sha256)
    return f"{token}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def forged(now: float) -> dict[str, str]:
    """Tokens that must open nothing, by what is wrong with them."""
    good = claims(now)
    token = signed(good)
    head, body, signature = token.split(".")
    public = RSA.as_pem(private=False)
    other = base64.urlsafe_b64encode(json.dumps(good | {"sub": "bob"}).encode()).rstrip(b"=").decode()
    return {
        "alg none": unsigned({"alg": "none"}, good),
        "alg none, the key named": unsigned({"alg": "none", "kid": "rsa"}, good),
        "alg None": unsigned({"alg": "nOnE", "kid": "rsa"}, good, b"x"),
        "no alg": unsigned({"kid": "rsa"}, good, b"x"),
        "an alg that is no text": unsigned({"alg": ["RS256"], "kid": "rsa"}, good, b"x"),
        "the public key as a secret": by_hand(good, public),
        "the public modulus as a secret": by_hand(good, str(RSA["n"]).encode()),
        "an algorithm that is not allowed": signed(
            good, RSAKey.import_key(RSA.as_dict(private=True, alg="PS256")), "PS256"
        ),
        "somebody else's key under its name": signed(good, OTHER),
        "a key that comes along": signed(good, OTHER, jwk=OTHER.as_dict(private=False)),
        "the address of a key": signed(good, OTHER, jku="http://127.0.0.1:1/jwks", x5u="http://127.0.0.1:1/"),
        "a kid that is a path": signed(good, OTHER, kid="../../../../dev/null"),
        "a kid that is SQL": signed(good, OTHER, kid="' UNION SELECT 'x"),
        "a kid that is no text": unsigned({"alg": "RS256", "kid": {"a": 1}}, good, b"x"),
        "a kid that nobody has": signed(good, kid="new"),
        "a critical header": unsigned({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}, good, b"x"),
        "no signature": f"{head}.{body}.",
        "another body": f"{head}.{other}.{signature}",
        "a signature that was cut": token[:-4],
        "a header that is no JSON": f"x.{body}.{signature}",
        "nothing at all": "..",
        "a deep header": f"{base64.urlsafe_b64encode(b'[' * 4000).decode()}.{body}.{signature}",
        "huge": signed(good | {"x": "x" * 9000}),
        "not ASCII": f"{head}.{body}é.{signature}",
        "a body that is no object": signed([good]),
        "a body that is no JSON": signed(b"{"),
        "a deep body": signed(b'{"x":' + b"[" * 5000),
        "another audience": signed(good | {"aud": "others"}),
        "audiences without ours": signed(good | {"aud": ["others", f"{AUDIENCE}2"]}),
        "no audience": signed(claims(now, aud=None)),
        "another issuer": signed(good | {"iss": "https://evil.test/"}),
        "nearly the issuer": signed(good | {"iss": ISSUER.rstrip("/")}),
        "issuers": signed(good | {"iss": [ISSUER]}),
        "no issuer": signed(claims(now, iss=None)),
        "expired": signed(good | {"exp": int(now) - 31}),
        "no end": signed(claims(now, exp=None)),
        "an end that is text": signed(good | {"exp": "9999999999"}),
        "an end that is no number": signed(json.dumps(good)[:-1].encode() + b',"exp":NaN}'),
        "an end that is true": signed(good | {"exp": True}),
        "not yet": signed(good | {"nbf": int(now) + 31}),
        "made in the future": signed(good | {"iat": int(now) + 3600}),
        "nobody's": signed(claims(now, sub=None)),
        "of an empty name": signed(good | {"sub": ""}),
        "of a name that is no text": signed(good | {"sub": 7}),
        "of half a character": signed(good | {"sub": "\ud800"}),
        "of an endless name": signed(good | {"sub": "a" * 256}),
    }


async def test_no_token_that_is_not_quite_right_opens_anything(
    stack: Stack, clock: ManualClock, issuer: Issuer
) -> None:
    assert await refused(stack, signed(claims(clock.now()))) == (200, "")
    opened = {}
    for wrong, token in forged(clock.now()).items():
        status, reason = await refused(stack, token)
        if status != 401:
            opened[wrong] = status
        assert not [part for part in token.split(".") if len(part) > 8 and part in reason], wrong
    assert opened == {}
    assert issuer.calls == 1


async def test_clocks_may_be_a_little_apart(stack: Stack, clock: ManualClock) -> None:
    now = int(clock.now())
    assert await refused(stack, signed(claims(now, exp=now - 29, nbf=now + 29, iat=now + 29))) == (200, "")


async def test_with_a_secret_only_what_is_signed_by_it_is_good(tmp_path: Path, clock: ManualClock) -> None:
    async with trusting(tmp_path, clock) as stack:
        good = claims(clock.now())
        assert await refused(stack, signed(good, SHARED, "HS256")) == (200, "")
        assert await refused(stack, by_hand(good, SECRET.encode())) == (200, "")
        for token in (
            signed(good, OctKey.import_key(SECRET[:-1] + "x"), "HS256"),
            signed(good, SHARED, "HS512"),
            signed(good),
            unsigned({"alg": "none"}, good),
        ):
            assert (await refused(stack, token))[0] == 401
        assert (await refused(stack, KEY)) == (200, "")


# ── the issuer's keys ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_key_is_fetched_at_most_once_a_minute_however_many_ask(
    stack: Stack, clock: ManualClock, issuer: Issuer
) -> None:
    assert await refused(stack, signed(claims(clock.now()))) == (200, "")
    issuer.keys = [EC.as_dict(private=False)]
    tokens = [signed(claims(clock.now()), OTHER, kid=f"new {n}") for n in range(20)]
    assert {status for status, _ in await asyncio.gather(*(refused(stack, token) for token in tokens))} == {401}
    assert issuer.calls == 1
    clock.advance(60)
    found = await asyncio.gather(*(refused(stack, signed(claims(clock.now()), EC, "ES256")) for _ in range(10)))
    assert found == [(200, "")] * 10
    await asyncio.gather(*(refused(stack, token) for token in tokens))
    assert issuer.calls == 2
    assert (await refused(stack, signed(claims(clock.now()))))[0] == 401  # the issuer took it back


BROKEN = [
    Response(status_code=500),
    RedirectResponse("http://127.0.0.1:1/"),
    Response("no JSON"),
    Response("[" * 100_000),
    Response('{"keys": []}'),
    Response(
        '{"keys": [{"kty": "oct", "kid": "rsa", "k": "AAAA"}, {"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"}]}'
    ),
    Response(b" " * 300_000),
]


async def test_an_issuer_that_is_down_or_talks_nonsense_leaves_the_keys_that_were(
    stack: Stack, clock: ManualClock, issuer: Issuer
) -> None:
    assert await refused(stack, signed(claims(clock.now()))) == (200, "")
    for calls, answer in enumerate(BROKEN, 2):
        issuer.answer = answer
        clock.advance(60)
        assert (await refused(stack, signed(claims(clock.now()), kid="new")))[0] == 401
        assert issuer.calls == calls
        assert await refused(stack, signed(claims(clock.now()))) == (200, "")


async def test_while_no_key_was_ever_had_the_caller_shall_try_again_and_keys_are_as_good_as_ever(
    tmp_path: Path, clock: ManualClock, issuer: Issuer
) -> None:
    issuer.answer = Response(status_code=503)
    async with trusting(tmp_path, clock, issuer) as stack:
        status, reason = await refused(stack, signed(claims(clock.now())))
        assert (status, "try again" in reason) == (503, True)
        assert await refused(stack, KEY) == (200, "")
        issuer.answer = None
        clock.advance(60)
        assert await refused(stack, signed(claims(clock.now()))) == (200, "")
