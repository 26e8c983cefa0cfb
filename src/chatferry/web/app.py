"""The routes: hooks, the API, and what operators look at."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chatferry.channels.base import Visit, Visited, visited
from chatferry.errors import Unavailable
from chatferry.gateway import Gateway
from chatferry.watching.occasion import caller
from chatferry.web import hooks, pages
from chatferry.web.http import RETRY_AFTER

_TRACEPARENT = 200
"""Characters of a `traceparent` that are read; today's have 55."""
_PATIENCE = 3.0
"""Seconds that the database has to tell what it knows: whoever asks for metrics hangs up after ten."""


def build(gateway: Gateway) -> Starlette:
    """The gateway as an ASGI app. A channel's routes are at its own path; the API's are there when it is configured.

    One that only answers has what operators look at, and nothing else.
    """
    routes: list[BaseRoute] = [
        Route("/", _root),
        Route("/healthz", _healthz),
        Route("/readyz", _readyz(gateway)),
        Route("/metrics", _metrics(gateway)),
    ]
    heard = [Middleware(_Traced)] if gateway.tracer else []
    if gateway.role == "worker":
        return Starlette(routes=routes)
    for name, settings in gateway.settings.channels.items():
        path = settings.path or f"/hooks/{name}"
        routes += hooks.routes(gateway, gateway.channels[name], path)
    for channel in gateway.channels.values():
        if visited(channel):
            routes += [Route(path, _page(gateway, channel, path)) for path in channel.pages]
    if gateway.settings.api is not None:
        from chatferry.web import api

        routes += api.routes(gateway)
    routes += pages.routes(gateway)
    return Starlette(routes=routes, middleware=heard)


class _Traced:
    """Remembers which trace a request belongs to, for the turns that it brings."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = Headers(scope=scope).get("traceparent", "") if scope["type"] != "lifespan" else ""
        caller.set(told[:_TRACEPARENT])
        await self._app(scope, receive, send)


Endpoint = Callable[[Request], Awaitable[Response]]


def _page(gateway: Gateway, channel: Visited, path: str) -> Endpoint:
    async def page(request: Request) -> Response:
        made = await channel.visit(Visit(path, request.query_params, request.cookies, gateway.clock.now()))
        return Response(made.body, made.status, made.headers, made.media_type)

    return page


async def _root(request: Request) -> Response:
    return PlainTextResponse("Chatferry is running.\n")


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _readyz(gateway: Gateway) -> Endpoint:
    async def readyz(request: Request) -> Response:
        try:
            backlog = await gateway.ledger.backlog()
        except Unavailable:
            return JSONResponse({"status": "database unavailable"}, 503, RETRY_AFTER)
        if not gateway.dispatcher.dispatching:
            return JSONResponse({"status": "not dispatching"}, 503, RETRY_AFTER)
        return JSONResponse({"status": "ready", **backlog})

    return readyz


def _metrics(gateway: Gateway) -> Endpoint:
    token = gateway.settings.server.metrics_token
    wanted = f"Bearer {token.get_secret_value()}".encode() if token is not None else None

    async def metrics(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if wanted is not None and not hmac.compare_digest(given, wanted):
            return PlainTextResponse("a token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
        try:
            async with asyncio.timeout(_PATIENCE):
                census = await gateway.ledger.census()
        except (Unavailable, TimeoutError):
            census = None
        return Response(gateway.metrics.shown(census), media_type=CONTENT_TYPE_LATEST)

    return metrics
