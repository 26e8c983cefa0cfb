"""What LINE's Messaging API accepts, as data, and the words in which it refuses.

Numbers: messaging-api.yml (line-openapi) and the Messaging API reference, under the names they have there. The form of
an error is the reference's ("Error responses"). Where it quotes no sentence for a case, ours stands here and is marked.
"""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]

REPLY_TOKEN_SECONDS = 60
"""ReplyMessageRequest.replyToken: to be used within one minute of receiving the webhook."""
RETRY_KEY_SECONDS = 24 * 3600
"""X-Line-Retry-Key is remembered for a day."""
MESSAGES = (1, 5)
TEXT = (1, 5000)
"""TextMessage.text, in UTF-16 code units."""
ALT_TEXT = (1, 400)
BUTTONS_TEXT = (1, 160)
"""ButtonsTemplate.text without title and image."""
TEXT_UNDER_TITLE = (1, 60)
"""The same, and that of a carousel's column, below either."""
BUTTONS_ACTIONS = (1, 4)
CONFIRM_TEXT = (1, 240)
CONFIRM_ACTIONS = (2, 2)
COLUMNS = (1, 10)
COLUMN_TEXT = (1, 120)
COLUMN_ACTIONS = (1, 3)
LABEL = (1, 20)
POSTBACK_DATA = (1, 300)
DISPLAY_TEXT = (1, 300)
QUICK_REPLY_ITEMS = (1, 13)
LOADING_SECONDS = range(5, 61, 5)
WEBHOOK_SECONDS = 2.0
"""A bot has to answer a webhook within two seconds ("Check webhook error statistics")."""
REDELIVERY_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds before each redelivery. Ours: LINE publishes neither how often it delivers again nor when."""

UNAUTHORIZED = (
    "Authentication failed due to the following reason: invalid token. "
    "Confirm that the access token in the authorization header is valid."
)
INVALID_REPLY_TOKEN = "Invalid reply token"  # noqa: S105 - a sentence
FAILED_TO_SEND = "Failed to send messages"
INVALID_TO = "The property, 'to', in the request body is invalid (line: -, column: -)"
NOT_JSON = "The request body could not be parsed as JSON (line: 1, column: 1)"
MONTHLY_LIMIT = "You have reached your monthly limit."
RATE_LIMIT = "The API rate limit has been exceeded. Try again later."
INTERNAL = "Internal server error"  # ours: the document gives the status (500) only
RETRY_KEY_ACCEPTED = "The retry key is already accepted"
NOT_FOUND = "Not found"
RETRY_KEY_REFUSED = "The retry key is not supported by this API"  # ours: the document gives the status (400) only
RETRY_KEY_INVALID = "The retry key is invalid"  # ours

ADDRESS = re.compile(r"[UCR][0-9a-f]{32}")
USER = re.compile(r"U[0-9a-f]{32}")
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# Kinds of messages that exist but that nothing here looks into.
_OTHER_TYPES = ("textV2", "sticker", "image", "video", "audio", "location", "imagemap", "flex", "coupon")
_TYPES = ("text", "template", *_OTHER_TYPES)


def refused(details: list[Json]) -> Json:
    """The body of a 400 for a body with faults in it."""
    return {"message": f"The request body has {len(details)} error(s)", "details": details}


def faults_in(messages: Any) -> list[Json]:
    """Every fault of the messages of one request, by property."""
    if not isinstance(messages, list) or not MESSAGES[0] <= len(messages) <= MESSAGES[1]:
        return [_fault("messages", "Size must be between {} and {}".format(*MESSAGES))]
    return [fault for at, message in enumerate(messages) for fault in _message(f"messages[{at}]", message)]


def units(text: str) -> int:
    """Length as LINE counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _fault(where: str, what: str) -> Json:
    return {"message": what, "property": where}


def _message(where: str, message: Any) -> list[Json]:
    kind = message.get("type") if isinstance(message, dict) else None
    faults: list[Json] = []
    if kind == "text":
        faults += _text(f"{where}.text", message.get("text"), TEXT)
    elif kind == "template":
        faults += _text(f"{where}.altText", message.get("altText"), ALT_TEXT)
        faults += _template(f"{where}.template", message.get("template"))
    elif kind not in _OTHER_TYPES:
        return [_fault(f"{where}.type", f"Must be one of the following values: [{', '.join(_TYPES)}]")]
    if "quickReply" in message:
        faults += _quick_reply(f"{where}.quickReply.items", message["quickReply"])
    return faults


def _text(where: str, text: Any, bounds: tuple[int, int], *, clusters: bool = False) -> list[Json]:
    """`clusters`: LINE counts grapheme clusters here. Code points are the nearest that the standard library has."""
    if not isinstance(text, str) or not text.strip():
        return [_fault(where, "May not be empty")]
    if (len(text) if clusters else units(text)) > bounds[1]:
        return [_fault(where, "Length must be between {} and {}".format(*bounds))]
    return []


def _template(where: str, template: Any) -> list[Json]:
    kind = template.get("type") if isinstance(template, dict) else None
    if kind == "buttons":
        return _words_and_actions(where, template, BUTTONS_TEXT, BUTTONS_ACTIONS)
    if kind == "confirm":
        return _words_and_actions(where, template, CONFIRM_TEXT, CONFIRM_ACTIONS)
    if kind not in ("carousel", "image_carousel"):
        return [_fault(f"{where}.type", "Must be one of the following values: [buttons, confirm, carousel]")]
    columns = template.get("columns")
    if not isinstance(columns, list) or not COLUMNS[0] <= len(columns) <= COLUMNS[1]:
        return [_fault(f"{where}.columns", "Size must be between {} and {}".format(*COLUMNS))]
    return [fault for at, column in enumerate(columns) for fault in _column(f"{where}.columns[{at}]", kind, column)]


def _column(where: str, kind: str, column: Any) -> list[Json]:
    if not isinstance(column, dict):
        return [_fault(where, "May not be empty")]
    if kind == "carousel":
        return _words_and_actions(where, column, COLUMN_TEXT, COLUMN_ACTIONS)
    action = column.get("action")
    return _action(f"{where}.action", {"label": "-", **action} if isinstance(action, dict) else None)


def _words_and_actions(where: str, part: Json, words: tuple[int, int], actions: tuple[int, int]) -> list[Json]:
    """`words`: where neither title nor image stands over them."""
    under_title = words != CONFIRM_TEXT and ("title" in part or "thumbnailImageUrl" in part)
    bounds = TEXT_UNDER_TITLE if under_title else words
    faults = _text(f"{where}.text", part.get("text"), bounds, clusters=True)
    return faults + _actions(f"{where}.actions", part.get("actions"), actions)


def _quick_reply(where: str, quick_reply: Any) -> list[Json]:
    items = quick_reply.get("items") if isinstance(quick_reply, dict) else None
    actions = [item.get("action") if isinstance(item, dict) else None for item in items] if items else None
    return _actions(where, actions, QUICK_REPLY_ITEMS)


def _actions(where: str, actions: Any, bounds: tuple[int, int]) -> list[Json]:
    if not isinstance(actions, list) or not bounds[0] <= len(actions) <= bounds[1]:
        return [_fault(where, "Size must be between {} and {}".format(*bounds))]
    return [fault for at, action in enumerate(actions) for fault in _action(f"{where}[{at}]", action)]


def _action(where: str, action: Any) -> list[Json]:
    if not isinstance(action, dict) or not isinstance(action.get("type"), str):
        return [_fault(f"{where}.type", "May not be empty")]
    faults = _text(f"{where}.label", action.get("label"), LABEL, clusters=True)
    if action["type"] == "postback":
        faults += _text(f"{where}.data", action.get("data"), POSTBACK_DATA)
        if "displayText" in action:
            faults += _text(f"{where}.displayText", action["displayText"], DISPLAY_TEXT, clusters=True)
    return faults
