"""WeChat's messages and events as ours. Pure: parts that are known to come from WeChat in, `Inbound` out.

Parts: "Receiving standard messages" and "Receiving event pushes" at developers.weixin.qq.com. Kinds that we don't know
are passed over.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from msgspec.structs import replace

from chatferry.errors import Rejected
from chatferry.model import File, Grant, Inbound, Message, Part, Text
from chatferry.words import Words

AFTER_WORDS = (5, 48 * 3600.0)
"""Customer-service messages that may follow what a person wrote, and for how many seconds: "Customer service messages".
"""
AFTER_ACTION = (3, 60.0)
"""The same after a tap on the menu or a subscription."""

_NAME = re.compile(r"[\w@.-]{1,128}", re.ASCII)
"""An openid, or an account's id. They are kept, and sent back."""
_SHORT = 128


def read(parts: Mapping[str, str], *, at: float, menu: Mapping[str, str], words: Words) -> Inbound | None:
    """What one message asks of us; `at` is when it came. Raises Rejected(400) if it isn't of WeChat's form."""
    sender, kind = parts.get("FromUserName", ""), parts.get("MsgType", "").lower()
    if not kind or not _NAME.fullmatch(sender) or not _NAME.fullmatch(parts.get("ToUserName", "")):
        raise Rejected(400, "the body is no message of WeChat's")
    created = parts.get("CreateTime", "")
    heard = Inbound(
        event=_id(parts),
        conversation=sender,
        sender=sender,
        at=float(created) if re.fullmatch(r"[0-9]{1,12}", created) else at,
    )
    if kind == "event":
        return _event(heard, parts, at, menu)
    part = _part(kind, parts, words)
    if part is None:
        return None
    return replace(_asked(heard, part, _grant(heard, AFTER_WORDS, at)), ref=parts.get("MsgId", "")[:_SHORT])


def _event(heard: Inbound, parts: Mapping[str, str], at: float, menu: Mapping[str, str]) -> Inbound | None:
    grant = _grant(heard, AFTER_ACTION, at)
    match parts.get("Event", "").lower():
        case "subscribe":
            return replace(heard, kind="greeting", grant=grant)
        case "click":
            said = menu.get(parts.get("EventKey", ""), "")
            return _asked(heard, Text(said), grant) if said.strip() else None
    return None


def _asked(heard: Inbound, part: Part, grant: Grant) -> Inbound:
    return replace(heard, message=Message("user", (part,)), grant=grant)


def _grant(heard: Inbound, allowance: tuple[int, float], at: float) -> Grant:
    """By our own clock: WeChat's may differ by more than the minute that some of it lasts for."""
    uses, seconds = allowance
    return Grant(heard.event, at + seconds, uses)


def _part(kind: str, parts: Mapping[str, str], words: Words) -> Part | None:
    """What was said; None where it was nothing, or is of a kind that we don't know."""
    media = parts.get("MediaId", "")
    match kind:
        case "text":
            return _text(parts.get("Content", ""))
        case "image":
            return File("image", f"{media} {parts.get('PicUrl', '')}".rstrip())
        case "voice":
            return _text(parts.get("Recognition", "")) or _voice(media, parts.get("Format", "").lower())
        case "video" | "shortvideo":
            return File("video", media)
        case "location":
            told = [parts.get(name, "") for name in ("Label", "Location_X", "Location_Y")]
            return Text(words.location.format(text=", ".join(filter(None, told))))
        case "link":
            return _text("\n".join(filter(None, (parts.get(name, "") for name in ("Title", "Description", "Url")))))
    return None


def _text(said: str) -> Text | None:
    return Text(said) if said.strip() else None


def _voice(media: str, format: str) -> File:
    """WeChat understood nothing, or does not tell: accounts are losing that, so the sound has to do."""
    if not re.fullmatch(r"[a-z0-9]{1,16}", format):
        return File("audio", media)
    return File("audio", media, f"voice.{format}", f"audio/{format}")


def _id(parts: Mapping[str, str]) -> str:
    """The same for the same message in each of its deliveries."""
    if parts.get("MsgId"):
        told = [parts["MsgId"]]
    elif parts.get("MsgType", "").lower() == "event":
        told = [parts.get(name, "") for name in ("FromUserName", "CreateTime", "Event", "EventKey")]
    else:
        told = [f"{name}={parts[name]}" for name in sorted(parts)]
    id = ":".join(told)
    # Databases have their limits for what is to be unique; and no other id begins like this.
    return id if len(id) <= _SHORT else "derived-" + hashlib.sha256(id.encode()).hexdigest()[:32]
