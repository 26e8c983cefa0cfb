"""Our messages as Slack's fields: the text as Markdown where Slack takes that, and the buttons beneath it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chatferry.channels.slack_markup import escape, mrkdwn
from chatferry.errors import Final
from chatferry.model import Button, Message, Text
from chatferry.text.cutting import split
from chatferry.words import Words

TEXT_LIMIT = 4000
"""Of `text` in chat.update."""
SECTION_LIMIT = 3000
BUTTON_LABEL = 75
SHOWN = 10
"""Of what is being called, in a message that is edited where a stream was before."""

_CALL = re.compile(r"<(?=!(?:channel|here|everyone|subteam)|@[UW][A-Z0-9])")


def tamed(markdown: str) -> str:
    """Whatever a model says, it calls nobody: not a whole channel, and not another bot that would answer."""
    return _CALL.sub("<\u2060", markdown)


def meek(message: Message) -> Message:
    """A message with its words tamed, and with what it shows beside them."""
    return msgspec.structs.replace(message, parts=(Text(tamed(message.text)),))


def fields(message: Message, *, markdown: bool, last: bool) -> dict[str, Any]:
    """`text` and `blocks` of a message. With blocks, `text` is what notifications and other apps show.

    markdown: the workspace takes a block of Markdown. last: it does not grow, so `text` is worth the conversion.
    """
    said = tamed(message.text)
    if not said.strip():
        raise Final("Slack takes no message without text")
    doing = [task.title for task in message.tasks if task.state == "running" and not last]
    below = [*(_aside(title) for title in doing[:SHOWN]), *actions(message.buttons)]
    if markdown:
        return {
            "text": mrkdwn(said, limit=TEXT_LIMIT) if last else _escaped(said),
            "blocks": [{"type": "markdown", "text": said}, *below],
        }
    text = mrkdwn(said, limit=TEXT_LIMIT)
    # Where there are blocks Slack does not show `text`. An empty list takes those away that were there before.
    sections = [{"type": "section", "text": {"type": "mrkdwn", "text": piece}} for piece in split(text, SECTION_LIMIT)]
    return {"text": text, "blocks": [*sections, *below] if below else []}


def actions(buttons: Sequence[Button]) -> list[dict[str, Any]]:
    """The block of the buttons, if there are any."""
    elements = [
        {
            "type": "button",
            "text": _plain(button.label[:BUTTON_LABEL]),
            "action_id": button.data,
            "value": button.data,
        }
        for button in buttons
    ]
    return [{"type": "actions", "elements": elements}] if elements else []


def stop_dialog(words: Words, meant: Mapping[str, str]) -> dict[str, Any]:
    """Asks whether the answer shall really stop; `meant` comes back when it is sent."""
    return {
        "type": "modal",
        "callback_id": "stop_answer",
        "private_metadata": msgspec.json.encode(meant).decode(),
        "title": _plain(words.stop_answer),
        "submit": _plain(words.stop),
        "close": _plain(words.cancel),
        "blocks": [{"type": "section", "text": _plain(words.stop_sure)}],
    }


def _aside(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_plain(text)]}


def _plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def _escaped(text: str) -> str:
    """What would be taken for Slack's own marks is not; whole entities only."""
    escaped = escape(text)
    return escaped if len(escaped) <= TEXT_LIMIT else re.sub(r"&[a-z]{0,3}$", "", escaped[:TEXT_LIMIT])
