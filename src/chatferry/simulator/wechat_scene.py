"""What there is to see of the simulated WeChat: its screens, calls that run, allowances, as facts of a scene."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urlencode, urlsplit

from chatferry.simulator.scene import Bubble, Exchange, Scene, masked
from chatferry.simulator.wechat_records import Delivery, Fields, Seen
from chatferry.simulator.wechat_rules import CALLS, Allowance, Json

PLATFORM = "wechat"

_SHAPES: dict[str, Any] = {
    "event": "action",
    "image": "image",
    "location": "location",
    "link": "link",
    "mpnews": "link",
    "music": "audio",
    "news": "link",
    "notice": "notice",
    "shortvideo": "video",
    "video": "video",
    "voice": "audio",
}
"""How a kind of message is shown; text, where nothing is said of it."""


class Screens:
    """Puts what people and the account say into a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._numbers = itertools.count(1)
        self._names: dict[str, str] = {}

    def meet(self, openid: str, name: str) -> None:
        """From here on a person is shown by this name."""
        if name != openid:
            self._names[openid] = name

    def said(self, delivery: Delivery) -> None:
        """A person's own message, on the person's screen."""
        fields = delivery.fields
        openid = str(fields["FromUserName"])
        self._scene.show(
            Bubble(
                PLATFORM,
                openid,
                delivery.ref,
                self._names.get(openid, openid),
                _told(fields),
                _SHAPES.get(str(fields["MsgType"]), "text"),
                delivery.at,
                file=str(fields.get("MediaId", "")),
            )
        )

    def answered(self, openid: str, one: Seen, answers: str) -> None:
        """What the account says, or WeChat in its place."""
        kind = "notice" if one.via == "notice" else one.kind
        self._scene.show(
            Bubble(
                PLATFORM,
                openid,
                f"{one.via}-{next(self._numbers)}",
                "",
                one.text or one.about,
                _SHAPES.get(kind, "text"),
                one.at,
                via="" if one.via == "notice" else one.via,
                answers=answers,
                file=one.file,
            )
        )

    def typing(self, openid: str, until: float) -> None:
        self._scene.put(
            "typing", f"{PLATFORM}/{openid}", platform=PLATFORM, chat=openid, thread="", text="", until=until
        )

    def stopped(self, openid: str) -> None:
        """Nobody types there any more."""
        self._scene.drop("typing", f"{PLATFORM}/{openid}")

    def left(self, openid: str, allowance: Allowance, now: float) -> None:
        """How many customer-service messages a person may still get, of how many."""
        id = f"{PLATFORM}/messages_left/{openid}"
        parts = allowance.parts(now)
        if not parts:
            self._scene.drop("gauge", id)
            return
        self._scene.put(
            "gauge",
            id,
            platform=PLATFORM,
            name="messages_left",
            chat=openid,
            used=sum(one["used"] for one in parts),
            limit=sum(one["limit"] for one in parts),
            until=max(one["until"] for one in parts),
            parts=parts,
        )

    def account(self, verified: bool) -> None:
        """What the account may do."""
        self._scene.put("account", PLATFORM, platform=PLATFORM, verified=verified)

    def unknown(self, openid: str) -> None:
        """The account may send no such messages."""
        self._scene.drop("gauge", f"{PLATFORM}/messages_left/{openid}")


class Slots:
    """The calls of the bot for one message, with the seconds of each."""

    def __init__(self, scene: Scene, delivery: Delivery, limit: float, gap: float) -> None:
        self._scene = scene
        self._chat, self._message = str(delivery.fields["FromUserName"]), delivery.ref
        self._limit = limit
        self._gap = gap
        self._calls: list[Json] = []

    def begin(self, at: float) -> None:
        self._calls.append({"at": at, "seconds": None, "outcome": ""})
        self._put("")

    def end(self, seconds: float, outcome: str, done: str) -> None:
        """`done`: how all of it ended, if it did."""
        self._calls[-1] = self._calls[-1] | {"seconds": seconds, "outcome": outcome}
        self._put(done)

    def _put(self, done: str) -> None:
        began = self._calls[0]["at"]
        self._scene.put(
            "clock",
            f"{PLATFORM}/{self._chat}/{self._message}",
            platform=PLATFORM,
            chat=self._chat,
            message=self._message,
            name="calls",
            began=began,
            until=began + (CALLS - 1) * self._gap + self._limit,
            done=done,
            calls=list(self._calls),
            limit=self._limit,
            of=CALLS,
        )


def hook(url: str, query: dict[str, str], at: float, limit: float, **more: Any) -> Exchange:
    """A call of the bot."""
    parts = urlsplit(url)
    asked = "&".join(filter(None, (parts.query, urlencode(query))))
    return Exchange(PLATFORM, "hook", path=masked(f"{parts.path or '/'}?{asked}"), at=at, limit=limit, **more)


def _told(fields: Fields) -> str:
    """A person's message in words."""
    names: tuple[str, ...]
    match fields["MsgType"]:
        case "text":
            names = ("Content",)
        case "voice":
            names = ("Recognition",)
        case "link":
            names = ("Title", "Description", "Url")
        case "event":
            return " ".join(str(fields[name]) for name in ("Event", "EventKey") if fields.get(name))
        case "location":
            place = f"{fields['Location_X']}, {fields['Location_Y']}"
            return f"{fields['Label']}\n{place}" if fields.get("Label") else place
        case _:
            names = ()
    return "\n".join(str(fields[name]) for name in names if fields.get(name))
