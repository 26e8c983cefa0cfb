"""What there is to see of the simulated LINE: its screens, reply tokens that run out, the month's pushes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chatferry.simulator import line_people as people
from chatferry.simulator.line_records import ReplyToken, Seen
from chatferry.simulator.line_rules import REPLY_TOKEN_SECONDS, Json
from chatferry.simulator.scene import Bubble, Button, Scene

PLATFORM = "line"

_SHAPES: dict[str, Any] = {kind: kind for kind in ("image", "audio", "video", "file", "sticker", "location")}
"""How a kind of message is shown; text, where nothing is said of it."""
_ACTS = ("follow", "unfollow", "join")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}")


class Screens:
    """Puts what people and the bot do into a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._names: dict[str, str] = {}
        self._said: dict[str, Bubble] = {}
        """What people said, by message."""

    def meet(self, user: str, group: str | None) -> None:
        """From here on a person, and a group, is shown by this name."""
        self._names.setdefault(people.address("U", user), user)
        if group is not None:
            self._names.setdefault(people.address("C", group), group)

    def name(self, id: str) -> str:
        return self._names.get(id, id)

    def happened(self, event: Json, at: float, words: str = "") -> None:
        """Show what a person did. `words`: what the person sees of it, where the event does not tell."""
        chat, message = people.place(event), people.ref(event)
        if event["type"] == "unsend":
            if message in self._said:
                self._scene.show(replace(self._said[message], deleted=True))
            return
        bubble = Bubble(PLATFORM, chat, message, self.name(event["source"].get("userId", "")), at=at)
        if event["type"] == "message":
            content = event["message"]
            kind = content["type"]
            file, name = (message if "contentProvider" in content or kind == "file" else ""), content.get("fileName")
            bubble = replace(
                bubble, text=_said(content), shape=_SHAPES.get(kind, "text"), file=file, name=str(name or "")
            )
            self._said[message] = bubble
        elif event["type"] == "postback":
            bubble = replace(bubble, text=words or event["postback"]["data"], shape="action")
        elif event["type"] in _ACTS:
            bubble = replace(bubble, text=event["type"], shape="action")
        else:
            return
        self._scene.show(bubble)

    def answered(self, chat: str, one: Seen, answers: str) -> None:
        """Show what the bot says, and no dots any more."""
        self._scene.drop("typing", f"{PLATFORM}/{chat}")
        own, quick = actions(one.message)
        self._scene.show(
            Bubble(
                PLATFORM,
                chat,
                one.id,
                "",
                self._told(one.message),
                _SHAPES.get(one.message["type"], "text"),
                one.at,
                buttons=tuple(_button(action) for action in own + quick),
                quick=bool(quick) and not own,
                via=one.via,
                answers=answers,
            )
        )

    def typing(self, chat: str, until: float) -> None:
        self._scene.put("typing", f"{PLATFORM}/{chat}", platform=PLATFORM, chat=chat, thread="", text="", until=until)

    def clock(self, token: ReplyToken) -> None:
        """How long a reply token lives, or how it ended."""
        self._scene.put(
            "clock",
            f"{PLATFORM}/{token.chat}/{token.message}",
            platform=PLATFORM,
            chat=token.chat,
            message=token.message,
            name="reply_token",
            began=token.born,
            until=token.born + REPLY_TOKEN_SECONDS,
            done=token.done,
        )

    def quota(self, used: int, limit: int | None) -> None:
        """The month's pushes."""
        gauge = {"platform": PLATFORM, "name": "push_quota", "used": used, "limit": limit, "until": None, "chat": ""}
        self._scene.put("gauge", f"{PLATFORM}/push_quota", **gauge)

    def chat_of(self, message: str) -> str:
        """Where a person said this; empty: nobody did."""
        return self._said[message].chat if message in self._said else ""

    def _told(self, message: Json) -> str:
        """What a message of the bot says; its `altText`, where nothing but pictures is drawn."""
        match message:
            case {"type": "text", "text": str(text)}:
                return text
            case {"type": "textV2", "text": str(text), "substitution": dict(named)}:
                return _PLACEHOLDER.sub(lambda found: self._placed(found, named), text)
            case {"type": "template", "template": dict(template)}:
                rows = template["columns"] if "carousel" in template["type"] else [template]
                return "\n\n".join(filter(None, map(_row, rows))) or str(message.get("altText", ""))
            case {"type": "flex", "contents": dict(contents)}:
                return "\n".join(_flex(contents)) or str(message.get("altText", ""))
            case {"type": "location"}:
                return _place(message)
            case {"type": "sticker"}:
                return ""
        return next((str(message[key]) for key in ("altText", "originalContentUrl", "text") if key in message), "")

    def _placed(self, found: re.Match[str], named: Json) -> str:
        match named.get(found[1] or ""):
            case {"type": "mention", "mentionee": {"type": "user", "userId": str(id)}}:
                return f"@{self.name(id)}"
            case {"type": "mention"}:
                return "@All"
            case {"type": "emoji"}:
                return "☺"
        return found[0][0] if found[1] is None else found[0]


def actions(message: Json) -> tuple[list[Json], list[Json]]:
    """What the buttons of a bot's message do, and what its quick replies do."""
    quick = [item["action"] for item in message.get("quickReply", {}).get("items", [])]
    own = message.get("template") if message["type"] == "template" else message.get("contents")
    return [action for action in _actions(own) if action.get("label")], quick


def value(action: Json) -> str:
    """What tapping it sends."""
    return str(action.get("data") or action.get("text") or "")


def _actions(part: Any) -> Iterator[Json]:
    """Every action in a template, or anywhere in a flex message."""
    if isinstance(part, list):
        for one in part:
            yield from _actions(one)
    elif isinstance(part, dict):
        for key, inner in part.items():
            if key == "action" and isinstance(inner, dict):
                yield inner
            elif key == "actions" and isinstance(inner, list):
                yield from (action for action in inner if isinstance(action, dict))
            else:
                yield from _actions(inner)


def _button(action: Json) -> Button:
    return Button(str(action["label"]), value(action), url=str(action.get("uri", "")))


def _row(row: Json) -> str:
    return "\n".join(str(row[key]) for key in ("title", "text") if row.get(key))


def _flex(part: Any) -> list[str]:
    """The lines that a container or component of a flex message says. What stands side by side is one line."""
    match part:
        case {"type": "text", "contents": [*spans]} if spans:
            return ["".join(str(span.get("text", "")) for span in spans)]
        case {"type": "text", "text": str(text)}:
            return [text]
        case {"type": "bubble"}:
            return [line for name in ("header", "hero", "body", "footer") for line in _flex(part.get(name))]
        case {"type": "carousel", "contents": [*bubbles]}:
            return [line for one in bubbles for line in ("", *_flex(one))][1:]
        case {"type": "box", "contents": [*parts]}:
            lines = [_flex(one) for one in parts]
            if part.get("layout") == "vertical":
                return [line for some in lines for line in some]
            return list(filter(None, [" ".join(line for some in lines for line in some)]))
    return []


def _place(message: Json) -> str:
    return "\n".join(str(message[key]) for key in ("title", "address") if message.get(key))


def _said(content: Json) -> str:
    return str(content.get("text") or ", ".join(content.get("keywords", ())) or _place(content))
