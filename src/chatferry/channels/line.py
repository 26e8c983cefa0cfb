"""LINE Official Accounts, by the Messaging API.

A webhook brings a reply token: one call with up to five messages, free, within a minute. Everything else is a push,
which counts against the month's quota per person reached. A message that is out cannot be changed.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from chatferry.channels import line_events
from chatferry.channels.base import Capabilities, Hook, Surroundings, Taken
from chatferry.channels.line_api import LineApi, fault, told
from chatferry.channels.line_check import findings, quota
from chatferry.errors import Ambiguous, Fault, Final, NoLeave, Rejected
from chatferry.model import File, Finding, Grant, Message, Receipt
from chatferry.text.cutting import split

if TYPE_CHECKING:
    from chatferry.config import LineSettings

BATCH = 5
"""Messages in one call: `maxItems` in messaging-api.yml."""
TEXT_LIMIT = 5000
"""UTF-16 code units of a text message: the reference, "Text message", and "Character counting in a text"."""
TEMPLATE_TEXT = 160
"""Grapheme clusters of a buttons template without title and image. There are never more of them than code points."""
TEMPLATE_BUTTONS = 4
QUICK_REPLIES = 13
LABEL = 20
LOADING_SECONDS = 20
QUOTA_SECONDS = 300.0
"""How long a look at the quota is believed."""
NOTICE_SECONDS = 5.0
"""How long before its end a reply token is spent on a button, where nothing may be pushed: at 45 s of its 50."""


class Line:
    """One LINE Official Account."""

    def __init__(self, name: str, settings: LineSettings, around: Surroundings) -> None:
        self.name = name
        self.caps = Capabilities(
            batch=BATCH,
            limit=TEXT_LIMIT,
            measure="utf16",
            typing=float(LOADING_SECONDS) if settings.waiting == "loading" else 0.0,
            waiting=settings.waiting == "message",
            unprompted="never" if settings.late == "button" else "ask",
            overhears=settings.groups == "all",
            collect=True,
            buttons=True,
            notice=NOTICE_SECONDS,
        )
        self._settings = settings
        self._clock = around.clock
        self._api = LineApi(settings.token, settings.api_base, settings.data_api_base, around.http)
        self._left = 0.0
        """Pushes left in the month, as of `_looked` and our own since."""
        self._looked = -QUOTA_SECONDS

    def take(self, hook: Hook) -> Taken:
        """Verify, then read. The answer is an empty 200, within LINE's two seconds if the caller is quick."""
        url_token = self._settings.url_token
        if url_token and not _same(hook.query.get("token", ""), url_token.get_secret_value()):
            raise Rejected(403, "the address lacks its token")
        # "Verify webhook signature": Base64 of HMAC-SHA256 over the body as it came, keyed with the channel secret.
        secret = self._settings.secret.get_secret_value().encode()
        right = base64.b64encode(hmac.digest(secret, hook.body, "sha256")).decode()
        if not _same(hook.headers.get("x-line-signature", ""), right):
            raise Rejected(400, "the signature is not LINE's for this channel")
        return Taken(line_events.read(hook.body, at=hook.at, groups=self._settings.groups))

    async def send(
        self, address: str, messages: Sequence[Message], *, key: str, grant: Grant | None
    ) -> Sequence[Receipt]:
        """Reply by the grant, or push."""
        if not 1 <= len(messages) <= BATCH:
            raise ValueError(f"{len(messages)} messages: LINE takes 1 to {BATCH} in one call")
        objects = [_object(message) for message in messages]
        body = await (self._reply(grant, objects) if grant else self._push(address, objects, key))
        sent = told(body).sentMessages or []
        ids = [one.id for one in sent] + [""] * (len(messages) - len(sent))
        return [Receipt(id) for id in ids[: len(messages)]]

    async def _reply(self, grant: Grant, objects: list[dict[str, Any]]) -> bytes:
        """Without a retry key, which LINE refuses here (400).

        "Retry failed API requests": after a 5xx or a timeout the message may be out all the same. The token works once,
        so to ask again with it is safe: if the first call did work, the second is told "Invalid reply token".
        """
        path = "/v2/bot/message/reply"
        status, body = await self._api.post(path, {"replyToken": grant.token, "messages": objects}, once=True)
        if status == 200:
            return body
        if status >= 500:
            raise Ambiguous(f"LINE {path}: {status}")
        raise fault(path, status, body)

    async def _push(self, address: str, objects: list[dict[str, Any]], key: str) -> bytes:
        """With a retry key, which LINE keeps for a day: 409 says that an earlier call with it was accepted."""
        path = "/v2/bot/message/push"
        status, body = await self._api.post(path, {"to": address, "messages": objects}, key=key)
        if status == 409:
            return body
        if status == 200:
            self._left -= 1
            if not address.startswith("U"):  # counts once for each member, and how many there are we don't know
                self._looked = -QUOTA_SECONDS
            return body
        failed = fault(path, status, body)
        if isinstance(failed, NoLeave):
            self._left, self._looked = 0.0, self._clock.now()
        raise failed

    async def may_push(self) -> bool:
        """Is there quota left? True if LINE does not say: then the push itself finds out.

        With `late = "push"` the quota is not asked for; a push that LINE refused for it still closes this way.
        """
        now = self._clock.now()
        if now - self._looked >= QUOTA_SECONDS:
            if self._settings.late == "push":
                return True
            try:
                limit, used = await quota(self._api)
            except Fault:
                return True
            self._left, self._looked = limit - used, now
        return self._left >= 1

    async def typing(self, address: str) -> None:
        """Show the loading dots, for 20 s or until a message comes. LINE has them for talks of two only."""
        if not address.startswith("U"):
            return
        path = "/v2/bot/chat/loading/start"
        status, body = await self._api.post(path, {"chatId": address, "loadingSeconds": LOADING_SECONDS})
        if status >= 300:
            raise fault(path, status, body)

    async def download(self, file: File, limit: int) -> bytes:
        """The bytes of a file. LINE deletes them after a time that it does not tell."""
        if not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", file.ref):
            raise Final("this file does not lie with LINE")
        return await self._api.content(file.ref, limit)

    def check(self, hook_url: str | None) -> AsyncIterator[Finding]:
        """Is the token good, who are we, what is left to push, and does LINE reach us?"""
        return findings(self._api, hook_url)


def _same(given: str, right: str) -> bool:
    """Compared in constant time, whatever was given."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def _object(message: Message) -> dict[str, Any]:
    """A message as LINE's message object."""
    text = message.text
    if not text.strip():
        raise Final("LINE takes no message without text")
    if not message.buttons:
        return {"type": "text", "text": text}
    actions = [
        {"type": "postback", "label": split(button.label, LABEL)[0], "data": button.data, "displayText": button.label}
        for button in message.buttons
    ]
    if len(text) <= TEMPLATE_TEXT and len(actions) <= TEMPLATE_BUTTONS:
        # `altText` (at most 400) is what the list of talks and LINE without templates show: here the text itself.
        return {"type": "template", "altText": text, "template": {"type": "buttons", "text": text, "actions": actions}}
    # A template cannot hold it. Quick replies can, but vanish with the next message.
    items = [{"type": "action", "action": action} for action in actions[:QUICK_REPLIES]]
    return {"type": "text", "text": text, "quickReply": {"items": items}}
