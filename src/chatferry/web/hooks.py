"""The routes by which platforms deliver: a webhook is answered when what it brought is kept, or stays open for more."""

from __future__ import annotations

import asyncio
import re

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from chatferry.channels.base import Channel, Hold, Hook, Taken
from chatferry.delivering.holding import OpenRequest
from chatferry.errors import Rejected, Unavailable
from chatferry.gateway import Gateway
from chatferry.ledger.accepting import Accepted
from chatferry.signals import first_of
from chatferry.web.http import RETRY_AFTER, SILENT, gone, read_body

log = structlog.get_logger(__name__)

_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9.\-]{0,252}|\[[0-9A-Fa-f:]{2,39}\])(:(?P<port>\d{1,5}))?")


def routes(gateway: Gateway, channel: Channel, path: str) -> list[BaseRoute]:
    """What a platform calls: POST with events, and GET where it wants to see whether we are there."""
    door = _Door(gateway, channel)
    return [Route(path, door.post, methods=["POST"]), Route(path, door.get, methods=["GET"])]


def hook_of(request: Request, body: bytes, now: float) -> Hook:
    """The request as channels take it."""
    return Hook(body, {key.lower(): value for key, value in request.headers.items()}, request.query_params, now)


class _Door:
    def __init__(self, gateway: Gateway, channel: Channel) -> None:
        self._gateway = gateway
        self._channel = channel
        self._limit = gateway.settings.server.body_limit

    async def get(self, request: Request) -> Response:
        name = self._channel.name
        if "echostr" not in request.query_params:
            return PlainTextResponse(f"This is the webhook of channel {name}. The platform calls it by POST.\n", 405)
        try:
            taken = self._gateway.intake.read(self._channel, hook_of(request, b"", self._gateway.clock.now()))
        except Rejected as refusal:
            return _refused(refusal)
        return Response(taken.body, taken.status, media_type=taken.media_type)

    async def post(self, request: Request) -> Response:
        arrived = self._gateway.clock.now()
        try:
            body = await read_body(request, self._limit)
            taken = self._gateway.intake.read(self._channel, hook_of(request, body, arrived))
        except Rejected as refusal:
            return _refused(refusal)
        await self._reached(request)
        try:
            accepted = await self._gateway.intake.accept(self._channel, taken)
        except Unavailable:
            # Not kept, so not accepted: the platform delivers it again.
            if taken.hold is not None:
                return await self._silence(request, taken.hold)
            return PlainTextResponse("cannot be kept now; deliver it again\n", 503, RETRY_AFTER)
        if taken.hold is not None and accepted:
            return await self._hold(request, taken, taken.hold, accepted[0], arrived)
        return Response(taken.body, taken.status, media_type=taken.media_type)

    async def _hold(self, request: Request, taken: Taken, hold: Hold, accepted: Accepted, arrived: float) -> Response:
        """Answer in this response what there is to say, in time; else not at all."""
        held, left = OpenRequest(taken.events[0], hold, accepted, arrived), asyncio.Event()
        request.scope[SILENT] = True
        leaving = asyncio.create_task(_tell(request, left))
        try:
            said = await self._answer(held, left)
        finally:
            leaving.cancel()
        if said is None:
            return await self._silence(request, hold)
        if not said:
            return Response(taken.body, taken.status, media_type=taken.media_type)
        return Response(hold.enclose(said), media_type=hold.media_type)

    async def _silence(self, request: Request, hold: Hold) -> Response:
        """Wait until the platform hangs up: any response, even an error, may count as one."""
        request.scope[SILENT] = True
        await first_of(gone(request), self._gateway.clock.sleep(2 * hold.limit))
        return Response(status_code=503)

    async def _answer(self, held: OpenRequest, left: asyncio.Event) -> str | None:
        """What the response says; None where there is none, or nobody to hear it."""
        holding, assistant = self._gateway.holding, self._gateway.staff.of(self._channel.name, held.event)
        try:
            said = await holding.reply(self._channel, held, left, assistant.words) if assistant else None
            return said if said is not None and await holding.heard(self._channel, held, left) else None
        except Unavailable as fault:
            log.error("no answer in the response", turn=held.accepted.turn, error=str(fault))
            return None

    async def _reached(self, request: Request) -> None:
        """Where nobody said how people reach us, believe what a signed request came by."""
        if not self._gateway.unreached:
            return
        host = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
        scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
        told = _HOST.fullmatch(host)
        if told and int(told["port"] or 443) <= 65535 and scheme in ("http", "https"):
            await self._gateway.reached(f"{scheme}://{host}")


async def _tell(request: Request, left: asyncio.Event) -> None:
    await gone(request)
    left.set()


def _refused(refusal: Rejected) -> Response:
    return PlainTextResponse(f"{refusal.reason}\n", refusal.status, refusal.headers)
