"""The pages that people open by a link: an answer that grows, `/a/TOKEN`, and what was said before, `/h/TOKEN`.

Any process serves them. A page shows nothing but the conversation of its token, and no token is logged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import structlog
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from chatferry.assistant import Assistant
from chatferry.errors import Unavailable
from chatferry.gateway import Gateway
from chatferry.ledger.looking import Shown
from chatferry.links import Expired, Page
from chatferry.privacy import Notice
from chatferry.web.growing import Growing
from chatferry.web.http import RETRY_AFTER
from chatferry.web.past import Past, past
from chatferry.web.showing import View, look, pictures, view

if TYPE_CHECKING:
    from chatferry.web.sheets import File

log = structlog.get_logger(__name__)

STREAMS = 20
"""Readers of one answer, in this process."""
_PATIENCE = 30
"""Seconds for which the delivery of an answer that was read is followed."""
_QUERY = 200
"""Characters of a search."""

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",  # the address is the key
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
_FOR_EVER = "public, max-age=31536000, immutable"


def routes(gateway: Gateway) -> list[BaseRoute]:
    """`/a/{token}` with what belongs to it, `/h/{token}`, and the files of both."""
    pages = _Pages(gateway)
    return [
        Route("/a/{token}", pages.opened("a", pages.answer)),
        Route("/a/{token}/events", pages.opened("a", pages.events)),
        Route("/a/{token}/stop", pages.opened("a", pages.stop), methods=["POST"]),
        Route("/a/{token}/picture/{id:int}", pages.opened("a", pages.picture_of_answer)),
        Route("/h/{token}", pages.opened("h", pages.history)),
        Route("/h/{token}/picture/{id:int}", pages.opened("h", pages.picture)),
        Route("/pages/{name}", pages.file),
        *([Route("/privacy", pages.privacy)] if gateway.notice.there else []),
    ]


class _Opened(NamedTuple):
    """What a token has opened."""

    shown: Shown
    assistant: Assistant


_Endpoint = Callable[[Request], Awaitable[Response]]


class _Pages:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._streams: Counter[int] = Counter()

    def opened(self, page: Page, endpoint: Callable[[Request, _Opened], Awaitable[Response]]) -> _Endpoint:
        """The endpoint behind its token: whoever has none sees why, in kind words."""

        async def guarded(request: Request) -> Response:
            gateway = self._gateway
            try:
                turn = gateway.links.read(page, request.path_params["token"], gateway.clock.now())
                shown = await look(gateway.ledger, turn) if turn is not None else None
                if shown is None:
                    return await self._sorry(404, "unknown")
                assistant = gateway.staff.of(shown.channel, shown.inbound) or self._anybody()
                return await endpoint(request, _Opened(shown, assistant))
            except Expired:
                return await self._sorry(410, "expired")
            except Unavailable as fault:
                log.error("page not shown: ledger unavailable", page=page, error=str(fault))
                return await self._sorry(503, "unavailable", RETRY_AFTER)

        return guarded

    async def answer(self, request: Request, its: _Opened) -> Response:
        shown, assistant = its
        seen = view(shown, self._gateway.feed.tail(shown.turn).text or shown.partial, assistant.words)
        if not seen.final:
            await self._gateway.relay.watch(shown.turn)
        html = await asyncio.to_thread(_answer, request.path_params["token"], its, seen)
        reading = seen.read and request.method == "GET"
        return HTMLResponse(
            html, headers=_HEADERS, background=BackgroundTask(self._read, shown.turn) if reading else None
        )

    async def events(self, request: Request, its: _Opened) -> Response:
        gateway, turn = self._gateway, its.shown.turn
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=_HEADERS)
        if self._streams[turn] >= STREAMS:
            return Response(status_code=429, headers={**_HEADERS, **RETRY_AFTER})
        return Growing(
            turn,
            its.assistant,
            gateway.ledger,
            gateway.feed,
            gateway.clock,
            headers=_HEADERS,
            streams=self._streams,
            read=self._read,
        )

    async def stop(self, request: Request, its: _Opened) -> Response:
        turn = its.shown.turn
        if await self._gateway.ledger.halt(turn):
            self._gateway.worker.stop(turn)
        return RedirectResponse(f"../{request.path_params['token']}", 303, _HEADERS)

    async def history(self, request: Request, its: _Opened) -> Response:
        query = request.query_params.get("q", "").strip()[:_QUERY]
        before = _turn(request.query_params.get("before", ""))
        found = await past(self._gateway.ledger, its.shown.conversation, before, query, its.assistant.words)
        html = await asyncio.to_thread(_history, request.path_params["token"], its, found, query, since=before)
        return HTMLResponse(html, headers=_HEADERS)

    async def picture_of_answer(self, request: Request, its: _Opened) -> Response:
        """One that came with the question; the link opens no other."""
        if request.path_params["id"] not in pictures(its.shown.inbound.said):
            return await self._sorry(404, "unknown")
        return await self.picture(request, its)

    async def picture(self, request: Request, its: _Opened) -> Response:
        """One that was sent in the conversation, of the type that we made ourselves."""
        picture = await self._gateway.ledger.picture(its.shown.conversation, request.path_params["id"])
        if picture is None:
            return await self._sorry(404, "unknown")
        headers = {**_HEADERS, "Cache-Control": "private, max-age=3600"}
        return Response(picture.data, media_type=picture.media_type, headers=headers)

    async def privacy(self, request: Request) -> Response:
        """The notice of an assistant, or of all, in the language that is asked for; else in that of the assistant."""
        given, mark = (request.query_params.get(name, "") for name in ("lang", "of"))
        html = await asyncio.to_thread(_privacy, self._gateway.notice, self._anybody(), given, mark)
        return HTMLResponse(html, headers=_HEADERS)

    async def file(self, request: Request) -> Response:
        file = (await asyncio.to_thread(_files)).get(request.path_params["name"])
        if file is None:
            return await self._sorry(404, "unknown")
        # An address without the right mark may be of another version, before or after this one.
        marked = request.query_params.get("v") == file.mark
        headers = {"Cache-Control": _FOR_EVER if marked else "no-cache", "X-Content-Type-Options": "nosniff"}
        return Response(file.body, media_type=file.media_type, headers=headers)

    async def _read(self, turn: int) -> None:
        """Somebody has the whole answer: where it waits to be delivered, it need not be any more."""
        ledger = self._gateway.ledger
        try:
            # It is on the page once it is kept, and whether it must wait comes out only after that.
            for _ in range(_PATIENCE):
                shown = await look(ledger, turn)
                if shown is None or shown.state not in ("due", "doing"):
                    break
                await self._gateway.clock.sleep(1)
            if shown is not None:
                await ledger.opened(shown.turn)
        except Unavailable as fault:
            log.error("not noted that an answer was read", turn=turn, error=str(fault))

    async def _sorry(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
        html = await asyncio.to_thread(_told, self._anybody(), why)
        return HTMLResponse(html, status, {**_HEADERS, **(headers or {})})

    def _anybody(self) -> Assistant:
        """Whose language we speak where we don't know who was asked."""
        staff = self._gateway.staff
        return staff.get("default") or next(iter(staff.values()))


def _turn(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


# These run in a thread, for long texts take their time, and bring their libraries along with the first page.


def _answer(token: str, its: _Opened, seen: View) -> str:
    from chatferry.web import sheets

    return sheets.answer(token, its.assistant, seen, its.shown.accepted_at)


def _history(token: str, its: _Opened, found: Past, query: str, *, since: int | None) -> str:
    from chatferry.web import sheets

    return sheets.history(token, its.assistant, found, query, since=since)


def _privacy(notice: Notice, assistant: Assistant, language: str, mark: str) -> str:
    from chatferry.web import sheets

    return sheets.privacy(notice, assistant, language, mark)


def _told(assistant: Assistant, why: str) -> str:
    from chatferry.web import sheets

    return sheets.told(assistant, why)


def _files() -> Mapping[str, File]:
    from chatferry.web import sheets

    return sheets.files()
