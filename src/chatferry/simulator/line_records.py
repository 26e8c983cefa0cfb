"""What the simulated LINE keeps of what went on, and what it is told to do wrong."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Literal

from chatferry.simulator.line_rules import Json


@dataclass(frozen=True)
class Seen:
    """One message that is on a person's screen."""

    id: str
    message: Json
    via: Literal["reply", "push"]
    at: float
    event: str = ""
    """The event whose reply token brought it."""

    @property
    def text(self) -> str:
        body: Json = self.message.get("template", self.message)
        return str(body.get("text", ""))

    @property
    def buttons(self) -> list[tuple[str, str]]:
        """Label and data of what can be tapped."""
        quick = [item["action"] for item in self.message.get("quickReply", {}).get("items", [])]
        actions = self.message.get("template", {}).get("actions", []) + quick
        return [(action["label"], action.get("data", "")) for action in actions]


@dataclass
class ReplyToken:
    """The leave to answer one event."""

    chat: str
    event: str
    message: str
    """What the event is about, as its bubble is called."""
    born: float
    done: Literal["", "used", "expired"] = ""


@dataclass(frozen=True)
class Accepted:
    """A push that may not be repeated."""

    request_id: str
    sent: list[Json]
    at: float


@dataclass
class Call:
    """One call of the API and what it was answered. Status 0: the connection was dropped, or no answer is out yet."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    at: float
    status: int = 0
    answer: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Delivery:
    """How one webhook went. `reason` is empty or one of "Check webhook error statistics"."""

    status: int
    seconds: float
    reason: str
    events: tuple[Json, ...]
    redelivery: bool = False


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one call: it waits for `gate`, is answered with `status`, or its connection is dropped.

    `done`: LINE carries it out all the same, so that only the answer is lost.
    """

    status: int = 0
    message: str = ""
    gate: asyncio.Event | None = None
    drop: bool = False
    done: bool = False
