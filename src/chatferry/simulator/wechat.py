"""WeChat as a server: one Official Account, its API on one side, people who write on the other.

    async with WeChatSimulator() as sim, serving(sim) as url:
        sim.webhook = "http://127.0.0.1:8080/hooks/wechat"     # the bot calls `url` as its API's base
        await sim.say("ann", "hello")
        [answer] = await sim.seen("ann", 1)

A bot is called up to three times for one message and has five seconds each time; what people then see is what WeChat
would show. What is refused, and in which words, is in `wechat_rules`; what people send is in `wechat_people`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

import aiohttp
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator import wechat_people as people
from chatferry.simulator import wechat_rules as rules
from chatferry.simulator.wechat_crypto import Safe, signature
from chatferry.simulator.wechat_records import Attempt, Call, Delivery, Fault, Fields, Seen
from chatferry.simulator.wechat_rules import Allowance, Json, Malformed, Refused, Reply, part
from chatferry.simulator.wechat_tokens import Tokens


class Clock(Protocol):
    def now(self) -> float:
        """Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class RealClock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class WeChatSimulator:
    """One Official Account and everybody who writes to it."""

    token: str = "simulated-token"  # noqa: S105 - opens nothing but this simulator
    app_id: str = "wx0123456789abcdef"
    app_secret: str = "0123456789abcdef0123456789abcdef"  # noqa: S105
    aes_key: str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
    """The EncodingAESKey."""
    account: str = "gh_0123456789ab"
    """Who people write to: the account's own id."""
    mode: Literal["plain", "compatible", "encrypted"] = "plain"
    webhook: str = ""
    replicas: list[str] = field(default_factory=list)
    """Other processes of the bot. The calls of one message go to `webhook` and to these in turn."""
    verified: bool = True
    """The account may use more than tokens: customer-service messages, typing, media. Without it they say 48001."""
    whitelist: set[str] | None = None
    """The addresses that tokens are given to; None: any."""
    clock: Clock = field(default_factory=RealClock)
    limit: float = rules.CALL_SECONDS
    """Seconds in which a call has to be answered."""
    gap: float = rules.CALL_SECONDS
    """Seconds from the beginning of one call to that of the next, at the least."""
    chats: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    """What is on the screens, by openid."""
    calls: list[Call] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    media: dict[str, bytes] = field(default_factory=dict)
    """What people sent, by media id."""
    subscribed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tokens = Tokens(lambda: self.clock.now())
        self._safe = Safe(self.aes_key, self.app_id)
        self._allowances: dict[str, Allowance] = defaultdict(Allowance)
        self._acted: dict[str, float] = {}
        self._typing: dict[str, float] = {}
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._changed = asyncio.Condition()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    # What people do. Each of these returns when WeChat calls no more.

    async def say(self, who: str, words: str) -> Delivery:
        return await self._tell(who, people.text(words))

    async def image(self, who: str, data: bytes = b"\xff\xd8\xff") -> Delivery:
        return await self._tell(who, people.image(self._keep(data)))

    async def voice(self, who: str, data: bytes = b"#!AMR\n", *, recognition: str | None = None) -> Delivery:
        """`recognition` is what WeChat understood: often nothing (""), and without the right to it not even that."""
        return await self._tell(who, people.voice(self._keep(data), recognition))

    async def video(
        self, who: str, data: bytes = b"ftyp", *, kind: Literal["video", "shortvideo"] = "video"
    ) -> Delivery:
        return await self._tell(who, people.video(self._keep(data), kind))

    async def location(self, who: str, latitude: float, longitude: float, label: str = "") -> Delivery:
        return await self._tell(who, people.location(latitude, longitude, label))

    async def link(self, who: str, title: str, url: str, description: str = "") -> Delivery:
        return await self._tell(who, people.link(title, description, url))

    async def subscribe(self, who: str, scene: str = "") -> Delivery:
        """`scene` is what the QR code carries, if it was one."""
        more = {"EventKey": f"qrscene_{scene}", "Ticket": "ticket"} if scene else {"EventKey": ""}
        return await self._tell(who, people.event("subscribe", **more), rules.AFTER_ACTION)

    async def unsubscribe(self, who: str) -> Delivery:
        """From here on nothing reaches them."""
        openid = self.address(who)
        self.subscribed.discard(openid)
        self._allowances[openid].end()
        return await self.deliver(self._from(openid, people.event("unsubscribe", EventKey="")))

    async def click(self, who: str, key: str) -> Delivery:
        """A person chooses from the menu."""
        return await self._tell(who, people.event("CLICK", EventKey=key), rules.AFTER_ACTION)

    async def scan(self, who: str, scene: str) -> Delivery:
        """A subscriber scans a QR code of the account."""
        return await self._tell(who, people.event("SCAN", EventKey=scene, Ticket="ticket"), rules.AFTER_ACTION)

    async def seen(self, who: str, count: int, *, patience: float = 10.0) -> list[Seen]:
        """What is on a person's screen, once it is at least `count` messages. Waits in real seconds."""
        chat = self.chats[self.address(who)]
        async with asyncio.timeout(patience), self._changed:
            await self._changed.wait_for(lambda: len(chat) >= count)
        return list(chat)

    def address(self, who: str) -> str:
        """A person's openid by name."""
        return people.address(who)

    def typing(self, who: str) -> bool:
        """Whether the person sees that an answer is being typed."""
        return self.clock.now() < self._typing.get(self.address(who), 0.0)

    def allowance(self, who: str) -> int:
        """How many customer-service messages the person may still get now."""
        return self._allowances[self.address(who)].left(self.clock.now())

    async def check(self) -> bool:
        """What WeChat does when the address is entered: whether the bot gives back the word it is called with."""
        word = str(secrets.randbelow(10**19))
        query = self._signed() | {"echostr": word}
        try:
            async with self._session().get(self.webhook, params=query, timeout=aiohttp.ClientTimeout(5)) as answer:
                return answer.status == 200 and await answer.read() == word.encode()
        except (TimeoutError, aiohttp.ClientError):
            return False

    # How the bot is told.

    async def deliver(self, fields: Fields) -> Delivery:
        """Bring a message to the bot, in as many calls as that takes, and show what comes of it.

        That a status other than 200 counts as no answer is an assumption: no page says what WeChat makes of one.
        """
        delivery = Delivery(fields, self.clock.now())
        self.deliveries.append(delivery)
        urls = [self.webhook, *self.replicas]
        reply: Reply | None = None
        for number in range(rules.CALLS):
            start = self.clock.now()
            attempt, reply = await self._attempt(urls[number % len(urls)], fields)
            delivery.attempts.append(attempt)
            if attempt.answered:
                break
            pause = start + self.gap - self.clock.now()
            if pause > 0 and number < rules.CALLS - 1:
                await self.clock.sleep(pause)
        call = len(delivery.attempts)
        openid, now = str(fields["FromUserName"]), self.clock.now()
        if delivery.reason:
            await self._put(openid, Seen(rules.NOTICE, "notice", now, call, delivery.id))
        elif reply:
            await self._put(openid, Seen(reply.text, "passive", now, call, delivery.id, reply.kind))
        return delivery

    def _keep(self, data: bytes) -> str:
        media_id = people.new_media_id()
        self.media[media_id] = data
        return media_id

    async def _tell(self, who: str, what: Fields, allowance: tuple[int, int] = rules.AFTER_WORDS) -> Delivery:
        openid = self.address(who)
        now = self.clock.now()
        self.subscribed.add(openid)
        self._acted[openid] = now
        self._allowances[openid].renew(allowance, now)
        return await self.deliver(self._from(openid, what))

    def _from(self, openid: str, what: Fields) -> Fields:
        head: Fields = {"ToUserName": self.account, "FromUserName": openid, "CreateTime": int(self.clock.now())}
        return head | what

    async def _put(self, openid: str, one: Seen) -> None:
        async with self._changed:
            if openid in self.subscribed:
                self._typing.pop(openid, None)
                self.chats[openid].append(one)
            self._changed.notify_all()

    async def _attempt(self, url: str, fields: Fields) -> tuple[Attempt, Reply | None]:
        """One call, cut off when its time is over."""
        start = self.clock.now()
        over = asyncio.ensure_future(self.clock.sleep(self.limit))
        answer = asyncio.ensure_future(self._post(url, fields))
        try:
            await asyncio.wait({over, answer}, return_when=asyncio.FIRST_COMPLETED)
            status, body, reason = answer.result() if answer.done() else (0, b"", "timeout")
        finally:
            over.cancel()
            answer.cancel()
            await asyncio.gather(over, answer, return_exceptions=True)
        reply: Reply | None = None
        if not reason:
            try:
                reply = self._read(body, fields)
            except Malformed as fault:
                reason = f"malformed: {fault}"
        return Attempt(status, self.clock.now() - start, body, reason, url), reply

    async def _post(self, url: str, fields: Fields) -> tuple[int, bytes, str]:
        query, body = self._written(fields)
        headers = {"Content-Type": "text/xml", "User-Agent": "Mozilla/4.0"}
        try:
            async with self._session().post(url, params=query, data=body, headers=headers) as answer:
                read = await answer.read()
                return answer.status, read, "" if answer.status == 200 else "status"
        except aiohttp.ClientError:
            return 0, b"", "unreachable"

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            # The simulated clock ends calls, not aiohttp's.
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(None)
            )
        return self._http

    def _signed(self) -> dict[str, str]:
        timestamp, nonce = str(int(self.clock.now())), str(secrets.randbelow(10**10))
        return {"signature": signature(self.token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}

    def _written(self, fields: Fields) -> tuple[dict[str, str], bytes]:
        """Query and body of one call in the account's mode."""
        query = self._signed() | {"openid": str(fields["FromUserName"])}
        clear = people.xml(fields).encode()
        if self.mode == "plain":
            return query, clear
        encrypted = self._safe.shut(clear)
        query["encrypt_type"] = "aes"
        query["msg_signature"] = signature(self.token, query["timestamp"], query["nonce"], encrypted)
        shown: Fields = fields if self.mode == "compatible" else {"ToUserName": self.account}
        return query, people.xml(shown | {"Encrypt": encrypted}).encode()

    def _read(self, body: bytes, fields: Fields) -> Reply | None:
        """What a response shows. An account without encryption reads no encrypted reply, and the other way round."""
        if body in (b"", b"success"):
            return None
        root = rules.tree(body)
        encrypted = part(root, "Encrypt")
        if encrypted and self.mode == "plain":
            raise Malformed("encrypted, which this account is not")
        if not encrypted and self.mode == "encrypted":
            raise Malformed("not encrypted")
        if encrypted:
            signed = signature(self.token, part(root, "TimeStamp"), part(root, "Nonce"), encrypted)
            if not secrets.compare_digest(signed.encode(), part(root, "MsgSignature").encode()):
                raise Malformed("MsgSignature is wrong")
            try:
                root = rules.tree(self._safe.open(encrypted))
            except ValueError as fault:
                raise Malformed(f"does not decrypt: {fault}") from None
        return rules.reply_in(root, to=str(fields["FromUserName"]), sender=self.account)

    # The API.

    def fail(self, path: str, *faults: Fault) -> None:
        """The next calls of `path` go wrong like this, one fault each."""
        self._faults[path].extend(faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        path = request.url.path
        call = Call(request.method, path, dict(request.query_params), body, self.clock.now())
        self.calls.append(call)
        fault = self._faults[path].popleft() if self._faults[path] else Fault()
        if fault.gate:
            await fault.gate.wait()
        happens = fault.done or not (fault.errcode or fault.status or fault.drop)
        response = await self._answer(request, body) if happens else Response()
        if fault.drop:
            await _hang_up(receive, send)
            return
        if fault.errcode or fault.status:
            words = fault.message or rules.ERRORS.get(fault.errcode, "")
            response = _json({"errcode": fault.errcode, "errmsg": words}, fault.status or 200)
        call.status, call.answer = response.status_code, bytes(response.body)
        await response(scope, receive, send)

    async def _answer(self, request: Request, body: bytes) -> Response:
        """Refusals have status 200, too: what counts is `errcode`."""
        try:
            match request.url.path:
                case "/cgi-bin/token":
                    return _json(self._token(_called(request, "GET")))
                case "/cgi-bin/stable_token":
                    return _json(self._stable_token(_called(request, "POST"), _asked(body)))
                case "/cgi-bin/message/custom/send":
                    self._admit(_called(request, "POST"))
                    await self._send(_asked(body))
                    return _json({"errcode": 0, "errmsg": "ok"})
                case "/cgi-bin/message/custom/typing":
                    self._admit(_called(request, "POST"))
                    self._type(_asked(body))
                    return _json({"errcode": 0, "errmsg": "ok"})
                case "/cgi-bin/media/get":
                    self._admit(_called(request, "GET"))
                    return self._media(request.query_params.get("media_id", ""))
            raise Refused(40066)
        except Refused as refusal:
            told = f"{refusal} rid: {secrets.token_hex(4)}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"
            return _json({"errcode": refusal.errcode, "errmsg": told})

    def _token(self, request: Request) -> Json:
        self._know(request, dict(request.query_params))
        return self.tokens.plain()

    def _stable_token(self, request: Request, asked: Json) -> Json:
        self._know(request, asked)
        return self.tokens.stable(force=asked.get("force_refresh") is True)

    def _know(self, request: Request, asked: Json) -> None:
        if asked.get("grant_type") != "client_credential":
            raise Refused(40002)
        if asked.get("appid") != self.app_id:
            raise Refused(40013)
        if asked.get("secret") != self.app_secret:
            raise Refused(40125)
        host = request.client.host if request.client else ""
        if self.whitelist is not None and host not in self.whitelist:
            raise Refused(40164, f"invalid ip {host} ipv6 ::ffff:{host}, not in whitelist")

    def _admit(self, request: Request) -> None:
        self.tokens.check(request.query_params.get("access_token", ""))
        if not self.verified:
            raise Refused(48001)

    def _person(self, asked: Json) -> str:
        openid = asked.get("touser")
        if not isinstance(openid, str) or not people.OPENID.fullmatch(openid):
            raise Refused(40003)
        return openid

    async def _send(self, asked: Json) -> None:
        openid = self._person(asked)
        words = rules.check_custom(asked)
        now = self.clock.now()
        self._allowances[openid].spend(now)
        await self._put(openid, Seen(words, "custom", now, kind=asked["msgtype"]))

    def _type(self, asked: Json) -> None:
        openid, now = self._person(asked), self.clock.now()
        if asked.get("command") not in ("Typing", "CancelTyping"):
            raise Refused(45072)
        if openid not in self.subscribed or now - self._acted.get(openid, 0.0) > rules.TYPING_AFTER:
            raise Refused(45080)
        if asked["command"] == "CancelTyping":
            self._typing.pop(openid, None)
            return
        if self.typing(openid):
            raise Refused(45081)
        self._typing[openid] = now + rules.TYPING_SECONDS

    def _media(self, media_id: str) -> Response:
        if media_id not in self.media:
            raise Refused(40007)
        return Response(self.media[media_id], media_type="application/octet-stream")


def _json(answer: Json, status: int = 200) -> Response:
    """WeChat names the encoding in a way of its own."""
    return Response(json.dumps(answer, ensure_ascii=False), status, media_type="application/json; encoding=utf-8")


def _called(request: Request, method: Literal["GET", "POST"]) -> Request:
    if request.method != method:
        raise Refused(43001 if method == "GET" else 43002)
    return request


def _asked(body: bytes) -> Json:
    try:
        read = json.loads(body)
    except ValueError:
        raise Refused(47001) from None
    if not isinstance(read, dict):
        raise Refused(47001)
    return read


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection without a word. ASGI has no way to say that, so this goes through uvicorn's own cycle."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]  # uvicorn's, which ASGI does not know
    while (await receive())["type"] != "http.disconnect":
        pass
