"""What Slack's Web API accepts, as data, and the names of its refusals.

Numbers and names: the method pages and "Rate limits" of docs.slack.dev. What is measured or missing there is marked.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

TIER_1, TIER_2, TIER_3, TIER_4, SPECIAL = 1, 20, 50, 100, 600
"""Calls of a method in a minute, for one workspace. The documents promise "at least"; `SPECIAL` is ours."""
TIERS = {
    "chat.update": TIER_3,
    "chat.delete": TIER_3,
    "chat.postEphemeral": TIER_4,
    "chat.startStream": TIER_2,
    "chat.appendStream": TIER_4,
    "chat.stopStream": TIER_2,
    "conversations.replies": TIER_3,
    "conversations.history": TIER_3,
    "users.info": TIER_4,
    "views.open": TIER_4,
    "agents.sessions.setStatus": TIER_3,
    "assistant.threads.setSuggestedPrompts": TIER_4,
    "assistant.threads.setTitle": TIER_4,
    "oauth.v2.access": TIER_4,
    "auth.revoke": TIER_3,
}
READS = ("conversations.replies", "conversations.history")
MARKETPLACE_OBJECTS = 15
"""What a read gives to an app that is distributed outside the Marketplace, once a minute (`TIER_1`)."""
POST = "chat.postMessage"
POSTS_BURST = 5
"""chat.postMessage: one a second in a channel, "short bursts" allowed; how short is ours."""

UPDATE_TEXT = 4000
POST_TEXT = 40_000
"""Beyond it, text is cut (measured)."""
MARKDOWN_TEXT = 12_000
"""Also for all markdown blocks of a message together (measured)."""
BLOCKS = 50
BLOCKS_TEXT = 13_200
"""All text in a message's blocks (measured)."""
STREAM_SECONDS = 300.0
"""A stream ends so long after its start, whatever it carries (measured)."""
TASK_STATUSES = ("pending", "in_progress", "complete", "error")
TASK_TITLE = 256
STATUS_SECONDS = 120.0
"""A status goes by itself so long after it was set."""
TRIGGER_SECONDS = 3.0
RESPONSE_URL_SECONDS, RESPONSE_URL_USES = 1800.0, 5
TOKEN_SECONDS = 43_200
VIEW_LABEL = 24
PRIVATE_METADATA = 3000
SESSION_STATUSES = ("active", "processing", "suspended", "closed")

SCOPES = (
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "chat:write",
    "commands",
    "files:read",
    "groups:history",
    "im:history",
    "mpim:history",
    "users:read",
)
NEEDED = {
    "chat": ("chat:write",),
    "agents": ("chat:write",),
    "users": ("users:read",),
    "conversations": ("channels:history", "groups:history", "im:history", "mpim:history"),
    "assistant": ("assistant:write", "chat:write"),
}
"""Scopes, any of which will do, by the first word of a method's name."""

_OTHER_BLOCKS = (
    "divider",
    "context",
    "rich_text",
    "image",
    "context_actions",
    "input",
    "file",
    "table",
    "plan",
    "video",
)


class Refused(Exception):
    """`{"ok": false, "error": …}`, with whatever else the answer says."""

    def __init__(self, error: str, *why: str, status: int = 200, retry_after: int = 0, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.retry_after = retry_after
        self.body: Json = {"ok": False, "error": error, **more}
        if why:
            self.body["response_metadata"] = {"messages": [f"[ERROR] {one}" for one in why]}


class Budgets:
    """Who called what how often: a sliding minute for each method and workspace, one post a second for each channel."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._posts: dict[str, float] = {}

    def spend(self, team: str, method: str, channel: str, now: float, *, marketplace: bool) -> None:
        """Raises Refused with the seconds to wait."""
        if method == POST:
            due = max(self._posts.get(channel, 0.0), now - POSTS_BURST)
            if due > now - 1:
                raise _limited(due - now + 1)
            self._posts[channel] = due + 1
            return
        limit = _limit(method, marketplace)
        minute = self._minutes[team, method]
        while minute and minute[0] <= now - 60:
            minute.popleft()
        if len(minute) >= limit:
            raise _limited(minute[0] + 60 - now)
        minute.append(now)

    def gauge(
        self, team: str, method: str, channel: str, now: float, *, marketplace: bool
    ) -> tuple[int, int, float] | None:
        """What is used up, of how much, and when it is all there again. None: no number is documented."""
        if method == POST:
            full = self._posts.get(channel, 0.0) + POSTS_BURST
            return math.ceil(max(0.0, full - now)), POSTS_BURST, full
        minute = self._minutes[team, method]
        if method not in TIERS or not minute:
            return None
        return len(minute), _limit(method, marketplace), minute[-1] + 60


def _limit(method: str, marketplace: bool) -> int:
    return TIER_1 if marketplace and method in READS else TIERS.get(method, SPECIAL)


def _limited(seconds: float) -> Refused:
    return Refused("ratelimited", status=429, retry_after=max(1, math.ceil(seconds)))


def check_message(fields: Json, *, markdown: bool, longest: int | None = None) -> None:
    """May a message say this? `longest`: of `text`, where it is not simply cut. Raises Refused."""
    text, said, blocks = fields.get("text"), fields.get("markdown_text"), fields.get("blocks")
    if said is not None and (text or blocks):
        raise Refused("markdown_text_conflict")
    if longest is not None and len(text or "") > longest:
        raise Refused("msg_too_long")
    check_markdown(said)
    check_blocks(blocks, markdown=markdown)
    if not (blocks or fields.get("attachments") or (text or "").strip() or (said or "").strip()):
        raise Refused("no_text")


def check_markdown(said: Any) -> None:
    if said is not None and (not isinstance(said, str) or len(said) > MARKDOWN_TEXT):
        raise Refused("msg_too_long")


def check_blocks(blocks: Any, *, markdown: bool) -> None:
    if blocks is None:
        return
    if not isinstance(blocks, list):
        raise Refused("invalid_blocks_format")
    if len(blocks) > BLOCKS or sum(_lengths(blocks)) > BLOCKS_TEXT:
        raise Refused("msg_blocks_too_long")
    said = [block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "markdown"]
    if sum(len(text) for text in said if isinstance(text, str)) > MARKDOWN_TEXT:
        raise Refused("msg_blocks_too_long")
    faults = [fault for at, block in enumerate(blocks) for fault in _block(f"/blocks/{at}", block, markdown)]
    if faults:
        raise Refused("invalid_blocks", *faults)


def check_view(view: Any) -> None:
    if not isinstance(view, dict) or view.get("type") != "modal" or not isinstance(view.get("blocks"), list):
        raise Refused("invalid_arguments", "view must be a modal [json-pointer:/view]")
    faults = list(_plain("/view/title", view.get("title"), VIEW_LABEL))
    for name in ("submit", "close"):
        if name in view:
            faults += _plain(f"/view/{name}", view[name], VIEW_LABEL)
    if len(view.get("private_metadata", "")) > PRIVATE_METADATA:
        faults.append("must be less than 3001 characters [json-pointer:/view/private_metadata]")
    faults += [fault for at, block in enumerate(view["blocks"]) for fault in _block(f"/view/blocks/{at}", block, True)]
    if faults:
        raise Refused("invalid_arguments", *faults)


def _lengths(part: Any) -> Iterator[int]:
    """Of every text in a tree of blocks."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "text" and isinstance(value, str):
                yield len(value)
            else:
                yield from _lengths(value)
    elif isinstance(part, list):
        for value in part:
            yield from _lengths(value)


def _block(where: str, block: Any, markdown: bool) -> Iterator[str]:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "markdown" and markdown:
        if not isinstance(block.get("text"), str) or not block["text"].strip():
            yield f"must be a non-empty string [json-pointer:{where}/text]"
    elif kind == "section":
        if "text" in block or "fields" not in block:
            yield from _text(f"{where}/text", block.get("text"), 3000)
        if "accessory" in block:
            yield from _element(f"{where}/accessory", block["accessory"])
    elif kind == "header":
        yield from _plain(f"{where}/text", block.get("text"), 150)
    elif kind == "actions":
        elements = block.get("elements")
        if not isinstance(elements, list) or not 1 <= len(elements) <= 25:
            yield f"must have 1 to 25 items [json-pointer:{where}/elements]"
            return
        for at, element in enumerate(elements):
            yield from _element(f"{where}/elements/{at}", element)
        ids = [element.get("action_id") for element in elements if isinstance(element, dict)]
        if len(set(ids)) < len(ids):
            yield f"`action_id` already exists [json-pointer:{where}/elements]"
    elif kind not in _OTHER_BLOCKS:
        yield f"unsupported type: {kind} [json-pointer:{where}/type]"


def _element(where: str, element: Any) -> Iterator[str]:
    if not isinstance(element, dict) or not isinstance(element.get("type"), str):
        yield f"unsupported type [json-pointer:{where}/type]"
    elif element["type"] == "button":
        yield from _plain(f"{where}/text", element.get("text"), 75)
        for name, most in (("value", 2000), ("action_id", 255)):
            if not isinstance(element.get(name, ""), str) or len(element.get(name, "")) > most:
                yield f"must be less than {most + 1} characters [json-pointer:{where}/{name}]"
        if element.get("style", "primary") not in ("primary", "danger"):
            yield f"must be one of primary, danger [json-pointer:{where}/style]"


def _plain(where: str, text: Any, most: int) -> Iterator[str]:
    if isinstance(text, dict) and text.get("type") == "mrkdwn":
        yield f"must be plain_text [json-pointer:{where}/type]"
    yield from _text(where, text, most)


def _text(where: str, text: Any, most: int) -> Iterator[str]:
    said = text.get("text") if isinstance(text, dict) and text.get("type") in ("plain_text", "mrkdwn") else None
    if not isinstance(said, str) or not said:
        yield f"must be a text object [json-pointer:{where}]"
    elif len(said) > most:
        yield f"must be less than {most + 1} characters [json-pointer:{where}/text]"
