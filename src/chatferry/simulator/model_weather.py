"""A model provider's weather: stands between a gateway and its models, real or simulated, and passes everything on.

`/<name>/<rest>` goes to the upstream of that name, `/_sim/...` is the control API. What passes is shown in a scene as
exchanges of the platform "model".
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

import aiohttp
import msgspec
import yarl
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator.control import PREFIX, Control
from chatferry.simulator.model_heard import Heard, lines, said
from chatferry.simulator.scene import Exchange, Scene, masked
from chatferry.simulator.serving import hang_up
from chatferry.simulator.weather import Changing

CUT_AFTER = 12
"""Events of a stream before it is cut."""

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
_KEYS = ("authorization", "x-goog-api-key")
_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade"}  # fmt: skip
_NOT_UP = _HOP | {"host", "accept-encoding", "content-length", "expect"}
# aiohttp has unpacked the body, and whoever serves us adds his own date and name.
_NOT_DOWN = _HOP | {"content-length", "content-encoding", "date", "server"}


@dataclass
class ModelWeather(Changing):
    """What goes wrong on the way to the models. A change holds for answers under way too."""

    first: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0
    """Seconds before a request is carried out."""
    rate: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0
    """Events of a stream in a second at most; 0: as they come."""
    fault: Literal["", "429", "500", "cut", "hang"] = ""
    """Every request is refused; its answer is cut off in the middle; or not a byte comes until this changes."""


class ModelProxy:
    """An ASGI app, and a context that lets go of its connections."""

    def __init__(self, scene: Scene, upstreams: Mapping[str, str], weather: ModelWeather | None = None) -> None:
        self.scene = scene
        self.upstreams = dict(upstreams)
        self.weather = weather or ModelWeather()
        self.underway = 0
        """Requests that have not ended."""
        self._http: aiohttp.ClientSession | None = None
        self._control = Control("model", {}, scene=scene, weather=self.weather, state=self._state, file=lambda _: None)
        self._control.put_weather()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._control.close()
        if self._http is not None:
            await self._http.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        if scope["path"].startswith(PREFIX):
            answer = await self._control.answer(request, scope["path"], body)
            await answer(scope, receive, send)
            return
        call = _Call(self, request, body, send)
        self.underway += 1
        try:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(call.carry())
                watch = group.create_task(_watch(receive, work, call))
                work.add_done_callback(lambda _: watch.cancel())
        finally:
            self.underway -= 1
        if not work.cancelled() and not work.result():
            # uvloop writes at the end of a turn of the loop what an abort would throw away.
            await asyncio.sleep(0)
            await hang_up(receive, send)

    def session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), timeout=_TIMEOUT
            )
        return self._http

    def _state(self) -> object:
        return {"upstreams": sorted(self.upstreams), "underway": self.underway}


async def _watch(receive: Receive, work: asyncio.Task[bool], call: _Call) -> None:
    """Once the request is read, all that `receive` has to tell is that the gateway is gone."""
    await receive()
    if not work.done():
        call.reason = "cancelled by the gateway"
        work.cancel()


class _Call:
    """One request on its way up, and its answer on its way down."""

    def __init__(self, proxy: ModelProxy, request: Request, body: bytes, send: Send) -> None:
        self.reason = ""
        self._proxy = proxy
        self._weather = proxy.weather
        self._request = request
        self._body = body
        self._send = send
        path, query = request.scope["path"], request.scope["query_string"].decode("ascii", "replace")
        # A name may have slashes in it, and one may be how another begins.
        names = [name for name in proxy.upstreams if path.startswith(f"/{name}/")]
        self._target = ""
        if names:
            name = max(names, key=len)
            rest = quote(path.removeprefix(f"/{name}/"), safe="/:@!$&'()*+,;=")
            self._target = f"{proxy.upstreams[name].rstrip('/')}/{rest}" + (f"?{query}" if query else "")
        self._gemini = path.endswith((":generateContent", ":streamGenerateContent"))
        self._secrets = _secrets(request)
        self._status = 0
        self._sent = 0
        self._last = 0.0
        self._heard = Heard()

    async def carry(self) -> bool:
        """Do all of it. False: and now hang up."""
        began, scene = time.monotonic(), self._proxy.scene
        exchange = scene.begin(self._exchange())
        try:
            if not self._target:
                names = ", ".join(sorted(self._proxy.upstreams)) or "none"
                await self._refuse(404, f"The proxy knows no such upstream; there are: {names}.")
                return True
            if status := await self._begin(began):
                await self._refuse(status)
                return True
            return await self._pass()
        except (aiohttp.ClientError, OSError) as error:
            where = urlsplit(self._target).netloc.rpartition("@")[2]
            if self._status:
                self.reason = f"{where} broke off: {_why(error)}"
                return False
            await self._refuse(502, f"The model provider at {where} cannot be reached: {_why(error)}.")
            return True
        except asyncio.CancelledError:
            self.reason = self.reason or "the proxy was stopped"
            raise
        finally:
            answer = self._heard.text()
            for secret in self._secrets:
                answer = answer.replace(secret, f"{secret[:4]}…")
            seconds = time.monotonic() - began
            scene.end(exchange, seconds, self._status, reason=self.reason, answer=answer.encode())

    def _exchange(self) -> Exchange:
        parts = urlsplit(self._target or self._request.scope["path"])
        shown = {name: value for name in _KEYS if (value := self._request.headers.get(name))}
        for secret in self._secrets:
            shown = {name: value.replace(secret, f"{secret[:4]}…") for name, value in shown.items()}
        path = parts.path + (f"?{masked(parts.query)}" if parts.query else "")
        return Exchange("model", "call", self._request.method, path, time.time(), self._body, shown, note=self._model())

    def _model(self) -> str:
        """The model that is asked, as far as the request tells."""
        if self._gemini:
            return unquote(self._request.scope["path"].rpartition("/")[2].rpartition(":")[0])
        asked = _json(self._body)
        model = asked.get("model") if isinstance(asked, dict) else None
        return model if isinstance(model, str) else ""

    async def _begin(self, began: float) -> int:
        """Wait as long as the weather wants; the status to refuse with, or 0."""
        while True:
            rest = began + self._weather.first - time.monotonic()
            if self._weather.fault in ("429", "500"):
                self.reason = "refused by the weather"
                return int(self._weather.fault)
            if self._weather.fault == "hang":
                await self._weather.changed()
            elif rest > 0:
                await self._weather.changed(rest)
            else:
                return 0

    async def _pass(self) -> bool:
        """Ask the upstream, and pass its answer on."""
        headers = [(name, value) for name, value in self._request.headers.items() if name not in _NOT_UP]
        async with self._proxy.session().request(
            self._request.method,
            yarl.URL(self._target, encoded=True),
            data=self._body or None,
            headers=[*headers, ("Accept-Encoding", "identity")],
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            allow_redirects=False,
        ) as answer:
            await self._held()
            self._status = answer.status
            kept = [
                (name.lower(), value) for name, value in answer.raw_headers if name.lower().decode() not in _NOT_DOWN
            ]
            await self._send({"type": "http.response.start", "status": answer.status, "headers": kept})
            streams = answer.content_type == "text/event-stream"
            whole = await (self._stream(answer.content) if streams else self._plain(answer.content))
        if whole:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        return whole

    async def _stream(self, content: aiohttp.StreamReader) -> bool:
        """Pass events on. False: it is cut here."""
        async for line in lines(content):
            if line.startswith(b"data:"):
                text, last = said(line[5:].strip())
                await self._turn()
                # An answer may be shorter than that: then its end is what does not come.
                if self._weather.fault == "cut" and (self._sent >= CUT_AFTER or last):
                    return self._cut()
                self._sent += 1
                self._heard.keep(text)
            await self._write(line)
        await self._held()
        return self._weather.fault != "cut" or self._cut()

    async def _plain(self, content: aiohttp.StreamReader) -> bool:
        """Pass a body on. False: it is cut here."""
        async for chunk in content.iter_any():
            await self._held()
            cut = self._weather.fault == "cut"
            piece = chunk[: len(chunk) // 2] if cut else chunk
            self._heard.keep(piece)
            await self._write(piece)
            if cut:
                return self._cut()
        return True

    def _cut(self) -> bool:
        self.reason = f"cut by the weather after {self._sent} events" if self._sent else "cut by the weather"
        return False

    async def _turn(self) -> None:
        """Wait until one more event may go."""
        await self._held()
        while (rate := self._weather.rate) and (rest := self._last + 1 / rate - time.monotonic()) > 0:
            await self._weather.changed(rest)
            await self._held()
        self._last = time.monotonic()

    async def _held(self) -> None:
        while self._weather.fault == "hang":
            await self._weather.changed()

    async def _write(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _refuse(self, status: int, message: str = "") -> None:
        self._status = status
        self.reason = message or self.reason
        refusal: Response = JSONResponse(error(status, message, gemini=self._gemini), status)
        if status == 429:
            refusal.headers["Retry-After"] = "2"
        self._heard.keep(bytes(refusal.body))
        await refusal(self._request.scope, self._request.receive, self._send)


def error(status: int, message: str = "", *, gemini: bool) -> dict[str, Any]:
    """The body of a refusal as OpenAI or Gemini writes it."""
    if gemini:
        told, word = _GEMINI[status]
        return {"error": {"code": status, "message": message or told, "status": word}}
    told, kind, code = _OPENAI[status]
    return {"error": {"message": message or told, "type": kind, "param": None, "code": code}}


_OPENAI: dict[int, tuple[str, str, str | None]] = {
    404: ("", "invalid_request_error", "not_found"),
    429: ("Rate limit reached on requests per min (RPM). Please try again in 2s.", "requests", "rate_limit_exceeded"),
    500: ("The server had an error while processing your request. Sorry about that!", "server_error", None),
    502: ("", "server_error", "bad_gateway"),
}
_GEMINI = {
    404: ("", "NOT_FOUND"),
    429: ("Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED"),
    500: ("An internal error has occurred. Please retry.", "INTERNAL"),
    502: ("", "UNAVAILABLE"),
}


def _secrets(request: Request) -> list[str]:
    """The keys that came with a request, whole."""
    given = [request.headers.get(name, "").rpartition(" ")[2] for name in _KEYS]
    return [key for key in (*given, request.query_params.get("key", "")) if key]


def _why(error: Exception) -> str:
    fault = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(fault, ConnectionRefusedError):
        return "the connection is refused"
    if isinstance(fault, TimeoutError):
        return "no word in time"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return str(fault) or type(fault).__name__


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
