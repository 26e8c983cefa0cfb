"""One POST to Slack with the app's own credentials, which no workspace gave us: to be installed, to open a socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import aiohttp
import msgspec

from chatferry.channels.slack_api import HASTE, PASSING, after_of
from chatferry.errors import TryLater

_TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
_LARGEST = 65_536
"""Bytes of an answer."""


class Said(msgspec.Struct):
    """What every answer of the Web API has."""

    ok: bool = False
    error: str = ""


_Shape = TypeVar("_Shape", bound=Said)


async def post(
    http: aiohttp.ClientSession, url: str, authorization: str, form: Mapping[str, str], shape: type[_Shape]
) -> _Shape:
    """The answer, good or bad. Raises `TryLater` when there was none, or one that will not be the last word."""
    method = url.rpartition("/")[2]
    try:
        async with http.post(
            url, data=form, headers={"Authorization": authorization}, timeout=_TIMEOUT, allow_redirects=False
        ) as answer:
            if answer.status != 200:
                asked = answer.headers.get("Retry-After", "")
                raise TryLater(f"Slack {method}: {answer.status}", after=after_of(asked) if asked else None)
            body = bytearray()
            async for chunk in answer.content.iter_chunked(8192):
                body += chunk
                if len(body) > _LARGEST:
                    raise TryLater(f"Slack {method}: more than {_LARGEST} bytes")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TryLater(f"Slack {method}: {type(error).__name__} {error}".strip()) from error
    try:
        said = msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        # Without its cause, which could quote a part of it.
        raise TryLater(f"Slack {method}: not the answer that is documented") from None
    if not said.ok and said.error in HASTE | PASSING:
        raise TryLater(f"Slack {method}: {said.error}")
    return said
