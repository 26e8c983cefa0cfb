"""Files that people sent, as their platforms hand them out: never more of them than we can bear."""

from __future__ import annotations

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
