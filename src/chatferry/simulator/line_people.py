"""The people on LINE: what they do, as the webhook events that a bot gets. Shapes: webhook.yml (line-openapi)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import secrets
from typing import Any, Literal

from chatferry.simulator.line_rules import ADDRESS, units

Json = dict[str, Any]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_message_numbers = itertools.count(1)


def address(kind: Literal["U", "C", "R"], name: str) -> str:
    """The LINE id that stands for a name here: users are U..., groups C..., rooms R.... An id stands for itself."""
    if ADDRESS.fullmatch(name):
        return name
    return kind + hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()[:32]


def signed(secret: str, payload: Json) -> tuple[bytes, dict[str, str]]:
    """A webhook's body and headers."""
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    signature = base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()
    return body, {"Content-Type": "application/json; charset=utf-8", "x-line-signature": signature}


def new_message_id() -> str:
    """Message ids are decimal numbers that grow."""
    return str(500_000_000_000_000_000 + next(_message_numbers))


def source(user: str, group: str | None) -> Json:
    """Where something happened. A group's name that begins with R is a room's id."""
    who = {"userId": address("U", user)}
    if group is None:
        return {"type": "user", **who}
    place = address("C", group)
    return {"type": "room", "roomId": place, **who} if place[0] == "R" else {"type": "group", "groupId": place, **who}


def place(event: Json) -> str:
    """The id of the talk, group or room in which an event happened."""
    where = event["source"]
    return str(where.get("groupId") or where.get("roomId") or where["userId"])


def ref(event: Json) -> str:
    """The message that an event is about; the event's own id, if it is about none."""
    if event["type"] == "unsend":
        return str(event["unsend"]["messageId"])
    about = event["message"] if event["type"] == "message" else {}
    return str(about.get("id") or event.get("webhookEventId", ""))


def event(kind: str, where: Json, now: float, *, reply: bool = True, **more: Any) -> Json:
    """One event with an id (a ULID) and, unless nobody may answer it, a reply token of its own."""
    made: Json = {
        "type": kind,
        "mode": "active",
        "timestamp": int(now * 1000),
        "source": where,
        "webhookEventId": _ulid(now),
        "deliveryContext": {"isRedelivery": False},
        **more,
    }
    return made | {"replyToken": secrets.token_hex(16)} if reply else made


def text(words: str, *, mention: str = "") -> Json:
    """A text message's content; `mention` is the bot's id, who is then named in front."""
    content: Json = {"type": "text", "id": new_message_id(), "quoteToken": secrets.token_hex(12), "text": words}
    if mention:
        name = "@Ferry"
        content["text"] = f"{name} {words}"
        named = {"type": "user", "index": 0, "length": units(name), "userId": mention, "isSelf": True}
        content["mention"] = {"mentionees": [named]}
    return content


def sticker(keywords: list[str]) -> Json:
    return {
        "type": "sticker",
        "id": new_message_id(),
        "quoteToken": secrets.token_hex(12),
        "packageId": "446",
        "stickerId": "1988",
        "stickerResourceType": "STATIC",
        "keywords": keywords,
    }


def media(kind: Literal["image", "audio", "video", "file"], name: str, size: int) -> Json:
    """The content of a message whose bytes are fetched by its id."""
    if kind == "file":
        return {"type": kind, "id": new_message_id(), "fileName": name, "fileSize": size}
    content = {"type": kind, "id": new_message_id(), "contentProvider": {"type": "line"}}
    return content if kind == "audio" else content | {"quoteToken": secrets.token_hex(12)}


def _ulid(now: float) -> str:
    number = int(now * 1000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
