"""HTTP and WebSocket routes of the OpenAI-compatible API."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing, suppress
from typing import NamedTuple

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from chatferry.access import READ
from chatferry.channels.api import Api, Call, lacking
from chatferry.channels.base import Taken
from chatferry.engines.base import Delta, Restart
from chatferry.errors import Rejected, Unavailable
from chatferry.feed import Doing, Outcome
from chatferry.gateway import Gateway
from chatferry.ledger.accepting import Accepted
from chatferry.ledger.sessions import Left
from chatferry.model import Usage
from chatferry.web import shapes
from chatferry.web.http import RETRY_AFTER, gone, read_body, told_size
from chatferry.web.room import Room
from chatferry.web.shapes import Shape
from chatferry.web.sockets import widen
from chatferry.web.stream import Events, EventStream

log = structlog.get_logger(__name__)

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_UPLOAD = 120.0
"""Seconds for a body: others wait for the room that it takes."""
_AHEAD = 16
"""Questions that may wait on one WebSocket while another is being answered."""


def routes(gateway: Gateway) -> list[BaseRoute]:
    """`/v1/chat/completions`, `/v1/models`, the WebSocket `/v1/stream`, and the document that tells of them."""
    service = _Service(gateway)
    return [
        Route("/v1/chat/completions", service.completions, methods=["POST"]),
        Route("/v1/models", service.models),
        Route("/v1/models/{name}", service.model),
        Route("/v1/openapi.json", _document),
        Route("/v1/{anything:path}", service.unknown, methods=_METHODS),
        WebSocketRoute("/v1/stream", service.talk),
    ]


async def _document(request: Request) -> Response:
    """For everybody: it says nothing about this installation."""
    from chatferry.web import openapi

    return Response(openapi.document(), media_type="application/json")


class _Service:
    def __init__(self, gateway: Gateway) -> None:
        channel, settings = gateway.channels["api"], gateway.settings.api
        if not isinstance(channel, Api) or settings is None:
            raise TypeError("the API is not configured")
        self._gateway = gateway
        self._api = channel
        self._room = Room()
        self._small, self._limit = gateway.settings.server.body_limit, gateway.settings.api_limit

    async def models(self, request: Request) -> Response:
        try:
            caller = await self._api.caller(request.headers)
        except Rejected as refusal:
            return self._refused(refusal)
        seen = filter(caller.sees, self._gateway.staff)
        return JSONResponse({"object": "list", "data": [shapes.model(name) for name in seen]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            caller = await self._api.caller(request.headers)
            if name not in self._gateway.staff:
                raise Rejected(404, "there is no such model", code="model_not_found")
            if not caller.sees(name):
                raise lacking(READ)
        except Rejected as refusal:
            return self._refused(refusal)
        return JSONResponse(shapes.model(name))

    async def unknown(self, request: Request) -> Response:
        known = "POST /v1/chat/completions, GET /v1/models and the WebSocket /v1/stream"
        return self._refused(Rejected(404, f"nothing is here; there is {known}", code="unknown_url"))

    async def completions(self, request: Request) -> Response:
        with ExitStack() as held:
            return await self._answered(request, held)

    async def _answered(self, request: Request, held: ExitStack) -> Response:
        """The response. What is `held` for the request is given back with it, or by it."""
        gateway = self._gateway
        try:
            # Nobody's body is read without a key.
            caller = await self._api.caller(request.headers)
            key = request.headers.get("idempotency-key", "")
            call = self._api.read(await self._body(request, held), caller, key, gateway.clock.now())
            accepted, events = await self._begin(call)
        except Rejected as refusal:
            return self._refused(refusal)
        shape = Shape(accepted.turn, call, int(gateway.clock.now()), accepted.left)
        left = functools.partial(self._left, call)
        if call.stream:
            return EventStream(shape, events, gateway.clock, left=left, over=held.pop_all().close)
        waiting = asyncio.ensure_future(_last(events))
        leaving = asyncio.ensure_future(gone(request))
        try:
            await asyncio.wait([waiting, leaving], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return shape.whole(waiting.result())
            await left()
            return Response(status_code=499)
        finally:
            waiting.cancel()
            leaving.cancel()

    async def _body(self, request: Request, held: ExitStack) -> bytes:
        """Raises Rejected with 400, 408, 413 or 503."""
        if self._small < (size := told_size(request, self._limit)) <= self._limit:
            held.enter_context(self._room.taken(size))
        try:
            async with asyncio.timeout(_UPLOAD):
                return await read_body(request, self._limit, "[api] body_limit")
        except TimeoutError:
            raise Rejected(408, f"the body took more than {_UPLOAD:g} s", code="body_too_slow") from None

    async def talk(self, socket: WebSocket) -> None:
        """Questions are answered one after the other; the connection stays for the next."""
        with suppress(Rejected):  # who is not known by the headers is told so, or says more, in a frame
            await self._api.caller(socket.headers)
            widen(socket, self._limit)
        await socket.accept()
        frames: asyncio.Queue[_Waiting] = asyncio.Queue(_AHEAD)
        unanswered: list[Call] = []
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._converse(socket, frames, unanswered))
            try:
                # Frames are read at all times, for that is how we learn that the caller left.
                while True:
                    frame = await _frame(socket)
                    if frames.full():
                        raise asyncio.QueueFull
                    frames.put_nowait(self._waiting(frame))
            except WebSocketDisconnect:
                pass
            except asyncio.QueueFull:
                await socket.close(1008, f"more than {_AHEAD} questions wait")
            finally:
                answering.cancel()
                while not frames.empty():
                    frames.get_nowait().held.close()
        for call in unanswered:
            await self._left(call)

    def _waiting(self, frame: str) -> _Waiting:
        held, size = ExitStack(), len(frame.encode())
        try:
            if size > self._small:
                held.enter_context(self._room.taken(size))
        except Rejected as refusal:
            return _Waiting("", held, refusal)
        return _Waiting(frame, held)

    async def _converse(self, socket: WebSocket, frames: asyncio.Queue[_Waiting], unanswered: list[Call]) -> None:
        """Answer frame after frame. What is in the making is in `unanswered`, from before it is kept."""
        key = ""
        with suppress(WebSocketDisconnect):
            while True:
                frame, held, refused = await frames.get()
                with held:
                    try:
                        if refused is not None:
                            raise refused
                        # Browsers cannot set headers on a WebSocket, so the key may come in a frame, once.
                        given = _key_in(frame) or key
                        caller = await self._api.caller(socket.headers, key=given)
                        key = given
                        widen(socket, self._limit)
                        call = self._api.read(frame.encode(), caller, at=self._gateway.clock.now())
                        unanswered.append(call)
                        accepted, events = await self._begin(call)
                    except Rejected as refusal:
                        self._note(refusal)
                        await _tell(socket, shapes.error_body(refusal))
                    else:
                        await _relay(socket, call, events, accepted.left)
                    unanswered.clear()

    async def _begin(self, call: Call) -> tuple[Accepted, Events]:
        """Keep the request, and what comes of it from the first word on, or long since came.

        A request that had failed is made anew. Raises Rejected with 422, 429 or 503.
        """
        gateway, inbound = self._gateway, call.inbound
        try:
            (accepted,) = await gateway.intake.accept(self._api, Taken((inbound,)))
            if accepted.wait:
                raise _spent(accepted.wait) if accepted.spent else _too_many(accepted.wait)
            if not accepted.turn:
                raise Rejected(409, "this request was made before, and deleted since", code="deleted")
            # Held before the ledger is read, so that no end falls between the two.
            tail = gateway.feed.tail(accepted.turn)
            if accepted.new:
                return accepted, tail.follow(words=call.stream)
            (entry,) = await gateway.ledger.entries(turn=accepted.turn)
            if entry.ref != inbound.ref:
                raise Rejected(
                    422, "this `Idempotency-Key` was used for another request", code="idempotency_key_reused"
                )
            if entry.state == "failed":
                await gateway.ledger.reopen(entry.id)
                await gateway.dispatcher.wake(entry.conversation)
            elif entry.state not in ("due", "doing"):
                usage = Usage(entry.prompt_tokens, entry.completion_tokens)
                return accepted, _made(Outcome(entry.answer, entry.finish, usage, entry.model, entry.error))
        except Unavailable:
            raise Rejected(503, "cannot be kept now; try again", code="unavailable", headers=RETRY_AFTER) from None
        return accepted, tail.follow(words=call.stream)

    async def _left(self, call: Call) -> None:
        """The caller went away. Where nobody could fetch the answer any more, the question is taken back."""
        if call.fleeting:
            # While we drain nothing is taken, and what runs comes to its end.
            with suppress(Unavailable):
                back = msgspec.structs.replace(call.inbound, kind="retract")
                await self._gateway.intake.accept(self._api, Taken((back,)))

    def _refused(self, refusal: Rejected) -> Response:
        self._note(refusal)
        return shapes.error(refusal)

    def _note(self, refusal: Rejected) -> None:
        self._gateway.metrics.rejected.labels("api", str(refusal.status)).inc()
        log.info("rejected", channel="api", status=refusal.status, reason=refusal.reason)


def _too_many(wait: float) -> Rejected:
    seconds = math.ceil(wait)
    return Rejected(
        429,
        f"too many requests; try again in {seconds} s",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(seconds)},
    )


def _spent(wait: float) -> Rejected:
    return Rejected(
        429,
        "the budget is used up",
        code="insufficient_quota",
        headers={"Retry-After": str(math.ceil(wait))},
    )


async def _made(outcome: Outcome) -> AsyncGenerator[Outcome, None]:
    yield outcome


async def _last(events: Events) -> Outcome:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Outcome):
                return event
    raise RuntimeError("a turn's events ended without its outcome")


async def _relay(socket: WebSocket, call: Call, events: Events, left: Left) -> None:
    """The frames of one answer."""
    spoken = False
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Delta):
                if call.stream:
                    spoken = True
                    await _tell(socket, {"delta": event.text})
            elif isinstance(event, Doing):
                if call.stream:
                    await _tell(socket, {"calling": event.tools})
            elif isinstance(event, Restart):
                if spoken:
                    spoken = False
                    await _tell(socket, {"restart": True})
            elif failure := shapes.failure(event):
                await _tell(socket, shapes.error_body(failure))
            else:
                text = shapes.text_of(event)
                if call.stream and text and not spoken:
                    await _tell(socket, {"delta": text})
                end = {"done": True, "finish_reason": shapes.finish_of(event), "usage": shapes.usage_of(event.usage)}
                if remaining := shapes.left_of(left):
                    end["remaining"] = remaining
                await _tell(socket, end if call.stream else {"content": text, **end})


async def _tell(socket: WebSocket, body: object) -> None:
    await socket.send_text(shapes.dumps(body).decode())


async def _frame(socket: WebSocket) -> str:
    """The next frame as text. Raises WebSocketDisconnect."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text = message.get("text")
    return text if text is not None else (message.get("bytes") or b"").decode(errors="replace")


class _Waiting(NamedTuple):
    """A question that came on a WebSocket, and the room that it takes, or why it has none."""

    frame: str
    held: ExitStack
    refusal: Rejected | None = None


class _Keyed(msgspec.Struct):
    api_key: str = ""


def _key_in(frame: str) -> str:
    try:
        return msgspec.json.decode(frame, type=_Keyed).api_key
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
