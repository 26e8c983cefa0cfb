"""A thin client for WeChat's API: one call, and what its failure means."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec

from chatferry.channels.download import capped, lies_at
from chatferry.errors import Ambiguous, Fault, Final, Gone, NoLeave, TooLarge, TryLater

TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
DOWNLOAD_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5)

LARGEST_ANSWER = 64 * 1024
"""Bytes of an answer that is not a file."""

SEND, TYPING = "/cgi-bin/message/custom/send", "/cgi-bin/message/custom/typing"
MEDIA = "/cgi-bin/media/get"

STALE = {40001, 40014, 42001}
"""The token is not good, or not any more. Nothing was done."""
FORBIDDEN = 48001
"""The account may not make this call at all."""
NOT_NOW = {45080, 45081}
"""Typing does not show: the person was silent for too long, or it shows already."""
_SECONDS = {45011: 60.0}
"""How long to wait, where the refusal says it: "retry next minute"."""
_PASSING = {-1, 45011}
_CLOSED = {45009, 45015, 45047, FORBIDDEN}
"""For this person, this account, or for all of this day (45009)."""
_GONE = {40003}

_PICTURES = re.compile(r"(?:[a-z0-9-]+\.)+(?:qpic\.cn|qlogo\.cn|qq\.com)")
"""Where pictures lie. Plain names: no user, no port, nothing in them that somebody else may read in another way."""
_ADDRESS = re.compile(r"\w+://[^\s'\"]*")
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

_WORDS = ("application/json", "text/plain", "text/json")
"""What an error comes as, in the place of a file."""

_Result = TypeVar("_Result")


class Told(msgspec.Struct):
    """What every call answers, with status 200 even where it was refused."""

    errcode: int = 0
    errmsg: str | None = None
    video_url: str | None = None
    """Where a video lies: it comes from another place than the rest."""

    def __str__(self) -> str:
        said = _UNSHOWN.sub(" ", self.errmsg or "")[:200]
        return f"{self.errcode} {said}".strip()


_Shape = TypeVar("_Shape", bound=Told)


class Tokens(Protocol):
    """Who holds the access token."""

    async def get(self) -> str:
        """Raises Fault."""
        ...

    async def renewed(self, refused: str) -> str:
        """A token in the place of one that WeChat does not take. Raises Fault."""
        ...


class WeChatApi:
    """Calls with the account's token. They go to the configured host only: redirects are not followed."""

    def __init__(self, tokens: Tokens, base: str, http: aiohttp.ClientSession) -> None:
        self._tokens = tokens
        self._base = base.rstrip("/")
        self._http = http

    async def post(self, path: str, body: Any, *, once: bool = False) -> Told:
        """The answer, good or bad; a stale token is renewed, and the call made again.

        Raises `TryLater` when no answer came; with `once`, for a call that must not simply be made again,
        `Ambiguous` unless it is certain that WeChat never saw it.
        """
        data = msgspec.json.encode(body)

        async def call(token: str) -> tuple[None, Told]:
            query = {"access_token": token}
            return None, await exchange(self._http, self._base, path, data, Told, query=query, once=once)

        return (await self._with_token(call))[1]

    async def media(self, media_id: str, limit: int) -> bytes:
        """The bytes of something that a person sent, in the three days for which WeChat keeps it. Raises Fault."""

        async def call(token: str) -> tuple[bytes, Told]:
            query = {"access_token": token, "media_id": media_id}
            kind, data = await _load(self._http, self._base + MEDIA, MEDIA, query, limit)
            return data, _decoded(data, Told) or Told() if kind in _WORDS else Told()

        data, told = await self._with_token(call)
        if told.errcode:
            raise fault(MEDIA, told)
        if told.video_url:
            if not self.has(told.video_url):
                raise Final(f"WeChat {MEDIA}: this video does not lie with WeChat")
            return (await _load(self._http, told.video_url, "video", {}, limit))[1]
        return data

    async def _with_token(self, call: Callable[[str], Awaitable[tuple[_Result, Told]]]) -> tuple[_Result, Told]:
        token = await self._tokens.get()
        result, told = await call(token)
        if told.errcode in STALE:
            result, told = await call(await self._tokens.renewed(token))
        return result, told

    async def picture(self, url: str, limit: int) -> bytes:
        """The bytes of a picture by its address, which need no token."""
        return (await _load(self._http, url, "picture", {}, limit))[1]

    def has(self, url: str) -> bool:
        """Is this an address of WeChat's?"""
        return lies_at(url, self._base, _PICTURES, "http", "https")


async def exchange(
    http: aiohttp.ClientSession,
    base: str,
    path: str,
    data: bytes,
    shape: type[_Shape],
    *,
    query: Mapping[str, str] | None = None,
    once: bool = False,
) -> _Shape:
    """One POST and its answer, whatever that says. Raises as `WeChatApi.post` does."""
    passing = Ambiguous if once else TryLater
    try:
        async with http.post(
            base + path,
            params=query,
            data=data,
            headers={"Content-Type": "application/json; charset=utf-8"},
            timeout=TIMEOUT,
            allow_redirects=False,
        ) as answer:
            status, body = answer.status, await capped(answer, LARGEST_ANSWER)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:  # nothing was sent
        raise TryLater(f"WeChat {path}: {_named(error)}") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise passing(f"WeChat {path}: {_named(error)}") from error
    _check(path, status)
    told = None if body is None else _decoded(body, shape)
    if told is None:
        raise passing(f"WeChat {path}: not the answer that is documented")
    return told


def fault(path: str, told: Told) -> Fault:
    """What a refusal means, by its code: "Global return codes", and the pages of the calls."""
    reason = f"WeChat {path}: {told}"
    if told.errcode in _GONE:
        return Gone(reason)
    if told.errcode in _CLOSED:
        return NoLeave(reason)
    if told.errcode in _PASSING | STALE:
        return TryLater(reason, after=_SECONDS.get(told.errcode))
    return Final(reason)


async def _load(
    http: aiohttp.ClientSession, url: str, name: str, query: Mapping[str, str], limit: int
) -> tuple[str, bytes]:
    """Type and bytes of a file."""
    try:
        async with http.get(url, params=query, timeout=DOWNLOAD_TIMEOUT, allow_redirects=False) as answer:
            _check(name, answer.status)
            data = await capped(answer, limit)
            kind = answer.content_type
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TryLater(f"WeChat {name}: {_named(error)}") from error
    if data is None:
        raise TooLarge(f"WeChat {name}: more than {limit} bytes")
    return kind, data


def _check(name: str, status: int) -> None:
    """WeChat refuses with 200. Anything else is a trouble of its own, or of what lies between us."""
    if status >= 500 or status == 429:
        raise TryLater(f"WeChat {name}: {status}")
    if status != 200:
        raise Final(f"WeChat {name}: {status}, which is not WeChat's way to answer: is `api_base` right?")


def _decoded(body: bytes, shape: type[_Shape]) -> _Shape | None:
    try:
        return msgspec.json.decode(body[: LARGEST_ANSWER + 1], type=shape)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _named(error: Exception) -> str:
    """What broke, without the address, which has the token in it."""
    return f"{type(error).__name__} {_ADDRESS.sub('…', str(error))}".strip()
