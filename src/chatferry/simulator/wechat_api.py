"""The API of the simulated WeChat: tokens, customer-service messages, typing, files."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal

from starlette.requests import Request
from starlette.responses import Response

from chatferry.simulator import wechat_people as people
from chatferry.simulator import wechat_rules as rules
from chatferry.simulator.scene import Exchange, known, masked
from chatferry.simulator.wechat_records import Fault, Seen
from chatferry.simulator.wechat_rules import Json, Refused
from chatferry.simulator.wechat_scene import PLATFORM

if TYPE_CHECKING:
    from chatferry.simulator.wechat import WeChatSimulator

STRUCK = {
    "": Fault(),
    "429": Fault(errcode=45011),
    "500": Fault(errcode=-1),
    "timeout": Fault(drop=True),
    "lost": Fault(drop=True, done=True),
}
"""What becomes of a call in bad weather."""

_JSON = "application/json; encoding=utf-8"
"""WeChat names the encoding in a way of its own."""
_TO = re.compile(rb'"touser"\s*:\s*"([\w-]+)"')


class Api:
    """Answers for one account."""

    def __init__(self, sim: WeChatSimulator) -> None:
        self._sim = sim

    async def answer(self, request: Request, body: bytes) -> Response:
        """Carry a call out. Raises Refused."""
        match request.url.path:
            case path if path.startswith("/mmbiz_jpg/"):
                return self._media(path.split("/")[2])  # to anybody who knows the address
            case "/cgi-bin/token":
                return _told(self._token(_called(request, "GET")))
            case "/cgi-bin/stable_token":
                return _told(self._stable_token(_called(request, "POST"), _asked(body)))
            case "/cgi-bin/message/custom/send":
                self._admit(_called(request, "POST"))
                await self._send(_asked(body))
                return _told({"errcode": 0, "errmsg": "ok"})
            case "/cgi-bin/message/custom/typing":
                self._admit(_called(request, "POST"))
                self._type(_asked(body))
                return _told({"errcode": 0, "errmsg": "ok"})
            case "/cgi-bin/media/get":
                self._admit(_called(request, "GET"))
                return self._media(request.query_params.get("media_id", ""))
        raise Refused(40066)

    def _token(self, request: Request) -> Json:
        self._know(request, dict(request.query_params))
        return self._sim.tokens.plain()

    def _stable_token(self, request: Request, asked: Json) -> Json:
        self._know(request, asked)
        return self._sim.tokens.stable(force=asked.get("force_refresh") is True)

    def _know(self, request: Request, asked: Json) -> None:
        sim = self._sim
        if asked.get("grant_type") != "client_credential":
            raise Refused(40002)
        if asked.get("appid") != sim.app_id:
            raise Refused(40013)
        if asked.get("secret") != sim.app_secret:
            raise Refused(40125)
        host = request.client.host if request.client else ""
        if sim.whitelist is not None and host not in sim.whitelist:
            raise Refused(40164, f"invalid ip {host} ipv6 ::ffff:{host}, not in whitelist")

    def _admit(self, request: Request) -> None:
        self._sim.tokens.check(request.query_params.get("access_token", ""))
        if not self._sim.verified:
            raise Refused(48001)
        if self._sim.weather.used_up:
            raise Refused(45009)

    async def _send(self, asked: Json) -> None:
        openid = _person(asked)
        shown = rules.check_custom(asked)
        self._sim.spend(openid)
        now = self._sim.clock.now()
        await self._sim.show(
            openid, Seen(shown.text, "custom", now, kind=shown.kind, about=shown.about, file=shown.file)
        )

    def _type(self, asked: Json) -> None:
        openid = _person(asked)
        if asked.get("command") not in ("Typing", "CancelTyping"):
            raise Refused(45072)
        self._sim.type(openid, on=asked["command"] == "Typing")

    def _media(self, media_id: str) -> Response:
        if media_id not in self._sim.media:
            raise Refused(40007)
        return Response(self._sim.media[media_id], media_type="application/octet-stream")


def _told(answer: Json) -> Response:
    return Response(_json(answer), media_type=_JSON)


class Refusal(Response):
    """Has status 200, too, where nothing is broken: what counts is `errcode`."""

    def __init__(self, errcode: int, words: str, status: int = 200) -> None:
        super().__init__(_json({"errcode": errcode, "errmsg": words}), status, media_type=_JSON)
        self.reason = f"{errcode or status} {words}".strip()


def _json(answer: Json) -> str:
    return json.dumps(answer, ensure_ascii=False)


def exchange(request: Request, body: bytes, at: float) -> Exchange:
    """A call of the API as it comes in."""
    url, to = request.url, _TO.search(body)
    return Exchange(
        PLATFORM,
        "call",
        request.method,
        masked(f"{url.path}?{url.query}" if url.query else url.path),
        at,
        body,
        known(request.headers, "content-type"),
        to[1].decode() if to else "",
    )


def _called(request: Request, method: Literal["GET", "POST"]) -> Request:
    if request.method != method:
        raise Refused(43001 if method == "GET" else 43002)
    return request


def _asked(body: bytes) -> Json:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(47001) from None
    if not isinstance(read, dict):
        raise Refused(47001)
    return read


def _person(asked: Json) -> str:
    openid = asked.get("touser")
    if not isinstance(openid, str) or not people.OPENID.fullmatch(openid):
        raise Refused(40003)
    return openid
