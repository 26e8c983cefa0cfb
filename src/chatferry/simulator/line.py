"""LINE as a server: the Messaging API with its rules on one side, people who chat on the other.

    async with LineSimulator() as sim, serving(sim) as url:
        sim.webhook = "http://127.0.0.1:8080/hooks/line"     # the bot calls `url` as its api_base and data_api_base
        await sim.say("ann", "hello")
        [answer] = await sim.seen("ann", 1)

What is refused, and in which words, is in `line_rules`; what people send is in `line_people`; what there is to see of
it in `line_scene`. The control API under `/_sim/` does the same for other processes.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator import line_people as people
from chatferry.simulator import line_rules as rules
from chatferry.simulator.control import PREFIX, Control
from chatferry.simulator.line_calls import Api, begun, ended, refusal
from chatferry.simulator.line_hooks import BOT, Webhooks
from chatferry.simulator.line_records import Call, Delivery, Fault
from chatferry.simulator.line_rules import Json
from chatferry.simulator.line_scene import PLATFORM, actions, value
from chatferry.simulator.line_state import State
from chatferry.simulator.serving import hang_up

__all__ = ["BOT", "LineSimulator"]

Media = Literal["image", "audio", "video", "file"]

_WEATHER = {
    "": Fault(),
    "429": Fault(status=429, message=rules.RATE_LIMIT),
    "500": Fault(status=500, message=rules.INTERNAL),
    "timeout": Fault(drop=True),
    "lost": Fault(drop=True, done=True),
}


@dataclass
class LineSimulator(State):
    """LINE, for one account."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._hooks = Webhooks(self)
        self._api = Api(self, self._hooks)
        self._control = Control(
            PLATFORM,
            {
                "say": self.say,
                "sticker": self._sticker,
                "image": self._shows("image"),
                "audio": self._shows("audio"),
                "video": self._shows("video"),
                "file": self._shows("file"),
                "tap": self.tap,
                "follow": self.follow,
                "unfollow": self.unfollow,
                "join": self.join,
                "unsend": self.unsend,
                "webhook": self._webhook,
                "fail": self._fail,
                "quota": self.set_quota,
            },
            scene=self.scene,
            weather=self.weather,
            state=self._state,
            file=self.contents.get,
        )

    async def __aenter__(self) -> Self:
        self._control.put_weather()
        self.screens.quota(self.used, self.quota)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._control.close()
        await self._hooks.close()

    # What people do.

    async def say(self, user: str, words: str, *, group: str | None = None, mention_self: bool = False) -> Delivery:
        """A person writes, to us or into a group."""
        return await self._tell(user, group, people.text(words, mention=BOT if mention_self else ""))

    async def sticker(self, user: str, *keywords: str, group: str | None = None) -> Delivery:
        return await self._tell(user, group, people.sticker(list(keywords)))

    async def show(self, user: str, kind: Media, data: bytes, name: str = "", *, group: str | None = None) -> Delivery:
        """A person sends a file, whose bytes can then be fetched."""
        content = people.media(kind, name, len(data))
        self.contents[content["id"]] = data
        return await self._tell(user, group, content)

    async def tap(self, user: str, data: str, *, group: str | None = None, label: str = "") -> Delivery:
        """A person taps a button. If one with this label is on the screen and says words, the person says them."""
        action = self._action(people.place({"source": people.source(user, group)}), data, label)
        if action.get("type") == "message":
            return await self.say(user, data, group=group)
        words = str(action.get("displayText") or label)
        postback = {"data": data} | ({"params": self._picked(action)} if action.get("type") == "datetimepicker" else {})
        return await self._happens("postback", user, group, words=words, postback=postback)

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

    async def deliver(self, events: Sequence[Json], *, redelivery: bool = False, words: str = "") -> Delivery:
        """POST one signed webhook, and again as the weather has it. Its reply tokens live from now on; delivered again,
        they are no younger. `words`: what people see of it, where the events do not tell."""
        late = 0.0 if redelivery else self.weather.late
        again = redelivery or late > 0
        sent = tuple(event | {"deliveryContext": {"isRedelivery": again}} for event in events)
        if late:
            sent = tuple(event | {"timestamp": event["timestamp"] - int(late * 1000)} for event in sent)
        for event in sent:
            self.happened(event, late, words)
        delivery = await self._post(sent, again, f"{late:g} s late" if late else "redelivery" if redelivery else "")
        for number, pause in enumerate(() if redelivery else self.pauses, 1):
            if not (delivery.reason and self.weather.redelivery):
                break
            await asyncio.sleep(pause)
            sent = tuple(event | {"deliveryContext": {"isRedelivery": True}} for event in sent)
            delivery = await self._post(sent, True, f"redelivery {number}")
        return delivery

    async def _post(self, events: tuple[Json, ...], redelivery: bool, note: str) -> Delivery:
        """Deliver once, or as often as the weather has it. What got through counts."""
        async with self.weather.turn():
            first = self._hooks.post(self.webhook, events, redelivery=redelivery, note=note)
            if self.weather.duplicate:
                copy = f"{note}, copy 2" if note else "copy 2"
                second = self._hooks.post(self.webhook, events, redelivery=redelivery, note=copy)
                done = list(await asyncio.gather(first, second))
            else:
                done = [await first]
        self.deliveries += done
        return next((one for one in done if not one.reason), done[0])

    async def _tell(self, user: str, group: str | None, content: Json) -> Delivery:
        return await self._happens("message", user, group, message=content)

    async def _happens(
        self, kind: str, user: str, group: str | None, *, reply: bool = True, words: str = "", **more: Any
    ) -> Delivery:
        self.screens.meet(user, group)
        event = people.event(kind, people.source(user, group), self.clock(), reply=reply, **more)
        return await self.deliver([event], words=words)

    def _action(self, chat: str, data: str, label: str) -> Json:
        """What the newest button with this label does; nothing known of it: {}."""
        for one in reversed(self.chats.get(chat, []) if label else []):
            own, quick = actions(one.message)
            for action in own + quick:
                if (action["label"], value(action)) == (label, data):
                    return action
        return {}

    def _picked(self, action: Json) -> Json:
        """What somebody picks who takes the date or time that is offered: the action's own, else now."""
        mode = str(action.get("mode", "datetime"))
        forms = {"date": "%Y-%m-%d", "time": "%H:%M"}
        now = time.strftime(forms.get(mode, "%Y-%m-%dT%H:%M"), time.localtime(self.clock()))
        return {mode: action.get("initial") or now}

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
        call = Call(request.method, path, body, dict(request.headers), self.clock())
        self.calls.append(call)
        exchange, start = self.scene.begin(begun(self, call)), time.monotonic()
        fault = self._faults[path].popleft() if self._faults[path] else _WEATHER[await self.weather.strike(receive)]
        if fault.gate:
            await fault.gate.wait()
        happens = fault.done or not (fault.status or fault.drop)
        response = await self._answer(request, body) if happens else Response()
        if fault.drop:
            reason = "answer lost" if fault.done else "no answer"
            self.scene.end(exchange, time.monotonic() - start, 0, reason=reason)
            await hang_up(receive, send)
            return
        if fault.status:
            response = JSONResponse({"message": fault.message}, fault.status)
        response.headers.setdefault("X-Line-Request-Id", str(uuid4()))
        call.status, call.answer = response.status_code, bytes(response.body)
        took, why = time.monotonic() - start, refusal(response)
        self.scene.end(ended(exchange, response), took, call.status, reason=why, answer=call.answer)
        await response(scope, receive, send)

    async def _answer(self, request: Request, body: bytes) -> Response:
        return await self._api.answer(request, body)

    # The same for other processes.

    async def set_quota(self, used: int | None = None, limit: int | None = None) -> Json:
        """So many pushes of the month are used, of so many; None: as it is. Raises ValueError."""
        if min(used or 0, limit or 0) < 0:
            raise ValueError("there are no fewer pushes than none")
        self.used = self.used if used is None else used
        self.quota = self.quota if limit is None else limit
        self.screens.quota(self.used, self.quota)
        return {"used": self.used, "limit": self.quota}

    async def _sticker(self, user: str, keywords: Sequence[str] = (), group: str | None = None) -> Delivery:
        return await self.sticker(user, *keywords, group=group)

    def _shows(self, kind: Media) -> Callable[..., Awaitable[Delivery]]:
        async def act(user: str, data: bytes, name: str = "", group: str | None = None) -> Delivery:
            return await self.show(user, kind, data, name, group=group)

        return act

    async def _webhook(self, url: str) -> Json:
        self.webhook = url
        return {}

    async def _fail(
        self, path: str, status: int = 0, message: str = "", drop: bool = False, done: bool = False
    ) -> Json:
        self.fail(path, Fault(status, message, drop=drop, done=done))
        return {}

    def _state(self) -> Json:
        chats = {who: [vars(one) for one in chat] for who, chat in self.chats.items()}
        calls = [{"path": call.path, "status": call.status, "at": call.at} for call in self.calls]
        return {"chats": chats, "calls": calls, "used": self.used}
