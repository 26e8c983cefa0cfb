"""What the simulated WeChat keeps of what went on, and what it is told to do wrong."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from chatferry.simulator.weather import Weather

Fields = dict[str, str | int]
"""A message or an event as WeChat names its parts, without nesting."""


@dataclass(frozen=True)
class Seen:
    """One message that is on a person's screen. "notice" is WeChat's own sentence about a bot that failed."""

    text: str
    via: Literal["passive", "custom", "notice"]
    at: float
    call: int = 0
    """Which call's response brought it, from 1; 0 for what came by the API."""
    message: str = ""
    """The MsgId that it answers, where that is known."""
    kind: str = "text"
    about: str = ""
    """What it shows in words, if it is no text."""
    file: str = ""
    """The media id of what it shows."""


@dataclass(frozen=True)
class Attempt:
    """One call of the bot. Status 0: no answer.

    `reason` is empty, or one of "timeout", "unreachable", "status", or "malformed: " and what is wrong with the reply.
    """

    status: int
    seconds: float
    body: bytes
    reason: str = ""
    url: str = ""

    @property
    def answered(self) -> bool:
        """There was an answer, good or bad, so that WeChat does not call again."""
        return not self.reason or self.reason.startswith("malformed")


@dataclass
class Delivery:
    """One message or event and the calls in which the bot was told. A call is in `attempts` once it has ended."""

    fields: Fields
    at: float
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The MsgId; events have none."""
        return str(self.fields.get("MsgId", ""))

    @property
    def ref(self) -> str:
        """The MsgId, or what WeChat tells events apart by."""
        told = [self.fields.get(name, "") for name in ("FromUserName", "CreateTime", "Event", "EventKey")]
        return self.id or ":".join(map(str, told))

    @property
    def reason(self) -> str:
        """Why the bot failed; empty if it did not."""
        return self.attempts[-1].reason if self.attempts else "not called"


@dataclass
class Call:
    """One call of the API and what it was answered. Status 0: the connection was dropped, or no answer is out yet."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    at: float
    status: int = 0
    answer: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def errcode(self) -> int:
        """WeChat's verdict; 0 is success."""
        try:
            return int(json.loads(self.answer).get("errcode", 0))
        except ValueError:  # a file
            return 0


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one call: it waits for `gate`, gets `errcode` or an HTTP `status`, or is dropped.

    `done`: WeChat carries it out all the same, so that only the answer is lost.
    """

    errcode: int = 0
    message: str = ""
    status: int = 0
    gate: asyncio.Event | None = None
    drop: bool = False
    done: bool = False


@dataclass
class WeChatWeather(Weather):
    """WeChat's "429" is 45011, "retry next minute"; its "500" is -1, "system error". Both have status 200."""

    used_up: bool = False
    """The account has made all its API calls of this day: 45009."""
