"""HTTP and WebSocket routes of the OpenAI-compatible API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from chatferry.channels.api import Api, Call
from chatferry.channels.base import Taken
from chatferry.engines.base import Delta, Restart
from chatferry.errors import Rejected, Unavailable
from chatferry.feed import Outcome, Tail
from chatferry.gateway import Gateway
from chatferry.model import Usage
from chatferry.web import shapes
from chatferry.web.app import RETRY_AFTER, hook_of, read_body
from chatferry.web.limits import Limits
from chatferry.web.shapes import Shape
from chatferry.web.stream import EventStream


def routes(gateway: Gateway) -> list[BaseRoute]:
    """`/v1/chat/completions`, `/v1/models` and the WebSocket `/v1/stream`."""
    service = _Service(gateway)
    return [
        Route("/v1/chat/completions", service.completions, methods=["POST"]),
        Route("/v1/models", service.models),
        WebSocketRoute("/v1/stream", service.talk),
    ]


class _Service:
    def __init__(self, gateway: Gateway) -> None:
        channel, settings = gateway.channels["api"], gateway.settings.api
        if not isinstance(channel, Api) or settings is None:
            raise TypeError("the API is not configured")
        self._gateway = gateway
        self._api = channel
        self._limits = Limits(settings.rate, gateway.clock)

    async def models(self, request: Request) -> Response:
        try:
            self._api.caller(request.headers)
        except Rejected as refusal:
            return shapes.refused(refusal)
        names = self._gateway.assistants
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "chatferry"} for name in names]
        return JSONResponse({"object": "list", "data": data})

    async def completions(self, request: Request) -> Response:
        gateway = self._gateway
        try:
            # Nobody's body is read without a key.
            self._limits.count(self._api.caller(request.headers))
            body = await read_body(request, gateway.settings.server.body_limit)
            call = self._api.call(hook_of(request, body, gateway.clock.now()))
            turn, tail, outcome = await self._begin(call)
        except Rejected as refusal:
            return shapes.refused(refusal)
        except Unavailable:
            return shapes.error(503, "cannot be kept now; try again", "unavailable", RETRY_AFTER)
        shape = Shape(turn, call, int(gateway.clock.now()))
        if call.stream:
            return EventStream(shape, _events(tail, outcome), gateway.clock, left=lambda: self._left(shape))
        waiting = asyncio.ensure_future(_last(_events(tail, outcome)))
        leaving = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait([waiting, leaving], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return shape.whole(waiting.result())
            self._left(shape)
            return Response(status_code=499)
        finally:
            waiting.cancel()
            leaving.cancel()

    async def talk(self, socket: WebSocket) -> None:
        """One question a frame, one after the other; the connection stays for the next."""
        await socket.accept()
        frames = asyncio.ensure_future(_frame(socket))
        try:
            while True:
                frame = await frames
                frames = asyncio.ensure_future(_frame(socket))
                answering = asyncio.ensure_future(self._question(socket, frame))
                try:
                    await asyncio.wait([answering, frames], return_when=asyncio.FIRST_COMPLETED)
                    if frames.done() and frames.exception() is not None:
                        return
                    await answering
                finally:
                    answering.cancel()
        except WebSocketDisconnect:
            return
        finally:
            frames.cancel()

    async def _question(self, socket: WebSocket, frame: str) -> None:
        gateway = self._gateway

        async def tell(body: object) -> None:
            await socket.send_text(shapes.dumps(body).decode())

        try:
            if len(frame) > gateway.settings.server.body_limit:
                raise Rejected(413, "the frame is too large", code="body_too_large")
            # Browsers cannot set headers on a WebSocket, so the key may come in the frame.
            caller = self._api.caller(socket.headers, key=_key_in(frame))
            self._limits.count(caller)
            call = self._api.read(frame.encode(), caller, at=gateway.clock.now())
            turn, tail, outcome = await self._begin(call)
        except Rejected as refusal:
            await tell(shapes.error_body(refusal.status, refusal.reason, refusal.code))
            return
        except Unavailable:
            await tell(shapes.error_body(503, "cannot be kept now; try again", "unavailable"))
            return
        try:
            async for event in _events(tail, outcome):
                if isinstance(event, Outcome):
                    await tell(_end_frame(event, whole=not call.stream))
                elif call.stream:
                    await tell({"delta": event.text} if isinstance(event, Delta) else {"restart": True})
        except (asyncio.CancelledError, WebSocketDisconnect):
            self._left(Shape(turn, call, 0))
            raise

    async def _begin(self, call: Call) -> tuple[int, Tail, Outcome | None]:
        """Keep the request. The outcome is there at once where the same request was answered before."""
        gateway = self._gateway
        (accepted,) = await gateway.intake.accept("api", Taken((call.inbound,)))
        tail = gateway.feed.tail(accepted.turn)
        if accepted.new:
            return accepted.turn, tail, None
        (entry,) = await gateway.ledger.entries(turn=accepted.turn)
        if entry.state == "failed" and await gateway.ledger.reopen(entry.id):
            await gateway.dispatcher.wake(entry.conversation)
        elif entry.state not in ("due", "doing"):
            usage = Usage(entry.prompt_tokens, entry.completion_tokens)
            return entry.id, tail, Outcome(entry.answer, entry.finish, usage, entry.model, entry.error)
        return accepted.turn, tail, None

    def _left(self, shape: Shape) -> None:
        """The caller went away. Where nobody could fetch the answer any more, the model is stopped."""
        if shape.call.fleeting:
            self._gateway.worker.stop(shape.turn)


async def _events(tail: Tail, outcome: Outcome | None) -> AsyncIterator[Delta | Restart | Outcome]:
    """The turn from its first word, whether it is being made or was made long ago."""
    if outcome is None:
        async for event in tail.follow():
            yield event
    else:
        yield Delta(shapes.text_of(outcome))
        yield outcome


async def _last(events: AsyncIterator[Delta | Restart | Outcome]) -> Outcome:
    async for event in events:
        if isinstance(event, Outcome):
            return event
    raise RuntimeError("a turn's events ended without its outcome")


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _frame(socket: WebSocket) -> str:
    """The next frame as text. Raises WebSocketDisconnect."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text = message.get("text")
    return text if text is not None else (message.get("bytes") or b"").decode(errors="replace")


class _Keyed(msgspec.Struct):
    api_key: str = ""


def _key_in(frame: str) -> str:
    try:
        return msgspec.json.decode(frame, type=_Keyed).api_key
    except (msgspec.DecodeError, UnicodeError):
        return ""


def _end_frame(outcome: Outcome, *, whole: bool) -> dict[str, object]:
    text = shapes.text_of(outcome)
    if shapes.failed(outcome):
        return shapes.error_body(502, text, "model_failed")
    end = {"done": True, "finish_reason": shapes.finish_of(outcome), "usage": shapes.usage_of(outcome.usage)}
    return {"content": text, **end} if whole else end
