"""The routes: hooks, the API, and what operators look at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from chatferry.channels.base import Channel, Hook, Visit, Visited, visited
from chatferry.errors import Rejected, Unavailable
from chatferry.gateway import Gateway
from chatferry.web.http import RETRY_AFTER, read_body


def build(gateway: Gateway) -> Starlette:
    """The gateway as an ASGI app. The routes of a channel are its own path; the API's are there when it has keys."""
    routes: list[BaseRoute] = [
        Route("/", _root),
        Route("/healthz", _healthz),
        Route("/readyz", _readyz(gateway)),
        Route("/metrics", _metrics(gateway)),
    ]
    for name, settings in gateway.settings.channels.items():
        path = settings.path or f"/hooks/{name}"
        routes.append(Route(path, _hook(gateway, gateway.channels[name]), methods=["POST"]))
        routes.append(Route(path, _told(name), methods=["GET"]))
    for channel in gateway.channels.values():
        if visited(channel):
            routes += [Route(path, _page(gateway, channel, path)) for path in channel.pages]
    if gateway.settings.api is not None:
        from chatferry.web import api

        routes += api.routes(gateway)
    return Starlette(routes=routes)


def hook_of(request: Request, body: bytes, now: float) -> Hook:
    """The request as channels take it."""
    return Hook(body, {key.lower(): value for key, value in request.headers.items()}, request.query_params, now)


Endpoint = Callable[[Request], Awaitable[Response]]


def _hook(gateway: Gateway, channel: Channel) -> Endpoint:
    limit = gateway.settings.server.body_limit

    async def hook(request: Request) -> Response:
        arrived = gateway.clock.now()
        try:
            body = await read_body(request, limit)
            taken, _ = await gateway.intake.take(channel, hook_of(request, body, arrived))
        except Rejected as refusal:
            return PlainTextResponse(f"{refusal.reason}\n", refusal.status, refusal.headers)
        except Unavailable:
            # Not kept, so not accepted: the platform delivers it again.
            return PlainTextResponse("cannot be kept now; deliver it again\n", 503, RETRY_AFTER)
        return Response(taken.body, taken.status, media_type=taken.media_type)

    return hook


def _told(name: str) -> Endpoint:
    async def told(request: Request) -> Response:
        return PlainTextResponse(f"This is the webhook of channel {name}. The platform calls it by POST.\n", 405)

    return told


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
    async def metrics(request: Request) -> Response:
        return Response(generate_latest(gateway.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return metrics
