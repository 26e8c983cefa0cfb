"""What the screens of the simulated Slack show: messages as a reader sees them, and the clock that runs for the app."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from chatferry.simulator import slack_people as people
from chatferry.simulator.scene import Bubble, Button, Scene
from chatferry.simulator.slack_records import Kind, Post, Room
from chatferry.simulator.slack_rules import Json

_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
_TOKEN = re.compile(r"<([^<>\s][^<>]*)>")
_CALL = re.compile(r"<([@#!][^<>\s][^<>]*)>")
_ENTITY = re.compile(r"&(?:amp|lt|gt);")
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}
_QUOTE = re.compile(r"^&gt; ?", re.MULTILINE)
_BOLD = re.compile(r"(?<![\w*])\*(?=\S)([^*\n]*\S)\*(?![\w*])")
_STRIKE = re.compile(r"(?<![\w~])~(?=\S)([^~\n]*\S)~(?![\w~])")

_SHAPES: dict[str, Literal["image", "audio", "video"]] = {"image": "image", "audio": "audio", "video": "video"}


def bubbles(post: Post, room: Room, names: Mapping[str, str]) -> Iterator[Bubble]:
    """A message, and after it one for each further file. `names`: of people, by id."""
    ours = post.bot == people.BOT_ID
    first, *others = post.files or [{}]
    text = _seen(post, names) if ours else words(post.text, names)
    yield Bubble(
        "slack",
        post.channel,
        post.ts,
        "" if ours else names.get(post.user, post.user),
        text,
        _shape(first) if first else "markdown" if ours else "text",
        at=post.at or float(post.ts),
        thread=post.thread_ts,
        buttons=tuple(_button(button) for _, button in post.clickable()),
        tasks=tuple(post.tasks),
        via=post.via,
        answers=post.answers,
        growing=post.streaming and not post.stopped_by,
        edits=post.edits,
        deleted=post.deleted,
        only=names.get(post.only, post.only),
        file=first.get("id", ""),
        name=first.get("name", ""),
    )
    for file in others:
        yield Bubble(
            "slack",
            post.channel,
            f"{post.ts}/{file['id']}",
            names.get(post.user, post.user),
            shape=_shape(file),
            at=post.at,
            thread=post.thread_ts,
            deleted=post.deleted,
            file=file["id"],
            name=file["name"],
        )


def _shape(file: Json) -> Literal["image", "audio", "video", "file"]:
    return _SHAPES.get(file["mimetype"].partition("/")[0], "file")


def _button(button: Json) -> Button:
    return Button(button["text"]["text"], button.get("value", ""), button.get("style", ""), button.get("url", ""))


# Text.


def _seen(post: Post, names: Mapping[str, str]) -> str:
    """What a message of the bot's says, as Markdown."""
    if not post.stream and not post.blocks:
        return markdown(post.text, names)
    return "\n\n".join(filter(None, (named("".join(post.stream), names), *(_block(one, names) for one in post.blocks))))


def _block(block: Json, names: Mapping[str, str]) -> str:
    match block:
        case {"type": "markdown", "text": str(text)}:
            return named(text, names)
        case {"type": "divider"}:
            return "---"
        case {"type": "image", "image_url": str(url)}:
            return f"![{block.get('alt_text', '')}]({url})"
        case {"type": "header", "text": {"text": str(text)}}:
            return f"### {text}"
        case {"type": "context", "elements": list(parts)}:
            return " ".join(filter(None, (_object(part, names) for part in parts)))
    parts = [block.get("text"), *(block.get("fields") or ())]
    return "\n".join(filter(None, (_object(part, names) for part in parts)))


def _object(part: Any, names: Mapping[str, str]) -> str:
    match part:
        case {"type": "mrkdwn", "text": str(text)}:
            return markdown(text, names)
        case {"text": str(text)}:
            return text
    return ""


def words(mrkdwn: str, names: Mapping[str, str]) -> str:
    """Slack's text as plain words: links with their address."""
    return _unescaped(_TOKEN.sub(lambda found: _told(found[1], names, "{label} ({url})"), mrkdwn))


def named(markdown: str, names: Mapping[str, str]) -> str:
    """Markdown in which those who are called have their names."""
    if "<" not in markdown:
        return markdown
    return "".join(
        part if at % 2 else _CALL.sub(lambda found: _told(found[1], names, ""), part)
        for at, part in enumerate(_CODE.split(markdown))
    )


def markdown(mrkdwn: str, names: Mapping[str, str]) -> str:
    """Slack's text as Markdown."""
    parts = _CODE.split(mrkdwn)
    for at, part in enumerate(parts):
        if at % 2 == 0:
            parts[at] = _marked(part, names)
        elif "\n" in part:  # a block, whose fences Markdown wants on lines of their own
            gap = "" if not parts[at - 1] or parts[at - 1].endswith("\n") else "\n"
            after = "" if not parts[at + 1] or parts[at + 1].startswith("\n") else "\n"
            parts[at] = f"{gap}```\n{_unescaped(part).strip('`').strip(chr(10))}\n```{after}"
        else:
            parts[at] = _unescaped(part)
    return "".join(parts)


def _marked(text: str, names: Mapping[str, str]) -> str:
    tokens: list[str] = []

    def aside(found: re.Match[str]) -> str:
        """Kept away from the marks: an address may hold some."""
        tokens.append(_told(found[1], names, "[{label}]({url})"))
        return f"\ufdd0{len(tokens) - 1}\ufdd1"

    text = _TOKEN.sub(aside, text)
    text = _STRIKE.sub(r"~~\1~~", _BOLD.sub(r"**\1**", _QUOTE.sub("> ", text)))
    return re.sub("\ufdd0([0-9]+)\ufdd1", lambda found: tokens[int(found[1])], _unescaped(text))


def _told(token: str, names: Mapping[str, str], link: str) -> str:
    """What Slack shows for `<token>`."""
    target, _, label = token.partition("|")
    label = _unescaped(label)
    if target[0] == "@":
        return "@" + (names.get(target[1:]) or label or _ours(target[1:]))
    if target[0] == "#":
        return "#" + (label or target[1:])
    if target[0] == "!":
        return label or "@" + target[1:].partition("^")[0]
    url = _unescaped(target)
    return link.format(label=label, url=url) if label and label != url else url


def _ours(user: str) -> str:
    return people.BOT_NAME if user.startswith(people.BOT) else user


def _unescaped(text: str) -> str:
    return _ENTITY.sub(lambda found: _ENTITIES[found[0]], text) if "&" in text else text


# The clock.


def about(kind: Kind, payload: Json) -> tuple[str, str]:
    """The channel and the message that a delivery is about, as far as it is about any."""
    if kind == "slash_commands":
        return payload["channel_id"], command_id(payload["trigger_id"])
    if kind == "interactive":
        where = payload.get("channel") or {}
        return where.get("id", ""), payload.get("message_ts") or payload.get("container", {}).get("message_ts", "")
    event = payload["event"]
    channel, inner = event.get("channel"), event.get("message")
    message = event.get("deleted_ts") or (inner.get("ts") if isinstance(inner, dict) else "")
    message = message or event.get("message_ts") or event.get("ts") or event.get("thread_ts") or ""
    return channel if isinstance(channel, str) else "", message


def command_id(trigger: str) -> str:
    """What the bubble of a slash command is called: it is no message on Slack, and has no `ts`."""
    return f"command/{trigger}"


class Ack:
    """The clock of a delivery. The two events of one message share it: one list of `tries`."""

    def __init__(self, scene: Scene, kind: Kind, payload: Json, seconds: float) -> None:
        self.chat, self.message = about(kind, payload)
        self._scene = scene
        self._seconds = seconds
        event = payload.get("event", {})
        self._name = str(event.get("type") or payload.get("type") or payload.get("command", ""))
        self._id = f"slack/{self.chat}/{self.message}"
        before = None if event.get("hidden") or not self.message else scene.get("clock", self._id)
        self._tries: list[Json] = before["tries"] if before else []
        self._began = 0.0

    def begin(self, now: float) -> Json:
        """One attempt goes out; it is given to `end` when it is over."""
        self._began = now
        attempt: Json = {"at": now, "event": self._name, "seconds": None, "outcome": ""}
        self._tries.append(attempt)
        self._put("", None)
        return attempt

    def end(self, attempt: Json, seconds: float, outcome: str, again: float | None) -> None:
        """`outcome`: answered, or one of Slack's reasons; `again`: when the next attempt comes."""
        attempt |= {"seconds": seconds, "outcome": outcome}
        self._put(outcome, again)

    def _put(self, done: str, again: float | None) -> None:
        if self.chat and self.message:
            times = {"began": self._began, "until": self._began + self._seconds, "next": again}
            where = {"platform": "slack", "chat": self.chat, "message": self.message}
            self._scene.put("clock", self._id, **where, name="ack", done=done, tries=self._tries, **times)
