"""Who said what in a thread: names in the place of ids, what was said before we came, and what we said ourselves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from chatferry.channels.slack_api import Told
from chatferry.channels.slack_limits import Kept, Paced
from chatferry.channels.slack_markup import mentioned, words_of
from chatferry.channels.slack_place import Place
from chatferry.clock import Clock
from chatferry.errors import Fault, TryLater
from chatferry.model import Inbound, Message, Text, says
from chatferry.words import LANGUAGES, words

log = structlog.get_logger(__name__)

PAGE = 200
"""Messages in one call; an app that is distributed outside the Marketplace gets 15 and one call a minute."""
PAGES = 10
EARLIER = 100
"""Messages of a thread that an assistant is told about: the first one, and the last ones before the question."""
PATIENCE = 5.0
"""Seconds for which a question waits for what Slack could tell besides."""
NAMES_SECONDS = 3600.0
NAMELESS_SECONDS = 60.0
"""How long nobody is asked again for the name of somebody of whom Slack told nothing."""
NAMES = 30
"""People that are asked for at a time."""

_SPOKEN = {"", "file_share", "thread_broadcast", "me_message", "bot_message"}
_STOPPED = tuple(f"{dots}{words(language).stopped}" for language in LANGUAGES for dots in ("…", ""))


class Me(msgspec.Struct):
    """Our bot in one workspace."""

    user: str
    bot: str = ""

    def said(self, post: Post) -> bool:
        return bool(post.user and post.user == self.user) or bool(post.bot_id and post.bot_id == self.bot)


class Post(msgspec.Struct):
    """A message as Slack tells it again."""

    ts: str = ""
    user: str | None = None
    bot_id: str | None = None
    username: str | None = None
    subtype: str | None = None
    text: str | None = None
    blocks: Any = None
    metadata: Any = None

    @property
    def key(self) -> str | None:
        """By which we sent it."""
        load = self.metadata.get("event_payload") if isinstance(self.metadata, dict) else None
        key = load.get("key") if isinstance(load, dict) and self.metadata.get("event_type") == EVENT_TYPE else None
        return key if isinstance(key, str) else None

    @property
    def markdown(self) -> str | None:
        """Our own words, as we gave them to Slack."""
        said = [block for block in self.blocks or () if isinstance(block, dict) and block.get("type") == "markdown"]
        return "\n\n".join(str(block.get("text", "")) for block in said) if said else None


EVENT_TYPE = "chatferry"


def metadata(key: str) -> dict[str, Any]:
    """What a message of ours carries, so that it can be found again."""
    return {"event_type": EVENT_TYPE, "event_payload": {"key": key}}


class _Next(msgspec.Struct):
    next_cursor: str | None = None


class _Page(Told):
    messages: tuple[Any, ...] = ()
    response_metadata: _Next | None = None


class _Who(Told):
    user_id: str = ""
    bot_id: str = ""
    team_id: str = ""


class _Profile(msgspec.Struct):
    display_name: str | None = None
    real_name: str | None = None


class _User(msgspec.Struct):
    team_id: str | None = None
    name: str | None = None
    real_name: str | None = None
    profile: _Profile | None = None
    is_admin: bool | None = None
    is_owner: bool | None = None
    is_primary_owner: bool | None = None


class _Told(Told):
    user: _User | None = None


class Person(msgspec.Struct, frozen=True):
    name: str
    admin: bool


class Threads:
    """Reads in all workspaces."""

    def __init__(self, paced: Paced, clock: Clock) -> None:
        self._paced = paced
        self._people: Kept[tuple[str, str], Person] = Kept(clock, NAMES_SECONDS)
        self._nameless: Kept[tuple[str, str], None] = Kept(clock, NAMELESS_SECONDS)
        self._me: dict[str, Me] = {}
        self.known: dict[str, str] = {}
        """Our bot's user id by account, where we have learned it."""

    # ── who ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def me(self, account: str) -> Me:
        """Raises Fault."""
        if account not in self._me:
            told = await self._paced.call("auth.test", account, _Who, patience=PATIENCE)
            me = self._me[account or told.team_id] = Me(told.user_id, told.bot_id)
            self.known[account or told.team_id] = me.user
            return me
        return self._me[account]

    async def person(self, account: str, user: str) -> Person:
        """Raises Fault."""
        person = self._people.get((account, user))
        if person is None:
            told = (await self._paced.call("users.info", account, _Told, patience=PATIENCE, user=user)).user or _User()
            profile = told.profile or _Profile()
            name = profile.display_name or profile.real_name or told.real_name or told.name or user
            # In a channel that two companies share, who administers the other one is nobody here.
            here = "+" in account or (told.team_id or account) == account
            admin = bool(told.is_admin or told.is_owner or told.is_primary_owner)
            person = Person(_one_line(name), admin and here)
            self._people.put((account, user), person)
        return person

    async def names(self, account: str, users: Iterable[str]) -> dict[str, str]:
        """The names of those whom Slack tells us about."""
        asked = [user for user in dict.fromkeys(users) if user.startswith(("U", "W"))][:NAMES]
        found = await asyncio.gather(*(self._name(account, user) for user in asked))
        return {user: name for user, name in zip(asked, found, strict=True) if name}

    async def _name(self, account: str, user: str) -> str:
        if (account, user) in self._nameless:
            return ""
        try:
            return (await self.person(account, user)).name
        except Fault as fault:
            log.info("no name", account=account, user=user, error=str(fault))
            self._nameless.put((account, user), None)
            return ""

    # ── what ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def brief(self, inbound: Inbound, *, first: bool) -> tuple[Inbound, list[Message]]:
        """See `Briefing.brief`."""
        place = Place.of(inbound.conversation)
        posts = await self._earlier(place, inbound.ref) if first and inbound.earlier and place.thread else []
        heard = [one.message for one in (inbound, *inbound.also) if one.message is not None]
        people = [] if place.alone else [message.author for message in heard] + [post.user or "" for post in posts]
        spoken = [message.text for message in heard] + [post.text or "" for post in posts]
        names = await self.names(place.account, people + [user for text in spoken for user in mentioned(text)])

        def named(one: Inbound) -> Inbound:
            if one.briefed or one.message is None:
                return one
            message = _named(one.message, names, alone=place.alone)
            return replace(one, message=message, briefed=True) if message != one.message else one

        known = replace(named(inbound), also=tuple(named(one) for one in inbound.also))
        me = await self._myself(place.account) if posts else Me("")
        told = [_retold(post, me, names, alone=place.alone) for post in posts]
        return known, [message for message in told if message.text]

    async def named(self, address: str, message: Message) -> Message:
        """See `Briefing.named`."""
        place = Place.of(address)
        people = mentioned(message.text) if place.alone else [message.author, *mentioned(message.text)]
        return _named(message, await self.names(place.account, people), alone=place.alone)

    async def _earlier(self, place: Place, before: str) -> list[Post]:
        """The beginning of the thread and the end of it before that message. What cannot be read is left out."""
        root: list[Post] = []
        rest: deque[Post] = deque(maxlen=EARLIER - 1)
        try:
            async for post in self._pages("replies", place, patience=PATIENCE, latest=before or None):
                if before and _seconds(post.ts) >= _seconds(before):
                    continue
                if (post.subtype or "") in _SPOKEN:
                    (rest if root else root).append(post)
        except Fault as fault:
            log.warning("thread not read", place=str(place), error=str(fault))
        return [*root, *rest]

    async def find(self, inbound: Inbound, key: str) -> str | None:
        """The `ts` of the message that we sent under this key. Raises TryLater.

        A stream gets its key only when it stops: if none has ours, it is the one without a key behind the question.
        """
        place = Place.of(inbound.conversation)
        since = inbound.ref or f"{inbound.at - 60:.6f}"
        kind = "replies" if place.thread else "history"
        nameless = None
        try:
            me = await self.me(place.account)
            async for post in self._pages(kind, place, oldest=since, include_all_metadata=True):
                if post.key == key:
                    return post.ts
                if post.key is None and me.said(post) and _seconds(post.ts) > _seconds(since):
                    nameless = max(nameless or "", post.ts)
        except TryLater:
            raise
        except Fault as fault:
            log.warning("cannot look for what was sent", place=str(place), error=str(fault))
            return None
        return nameless if place.thread else None

    async def reads(self, place: Place, ts: str) -> str:
        """Our own words in a message of ours; empty where Slack does not tell. Raises TryLater."""
        kind = "replies" if place.thread else "history"
        try:
            async for post in self._pages(kind, place, oldest=ts, latest=ts, inclusive=True):
                if post.ts == ts:
                    return post.markdown or words_of(post.text or "", {})
        except TryLater:
            raise
        except Fault as fault:
            log.warning("not known what was said", place=str(place), error=str(fault))
        return ""

    async def _pages(self, kind: str, place: Place, *, patience: float = 60.0, **fields: Any) -> AsyncIterator[Post]:
        """A thread from its first message on, or a channel from its last one back."""
        cursor = None
        if kind == "replies":
            fields["ts"] = place.thread
        for _ in range(PAGES):
            page = await self._paced.call(
                f"conversations.{kind}",
                place.account,
                _Page,
                patience=patience,
                channel=place.channel,
                limit=PAGE,
                cursor=cursor,
                **fields,
            )
            for message in page.messages:
                try:
                    yield msgspec.convert(message, Post)
                except msgspec.ValidationError:
                    continue
            cursor = page.response_metadata.next_cursor if page.response_metadata else None
            if not cursor:
                return

    async def _myself(self, account: str) -> Me:
        try:
            return await self.me(account)
        except Fault as fault:
            log.warning("not known who we are", account=account, error=str(fault))
            return Me("")


def _named(message: Message, names: Mapping[str, str], *, alone: bool) -> Message:
    parts = tuple(
        replace(part, text=words_of(part.text, names)) if isinstance(part, Text) else part for part in message.parts
    )
    name = "" if alone else names.get(message.author, "")
    return replace(message, parts=parts, name=name or message.name)


def _retold(post: Post, me: Me, names: Mapping[str, str], *, alone: bool) -> Message:
    if me.said(post):
        said = post.markdown or words_of(post.text or "", names)
        for mark in _STOPPED:
            said = said.removesuffix(mark)
        return says("assistant", said.strip())
    name = "" if alone else names.get(post.user or "") or _one_line(post.username or "")
    author = post.user or post.bot_id or ""
    return Message("user", (Text(words_of(post.text or "", names)),), author=author, name=name)


def _one_line(name: str) -> str:
    """People and bots choose their names, and what stands behind a line's end would read as if another said it."""
    return " ".join(name.split())


def _seconds(ts: str) -> float:
    try:
        return float(ts)
    except ValueError:
        return 0.0
