"""Files that people sent, as their platforms hand them out: never more of them than we can bear."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import aiohttp


async def capped(answer: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The whole body; None where it is longer than `limit` bytes, or says so: no more of it is read then."""
    if (answer.content_length or 0) > limit:
        return None
    data = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        data += chunk
        if len(data) > limit:
            return None
    return bytes(data)


def lies_at(url: str, base: str, hosts: re.Pattern[str], *schemes: str) -> bool:
    """Is this an address at `base` or at one of these hosts? Others are not called, whatever a message says."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if (parts.scheme, parts.netloc) == urlsplit(base)[:2]:
        return True
    return parts.scheme in schemes and hosts.fullmatch(parts.netloc) is not None
