"""What WeChat accepts of a bot, and the words in which it refuses.

Numbers and codes: the pages "Passive user reply message", "Customer service messages", "getStableAccessToken" and
"typing" of developers.weixin.qq.com. Sentences that no page quotes are ours and marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

Json = dict[str, Any]

CALL_SECONDS = 5.0
CALLS = 3
"""Calls of the bot for one message, all told."""
TEXT_BYTES = 2048
"""A text in UTF-8. Measured; no page says so."""
TOKEN_SECONDS = 7200
OVERLAP_SECONDS = 300
"""So long before its end a stable token is replaced, and both are good until then."""
FORCED_PER_DAY = 20
FORCED_APART = 30
AFTER_WORDS = (5, 48 * 3600)
"""Customer-service messages after a person wrote: how many, and for how many seconds."""
AFTER_ACTION = (3, 60)
"""The same after a menu click, a subscription or a scan."""
TYPING_SECONDS = 15
TYPING_AFTER = 30
"""The typing indicator is for people who did something within so many seconds."""

NOTICE = "该公众号提供的服务出现故障，请稍后再试"
"""What a person reads when the bot has failed."""

ERRORS = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40003: "invalid openid",
    40007: "invalid media_id",
    40008: "invalid message type",
    40013: "invalid appid",
    40066: "invalid url",
    40125: "invalid appsecret",
    41001: "access_token missing",
    42001: "access_token expired",
    43001: "require GET method",
    43002: "require POST method",
    44004: "empty content",
    45002: "content size out of limit",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    45015: "response out of time limit or subscription is canceled",
    45047: "out of response count limit",
    45072: "invalid command",  # ours
    45080: "no interaction within 30 seconds",  # ours
    45081: "already typing",  # ours
    47001: "data format error",
    48001: "api unauthorized",
}

CUSTOM_TYPES = frozenset(
    ("text", "image", "voice", "video", "music", "news", "mpnews", "msgmenu", "wxcard", "miniprogrampage")
)
_ARTICLE = ("Title", "Description", "Url")
_PASSIVE_TYPES = frozenset(("text", "image", "voice", "video", "music", "news", "transfer_customer_service"))


class Refused(Exception):
    """An API call that WeChat does not carry out."""

    def __init__(self, errcode: int, message: str = "") -> None:
        super().__init__(message or ERRORS[errcode])
        self.errcode = errcode


class Malformed(Exception):
    """A reply that WeChat does not show."""


@dataclass(frozen=True)
class Reply:
    kind: str
    text: str = ""
    about: str = ""
    """What it shows in words, if it is no text."""
    file: str = ""
    """The media id of what it shows."""


def reply_in(root: ElementTree.Element, *, to: str, sender: str) -> Reply | None:
    """What a reply shows; None if it only hands the person to the staff."""
    kind = part(root, "MsgType")
    if part(root, "ToUserName") != to or part(root, "FromUserName") != sender:
        raise Malformed("ToUserName and FromUserName are not the message's, swapped")
    if not part(root, "CreateTime").isdecimal():
        raise Malformed("CreateTime is not a number")
    if kind not in _PASSIVE_TYPES:
        raise Malformed(f"MsgType {kind!r}")
    if kind == "transfer_customer_service":
        return None
    if kind == "news":
        return Reply(kind, about=_lines(part(item, name) for item in root.iter("item") for name in _ARTICLE))
    if kind != "text":
        inside = kind.capitalize()
        about = _lines(part(root, f"{inside}/{name}") for name in ("Title", "Description", "MusicUrl"))
        return Reply(kind, about=about, file=part(root, f"{inside}/MediaId"))
    words = part(root, "Content")
    if not words:
        raise Malformed("Content is empty")
    if size(words) > TEXT_BYTES:
        raise Malformed(f"Content has {size(words)} bytes, more than {TEXT_BYTES}")
    return Reply(kind, words)


def tree(body: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in body:
        raise Malformed("a document type")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - without a document type there are no entities to expand
    except ElementTree.ParseError as fault:
        raise Malformed(f"no XML: {fault}") from None
    if root.tag != "xml":
        raise Malformed(f"the root is {root.tag}")
    return root


def part(root: ElementTree.Element, name: str) -> str:
    return root.findtext(name) or ""


def _lines(parts: Iterable[Any]) -> str:
    return "\n".join(part for part in parts if isinstance(part, str) and part)


def size(words: str) -> int:
    """Length as WeChat counts it."""
    return len(words.encode("utf-8", "surrogatepass"))


def check_custom(message: Json) -> Reply:
    """What a customer-service message shows, if there is nothing wrong with it."""
    kind = message.get("msgtype")
    if not isinstance(kind, str) or kind not in CUSTOM_TYPES:
        raise Refused(40008)
    content = message.get(kind)
    if not isinstance(content, dict):
        raise Refused(47001)
    if kind != "text":
        return Reply(kind, about=_lines(_said(content)), file=str(content.get("media_id", "")))
    words = content.get("content")
    if not isinstance(words, str) or not words:
        raise Refused(44004)
    if size(words) > TEXT_BYTES:
        raise Refused(45002)
    return Reply("text", words)


def _said(content: Json) -> Iterator[Any]:
    """All that is to be read of a message: of a menu, of articles, of a file."""
    for name in ("head_content", "list", "tail_content", "articles", "title", "description", "musicurl"):
        told = content.get(name)
        if not isinstance(told, list):
            yield told
            continue
        for one in told:
            if isinstance(one, dict):
                yield from (one.get(name.lower()) for name in ("content", *_ARTICLE))


class Allowance:
    """How many customer-service messages one person may still get. Each act of theirs starts its kind anew."""

    def __init__(self) -> None:
        self._left: dict[tuple[int, int], list[float]] = {}

    def renew(self, rule: tuple[int, int], now: float) -> None:
        count, seconds = rule
        self._left[rule] = [count, now + seconds]

    def end(self) -> None:
        self._left.clear()

    def parts(self, now: float) -> list[Json]:
        """What of it is open: messages used, their limit, and until when."""
        return [
            {"used": limit - count, "limit": limit, "until": until}
            for (limit, _), (count, until) in self._left.items()
            if now < until
        ]

    def left(self, now: float) -> int:
        return int(sum(count for count, until in self._left.values() if now < until))

    def spend(self, now: float) -> None:
        """One message, from what ends first."""
        open_now = sorted((one for one in self._left.values() if now < one[1]), key=lambda one: one[1])
        if not open_now:
            raise Refused(45015)
        for one in open_now:
            if one[0]:
                one[0] -= 1
                return
        raise Refused(45047)
