"""The Messaging API of the simulated LINE: what each call does, and how it is refused."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chatferry.simulator import line_rules as rules
from chatferry.simulator.line_hooks import BOT, Webhooks
from chatferry.simulator.line_records import Accepted, Call
from chatferry.simulator.line_rules import Json
from chatferry.simulator.line_scene import PLATFORM
from chatferry.simulator.line_state import State
from chatferry.simulator.scene import Exchange, known

REPLY, PUSH, LOADING = "/v2/bot/message/reply", "/v2/bot/message/push", "/v2/bot/chat/loading/start"


class Api:
    """Answers calls by the state of one account, and changes that."""

    def __init__(self, sim: State, hooks: Webhooks) -> None:
        self._sim = sim
        self._hooks = hooks
        self._routes: dict[tuple[str, str], Callable[[Request, bytes], Awaitable[Response]]] = {
            ("POST", REPLY): self._reply,
            ("POST", PUSH): self._push,
            ("POST", "/v2/bot/message/validate/reply"): self._validate,
            ("POST", "/v2/bot/message/validate/push"): self._validate,
            ("POST", LOADING): self._loading,
            ("GET", "/v2/bot/message/quota"): self._quota,
            ("GET", "/v2/bot/message/quota/consumption"): self._consumption,
            ("GET", "/v2/bot/info"): self._info,
            ("GET", "/v2/bot/channel/webhook/endpoint"): self._endpoint,
            ("PUT", "/v2/bot/channel/webhook/endpoint"): self._set_endpoint,
            ("POST", "/v2/bot/channel/webhook/test"): self._test_endpoint,
        }

    async def answer(self, request: Request, body: bytes) -> Response:
        sim, path = self._sim, request.url.path
        given = request.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {sim.token}".encode()):
            return _error(401, rules.UNAUTHORIZED)
        route = self._routes.get((request.method, path))
        if route:
            return await route(request, body)
        match path.split("/")[3:] if request.method == "GET" else []:
            case ["message", id, "content"] | ["message", id, "content", "preview"]:
                return self._content(id)
            case ["profile", user] if user in sim.known - sim.blocked:
                return self._profile(user, language="en")
            case ["group" | "room", place, "member", user] if place in sim.known:
                return self._profile(user)
            case ["group", place, "summary"] if place in sim.known:
                return JSONResponse({"groupId": place, "groupName": sim.screens.name(place)})
        return _error(404, rules.NOT_FOUND)

    async def _reply(self, request: Request, body: bytes) -> Response:
        if "x-line-retry-key" in request.headers:
            return _error(400, rules.RETRY_KEY_REFUSED)
        asked, refusal = _read(body)
        if refusal:
            return refusal
        token = self._sim.spend(str(asked.get("replyToken", "")))
        if token is None:
            return _error(400, rules.INVALID_REPLY_TOKEN)
        return JSONResponse({"sentMessages": await self._sim.put(token.chat, asked["messages"], token)})

    async def _push(self, request: Request, body: bytes) -> Response:
        sim = self._sim
        key = request.headers.get("x-line-retry-key")
        if key is not None and not rules.UUID.fullmatch(key):
            return _error(400, rules.RETRY_KEY_INVALID)
        before = sim.accepted.get(key or "")
        if before and sim.clock() - before.at < rules.RETRY_KEY_SECONDS:
            told = {"message": rules.RETRY_KEY_ACCEPTED, "sentMessages": before.sent}
            return JSONResponse(told, 409, {"x-line-accepted-request-id": before.request_id})
        asked, refusal = _read(body)
        if refusal:
            return refusal
        to = str(asked.get("to", ""))
        if not rules.ADDRESS.fullmatch(to):
            return _error(400, rules.INVALID_TO)
        if to not in sim.known:
            return _error(400, rules.FAILED_TO_SEND)
        reached = 0 if to in sim.blocked else sim.members.get(to, 1)
        if sim.quota is not None and sim.used + reached > sim.quota:
            return _error(429, rules.MONTHLY_LIMIT)
        sim.used += reached
        sim.screens.quota(sim.used, sim.quota)
        sent = await sim.put(to, asked["messages"])
        request_id = str(uuid4())
        if key:
            sim.accepted[key] = Accepted(request_id, sent, sim.clock())
        return JSONResponse({"sentMessages": sent}, headers={"X-Line-Request-Id": request_id})

    async def _validate(self, request: Request, body: bytes) -> Response:
        _, refusal = _read(body)
        return refusal or JSONResponse({})

    async def _loading(self, request: Request, body: bytes) -> Response:
        asked = _json(body)
        if asked is None:
            return _error(400, rules.NOT_JSON)
        chat, seconds = str(asked.get("chatId", "")), asked.get("loadingSeconds", 20)
        faults = []
        if not rules.USER.fullmatch(chat):
            faults.append({"message": "Must be a user ID", "property": "chatId"})
        if seconds not in rules.LOADING_SECONDS:
            faults.append({"message": "Must be a multiple of 5 from 5 to 60", "property": "loadingSeconds"})
        if faults:
            return JSONResponse(rules.refused(faults), 400)
        if chat in self._sim.known - self._sim.blocked:
            self._sim.screens.typing(chat, self._sim.clock() + seconds)
        return JSONResponse({}, 202)

    async def _quota(self, request: Request, body: bytes) -> Response:
        limit = self._sim.quota
        return JSONResponse({"type": "none"} if limit is None else {"type": "limited", "value": limit})

    async def _consumption(self, request: Request, body: bytes) -> Response:
        return JSONResponse({"totalUsage": self._sim.used})

    async def _info(self, request: Request, body: bytes) -> Response:
        names = {"userId": BOT, "basicId": "@ferry", "displayName": "Ferry"}
        return JSONResponse(names | {"chatMode": self._sim.chat_mode, "markAsReadMode": "auto"})

    async def _endpoint(self, request: Request, body: bytes) -> Response:
        if not self._sim.webhook:
            return _error(404, rules.NOT_FOUND)
        return JSONResponse({"endpoint": self._sim.webhook, "active": self._sim.webhook_active})

    async def _set_endpoint(self, request: Request, body: bytes) -> Response:
        asked = _json(body)
        if asked is None or not isinstance(asked.get("endpoint"), str):
            return JSONResponse(rules.refused([{"message": "May not be empty", "property": "endpoint"}]), 400)
        self._sim.webhook = asked["endpoint"]
        return JSONResponse({})

    async def _test_endpoint(self, request: Request, body: bytes) -> Response:
        """Really calls the webhook, with a signed body without events."""
        asked = (_json(body) or {}).get("endpoint") or self._sim.webhook
        if not isinstance(asked, str):
            return JSONResponse(rules.refused([{"message": "Invalid webhook URL", "property": "endpoint"}]), 400)
        tried = await self._hooks.post(asked, note="test")
        said = {
            "success": not tried.reason,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._sim.clock())),
        }
        reason = tried.reason.upper() or "OK"
        return JSONResponse(said | {"statusCode": tried.status, "reason": reason, "detail": str(tried.status)})

    def _profile(self, user: str, **more: str) -> Response:
        return JSONResponse({"displayName": self._sim.screens.name(user), "userId": user, **more})

    def _content(self, message_id: str) -> Response:
        if message_id not in self._sim.contents:
            return _error(404, rules.NOT_FOUND)
        data = self._sim.contents[message_id]
        return Response(status_code=202) if data is None else Response(data, media_type="application/octet-stream")


def begun(sim: State, call: Call) -> Exchange:
    """A call, as it is shown while it waits for its answer."""
    chat, message = _subject(sim, call)
    headers = known(call.headers, "authorization", "x-line-retry-key")
    return Exchange(PLATFORM, "call", call.method, call.path, call.at, call.body, headers, chat, message)


def ended(exchange: Exchange, response: Response) -> Exchange:
    """The same with what its answer adds: which message was pushed."""
    if exchange.path == PUSH and response.status_code in (200, 409):
        exchange = replace(exchange, message=json.loads(bytes(response.body))["sentMessages"][0]["id"])
    told = known(response.headers, "retry-after", "x-line-accepted-request-id")
    return replace(exchange, headers={**exchange.headers, **told}) if told else exchange


def refusal(response: Response) -> str:
    """In LINE's words, why a call came to nothing; empty: it did not."""
    if response.status_code < 400:
        return ""
    said = _json(bytes(response.body)) or {}
    details = [str(one.get("message", "")) for one in said.get("details", ())]
    return ": ".join(filter(None, (str(said.get("message", "")), *details)))


def _subject(sim: State, call: Call) -> tuple[str, str]:
    """The chat and the message that a call is about, as far as it says."""
    if call.path in (REPLY, PUSH, LOADING):
        asked = _json(call.body) or {}
        token = sim.tokens.get(str(asked.get("replyToken", "")))
        return (token.chat, token.message) if token else (str(asked.get("to") or asked.get("chatId") or ""), "")
    match call.path.split("/")[3:]:
        case ["message", id, "content", *_]:
            return sim.screens.chat_of(id), id
        case ["profile" | "group" | "room", id, *_]:
            return id, ""
    return "", ""


def _error(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status)


def _json(body: bytes) -> Json | None:
    try:
        read = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _read(body: bytes) -> tuple[Json, Response | None]:
    """A request that carries messages, and LINE's refusal if there is a fault in it."""
    asked = _json(body)
    if asked is None:
        return {}, _error(400, rules.NOT_JSON)
    faults = rules.faults_in(asked.get("messages"))
    return asked, JSONResponse(rules.refused(faults), 400) if faults else None
