"""What there is to see of a simulation, for whoever watches it: screens, the wire, clocks.

A scene is a set of facts. A fact has a `kind` and an `id`; one that is put again takes the place of the one before, so
whoever has all facts has everything, and whoever follows needs no history. The kinds that simulators put:

    bubble     one message on a screen (`Bubble`)
    exchange   one HTTP request and its answer, or one envelope over a socket (`Exchange`)
    typing     chat, text, until: what moves where the next answer will be
    clock      message, chat, name, began, until, done: time that runs out; `done` says how it ended, "" while it runs
    gauge      name, used, limit (None: without), chat, until: a budget
    dialog     who, view: a dialog that is open
    weather    what goes wrong now (`Weather`)
    account    verified: whether a WeChat account may send by itself
    fault      why, at: what somebody did came to nothing (`Control`)

Times are unix seconds. An id begins with the platform's name and a slash.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Json = dict[str, Any]
Fact = Json

KEPT = 500
"""Facts of one kind; the oldest go first."""
READABLE = 8000
"""Characters of a body that are shown."""

_SECRET = re.compile(
    r"""((?:"|\b)(?:access_token|refresh_token|client_secret|app_secret|secret|token|api_key)"?(?:\s*:\s*"|=)|\b(?:code|key)=)
    ([^"&\s]{0,4})[^"&\s]*""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Button:
    label: str
    value: str
    style: str = ""
    url: str = ""
    """It opens this instead of telling the bot."""


@dataclass(frozen=True)
class Bubble:
    """One message as it stands on a screen. Shown again under the same `message`, it has changed."""

    platform: str
    chat: str
    """The platform's id of the talk, group or channel."""
    message: str
    """The platform's id of it."""
    who: str
    """The name of the person; empty: the bot."""
    text: str = ""
    shape: Literal["text", "markdown", "image", "audio", "video", "file", "sticker", "location", "link", "action",
                   "notice"] = "text"  # fmt: skip
    """action: somebody tapped or did something; notice: the platform's own words."""
    at: float = 0.0
    thread: str = ""
    """The message that it hangs on."""
    buttons: tuple[Button, ...] = ()
    tasks: tuple[tuple[str, str], ...] = ()
    """Title and status of what is shown to be done for it, where the platform knows of tasks."""
    quick: bool = False
    """The buttons go with the next message."""
    via: str = ""
    """How it came: reply, push, passive, custom, post, stream, response."""
    answers: str = ""
    """The message or event that it answers, where the platform knows."""
    growing: bool = False
    edits: int = 0
    deleted: bool = False
    only: str = ""
    """Who alone sees it, by name."""
    file: str = ""
    """What `/_sim/file/...` knows it by."""
    name: str = ""
    """The file's."""


@dataclass(frozen=True)
class Exchange:
    """One request on the wire. While `seconds` is None its answer is still awaited."""

    platform: str
    way: Literal["hook", "call"]
    """hook: the platform calls the bot; call: the bot calls the platform."""
    method: str
    path: str
    at: float
    request: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that matter, masked."""
    chat: str = ""
    message: str = ""
    """What it is about."""
    note: str = ""
    """Such as "retry 1: http_timeout", "call 2 of 3", "redelivery"."""
    limit: float | None = None
    """Seconds that the answer may take."""
    seconds: float | None = None
    status: int = 0
    """0: no answer."""
    reason: str = ""
    """What the platform makes of a bad answer; empty: it is content."""
    answer: bytes = b""
    number: int = 0


class Scene:
    """Facts, and those who follow them. To put one costs little: it is written out when somebody looks."""

    def __init__(self) -> None:
        self._facts: dict[str, dict[str, Fact | Bubble | Exchange]] = {}
        self._followers: set[_Follower] = set()
        self._over = False
        self._numbers = itertools.count(1)

    def put(self, kind: str, id: str, **fact: Any) -> None:
        """A fact as it is now."""
        self._put(kind, id, fact)

    def _put(self, kind: str, id: str, fact: Fact | Bubble | Exchange) -> None:
        facts = self._facts.setdefault(kind, {})
        facts[id] = fact
        self._tell(kind, id)
        if len(facts) > KEPT:
            self.drop(kind, next(iter(facts)))

    def drop(self, kind: str, id: str) -> None:
        """It is true no longer, or too long ago."""
        if self._facts.get(kind, {}).pop(id, None) is not None:
            self._tell(kind, id)

    def get(self, kind: str, id: str) -> Fact | None:
        """A fact as JSON has it, with its kind and id."""
        fact = self._facts.get(kind, {}).get(id)
        return None if fact is None else _written(kind, id, fact)

    def all(self) -> list[Fact]:
        return [_written(kind, id, fact) for kind, facts in self._facts.items() for id, fact in facts.items()]

    def show(self, bubble: Bubble) -> None:
        self._put("bubble", f"{bubble.platform}/{bubble.chat}/{bubble.message}", bubble)

    def begin(self, exchange: Exchange) -> Exchange:
        """A request goes out; `number` is given here."""
        exchange = replace(exchange, number=next(self._numbers), request=_cut(exchange.request))
        self._put("exchange", f"{exchange.platform}/{exchange.number}", exchange)
        return exchange

    def end(self, exchange: Exchange, seconds: float, status: int, *, reason: str = "", answer: bytes = b"") -> None:
        """Its answer is there, or the wait for it is over."""
        ended = replace(exchange, seconds=seconds, status=status, reason=reason, answer=_cut(answer))
        self._put("exchange", f"{exchange.platform}/{exchange.number}", ended)

    async def follow(self) -> AsyncIterator[list[Fact]]:
        """All facts; then, as often as something changes, what changed: whoever reads slowly misses only states
        between. What is dropped comes as `{kind, id, dropped: true}`. Ends when the scene is closed."""
        follower = _Follower()
        self._followers.add(follower)
        try:
            yield self.all()
            while not self._over:
                await follower.changed.wait()
                follower.changed.clear()
                marks, follower.marks = follower.marks, {}
                if marks:
                    yield [self.get(kind, id) or {"kind": kind, "id": id, "dropped": True} for kind, id in marks]
        finally:
            self._followers.discard(follower)

    def close(self) -> None:
        """Nobody follows any more."""
        self._over = True
        for follower in self._followers:
            follower.changed.set()

    def _tell(self, kind: str, id: str) -> None:
        for follower in self._followers:
            follower.marks[kind, id] = None
            follower.changed.set()


class _Follower:
    def __init__(self) -> None:
        self.marks: dict[tuple[str, str], None] = {}
        self.changed = asyncio.Event()


def _written(kind: str, id: str, fact: Fact | Bubble | Exchange) -> Fact:
    if isinstance(fact, dict):
        return {"kind": kind, "id": id, **fact}
    written = {"kind": kind, "id": id, **asdict(fact)}
    if isinstance(fact, Exchange):
        written |= {"request": readable(fact.request), "answer": readable(fact.answer)}
    return written


def _cut(body: bytes) -> bytes:
    """What is kept of a body: pictures in hundreds of requests would fill the memory."""
    return body if len(body) <= 4 * READABLE else readable(body).encode()


def readable(body: bytes) -> str:
    """A body for people: text, cut if it is long, with what opens doors masked; or how many bytes it has."""
    if b"\0" in body[:1000] or body.startswith(b"\xff\xd8"):
        return f"({len(body):,} bytes)"
    text = body[: 4 * READABLE].decode("utf-8", "replace")
    return masked(text[:READABLE]) + ("…" if len(text) > READABLE else "")


def masked(text: str) -> str:
    """The text with the values of tokens and keys cut to their first four letters."""
    return _SECRET.sub(r"\1\2…", text)


def known(headers: Mapping[str, str], *names: str) -> dict[str, str]:
    """These headers, if they are there, by their names in small letters; who may come in is masked."""
    found = {name: headers[name] for name in names if name in headers}
    if "authorization" in found:
        scheme, _, token = found["authorization"].partition(" ")
        found["authorization"] = f"{scheme} {token[:4]}…"
    return found
