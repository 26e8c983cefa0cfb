"""What the simulated Slack keeps of what went on, and what it is told to do wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

from chatferry.simulator.slack_rules import Json

Kind = Literal["events_api", "slash_commands", "interactive"]


@dataclass
class Post:
    """One message in a channel."""

    ts: str
    channel: str
    user: str
    text: str = ""
    blocks: list[Json] = field(default_factory=list)
    thread_ts: str = ""
    """The message whose thread it is in; "" at the top."""
    metadata: Json | None = None
    streaming: bool = False
    edits: int = 0
    deleted: bool = False
    bot: str = ""
    """The id of the bot that wrote it."""
    subtype: str = ""
    files: list[Json] = field(default_factory=list)
    at: float = 0.0
    edited_at: float = 0.0
    stream: list[str] = field(default_factory=list)
    """The pieces of a stream, or the one piece that came as `markdown_text`."""
    mode: str = ""
    """What the stream began with: `markdown_text` or `chunks`."""
    stopped_by: str = ""
    """Who pressed Slack's own stop button under the stream."""
    via: str = ""
    """How the bot wrote it: post, stream or response."""
    answers: str = ""
    """The command that it answers, as its bubble is called."""
    only: str = ""
    """The id of who alone sees it."""

    @property
    def markdown(self) -> str:
        """What a reader sees: what was streamed, then what is in the blocks; `text` only where there are none."""
        if not self.stream and not self.blocks:
            return self.text
        said = [block.get("text") for block in self.blocks]
        shown = [text if isinstance(text, str) else str(text.get("text", "")) for text in said if text]
        return "\n".join(filter(None, ("".join(self.stream), *shown)))

    @property
    def tasks(self) -> list[tuple[str, str]]:
        """Title and status of what a stream shows to be done."""
        return [(block["title"], block["status"]) for block in self.blocks if block.get("type") == "task_card"]

    @property
    def buttons(self) -> list[tuple[str, str]]:
        """Label and value of what can be clicked."""
        return [(button["text"]["text"], button.get("value", "")) for _, button in self.clickable()]

    def clickable(self) -> list[tuple[Json, Json]]:
        """Every button with its block."""
        found = []
        for block in self.blocks:
            elements = [*block.get("elements", ()), block.get("accessory")]
            found += [(block, one) for one in elements if isinstance(one, dict) and one.get("type") == "button"]
        return found


@dataclass
class Room:
    """A channel: what was ever written in it, and what it shows."""

    id: str
    name: str
    team: str
    user: str = ""
    """Whose direct messages these are."""
    posts: dict[str, Post] = field(default_factory=dict)
    top: list[Post] = field(default_factory=list)
    threads: dict[str, list[Post]] = field(default_factory=dict)
    """By the `ts` of the message they hang on, which is not among them."""

    def put(self, post: Post) -> Post:
        self.posts[post.ts] = post
        (self.threads.setdefault(post.thread_ts, []) if post.thread_ts else self.top).append(post)
        return post

    def find(self, ts: str) -> Post:
        """Raises LookupError for what was never written here."""
        if ts not in self.posts:
            raise LookupError(f"no message {ts} in {self.name}")
        return self.posts[ts]


@dataclass
class Call:
    """One call of the Web API and what it was answered. Status 0: the connection was dropped, or no answer is out."""

    method: str
    fields: Json
    at: float
    token: str = ""
    team: str = ""
    status: int = 0
    error: str = ""
    answer: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """`reason` is empty or one of Slack's `x-slack-retry-reason`."""

    status: int
    reason: str
    seconds: float


@dataclass
class Delivery:
    """How one event, command or interaction went out."""

    kind: Kind
    payload: Json
    attempts: list[Attempt] = field(default_factory=list)
    answer: Any = None
    """What the last attempt was answered, if that was JSON."""

    @property
    def status(self) -> int:
        return self.attempts[-1].status if self.attempts else 0

    @property
    def statuses(self) -> list[int]:
        return [attempt.status for attempt in self.attempts]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one call: it waits for `delay`; then it is refused, or its connection closes.

    status, error   refused so: alone, `error` comes with a 200, and `status` without a word
    drop            carried out, but the connection closes without an answer
    lose            the connection closes before it is carried out
    """

    status: int = 0
    error: str = ""
    retry_after: int = 0
    drop: bool = False
    lose: bool = False
    delay: asyncio.Event | None = None
