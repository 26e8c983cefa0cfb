"""The playground's server: the page, what it watches, and the simulators, all on one port."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import AsyncIterator, Collection, Mapping
from functools import cache
from importlib import resources
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatferry.simulator.control import PREFIX
from chatferry.simulator.scene import Scene
from chatferry.words import LANGUAGES, Language

_MEDIA = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_NAMES = ("localhost", "127.0.0.1", "::1")
_SOCKETS = ("slack",)
_LARGEST = 24 * 1024 * 1024
"""Bytes of a body: a file in Base64."""
_NO_GATEWAY = JSONResponse({"error": "there is no gateway of ours here"}, 404)


class Gateway(Protocol):
    """A gateway of ours that can be steered."""

    async def kill(self, down: float = 0.0) -> bool:
        """End it at once, for so many seconds. False: there was nothing to end."""
        ...

    def start(self) -> None: ...


class Playground:
    """An ASGI app. What begins with a platform's name is that platform's, without the name.

    Only pages of our own may steer it: a page elsewhere that a visitor has open must neither read a scene nor kill a
    gateway. What bots call needs their tokens, so that is open to all, except the `private`: a model may need none.
    """

    def __init__(
        self,
        scene: Scene,
        platforms: Mapping[str, ASGIApp],
        gateway: Gateway | None = None,
        host: str = "127.0.0.1",
        private: Collection[str] = (),
    ) -> None:
        self._scene = scene
        self._platforms = platforms
        self._gateway = gateway
        self._private = private
        self._hosts = {*_NAMES, host.lower()} - {"", "0.0.0.0", "::"}  # noqa: S104 - which is nobody's name
        self._pages = Starlette(
            routes=[
                Route("/", self._page),
                Route("/play/{name}", self._file),
                Route("/scene", self._follow),
                Route("/gateway/kill", self._killed, methods=["POST"]),
                Route("/gateway/start", self._started, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        platform, _, rest = scope["path"].removeprefix("/").partition("/")
        app = self._platforms.get(platform)
        ours = app is None or platform in self._private or f"/{rest}".startswith(PREFIX)
        if ours and scope["type"] == "http" and (refusal := self._refusal(Request(scope))):
            await refusal(scope, receive, send)
            return
        if scope["type"] == "websocket" and (app is None or platform not in _SOCKETS):
            await send({"type": "websocket.close", "code": 1008})
            return
        path = f"/{rest}"
        named = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        try:
            await (self._pages(scope, _capped(receive), send) if app is None else app(named, _capped(receive), send))
        except ClientDisconnect:
            pass  # nobody is there to be told
        except _TooLarge as refusal:
            await JSONResponse({"error": refusal.detail}, refusal.status_code)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """Whoever is not a page of ours, as a browser tells."""
        host = request.headers.get("host", "")
        if _netloc(f"//{host}").hostname not in self._hosts:  # or another site's name might lead here
            return PlainTextResponse("Open this page as http://127.0.0.1, please.\n", 421)
        if request.method in ("GET", "HEAD"):
            return None
        origin = request.headers.get("origin")
        if origin is not None and _netloc(origin).netloc != host:
            return JSONResponse({"error": "from another origin"}, 403)
        if not request.headers.get("content-type", "").startswith("application/json"):
            return JSONResponse({"error": "the body must be application/json"}, 415)
        return None

    async def _page(self, request: Request) -> Response:
        asked = request.query_params.get("lang", "")
        lang = chosen(asked, request.cookies.get("lang", ""), request.headers.get("accept-language", ""))
        page = Response(_drawn(lang), media_type="text/html")
        page.headers["Content-Security-Policy"] = _POLICY
        page.headers["Referrer-Policy"] = "no-referrer"
        page.headers["Cache-Control"] = "no-store"
        if asked == lang:
            page.set_cookie("lang", lang, max_age=365 * 86400, samesite="strict", httponly=True)
        return page

    async def _file(self, request: Request) -> Response:
        found = _files().get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("not found\n", 404)
        body, media, mark = found
        headers = {"ETag": f'"{mark}"', "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=media, headers=headers)

    async def _follow(self, request: Request) -> Response:
        return StreamingResponse(
            _events(self._scene), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def _killed(self, request: Request) -> Response:
        if self._gateway is None:
            return _NO_GATEWAY
        try:
            asked = msgspec.json.decode(await request.body() or b"{}", type=_Kill)
        except (msgspec.DecodeError, RecursionError):
            return JSONResponse({"error": 'the body must be {"down": seconds}'}, 400)
        return JSONResponse({"killed": await self._gateway.kill(min(max(asked.down, 0.0), 60.0))})

    async def _started(self, request: Request) -> Response:
        if self._gateway is None:
            return _NO_GATEWAY
        self._gateway.start()
        return JSONResponse({})


class _Kill(msgspec.Struct):
    down: float = 0.0


def _netloc(url: str) -> SplitResult:
    """The parts of an address; none, if it is not one."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


class _TooLarge(HTTPException):
    """Starlette knows what to answer; whoever is not built on it leaves it to us."""

    def __init__(self) -> None:
        super().__init__(413, f"the body is larger than {_LARGEST} bytes")


def _capped(receive: Receive) -> Receive:
    """Raises where an app is about to read more than is good for it. All of them read the body first."""
    room = _LARGEST

    async def capped() -> Message:
        nonlocal room
        message = await receive()
        room -= len(message.get("body", b""))
        if room < 0:
            raise _TooLarge
        return message

    return capped


async def _events(scene: Scene) -> AsyncIterator[bytes]:
    """The scene as server-sent events: `all`, then `some` after `some`."""
    name = "all"
    async for facts in scene.follow():
        yield f"event: {name}\ndata: {json.dumps(facts)}\n\n".encode()
        name = "some"


def chosen(*wishes: str) -> Language:
    """The first language of ours in these: codes, or lists of codes as browsers send them."""
    for wish in wishes:
        ranked = sorted(
            re.findall(r"([A-Za-z-]+)(?:\s*;\s*q=([01](?:\.\d*)?))?", wish), key=lambda one: -float(one[1] or 1)
        )
        for code, _ in ranked:
            found = _ours(code.lower())
            if found:
                return found
    return "en"


def _ours(code: str) -> Language | None:
    if code.startswith("zh"):
        traditional = code in ("zh-tw", "zh-hk", "zh-mo") or "hant" in code
        return "zh-TW" if traditional else "zh-CN"
    return next((ours for ours in LANGUAGES if code.split("-")[0] == ours.lower()), None)


@cache
def _drawn(lang: Language) -> str:
    environment = Environment(loader=PackageLoader("chatferry.playground"), autoescape=True, undefined=StrictUndefined)
    words = tomllib.loads(resources.files("chatferry.playground").joinpath(f"words/{lang}.toml").read_text("utf-8"))
    return environment.get_template("index.html").render(
        lang=lang,
        words=words,
        as_json=_json,
        file=lambda name: f"play/{name}?v={_files()[name][2]}",
    )


def _json(value: object) -> Markup:
    """JSON inside a script element, where `</script>` would end it."""
    return Markup(json.dumps(value, ensure_ascii=False).replace("<", "\\u003c"))  # noqa: S704 - made safe here


@cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """Body, media type and mark of each file that the page loads."""
    found = {}
    for path in resources.files("chatferry.playground").joinpath("static").iterdir():
        media = _MEDIA.get(path.name.rpartition(".")[2])
        if media is not None:
            body = path.read_bytes()
            found[path.name] = (body, media, hashlib.sha256(body).hexdigest()[:12])
    return found
