"""What is said on Slack, and by which rules it is said to us. Pure: JSON that is known to come from Slack in, `Inbound`
or an aside out. Kinds that we don't know are passed over.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from chatferry.channels.base import Taken
from chatferry.channels.slack_markup import mentioned, without_mention
from chatferry.channels.slack_place import Place
from chatferry.channels.slack_wire import (
    Authorization,
    Ended,
    Envelope,
    Kind,
    MessageEvent,
    Said,
    Started,
    Stopped,
    Thread,
)
from chatferry.model import Inbound, Message, Part, Text

if TYPE_CHECKING:
    from chatferry.config import SlackSettings

KEPT = frozenset({"", "file_share", "thread_broadcast", "me_message", "bot_message"})
"""Subtypes that are somebody's words; `bot_message` is another app's."""


class Rules(msgspec.Struct, frozen=True):
    """What of all that is said we take to be said to us; see `SlackSettings`."""

    dm: Literal["thread", "chat"] = "thread"
    threads: Literal["mention", "all"] = "mention"
    bots: bool = False
    rooms: Mapping[str, str] = {}
    """Slack channel id to the name of its assistant."""
    replies: Literal["ephemeral", "public"] = "ephemeral"

    @classmethod
    def of(cls, settings: SlackSettings) -> Rules:
        rooms = {channel: room.assistant for channel, room in settings.rooms.items()}
        return cls(settings.dm, settings.threads, settings.bots, rooms, settings.replies)


class Dialog(msgspec.Struct, frozen=True):
    """To ask whether the answer of which `ts` is a message, in the conversation `address`, shall stop."""

    account: str
    trigger_id: str
    address: str
    ts: str


class Hint(msgspec.Struct, frozen=True):
    """To tell one person something that nobody else sees."""

    account: str
    channel: str
    user: str
    text: str
    thread: str = ""


class Uninstalled(msgspec.Struct, frozen=True):
    """The app was removed from an account, or its token taken back."""

    account: str
    at: float | None = None
    """Unix seconds; None where Slack does not say."""


def account_of(team: str | None, enterprise: str | None, wide: bool | str | None) -> str:
    """The installation, as `Place.account` has it. `wide`: the whole organisation installed us; forms say "true"."""
    return f"{enterprise}+{team}" if team and enterprise and wide in (True, "true") else team or ""


def robot(said: Said) -> bool:
    """Did a bot say it?"""
    return bool(said.bot_id) or said.subtype == "bot_message" or said.user == "USLACKBOT"


class Side(NamedTuple):
    """Who we are where something happened, and by which rules we listen."""

    account: str
    app: str
    me: str
    """Our bot's user id; empty where nobody has told us."""
    rules: Rules

    def ours(self, said: Said) -> bool:
        """Did we say it? Payloads of shortcuts don't name the app: where we know nothing of us, any bot's may be."""
        if not self.app and not self.me:
            return bool(said.bot_id)
        apps = (said.app_id, said.bot_profile and said.bot_profile.app_id)
        return bool((self.me and said.user == self.me) or (self.app and self.app in apps))

    def deaf(self, said: Said) -> bool:
        """Is it nothing to us, because we said it ourselves, or another bot did?"""
        return self.ours(said) or (robot(said) and not self.rules.bots)

    def place(self, channel: str, said: Said, *, direct: bool = False) -> Place:
        """The conversation that a message belongs to. Ids of direct messages begin with D."""
        one = (direct or channel.startswith("D")) and self.rules.dm == "chat"
        return Place(self.account, channel, said.root or ("" if one else said.ts or ""))

    def message(self, place: Place, said: Said) -> Message:
        """Without the mention of us. Other mentions and links stay as Slack writes them, until names can be asked."""
        text = without_mention(said.text or "", self.me).strip()
        parts: list[Part] = [Text(text)] if text else []
        parts += [file.part(self.account) for file in said.files or () if file.mode != "tombstone"]
        return Message("user", tuple(parts), author="" if place.alone else said.author)


def _seconds(ts: str | None) -> float:
    """A `ts` as unix seconds; 0 if it is none."""
    return float(ts) if ts and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", ts) else 0.0


def named(event: str | None, heard: Inbound) -> Inbound:
    """Under the id that Slack gave the event, or else under one that is the same whenever it comes again."""
    told = "\n".join((heard.kind, heard.conversation, heard.ref, heard.sender, str(heard.at)))
    return replace(heard, event=event or "derived-" + hashlib.sha256(told.encode()).hexdigest()[:32])


def _side(envelope: Envelope, rules: Rules, me: Mapping[str, str]) -> Side:
    """The first authorization is the installation that the event is for: in a channel that two companies share,
    `team_id` may be the other one's.
    """
    ours = envelope.authorizations[0] if envelope.authorizations else Authorization()
    enterprise = ours.enterprise_id or envelope.enterprise_id
    account = account_of(ours.team_id or envelope.team_id, enterprise, ours.is_enterprise_install)
    bot = ours.user_id if ours.is_bot else None
    return Side(account, envelope.api_app_id or "", bot or me.get(account, ""), rules)


def event(payload: bytes, rules: Rules, me: Mapping[str, str]) -> Taken:
    """An envelope of the Events API. Raises `MsgspecError` if it isn't one."""
    envelope = msgspec.json.decode(payload, type=Envelope)
    if envelope.type == "url_verification":
        return Taken(body=envelope.challenge.encode())
    side = _side(envelope, rules, me)
    if envelope.type != "event_callback" or not side.account:
        return Taken()
    kind = msgspec.json.decode(envelope.event, type=Kind)
    heard: Inbound | None = None
    match kind.type:
        case "app_uninstalled":
            return Taken(aside=Uninstalled(side.account, envelope.event_time))
        case "tokens_revoked":
            ended = msgspec.json.decode(envelope.event, type=Ended)
            bot = ended.tokens is not None and bool(ended.tokens.bot)
            return Taken(aside=Uninstalled(side.account, envelope.event_time) if bot else None)
        case "assistant_thread_started":
            heard = _started(msgspec.json.decode(envelope.event, type=Started).assistant_thread, side)
        case "agent_session_stopped":
            heard = _stopped(msgspec.json.decode(envelope.event, type=Stopped), side)
        case "message" | "app_mention" if (kind.subtype or "") in KEPT | {"message_changed", "message_deleted"}:
            heard = _message(msgspec.json.decode(envelope.event, type=MessageEvent), side, kind.type == "app_mention")
    if heard is None:
        return Taken()
    return Taken((heard if heard.event else named(envelope.event_id, heard),))


def _message(event: MessageEvent, side: Side, called: bool) -> Inbound | None:
    """`called`: Slack itself says that we are mentioned."""
    if not event.channel:
        return None
    direct = event.channel_type == "im"
    if event.subtype == "message_deleted":
        return _deleted(event, side, direct)
    if event.subtype == "message_changed":
        # A message that has replies is not deleted but changed, to a stone in its place.
        stone = event.message is not None and event.message.subtype == "tombstone"
        return _deleted(event, side, direct) if stone else _changed(event, side, direct)
    if not event.ts or side.deaf(event):
        return None
    place = side.place(event.channel, event, direct=direct)
    message = side.message(place, event)
    heard = Inbound(
        # One message may come as `message` and as `app_mention`, with two event ids.
        event=f"{place.team}/{event.channel}/{event.ts}",
        conversation=str(place),
        message=message,
        sender=event.author,
        shared=not place.alone,
        ref=event.ts,
        at=_seconds(event.ts),
        assistant=side.rules.rooms.get(event.channel, ""),
        earlier=bool(event.root),
    )
    names = mentioned(event.text or "")
    if direct or event.channel.startswith("D") or called or side.me in names:
        if message.parts:
            return heard
        # We are called and told nothing: to look at what was said before, or just to say hello.
        return replace(heard, message=_wordless(message)) if event.root else _greeted(heard)
    # Not knowing our own name, we leave mentions to `app_mention`, which would be taken for a repetition of this.
    if not event.root or not message.parts or (names and not side.me):
        return None
    # A bot is answered where it names us: two that answer everybody would never end.
    answered = side.rules.threads == "all" and not robot(event)
    return replace(heard, kind="message" if answered else "heard", joined=True)


def _greeted(heard: Inbound) -> Inbound:
    return replace(heard, kind="greeting", message=None)


def _wordless(message: Message) -> Message:
    return message if message.parts else replace(message, parts=(Text(""),))


def _changed(event: MessageEvent, side: Side, direct: bool) -> Inbound | None:
    """Somebody put it in other words. Slack changes messages by itself too, to show what a link leads to."""
    said, before = event.message, event.previous_message
    if said is None or not said.ts or (said.subtype or "") not in KEPT or side.deaf(said):
        return None
    if before is not None and before.text == said.text:
        return None
    place = side.place(event.channel, said, direct=direct)
    return Inbound(
        event="",
        conversation=str(place),
        kind="change",
        message=_wordless(side.message(place, said)),
        sender=said.author,
        ref=said.ts,
        at=_seconds(event.ts),
        assistant=side.rules.rooms.get(event.channel, ""),
    )


def _deleted(event: MessageEvent, side: Side, direct: bool) -> Inbound | None:
    """A question is taken back by who asked it; an answer, by whoever has no use for the rest of it."""
    said = event.previous_message
    ref = event.deleted_ts or (said.ts if said else None)
    if said is None or not ref:
        return None
    deaf = side.deaf(said)
    return Inbound(
        event="",
        conversation=str(side.place(event.channel, said, direct=direct)),
        kind="stop" if deaf else "retract",
        joined=not deaf and not (direct or event.channel.startswith("D")),  # people delete much that was not for us
        sender="" if deaf else said.author,
        ref=ref,
        at=_seconds(event.ts),
    )


def _started(thread: Thread, side: Side) -> Inbound | None:
    """Somebody opened a new talk with us, and has said nothing yet."""
    if not thread.channel_id or not thread.thread_ts:
        return None
    place = Place(side.account, thread.channel_id, thread.thread_ts)
    return Inbound(
        event=f"{place.team}/{place.channel}/{place.thread}/greeting",
        conversation=str(place),
        kind="greeting",
        sender=thread.user_id or "",
        at=_seconds(thread.thread_ts),
        assistant=side.rules.rooms.get(place.channel, ""),
    )


def _stopped(event: Stopped, side: Side) -> Inbound | None:
    """Slack's own Stop button. Which messages it means does not matter: all work for the thread is to end."""
    if not event.channel:
        return None
    place = Place(side.account, event.channel, event.thread_ts or "")
    return Inbound(event="", conversation=str(place), kind="stop", sender=event.user or "", at=_seconds(event.event_ts))
