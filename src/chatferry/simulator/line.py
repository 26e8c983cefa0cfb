"""LINE as a server: the Messaging API with its rules on one side, people who chat on the other.

    async with LineSimulator() as sim, serving(sim) as url:
        sim.webhook = "http://127.0.0.1:8080/hooks/line"     # the bot calls `url` as its api_base and data_api_base
        await sim.say("ann", "hello")
        [answer] = await sim.seen("ann", 1)

What is refused, and in which words, is in `line_rules`; what people send is in `line_people`. The control API under
`/_sim/` does the same for other processes.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from uuid import uuid4

import aiohttp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator import line_people as people
from chatferry.simulator import line_rules as rules
from chatferry.simulator.line_records import Call, Delivery, Fault, Seen
from chatferry.simulator.line_rules import Json
from chatferry.simulator.serving import hang_up

BOT = people.address("U", "the bot")


@dataclass
class _ReplyToken:
    chat: str
    event: str
    born: float


@dataclass
class _Accepted:
    request_id: str
    sent: list[Json]
    at: float


@dataclass
class LineSimulator:
    """One LINE Official Account and everybody who talks with it."""

    secret: str = "simulated-channel-secret"  # noqa: S105 - opens nothing but this simulator
    token: str = "simulated-channel-token"  # noqa: S105
    webhook: str = ""
    clock: Callable[[], float] = time.time
    quota: int | None = 200
    """Pushes in a month; None: no limit."""
    used: int = 0
    redelivery: bool = False
    """Deliver again, once and right away, what got no 2xx in time. (LINE publishes neither count nor interval.)"""
    members: dict[str, int] = field(default_factory=dict)
    """How many a group has, where it matters: a push counts for each."""
    chat_mode: Literal["bot", "chat"] = "bot"
    webhook_active: bool = True
    chats: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    calls: list[Call] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    contents: dict[str, bytes | None] = field(default_factory=dict)
    """What people sent, by message id; None while LINE still prepares it."""
    blocked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._known: set[str] = set()
        """Who can be written to: everybody who ever wrote to us, or let us in."""
        self._tokens: dict[str, _ReplyToken] = {}
        self._accepted: dict[str, _Accepted] = {}
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._changed = asyncio.Condition()
        self._http: aiohttp.ClientSession | None = None
        self._routes: dict[tuple[str, str], Callable[[Request, bytes], Awaitable[Response]]] = {
            ("POST", "/v2/bot/message/reply"): self._reply,
            ("POST", "/v2/bot/message/push"): self._push,
            ("POST", "/v2/bot/message/validate/reply"): self._validate,
            ("POST", "/v2/bot/message/validate/push"): self._validate,
            ("POST", "/v2/bot/chat/loading/start"): self._loading,
            ("GET", "/v2/bot/message/quota"): self._quota,
            ("GET", "/v2/bot/message/quota/consumption"): self._consumption,
            ("GET", "/v2/bot/info"): self._info,
            ("GET", "/v2/bot/channel/webhook/endpoint"): self._endpoint,
            ("PUT", "/v2/bot/channel/webhook/endpoint"): self._set_endpoint,
            ("POST", "/v2/bot/channel/webhook/test"): self._test_endpoint,
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    # What people do.

    async def say(self, user: str, words: str, *, group: str | None = None, mention_self: bool = False) -> Delivery:
        """A person writes, to us or into a group."""
        return await self._tell(user, group, people.text(words, mention=BOT if mention_self else ""))

    async def sticker(self, user: str, *keywords: str, group: str | None = None) -> Delivery:
        return await self._tell(user, group, people.sticker(list(keywords)))

    async def show(
        self, user: str, kind: Literal["image", "audio", "video", "file"], data: bytes, name: str = ""
    ) -> Delivery:
        """A person sends a file, whose bytes can then be fetched."""
        content = people.media(kind, name, len(data))
        self.contents[content["id"]] = data
        return await self._tell(user, None, content)

    async def tap(self, user: str, data: str, *, group: str | None = None) -> Delivery:
        """A person taps a postback button."""
        return await self._happens("postback", user, group, postback={"data": data})

    async def follow(self, user: str, *, unblocked: bool = False) -> Delivery:
        self.blocked.discard(people.address("U", user))
        return await self._happens("follow", user, None, follow={"isUnblocked": unblocked})

    async def unfollow(self, user: str) -> Delivery:
        """A person blocks us: from here on nothing reaches them, and no call says so."""
        self.blocked.add(people.address("U", user))
        return await self._happens("unfollow", user, None, reply=False)

    async def join(self, group: str, user: str = "somebody") -> Delivery:
        return await self._happens("join", user, group)

    async def unsend(self, user: str, message_id: str, *, group: str | None = None) -> Delivery:
        return await self._happens("unsend", user, group, reply=False, unsend={"messageId": message_id})

    async def seen(self, who: str, count: int, *, patience: float = 10.0) -> list[Seen]:
        """What is on the screen of a user, group or room, once it is at least `count` messages."""
        chat = self.chats[self.address(who)]
        async with asyncio.timeout(patience), self._changed:
            await self._changed.wait_for(lambda: len(chat) >= count)
        return list(chat)

    def address(self, who: str) -> str:
        """A user's id by name. A group's is `line_people.address("C", name)`."""
        return people.address("U", who)

    async def deliver(self, events: Sequence[Json], *, redelivery: bool = False) -> Delivery:
        """POST one signed webhook. Its reply tokens live from now on; delivered again, they are no younger."""
        events = tuple(event | {"deliveryContext": {"isRedelivery": redelivery}} for event in events)
        for event in events:
            place = event["source"]
            chat = place.get("groupId") or place.get("roomId") or place["userId"]
            self._known.add(chat)
            if "replyToken" in event and event["replyToken"] not in self._tokens:
                self._tokens[event["replyToken"]] = _ReplyToken(chat, event["webhookEventId"], self.clock())
        delivery = await self._post_hook(self.webhook, events, redelivery)
        self.deliveries.append(delivery)
        if delivery.reason and self.redelivery and not redelivery:
            return await self.deliver(events, redelivery=True)
        return delivery

    async def _tell(self, user: str, group: str | None, content: Json) -> Delivery:
        return await self._happens("message", user, group, message=content)

    async def _happens(self, kind: str, user: str, group: str | None, *, reply: bool = True, **more: Any) -> Delivery:
        return await self.deliver([people.event(kind, people.source(user, group), self.clock(), reply=reply, **more)])

    async def _post_hook(self, url: str, events: tuple[Json, ...], redelivery: bool = False) -> Delivery:
        body, headers = people.signed(self.secret, {"destination": BOT, "events": events})
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        start = time.monotonic()
        status, reason = 0, ""
        try:
            async with self._http.post(url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(10)) as answer:
                await answer.read()
                status = answer.status
        except TimeoutError:
            reason = "request_timeout"
        except aiohttp.ClientError:
            reason = "could_not_connect"
        seconds = time.monotonic() - start
        if seconds > rules.WEBHOOK_SECONDS:
            reason = "request_timeout"
        elif not reason and not 200 <= status < 300:
            reason = "error_status_code"
        return Delivery(status, seconds, reason, events, redelivery)

    # The API.

    def fail(self, path: str, *faults: Fault) -> None:
        """The next calls of `path` go wrong like this, one fault each."""
        self._faults[path].extend(faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        path = request.url.path
        if path.startswith("/_sim/"):
            await (await self._control(path, body))(scope, receive, send)
            return
        call = Call(request.method, path, body, dict(request.headers), self.clock())
        self.calls.append(call)
        fault = self._faults[path].popleft() if self._faults[path] else Fault()
        if fault.gate:
            await fault.gate.wait()
        happens = fault.done or not (fault.status or fault.drop)
        response = await self._answer(request, body) if happens else Response()
        if fault.drop:
            await hang_up(receive, send)
            return
        if fault.status:
            response = JSONResponse({"message": fault.message}, fault.status)
        response.headers.setdefault("X-Line-Request-Id", str(uuid4()))
        call.status, call.answer = response.status_code, bytes(response.body)
        await response(scope, receive, send)

    async def _answer(self, request: Request, body: bytes) -> Response:
        if not secrets.compare_digest(
            request.headers.get("authorization", "").encode(), f"Bearer {self.token}".encode()
        ):
            return _error(401, rules.UNAUTHORIZED)
        path = request.url.path
        route = self._routes.get((request.method, path))
        if route:
            return await route(request, body)
        match path.split("/")[3:]:
            case ["message", id, "content"] if request.method == "GET":
                return self._content(id)
            case ["profile", user] if request.method == "GET" and user in self._known - self.blocked:
                return JSONResponse({"displayName": user[:8], "userId": user, "language": "en"})
        return _error(404, rules.NOT_FOUND)

    async def _reply(self, request: Request, body: bytes) -> Response:
        if "x-line-retry-key" in request.headers:
            return _error(400, rules.RETRY_KEY_REFUSED)
        asked, refusal = _read(body)
        if refusal:
            return refusal
        token = self._tokens.get(str(asked.get("replyToken", "")))
        if token is None or self.clock() - token.born > rules.REPLY_TOKEN_SECONDS:
            return _error(400, rules.INVALID_REPLY_TOKEN)
        token.born = -math.inf  # spent, also if its webhook is delivered once more
        return JSONResponse({"sentMessages": await self._put(token.chat, asked["messages"], "reply", token.event)})

    async def _push(self, request: Request, body: bytes) -> Response:
        key = request.headers.get("x-line-retry-key")
        if key is not None and not rules.UUID.fullmatch(key):
            return _error(400, rules.RETRY_KEY_INVALID)
        before = self._accepted.get(key or "")
        if before and self.clock() - before.at < rules.RETRY_KEY_SECONDS:
            told = {"message": rules.RETRY_KEY_ACCEPTED, "sentMessages": before.sent}
            return JSONResponse(told, 409, {"x-line-accepted-request-id": before.request_id})
        asked, refusal = _read(body)
        if refusal:
            return refusal
        to = str(asked.get("to", ""))
        if not rules.ADDRESS.fullmatch(to):
            return _error(400, rules.INVALID_TO)
        if to not in self._known:
            return _error(400, rules.FAILED_TO_SEND)
        reached = 0 if to in self.blocked else self.members.get(to, 1)
        if self.quota is not None and self.used + reached > self.quota:
            return _error(429, rules.MONTHLY_LIMIT)
        self.used += reached
        sent = await self._put(to, asked["messages"], "push")
        request_id = str(uuid4())
        if key:
            self._accepted[key] = _Accepted(request_id, sent, self.clock())
        return JSONResponse({"sentMessages": sent}, headers={"X-Line-Request-Id": request_id})

    async def _put(self, chat: str, messages: list[Json], via: Literal["reply", "push"], event: str = "") -> list[Json]:
        """Messages on the screen, unless the person has blocked us: LINE does not say so."""
        shown = [Seen(people.new_message_id(), message, via, self.clock(), event) for message in messages]
        async with self._changed:
            if chat not in self.blocked:
                self.chats[chat] += shown
            self._changed.notify_all()
        return [{"id": one.id, "quoteToken": f"q{one.id}"} for one in shown]

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
        return JSONResponse(rules.refused(faults), 400) if faults else JSONResponse({}, 202)

    async def _quota(self, request: Request, body: bytes) -> Response:
        return JSONResponse({"type": "none"} if self.quota is None else {"type": "limited", "value": self.quota})

    async def _consumption(self, request: Request, body: bytes) -> Response:
        return JSONResponse({"totalUsage": self.used})

    async def _info(self, request: Request, body: bytes) -> Response:
        names = {"userId": BOT, "basicId": "@ferry", "displayName": "Ferry"}
        return JSONResponse(names | {"chatMode": self.chat_mode, "markAsReadMode": "auto"})

    async def _endpoint(self, request: Request, body: bytes) -> Response:
        if not self.webhook:
            return _error(404, rules.NOT_FOUND)
        return JSONResponse({"endpoint": self.webhook, "active": self.webhook_active})

    async def _set_endpoint(self, request: Request, body: bytes) -> Response:
        asked = _json(body)
        if asked is None or not isinstance(asked.get("endpoint"), str):
            return JSONResponse(rules.refused([{"message": "May not be empty", "property": "endpoint"}]), 400)
        self.webhook = asked["endpoint"]
        return JSONResponse({})

    async def _test_endpoint(self, request: Request, body: bytes) -> Response:
        """Really calls the webhook, with a signed body without events."""
        tried = await self._post_hook((_json(body) or {}).get("endpoint") or self.webhook, ())
        said = {
            "success": not tried.reason,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock())),
        }
        reason = tried.reason.upper() or "OK"
        return JSONResponse(said | {"statusCode": tried.status, "reason": reason, "detail": str(tried.status)})

    def _content(self, message_id: str) -> Response:
        if message_id not in self.contents:
            return _error(404, rules.NOT_FOUND)
        data = self.contents[message_id]
        return Response(status_code=202) if data is None else Response(data, media_type="application/octet-stream")

    # The same for other processes.

    async def _control(self, path: str, body: bytes) -> Response:
        asked = _json(body) or {}
        match path.removeprefix("/_sim/"):
            case "state":
                chats = {who: [vars(one) for one in chat] for who, chat in self.chats.items()}
                calls = [{"path": call.path, "status": call.status, "at": call.at} for call in self.calls]
                return JSONResponse({"chats": chats, "calls": calls, "used": self.used})
            case "webhook":
                self.webhook = str(asked["url"])
                return JSONResponse({})
            case "fail":
                self.fail(str(asked.pop("path")), Fault(**asked))
                return JSONResponse({})
            case "say" | "tap" | "follow" as act:
                delivery: Delivery = await getattr(self, act)(**asked)
                return JSONResponse(vars(delivery))
        return _error(404, rules.NOT_FOUND)


def _error(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status)


def _json(body: bytes) -> Json | None:
    try:
        read = json.loads(body or b"{}")
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def _read(body: bytes) -> tuple[Json, Response | None]:
    """A request that carries messages, and LINE's refusal if there is a fault in it."""
    asked = _json(body)
    if asked is None:
        return {}, _error(400, rules.NOT_JSON)
    faults = rules.faults_in(asked.get("messages"))
    return asked, JSONResponse(rules.refused(faults), 400) if faults else None
