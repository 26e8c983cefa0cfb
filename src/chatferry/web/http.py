"""What all routes need of HTTP."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from chatferry.errors import Rejected

RETRY_AFTER = {"Retry-After": "5"}
"""For every 503: nothing was kept, and in a few seconds there may be somebody to keep it."""

SILENT = "chatferry.silent"
"""In the scope of a request that is to get no response if this process ends: the server then cuts its connection."""


def told_size(request: Request, otherwise: int) -> int:
    """Bytes that the body has, as its sender tells before."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdigit() else otherwise


async def read_body(request: Request, limit: int, setting: str = "[server] body_limit") -> bytes:
    """The whole body, or Rejected(413) as soon as it is known to be longer than `limit` bytes.

    setting: what raises the limit.
    """
    too_large = Rejected(
        413,
        f"the body is larger than {limit} bytes: send less at once, or have `{setting}` raised",
        code="body_too_large",
    )
    if told_size(request, 0) > limit:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_large
    except ClientDisconnect:
        raise Rejected(400, "the body broke off", code="body_incomplete") from None
    return bytes(body)


async def gone(request: Request) -> None:
    """Return when the caller hangs up. The body has to be read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
