"""How the simulated WeChat calls the bot: up to three times for one message, five seconds each time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

import aiohttp

from chatferry.simulator import wechat_people as people
from chatferry.simulator import wechat_rules as rules
from chatferry.simulator import wechat_scene as scene
from chatferry.simulator.wechat_crypto import Safe, signature
from chatferry.simulator.wechat_records import Attempt, Delivery, Fields, Seen
from chatferry.simulator.wechat_rules import Malformed, Reply, part

if TYPE_CHECKING:
    from chatferry.simulator.wechat import WeChatSimulator

_CHECK_SECONDS = 5.0


class _Letter(NamedTuple):
    query: dict[str, str]
    body: bytes
    clear: bytes
    """The body without its encryption."""


class Courier:
    """Calls for one account, whose settings may change between two calls."""

    def __init__(self, sim: WeChatSimulator) -> None:
        self._sim = sim
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def deliver(self, fields: Fields) -> Delivery:
        """Bring a message to the bot, in as many calls as that takes, and show what comes of it."""
        sim = self._sim
        delivery = Delivery(fields, sim.clock.now())
        sim.deliveries.append(delivery)
        sim.screens.said(delivery)
        slots = scene.Slots(sim.scene, delivery, sim.limit, sim.gap)
        urls = [sim.webhook, *sim.replicas]
        reply: Reply | None = None
        for number in range(rules.CALLS):
            async with contextlib.nullcontext() if number else sim.weather.turn():
                start = sim.clock.now()
                slots.begin(start)
                attempt, reply = await self._call(urls[number % len(urls)], delivery, number + 1)
            delivery.attempts.append(attempt)
            last = attempt.answered or number == rules.CALLS - 1
            done = ("failed" if attempt.reason else "answered") if last else ""
            slots.end(attempt.seconds, _outcome(attempt, reply), done)
            if last:
                break
            pause = start + sim.gap - sim.clock.now()
            if pause > 0:
                await sim.clock.sleep(pause)
        call = len(delivery.attempts)
        openid, now = str(fields["FromUserName"]), sim.clock.now()
        if delivery.reason:
            await sim.show(openid, Seen(rules.NOTICE, "notice", now, call, delivery.id), delivery.ref)
        elif reply:
            seen = Seen(reply.text, "passive", now, call, delivery.id, reply.kind, reply.about, reply.file)
            await sim.show(openid, seen, delivery.ref)
        return delivery

    async def check(self) -> bool:
        """What WeChat does when the address is entered: whether the bot gives back the word it is called with."""
        sim = self._sim
        word = str(secrets.randbelow(10**19))
        query = self.signed() | {"echostr": word}
        start = sim.clock.now()
        exchange = sim.scene.begin(
            scene.hook(sim.webhook, query, start, _CHECK_SECONDS, method="GET", note="check of the address")
        )
        status, body = 0, b""
        try:
            patience = aiohttp.ClientTimeout(_CHECK_SECONDS)
            async with self._session().get(sim.webhook, params=query, timeout=patience) as answer:
                body = await answer.read()
                status = answer.status
        except (TimeoutError, aiohttp.ClientError):
            pass
        good = status == 200 and body == word.encode()
        reason = "" if good else "not the word" if status else "no answer"
        sim.scene.end(exchange, sim.clock.now() - start, status, reason=reason, answer=body)
        return good

    def signed(self) -> dict[str, str]:
        timestamp, nonce = str(int(self._sim.clock.now())), str(secrets.randbelow(10**10))
        return {"signature": signature(self._sim.token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}

    @cached_property
    def _safe(self) -> Safe:
        return Safe(self._sim.aes_key, self._sim.app_id)

    async def _call(self, url: str, delivery: Delivery, number: int) -> tuple[Attempt, Reply | None]:
        """One call; or where everything comes twice the same one twice, of which one answer counts."""
        note = f"call {number} of {rules.CALLS}" + ("" if self._sim.mode == "plain" else ", encrypted")
        letter = self.written(delivery.fields)
        if not self._sim.weather.duplicate:
            return await self._attempt(url, delivery, letter, note)
        both = await asyncio.gather(
            self._attempt(url, delivery, letter, note),
            self._attempt(url, delivery, letter, f"{note}, duplicate"),
        )
        return min(both, key=lambda one: (one[1] is None, not one[0].answered, one[0].seconds))

    async def _attempt(self, url: str, delivery: Delivery, letter: _Letter, note: str) -> tuple[Attempt, Reply | None]:
        """One request, cut off when its time is over."""
        sim = self._sim
        start = sim.clock.now()
        fields = delivery.fields
        told = scene.hook(
            url,
            letter.query,
            start,
            sim.limit,
            method="POST",
            request=letter.clear,
            headers={"content-type": "text/xml"},
            chat=str(fields["FromUserName"]),
            message=delivery.ref,
            note=note,
        )
        exchange = sim.scene.begin(told)
        over = asyncio.ensure_future(sim.clock.sleep(sim.limit))
        answer = asyncio.ensure_future(self._post(url, letter))
        try:
            await asyncio.wait({over, answer}, return_when=asyncio.FIRST_COMPLETED)
            status, said, reason = answer.result() if answer.done() else (0, b"", "timeout")
        finally:
            over.cancel()
            answer.cancel()
            await asyncio.gather(over, answer, return_exceptions=True)
        clear, reply = said, None
        if not reason:
            try:
                clear, root = self._opened(said)
                if root is not None:
                    reply = rules.reply_in(root, to=str(fields["FromUserName"]), sender=sim.account)
            except Malformed as fault:
                reason = f"malformed: {fault}"
        seconds = sim.clock.now() - start
        sim.scene.end(exchange, seconds, status, reason=reason, answer=clear)
        return Attempt(status, seconds, said, reason, url), reply

    async def _post(self, url: str, letter: _Letter) -> tuple[int, bytes, str]:
        """That a status other than 200 counts as no answer is an assumption: no page says what WeChat makes of one."""
        headers = {"Content-Type": "text/xml", "User-Agent": "Mozilla/4.0"}
        try:
            async with self._session().post(url, params=letter.query, data=letter.body, headers=headers) as answer:
                read = await answer.read()
                return answer.status, read, "" if answer.status == 200 else "status"
        except aiohttp.ClientError:
            return 0, b"", "unreachable"

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            # The simulated clock ends calls, not aiohttp's.
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(None)
            )
        return self._http

    def written(self, fields: Fields) -> _Letter:
        """One call in the account's mode."""
        sim = self._sim
        query = self.signed() | {"openid": str(fields["FromUserName"])}
        clear = people.xml(fields).encode()
        if sim.mode == "plain":
            return _Letter(query, clear, clear)
        encrypted = self._safe.shut(clear)
        query["encrypt_type"] = "aes"
        query["msg_signature"] = signature(sim.token, query["timestamp"], query["nonce"], encrypted)
        shown: Fields = fields if sim.mode == "compatible" else {"ToUserName": sim.account}
        return _Letter(query, people.xml(shown | {"Encrypt": encrypted}).encode(), clear)

    def _opened(self, body: bytes) -> tuple[bytes, ElementTree.Element | None]:
        """A response in clear, and its reply if there is one. An account without encryption reads no encrypted
        reply, and the other way round."""
        sim = self._sim
        if body in (b"", b"success"):
            return body, None
        root = rules.tree(body)
        encrypted = part(root, "Encrypt")
        if encrypted and sim.mode == "plain":
            raise Malformed("encrypted, which this account is not")
        if not encrypted and sim.mode == "encrypted":
            raise Malformed("not encrypted")
        if not encrypted:
            return body, root
        signed = signature(sim.token, part(root, "TimeStamp"), part(root, "Nonce"), encrypted)
        if not secrets.compare_digest(signed.encode(), part(root, "MsgSignature").encode()):
            raise Malformed("MsgSignature is wrong")
        try:
            body = self._safe.open(encrypted)
        except ValueError as fault:
            raise Malformed(f"does not decrypt: {fault}") from None
        return body, rules.tree(body)


def _outcome(attempt: Attempt, reply: Reply | None) -> str:
    """In one word: "answered", "nothing" to be shown, or what went wrong."""
    return attempt.reason.partition(":")[0] or ("answered" if reply else "nothing")
