"""LINE's webhook events as ours. Pure: bytes that are known to come from LINE in, `Inbound` out.

Shapes: LINE's `webhook.yml` (line-openapi). Every field is optional here, for LINE adds and leaves out fields without
notice and asks receivers to tolerate it; kinds that we don't know are passed over.
"""

from __future__ import annotations

import hashlib
from typing import Literal, TypeVar

import msgspec
from msgspec.structs import replace

from chatferry.channels.base import COLLECT
from chatferry.errors import Rejected
from chatferry.model import File, Grant, Inbound, Message, Part, Text

REPLY_SECONDS = 50.0
"""How long we count on a reply token. LINE says one minute from receiving the webhook; the way back takes time too."""

Groups = Literal["mention", "all", "off"]


class Source(msgspec.Struct):
    userId: str | None = None
    groupId: str | None = None
    roomId: str | None = None

    @property
    def shared(self) -> str | None:
        """The group, or the room: a talk of several people without a name."""
        return self.groupId or self.roomId


class DeliveryContext(msgspec.Struct):
    isRedelivery: bool = False


class Event(msgspec.Struct):
    type: str = ""
    mode: str | None = None
    timestamp: float = 0
    source: Source | None = None
    webhookEventId: str | None = None
    deliveryContext: DeliveryContext | None = None
    replyToken: str | None = None


class Content(msgspec.Struct):
    id: str = ""

    def part(self) -> Part:
        """What was said, for the model."""
        raise NotImplementedError


class Span(msgspec.Struct):
    """A mention or a LINE emoji in a text."""

    index: int = 0
    length: int = 0
    isSelf: bool | None = None


class Mention(msgspec.Struct):
    mentionees: list[Span] = []


class TextContent(Content):
    text: str = ""
    mention: Mention | None = None
    emojis: list[Span] | None = None

    def selves(self) -> list[Span]:
        """The places at which we are mentioned."""
        return [span for span in self.mention.mentionees if span.isSelf] if self.mention else []

    def part(self) -> Part:
        """The text without the mentions of us. Other mentions stay.

        `index` and `length` are UTF-16 code units: "Character counting in a text" names that as the unit of the whole
        API but for a list of properties that these are not on.
        """
        units = self.text.encode("utf-16-le", "surrogatepass")
        changes = [(span, b"") for span in self.selves()]
        # A LINE emoji without a name comes as "()" (openclaw/openclaw#132082), which would tell the model nothing.
        empty, shown = "()".encode("utf-16-le"), "[emoji]".encode("utf-16-le")
        changes += [(span, shown) for span in self.emojis or () if units[_slice(span)] == empty]
        for span, instead in sorted(changes, key=lambda change: change[0].index, reverse=True):
            place = _slice(span)
            units = units[: place.start] + instead + units[place.stop :]
        text = units.decode("utf-16-le", "replace")
        return Text(text.strip() if changes else text)


class StickerContent(Content):
    text: str | None = None
    keywords: list[str] | None = None

    def part(self) -> Part:
        """What the sticker says or means. LINE gives up to 15 keywords in no order; a few tell as much."""
        meaning = self.text or ", ".join((self.keywords or [])[:5])
        return Text(f"[sticker: {meaning}]" if meaning else "[sticker]")


class LocationContent(Content):
    title: str | None = None
    address: str | None = None
    latitude: float | None = None
    longitude: float | None = None

    def part(self) -> Part:
        told = (self.title, self.address, self.latitude, self.longitude)
        return Text(f"[location: {', '.join(str(word) for word in told if word not in (None, ''))}]")


class Provider(msgspec.Struct):
    type: str = "line"


class MediaContent(Content):
    contentProvider: Provider | None = None
    fileName: str | None = None
    fileSize: int | None = None

    def ref(self) -> str:
        """The id to fetch it by. Empty where it lies on somebody's own server: we call no address from a message."""
        return self.id if self.contentProvider is None or self.contentProvider.type == "line" else ""


class ImageContent(MediaContent):
    def part(self) -> Part:
        return File("image", self.ref())


class VideoContent(MediaContent):
    def part(self) -> Part:
        return File("video", self.ref())


class AudioContent(MediaContent):
    def part(self) -> Part:
        return File("audio", self.ref())


class FileContent(MediaContent):
    def part(self) -> Part:
        return File("file", self.ref(), name=self.fileName or "", size=self.fileSize)


class MessageEvent(Event):
    message: msgspec.Raw = msgspec.Raw(b"{}")


class Postback(msgspec.Struct):
    data: str = ""
    params: dict[str, str] | None = None


class PostbackEvent(Event):
    postback: Postback = msgspec.field(default_factory=Postback)


class Unsend(msgspec.Struct):
    messageId: str = ""


class UnsendEvent(Event):
    unsend: Unsend = msgspec.field(default_factory=Unsend)


class FollowEvent(Event):
    """A person added us, or took a block back."""


class JoinEvent(Event):
    """A group took us in."""


# `messageEdited` (2026-07) is passed over for now: the answer to the first wording is out or on its way, and a second
# one to the same message would surprise more than it helps.
_EVENTS: dict[str, type[Event]] = {
    "message": MessageEvent,
    "postback": PostbackEvent,
    "unsend": UnsendEvent,
    "follow": FollowEvent,
    "join": JoinEvent,
}
_CONTENTS: dict[str, type[Content]] = {
    "text": TextContent,
    "sticker": StickerContent,
    "location": LocationContent,
    "image": ImageContent,
    "video": VideoContent,
    "audio": AudioContent,
    "file": FileContent,
}


class _Body(msgspec.Struct):
    events: list[msgspec.Raw]


class _Kind(msgspec.Struct):
    type: str = ""


_Known = TypeVar("_Known")


def read(body: bytes, *, at: float, groups: Groups) -> tuple[Inbound, ...]:
    """What the events of one webhook ask of us; `at` is when it came. Raises `Rejected` (400) if it isn't LINE's form.

    An empty list is LINE's own check that somebody is there.
    """
    try:
        events = msgspec.json.decode(body, type=_Body).events
        known = [event for raw in events if (event := _known(raw, _EVENTS)) and event.mode != "standby"]
        heard = (_inbound(event, at, groups) for event in known)
        return tuple(inbound for inbound in heard if inbound is not None)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Rejected(400, "the body is not a LINE webhook") from error


def _known(raw: msgspec.Raw, kinds: dict[str, type[_Known]]) -> _Known | None:
    """Read by its `type`; None for a type that we don't know, whatever its other fields are like."""
    kind = kinds.get(msgspec.json.decode(raw, type=_Kind).type)
    return msgspec.json.decode(raw, type=kind) if kind else None


def _grant(event: Event, at: float) -> Grant | None:
    """The leave that a reply token gives.

    LINE does not say whether the token of a redelivered event lives anew. We take it to be as old as the event: if a
    dead token were thought alive, its refusal would look like the proof that an earlier try got through.
    """
    if not event.replyToken:
        return None
    again = event.deliveryContext is not None and event.deliveryContext.isRedelivery
    return Grant(event.replyToken, (min(at, event.timestamp / 1000) if again else at) + REPLY_SECONDS)


def _inbound(event: Event, at: float, groups: Groups) -> Inbound | None:
    source = event.source or Source()
    conversation = source.shared or source.userId
    if not conversation or (source.shared and groups == "off"):
        return None
    heard = Inbound(
        event=event.webhookEventId or "",
        conversation=conversation,
        sender=source.userId or "",
        shared=bool(source.shared),
        grant=_grant(event, at),
        at=event.timestamp / 1000,
    )
    match event:
        case MessageEvent():
            content = _known(event.message, _CONTENTS)
            if content is None or (source.shared and groups == "mention" and not _addressed(content)):
                return None
            heard = replace(heard, message=_said(content.part(), source), ref=content.id)
        case PostbackEvent(postback=Postback(data=data)) if data == COLLECT:
            heard = replace(heard, kind="collect")
        case PostbackEvent(postback=postback):
            # What the person saw (`displayText`) is not delivered, so the data has to speak for the tap.
            words = [postback.data, *(f"{key}: {value}" for key, value in (postback.params or {}).items())]
            heard = replace(heard, message=_said(Text("\n".join(words)), source))
        case UnsendEvent():
            heard = replace(heard, kind="retract", ref=event.unsend.messageId)
        case _:  # FollowEvent, JoinEvent
            heard = replace(heard, kind="greeting")
    return heard if heard.event else replace(heard, event=_derived(event, heard))


def _said(part: Part, source: Source) -> Message:
    return Message("user", (part,), author=(source.userId or "") if source.shared else "")


def _addressed(content: Content) -> bool:
    """In a group: is it said to us? Only a text can mention somebody."""
    return isinstance(content, TextContent) and bool(content.selves())


def _derived(event: Event, heard: Inbound) -> str:
    """The same id for the same event, for senders (proxies, recorded webhooks) that leave out `webhookEventId`."""
    told = "\n".join((event.type, str(event.timestamp), heard.conversation, heard.ref or event.replyToken or ""))
    return "derived-" + hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _slice(span: Span) -> slice:
    """The bytes of a span in UTF-16."""
    start = max(span.index, 0)
    return slice(2 * start, 2 * (start + max(span.length, 0)))
