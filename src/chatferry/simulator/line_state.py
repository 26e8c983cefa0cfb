"""What the simulated LINE knows: who talks with whom, which reply tokens live, what is on the screens."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from chatferry.simulator import line_people as people
from chatferry.simulator import line_rules as rules
from chatferry.simulator.line_records import Accepted, Call, Delivery, ReplyToken, Seen
from chatferry.simulator.line_rules import Json
from chatferry.simulator.line_scene import Screens
from chatferry.simulator.line_weather import LineWeather
from chatferry.simulator.scene import Scene


@dataclass
class State:
    """One LINE Official Account and everybody who talks with it."""

    secret: str = "simulated-channel-secret"  # noqa: S105 - opens nothing but this simulator
    token: str = "simulated-channel-token"  # noqa: S105
    webhook: str = ""
    clock: Callable[[], float] = time.time
    quota: int | None = 200
    """Pushes in a month; None: no limit."""
    used: int = 0
    patience: float = 10.0
    """Seconds after which a call of the webhook is given up, late as it may be by then."""
    pauses: tuple[float, ...] = rules.REDELIVERY_PAUSES
    """Seconds before each redelivery, where the weather has any."""
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
    scene: Scene = field(default_factory=Scene)
    weather: LineWeather = field(default_factory=LineWeather)

    def __post_init__(self) -> None:
        self.known: set[str] = set()
        """Who can be written to: everybody who ever wrote to us, or let us in."""
        self.tokens: dict[str, ReplyToken] = {}
        self.accepted: dict[str, Accepted] = {}
        """Pushes, by retry key."""
        self.screens = Screens(self.scene)
        self._events: set[str] = set()
        self._changed = asyncio.Condition()

    @property
    def redelivery(self) -> bool:
        """Deliver again what got no 2xx in time? It is the weather's."""
        return self.weather.redelivery

    @redelivery.setter
    def redelivery(self, on: bool) -> None:
        self.weather.redelivery = on

    async def seen(self, who: str, count: int, *, patience: float = 30.0) -> list[Seen]:
        """What is on the screen of a user, group or room, once it is at least `count` messages."""
        chat = self.chats[self.address(who)]
        async with asyncio.timeout(patience), self._changed:
            await self._changed.wait_for(lambda: len(chat) >= count)
        return list(chat)

    def address(self, who: str) -> str:
        """A user's id by name. A group's is `line_people.address("C", name)`."""
        return people.address("U", who)

    def happened(self, event: Json, late: float, words: str) -> None:
        """A person did this, `late` seconds ago for the bot. Its reply token lives from then on; what is delivered
        once more makes it no younger."""
        chat, now = people.place(event), self.clock()
        self.known.add(chat)
        name = event.get("replyToken")
        if name is not None and name not in self.tokens:
            dead = self.weather.expired or late > rules.REPLY_TOKEN_SECONDS
            token = ReplyToken(chat, event["webhookEventId"], people.ref(event), now - late, "expired" if dead else "")
            self.tokens[name] = token
            self.screens.clock(token)
        if event["webhookEventId"] not in self._events:
            self._events.add(event["webhookEventId"])
            self.screens.happened(event, now, words)

    def spend(self, name: str) -> ReplyToken | None:
        """Use up a reply token; None: it is none, or not any more."""
        token = self.tokens.get(name)
        if token is None or token.done:
            return None
        token.done = "expired" if self.clock() - token.born > rules.REPLY_TOKEN_SECONDS else "used"
        self.screens.clock(token)
        return token if token.done == "used" else None

    async def put(self, chat: str, messages: list[Json], token: ReplyToken | None = None) -> list[Json]:
        """Messages on the screen, unless the person has blocked us: LINE does not say so. Returns what it tells."""
        via: Literal["reply", "push"] = "reply" if token else "push"
        event, answers = (token.event, token.message) if token else ("", "")
        shown = [Seen(people.new_message_id(), message, via, self.clock(), event) for message in messages]
        async with self._changed:
            if chat not in self.blocked:
                self.chats[chat] += shown
                for one in shown:
                    self.screens.answered(chat, one, answers)
            self._changed.notify_all()
        return [{"id": one.id, "quoteToken": f"q{one.id}"} for one in shown]
