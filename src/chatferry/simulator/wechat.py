"""WeChat as a server: one Official Account, its API on one side, people who write on the other.

    async with WeChatSimulator() as sim, serving(sim) as url:
        sim.webhook = "http://127.0.0.1:8080/hooks/wechat"     # the bot calls `url` as its API's base
        await sim.say("ann", "hello")
        [answer] = await sim.seen("ann", 1)

A bot is called up to three times for one message and has five seconds each time; what people then see is what WeChat
would show. How it is called is in `wechat_calls`, what its own calls do in `wechat_api`; what is refused, and in which
words, in `wechat_rules`; what people send in `wechat_people`. The control API under `/_sim/` does the same for other
processes.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator import wechat_api as api
from chatferry.simulator import wechat_people as people
from chatferry.simulator import wechat_rules as rules
from chatferry.simulator.control import PREFIX
from chatferry.simulator.scene import Scene
from chatferry.simulator.serving import hang_up
from chatferry.simulator.wechat_calls import Courier
from chatferry.simulator.wechat_control import control
from chatferry.simulator.wechat_crypto import Safe
from chatferry.simulator.wechat_records import Call, Delivery, Fault, Fields, Seen, WeChatWeather
from chatferry.simulator.wechat_rules import Allowance, Refused
from chatferry.simulator.wechat_scene import Screens
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


PICTURES = "http://mmbiz.qpic.cn"


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
    url: str = ""
    """Where it is reached itself: pictures lie there then, and else where WeChat's do."""
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
    scene: Scene = field(default_factory=Scene)
    """All that there is to see of it."""
    weather: WeChatWeather = field(default_factory=WeChatWeather)

    def __post_init__(self) -> None:
        self.tokens = Tokens(lambda: self.clock.now())
        self.screens = Screens(self.scene)
        self._courier = Courier(self)
        self._api = api.Api(self)
        self._control = control(self)
        self._control.put_weather()
        self.screens.account(self.verified)
        self._allowances: dict[str, Allowance] = defaultdict(Allowance)
        self._acted: dict[str, float] = {}
        self._typing: dict[str, float] = {}
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._changed = asyncio.Condition()
        if self.mode != "plain":
            Safe(self.aes_key, self.app_id)  # or who lacks what encrypts would see it only when somebody writes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._control.close()
        await self._courier.close()

    # What people do. Each of these returns when WeChat calls no more.

    async def say(self, who: str, words: str) -> Delivery:
        return await self._tell(who, people.text(words))

    async def image(self, who: str, data: bytes = b"\xff\xd8\xff") -> Delivery:
        return await self._tell(who, people.image(self._keep(data), self.url or PICTURES))

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
        self.screens.meet(openid, who)
        self._allowances[openid].end()
        self._still(openid)
        self._count(openid)
        return await self.deliver(self._from(openid, people.event("unsubscribe", EventKey="")))

    async def click(self, who: str, key: str) -> Delivery:
        """A person chooses from the menu."""
        return await self._tell(who, people.event("CLICK", EventKey=key), rules.AFTER_ACTION)

    async def scan(self, who: str, scene: str) -> Delivery:
        """A subscriber scans a QR code of the account."""
        return await self._tell(who, people.event("SCAN", EventKey=scene, Ticket="ticket"), rules.AFTER_ACTION)

    async def seen(self, who: str, count: int, *, patience: float = 30.0) -> list[Seen]:
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
        return await self._courier.check()

    def _signed(self) -> dict[str, str]:
        return self._courier.signed()

    def _written(self, fields: Fields) -> tuple[dict[str, str], bytes]:
        """Query and body of one call in the account's mode."""
        letter = self._courier.written(fields)
        return letter.query, letter.body

    async def deliver(self, fields: Fields) -> Delivery:
        """Bring a message to the bot, in as many calls as that takes, and show what comes of it."""
        return await self._courier.deliver(fields)

    def _keep(self, data: bytes) -> str:
        media_id = people.new_media_id()
        self.media[media_id] = data
        return media_id

    async def _tell(self, who: str, what: Fields, allowance: tuple[int, int] = rules.AFTER_WORDS) -> Delivery:
        openid = self.address(who)
        self.screens.meet(openid, who)
        now = self.clock.now()
        self.subscribed.add(openid)
        self._acted[openid] = now
        self._allowances[openid].renew(allowance, now)
        self._count(openid)
        return await self.deliver(self._from(openid, what))

    def _from(self, openid: str, what: Fields) -> Fields:
        head: Fields = {"ToUserName": self.account, "FromUserName": openid, "CreateTime": int(self.clock.now())}
        return head | what

    def _count(self, openid: str) -> None:
        if self.verified:
            self.screens.left(openid, self._allowances[openid], self.clock.now())

    # What the account does to people's screens.

    async def show(self, openid: str, one: Seen, answers: str = "") -> None:
        """Put it on a screen, if the person is still there. `answers`: the message or event that it is about."""
        async with self._changed:
            if openid in self.subscribed:
                self._still(openid)
                self.chats[openid].append(one)
                self.screens.answered(openid, one, answers)
            self._changed.notify_all()

    def spend(self, openid: str) -> None:
        """One customer-service message. Raises Refused."""
        self._allowances[openid].spend(self.clock.now())
        self._count(openid)

    def type(self, openid: str, *, on: bool) -> None:
        """Show that an answer is being typed, or show it no more. Raises Refused."""
        now = self.clock.now()
        if openid not in self.subscribed or now - self._acted.get(openid, 0.0) > rules.TYPING_AFTER:
            raise Refused(45080)
        if not on:
            self._still(openid)
            return
        if self.typing(openid):
            raise Refused(45081)
        self._typing[openid] = now + rules.TYPING_SECONDS
        self.screens.typing(openid, self._typing[openid])

    def _still(self, openid: str) -> None:
        self._typing.pop(openid, None)
        self.screens.stopped(openid)

    def verify(self, on: bool) -> None:
        """Let the account become verified, or be so no longer."""
        self.verified = on
        self.screens.account(on)
        for openid in self._allowances:
            self.screens.unknown(openid)
            self._count(openid)

    # The API.

    def fail(self, path: str, *faults: Fault) -> None:
        """The next calls of `path` go wrong like this, one fault each."""
        self._faults[path].extend(faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        path = scope["path"]  # as it was judged before it came here: a parsed URL has lost its tabs
        if path.startswith(PREFIX):
            await (await self._control.answer(request, path, body))(scope, receive, send)
            return
        call = Call(request.method, path, dict(request.query_params), body, self.clock.now())
        self.calls.append(call)
        exchange = self.scene.begin(api.exchange(request, body, call.at))
        fault = self._faults[path].popleft() if self._faults[path] else api.STRUCK[await self.weather.strike(receive)]
        if fault.gate:
            await fault.gate.wait()
        happens = fault.done or not (fault.errcode or fault.status or fault.drop)
        response = await self._answer(request, body) if happens else Response()
        if fault.drop:
            lost = "its answer was lost" if fault.done else "no answer"
            self.scene.end(exchange, self.clock.now() - call.at, 0, reason=lost)
            await hang_up(receive, send)
            return
        if fault.errcode or fault.status:
            words = fault.message or rules.ERRORS.get(fault.errcode, "")
            response = api.Refusal(fault.errcode, words, fault.status or 200)
        call.status, call.answer = response.status_code, bytes(response.body)
        reason = response.reason if isinstance(response, api.Refusal) else ""
        self.scene.end(exchange, self.clock.now() - call.at, call.status, reason=reason, answer=call.answer)
        await response(scope, receive, send)

    async def _answer(self, request: Request, body: bytes) -> Response:
        try:
            return await self._api.answer(request, body)
        except Refused as refusal:
            rid = "-".join(secrets.token_hex(4) for _ in range(3))
            return api.Refusal(refusal.errcode, f"{refusal} rid: {rid}")
