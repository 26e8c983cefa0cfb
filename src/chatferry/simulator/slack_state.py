"""What the simulated Slack is, apart from the wire: its settings, its workspaces, and what is written where."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from chatferry.simulator import slack_people as people
from chatferry.simulator import slack_rules as rules
from chatferry.simulator.scene import Bubble, Scene
from chatferry.simulator.slack_records import Call, Delivery, Post, Room
from chatferry.simulator.slack_rules import Json, Refused
from chatferry.simulator.slack_scene import bubbles
from chatferry.simulator.weather import Weather


@dataclass
class Grant:
    """What a code is exchanged for."""

    team: str
    enterprise: str
    redirect_uri: str


@dataclass
class Trigger:
    """Leave to open a dialog, once and at once."""

    user: str
    team: str
    born: float
    spent: bool = False


@dataclass
class Leave:
    """Where a command or a click may still be answered."""

    room: Room
    user: str
    born: float
    uses: int = 0
    post: Post | None = None
    """What a new answer may replace."""
    command: Bubble | None = None
    """What it answers, which others see once they see an answer."""


@dataclass
class State:
    """One app on Slack, and the workspaces that it is installed in."""

    signing_secret: str = "simulated-signing-secret"  # noqa: S105 - opens nothing but this simulator
    bot_token: str = "xoxb-simulated"  # noqa: S105
    app_token: str = "xapp-simulated"  # noqa: S105
    client_id: str = "1000.2000"
    client_secret: str = "simulated-client-secret"  # noqa: S105
    scopes: list[str] = field(default_factory=lambda: list(rules.SCOPES))
    webhook: str = ""
    url: str = ""
    """Where this simulator is, for the addresses that it gives out. Known at the latest from the first call."""
    clock: Callable[[], float] = time.time
    patience: float = 3.0
    """Seconds in which an event, a command or a click has to be answered."""
    pauses: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Seconds before each new attempt to deliver an event; Slack's own are 0, 60 and 300."""
    enterprise: str = ""
    """The organisation that installed the app as a whole."""
    workspaces: dict[str, str] = field(default_factory=dict)
    """Team to bot token; `T0SIM` has `bot_token`."""
    rotation: bool = False
    """OAuth gives tokens that end after twelve hours."""
    streams: bool = True
    stream_seconds: float = rules.STREAM_SECONDS
    chunks: bool = True
    """Streams take chunks."""
    sessions: bool = True
    markdown: bool = True
    limits: bool = True
    marketplace_limits: bool = False
    echo: bool = False
    """What the app does itself also comes back to it as events."""
    mention_first: bool = False
    """`app_mention` comes before the `message` of the same message."""
    absent: set[str] = field(default_factory=set)
    """Channels, by name or id, that the bot is not in."""
    archived: set[str] = field(default_factory=set)
    admins: set[str] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)
    bots: set[str] = field(default_factory=set)
    """Who is a bot, and not ours; by name, as admins and owners are."""
    display_names: dict[str, str] = field(default_factory=dict)
    """Where somebody's is not simply the name."""
    calls: list[Call] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    views: dict[str, Json] = field(default_factory=dict)
    """The dialog that is open, by user id."""
    statuses: dict[tuple[str, str], str] = field(default_factory=dict)
    """What assistant.threads.setStatus shows until the next message, by channel and thread."""
    session_statuses: dict[tuple[str, str], str] = field(default_factory=dict)
    """What agents.sessions.setStatus said last."""
    titles: dict[tuple[str, str], str] = field(default_factory=dict)
    prompts: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    """What people uploaded, by file id."""
    scene: Scene = field(default_factory=Scene)
    weather: Weather = field(default_factory=Weather)

    def __post_init__(self) -> None:
        self.workspaces.setdefault(people.TEAM, self.bot_token)
        self.rooms: dict[str, Room] = {}
        self.names: dict[str, str] = {}
        """Everybody who was ever spoken of, by user id."""
        self.dead: dict[str, str] = {}
        """Tokens that work no more, and what is answered to them."""
        self.issued: dict[str, str] = {}
        """Tokens that OAuth gave, to their team."""
        self.ends: dict[str, float] = {}
        self.refreshes: dict[str, str] = {}
        """Refresh token to team."""
        self.grants: dict[str, Grant] = {}
        self.triggers: dict[str, Trigger] = {}
        self.responses: dict[str, Leave] = {}
        self.budgets = rules.Budgets()
        self.tickets: set[str] = set()
        self.outbox: list[tuple[str, Json]] = []
        """Events that the app's own doings bring about, with their team; delivered after the call."""
        self._ephemeral: dict[str, list[Post]] = defaultdict(list)
        self._micros = 0
        self._waiting: set[asyncio.Future[None]] = set()

    # Who and where.

    def user(self, name: str, *, team: str = people.TEAM) -> str:
        """Somebody's id."""
        id = people.address("U", name, team)
        self.names.setdefault(id, name)
        return id

    def channel(self, name: str, *, team: str = people.TEAM) -> str:
        return self._room(people.address("C", name, team), name, team).id

    def dm(self, name: str, *, team: str = people.TEAM) -> str:
        """The channel of somebody's direct messages with the bot."""
        return self._room(people.address("D", name, team), name, team, self.user(name, team=team)).id

    def group(self, name: str, *, team: str = people.TEAM) -> str:
        """A direct message among several."""
        return self._room(people.address("G", name, team), name, team).id

    def _room(self, id: str, name: str, team: str, user: str = "") -> Room:
        return self.rooms.setdefault(id, Room(id, name, team, user))

    def room(self, channel: str, team: str) -> Room:
        """A channel of this workspace, which must be there. Raises Refused."""
        if channel[:1] in ("U", "W") and channel in self.names:
            channel = self.dm(self.names[channel], team=team)
        room = self.rooms.get(channel)
        if room is None or room.team != team:
            raise Refused("channel_not_found")
        return room

    def writable(self, channel: str, team: str) -> Room:
        room = self.room(channel, team)
        if {room.id, room.name} & self.archived:
            raise Refused("is_archived")
        if self.is_absent(room):
            raise Refused("not_in_channel")
        return room

    def is_absent(self, room: Room) -> bool:
        return bool({room.id, room.name} & self.absent)

    # What is written.

    def new_ts(self) -> str:
        """Unique, and never smaller than the one before."""
        self._micros = max(self._micros + 1, int(self.clock() * 1e6))
        return f"{self._micros // 1_000_000}.{self._micros % 1_000_000:06d}"

    def at(self, channel: str, *, team: str = people.TEAM) -> Room:
        """A channel by name or id."""
        return self.rooms.get(channel) or self.rooms[self.channel(channel, team=team)]

    def post(self, channel: str, ts: str) -> Post:
        """Any message, also one that was deleted."""
        post = self.at(channel).posts[ts]
        self.refresh(post)
        return post

    def thread(self, channel: str, ts: str) -> list[Post]:
        """The message `ts` and the replies to it that are still there, oldest first."""
        room = self.at(channel)
        return self._shown([*filter(None, [room.posts.get(ts)]), *room.threads.get(ts, ())])

    def screen(self, channel: str) -> list[Post]:
        """What a channel shows outside of its threads, oldest first."""
        return self._shown(self.at(channel).top)

    def _shown(self, posts: list[Post]) -> list[Post]:
        for post in posts:
            self.refresh(post)
        return [post for post in posts if not post.deleted]

    def ephemeral(self, name: str, *, team: str = people.TEAM) -> list[Post]:
        """What only this person sees, oldest first."""
        return self._shown(self._ephemeral[self.user(name, team=team)])

    def whisper(self, user: str, post: Post) -> None:
        post.only = user
        self._ephemeral[user].append(post)

    def ours(self, room: Room, **more: object) -> Post:
        """A new message of the bot, not yet in its channel."""
        now = self.clock()
        bot = {"user": people.bot_user(room.team), "bot": people.BOT_ID}
        return Post(ts=self.new_ts(), channel=room.id, at=now, **bot, **more)  # type: ignore[arg-type]  # by name

    def refresh(self, post: Post) -> None:
        """A stream ends by itself."""
        if post.streaming and self.clock() - post.at >= self.stream_seconds:
            post.streaming = False
            self.show(post)

    def happened(self, room: Room, event: Json) -> None:
        """The app did something. It hears of it only in channels that it is in."""
        if self.echo and not self.is_absent(room):
            self.outbox.append((room.team, event))

    # What is seen besides.

    def show(self, post: Post) -> None:
        """Let the scene have a message as it is now."""
        for bubble in bubbles(post, self.rooms[post.channel], self.names):
            self.scene.show(bubble)

    def tell_status(self, place: tuple[str, str], status: str = "") -> None:
        """What is shown while an answer is made, by channel and thread. Empty: nothing, as after a message."""
        id = f"slack/{place[0]}/{place[1]}"
        if status:
            self.statuses[place] = status
            until = self.clock() + rules.STATUS_SECONDS
            self.scene.put("typing", id, platform="slack", chat=place[0], thread=place[1], text=status, until=until)
        elif self.statuses.pop(place, None) is not None:
            self.scene.drop("typing", id)

    def tell_session(self, place: tuple[str, str], status: str) -> None:
        """How far an agent's session is; while it is processing, Slack shows a stop button of its own."""
        self.session_statuses[place] = status
        id = f"slack/{place[0]}/{place[1]}"
        self.scene.put("session", id, platform="slack", chat=place[0], thread=place[1], status=status)

    def open_view(self, user: str, view: Json, errors: Json | None = None) -> None:
        """A dialog as it is now, with what is wrong about what was entered."""
        self.views[user] = view
        who = self.names[user]
        self.scene.put("dialog", f"slack/{who}", platform="slack", who=who, view=view, errors=errors or {})

    def close_view(self, user: str) -> None:
        if self.views.pop(user, None) is not None:
            self.scene.drop("dialog", f"slack/{self.names[user]}")

    def spend(self, team: str, method: str, channel: str) -> None:
        """One call more. Raises Refused beyond what is allowed."""
        now = self.clock()
        try:
            self.budgets.spend(team, method, channel, now, marketplace=self.marketplace_limits)
        finally:
            if gauge := self.budgets.gauge(team, method, channel, now, marketplace=self.marketplace_limits):
                used, limit, until = gauge
                chat = channel if method == rules.POST else ""
                id = f"slack/{method}/{chat}" if chat else f"slack/{method}"
                budget = {"used": used, "limit": limit, "until": until}
                self.scene.put("gauge", id, platform="slack", name=method, chat=chat, **budget)

    # Leave to do more.

    def new_trigger(self, user: str, team: str) -> str:
        id = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**11)}.{secrets.token_hex(16)}"
        self.triggers[id] = Trigger(user, team, self.clock())
        return id

    def new_response_url(
        self, room: Room, user: str, post: Post | None = None, *, command: Bubble | None = None
    ) -> str:
        id = secrets.token_hex(12)
        self.responses[id] = Leave(room, user, self.clock(), post=post, command=command)
        return f"{self.url}/response/{id}"

    def new_code(self, team: str = people.TEAM, *, redirect_uri: str = "") -> str:
        """What a browser brings back once somebody has installed the app in a workspace."""
        code = secrets.token_hex(12)
        self.grants[code] = Grant(team, self.enterprise, redirect_uri)
        return code

    # Waiting for something.

    def changed(self) -> None:
        """Something happened: whoever waits looks again."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], object], *, patience: float = 30.0) -> None:
        """Return once `condition` holds. It is looked at whenever something happens here."""
        async with asyncio.timeout(patience):
            while not condition():
                waiter = asyncio.get_running_loop().create_future()
                self._waiting.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiting.discard(waiter)
