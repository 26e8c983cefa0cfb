"""WeChat Official Accounts (公眾號).

Every account may answer in the response to WeChat's own call, which it makes three times, five seconds each. Verified
accounts may send: five customer-service messages in the 48 hours after a person wrote. Which of the two an account is,
the first try shows. A message that is out cannot be changed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from chatferry.channels import wechat_events, wechat_xml
from chatferry.channels.base import Capabilities, Hold, Hook, Surroundings, Taken
from chatferry.channels.wechat_api import FORBIDDEN, NOT_NOW, SEND, TYPING, WeChatApi, fault
from chatferry.channels.wechat_check import findings
from chatferry.channels.wechat_memory import Memory
from chatferry.channels.wechat_safe import Safe, same, signature
from chatferry.channels.wechat_tokens import StableTokens
from chatferry.channels.wechat_way import Way
from chatferry.errors import Final, NoLeave, Rejected, TryLater
from chatferry.model import File, Finding, Grant, Message, Receipt
from chatferry.text.cutting import clean

if TYPE_CHECKING:
    from chatferry.config import WeChatSettings

LIMIT = 2048
"""Bytes of a text in UTF-8. Measured; no page says so."""
CALLS = 3
"""How often WeChat calls for one message: "Passive user reply message", and what people measured."""
TYPING_SECONDS = 17.0
"""Typing shows for 15 s, and asking again while it shows is refused; a call is renewed at nine tenths of this."""
LOOK_SECONDS = 300.0
"""How often we look whether another process found out which way answers go."""
SUCCESS = b"success"
"""Taken, and nothing to say. Never encrypted."""


class Enclosed(msgspec.Struct, frozen=True):
    """Makes a text the answer to one message. Called with it, returns the body of the response."""

    to: str
    sender: str
    at: int
    """Unix seconds."""
    nonce: str
    token: str
    safe: Safe | None = None

    def __call__(self, text: str) -> bytes:
        reply = wechat_xml.written(
            ToUserName=self.to, FromUserName=self.sender, CreateTime=self.at, MsgType="text", Content=text
        )
        if self.safe is None:
            return reply
        shut = self.safe.shut(reply)
        signed = signature(self.token, str(self.at), self.nonce, shut)
        return wechat_xml.written(Encrypt=shut, MsgSignature=signed, TimeStamp=self.at, Nonce=self.nonce)

    def __repr__(self) -> str:
        return f"Enclosed({self.to})"  # no secret, wherever it may be printed


class WeChat:
    """One WeChat Official Account."""

    def __init__(self, name: str, settings: WeChatSettings, around: Surroundings) -> None:
        self.name = name
        self._settings = settings
        self._clock = around.clock
        self._words = around.words
        self._token = settings.token.get_secret_value()
        self._safe = Safe(settings.aes_key.get_secret_value(), settings.app_id) if settings.aes_key else None
        memory = Memory(name, settings.app_id, around.vault)
        self._way = Way(name, settings, around.clock, memory)
        secret = settings.app_secret.get_secret_value() if settings.app_secret else ""
        self._tokens = StableTokens(settings.app_id, secret, settings.api_base, around.http, around.clock, memory)
        self._api = WeChatApi(self._tokens, settings.api_base, around.http)
        self.caps = Capabilities(
            limit=LIMIT,
            measure="utf8",
            pages=True,
            keyless=True,
            typing=0.0 if self._way.fixed == "passive" else TYPING_SECONDS,
        )

    # ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, hook: Hook) -> Taken:
        """Verify, then read. A GET with an `echostr` is WeChat's check of the address, and gets that back."""
        url_token, query = self._settings.url_token, hook.query
        if url_token and not same(query.get("token", ""), url_token.get_secret_value()):
            raise Rejected(403, "the address lacks its token")
        if not hook.body and "echostr" in query:
            return Taken(body=self._echo(query))
        parts, safe = self._opened(hook)
        inbound = wechat_events.read(parts, at=hook.at, menu=self._settings.menu, words=self._words)
        if inbound is None:
            return Taken(body=SUCCESS)
        mode = self._way.known
        if mode == "passive":
            inbound = replace(inbound, grant=None)
        hold = None if mode == "service" else self._hold(hook, parts, safe)
        return Taken((inbound,), body=SUCCESS, hold=hold)

    def _echo(self, query: Mapping[str, str]) -> bytes:
        """The word that WeChat wants to have back; accounts send it in clear, whatever their mode."""
        word = query["echostr"]
        if self._signed(query):
            return word.encode("utf-8", "replace")
        if self._safe is None or not self._signed(query, word):
            raise _forged()
        return self._safe.open(word)

    def _opened(self, hook: Hook) -> tuple[Mapping[str, str], Safe | None]:
        """What is said, and what encrypts the answer to it."""
        query, safe = hook.query, self._safe
        if not self._signed(query) and (safe is None or "msg_signature" not in query):
            raise _forged()
        parts = wechat_xml.read(hook.body)
        shut = parts.get("Encrypt", "")
        if safe is None:
            if shut and "MsgType" not in parts:
                raise Rejected(
                    400, "the account is in safe mode: set its EncodingAESKey as aes_key, or change its mode"
                )
            return parts, None
        if not shut:  # the signature of such a body covers nothing of it, and who has seen one could forge others
            if not self._signed(query):
                raise _forged()
            raise Rejected(400, "aes_key is set, but the account is in plain mode: unset it, or change the mode")
        if not self._signed(query, shut):
            raise _forged()
        return wechat_xml.read(safe.open(shut)), safe

    def _signed(self, query: Mapping[str, str], shut: str | None = None) -> bool:
        """Is it WeChat's? With an encrypted text, that has a signature of its own."""
        parts = [self._token, query.get("timestamp", ""), query.get("nonce", "")]
        if shut is None:
            return same(query.get("signature", ""), signature(*parts))
        return same(query.get("msg_signature", ""), signature(*parts, shut))

    def _hold(self, hook: Hook, parts: Mapping[str, str], safe: Safe | None) -> Hold:
        enclosed = Enclosed(
            to=parts["FromUserName"],
            sender=parts["ToUserName"],
            at=int(hook.at),
            nonce=hook.query.get("nonce", ""),
            token=self._token,
            safe=safe,
        )
        return Hold(enclosed, self._settings.hold, self._settings.limit, CALLS)

    async def listen(self, accept: Callable[[Taken], Awaitable[object]]) -> None:
        """Learn which way answers go, where a process before us or beside us has found out."""
        while self._way.fixed is None:
            await self._way.load()
            await self._clock.sleep(LOOK_SECONDS)

    # ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(
        self, address: str, messages: Sequence[Message], *, key: str, grant: Grant | None
    ) -> Sequence[Receipt]:
        """A customer-service message, by the leave that the person gave in writing to us."""
        if len(messages) != 1:
            raise ValueError(f"{len(messages)} messages: WeChat takes 1 in one call")
        if grant is None:
            raise NoLeave("WeChat lets us write only to who has written to us, and not long ago")
        text = clean(messages[0].text)
        if not text.strip():
            raise Final("WeChat takes no message without text")
        if self._way.known is None:
            await self._way.load()
        if self._way.known == "passive":
            raise NoLeave("this account answers in the response to WeChat's call only")
        try:
            told = await self._api.post(
                SEND, {"touser": address, "msgtype": "text", "text": {"content": text}}, once=True
            )
            if told.errcode == FORBIDDEN:
                await self._way.learn("passive")
            if told.errcode:
                raise fault(SEND, told)
        except TryLater as passing:
            if self._way.known is None:
                # A request is held for it too, which need not wait until we know.
                raise NoLeave(f"not known yet whether this account may send: {passing}") from passing
            raise
        await self._way.learn("service")
        return [Receipt()]

    async def may_push(self) -> bool:
        return False

    async def typing(self, address: str) -> None:
        """Show that somebody types, where the account is known to be one that may."""
        if self._way.known != "service":
            return
        told = await self._api.post(TYPING, {"touser": address, "command": "Typing"})
        if told.errcode and told.errcode not in NOT_NOW:
            raise fault(TYPING, told)

    async def download(self, file: File, limit: int) -> bytes:
        """The bytes of a file: by its id, or for a picture by its address, where there is no leave for that."""
        media, _, picture = file.ref.partition(" ")
        if self._settings.app_secret is not None and re.fullmatch(r"[\w-]{1,256}", media, re.ASCII):
            try:
                return await self._api.media(media, limit)
            except NoLeave:  # not for this account
                if not self._api.has(picture):
                    raise
        if not self._api.has(picture):
            raise Final("this file does not lie with WeChat, or needs app_id and app_secret")
        return await self._api.picture(picture, limit)

    def check(self, hook_url: str | None) -> AsyncIterator[Finding]:
        """Are id and secret good, from this address? Which way do answers go? What does WeChat call?"""
        return findings(self._settings, self._tokens, self._api, hook_url)


def _forged() -> Rejected:
    return Rejected(403, "the signature is not WeChat's for this account: is `token` right?")
