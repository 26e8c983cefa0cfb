"""Telling people of incidents: by a message on one of our own channels, or by a webhook."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from chatferry.commands import span
from chatferry.config import AlertSettings, Settings, TargetSettings
from chatferry.errors import TryLater
from chatferry.ledger.incidents import Told
from chatferry.model import Inbound, says
from chatferry.words import Words

if TYPE_CHECKING:
    import aiohttp

SIGNATURE = "X-Chatferry-Signature"
_PATIENCE = 10.0
"""Seconds that a webhook may take."""

Say = Callable[[str, Inbound], Awaitable[object]]
"""Keeps a push on a channel, by its name. Raises Unavailable."""


def key_of(target: TargetSettings) -> str:
    """By what a target is known in the database, where its address must not stand: that is often a secret."""
    if target.push is not None:
        return target.push
    url = target.url.get_secret_value() if target.url else ""
    return f"webhook {blake2b(url.encode(), digest_size=8).hexdigest()}"


def watched(settings: Settings) -> dict[str, AlertSettings]:
    """Every alert, by the key of its incidents.

    One about a model or about money that does not say whose is watched once for each: so each has incidents of its own,
    and whoever is told learns whose it is.
    """
    found = {}
    for alert in settings.alerts:
        of: list[AlertSettings] = [alert]
        if alert.when == "circuit" and alert.model is None:
            of = [alert.model_copy(update={"model": name}) for name in settings.models]
        elif alert.when == "budget" and alert.assistant is None:
            able = [name for name, its in settings.assistants.items() if its.budget.money is not None]
            of = [alert.model_copy(update={"assistant": name}) for name in able]
        for one in of:
            found[one.name if one is alert else f"{one.name}\n{one.model or one.assistant}"] = one
    return found


def shown(target: TargetSettings) -> str:
    """A target as the operator knows it: of a webhook only the host, as the rest of its address may be a secret."""
    return target.push or f"webhook at {urlsplit(target.url.get_secret_value()).hostname if target.url else '?'}"


def text_of(told: Told, alert: AlertSettings, words: Words) -> str:
    """What people read."""
    if told.state == "over":
        said = words.alert_over.replace("{time}", span(max(1.0, told.at - told.began_at), words))
        return said.replace("{alert}", alert.name)
    head = words.alert_try if told.state == "try" else f"⚠️ {words.alert_raised}"
    lines = [head.replace("{alert}", alert.name)]
    if told.state == "raised":
        kind: dict[str, tuple[str, str]] = {
            "success": (words.alert_success, words.look_success),
            "latency": (words.alert_latency, words.look_latency),
            "queue": (words.alert_queue, words.look_queue),
            "circuit": (words.alert_circuit, words.look_circuit),
            "budget": (words.alert_budget, words.look_budget),
        }
        what, look = kind[alert.when]
        put = {
            "{turns}": str(told.turns),
            "{value}": _shown(told.value, alert, words),
            "{limit}": _shown(alert.threshold, alert, words),
            "{model}": alert.model or "",
            "{assistant}": alert.assistant or "",
        }
        for name, value in put.items():
            what = what.replace(name, value)
        lines += [what, look]
    where = " / ".join(filter(None, (alert.channel, alert.assistant, alert.model)))
    if where and not (told.state == "raised" and alert.when in ("circuit", "budget")):  # these have said it
        lines.insert(1, words.alert_where.replace("{where}", where))
    return "\n".join(lines)


def _shown(value: float | None, alert: AlertSettings, words: Words) -> str:
    if value is None:
        return ""
    return f"{value * 100:.3g} %" if alert.when in ("success", "budget") else span(value, words)


def body_of(told: Told, alert: AlertSettings, words: Words, number: int) -> bytes:
    """What a webhook gets. `id` is the same in every try: whoever has it twice has heard it twice."""
    return msgspec.json.encode(
        {
            "id": number,
            "alert": alert.name,
            "state": told.state,
            "incident": told.number,
            "when": alert.when,
            "value": told.value,
            "threshold": None if alert.when == "circuit" else alert.threshold,
            "turns": told.turns,
            "window": alert.window,
            "channel": alert.channel,
            "assistant": alert.assistant,
            "model": alert.model,
            "began_at": told.began_at,
            "at": told.at,
            "text": text_of(told, alert, words),
        }
    )


class Bell:
    """Tells targets."""

    def __init__(self, http: aiohttp.ClientSession, say: Say, words: Mapping[str, Words], otherwise: Words) -> None:
        """words: in which language people on a channel are told, by its name; `otherwise`: the readers of webhooks."""
        self._http = http
        self._say = say
        self._words = words
        self._otherwise = otherwise

    @classmethod
    def of(cls, settings: Settings, http: aiohttp.ClientSession, say: Say) -> Bell:
        """Everybody is told in the language of an assistant: the channel's, or the usual one."""
        assistants = settings.assistants
        words = {name: assistants[its.assistant].words for name, its in settings.channels.items()}
        return cls(http, say, words, assistants.get("default", next(iter(assistants.values()))).words)

    async def ring(self, target: TargetSettings, alert: AlertSettings, told: Told, number: int) -> None:
        """Tell a target, once for each number where that can be known. Raises TryLater, Unavailable."""
        if target.push is not None:
            channel, _, address = target.push.partition(":")
            text = text_of(told, alert, self._words[channel])
            # The ledger knows the event again, so that it is sent once, whatever ends in between.
            event = f"alarm/{number}/{int(told.at)}/{address}"
            await self._say(channel, Inbound(event, address, "push", says("assistant", text), at=told.at))
        elif target.url is not None:
            await self._post(target.url.get_secret_value(), target, body_of(told, alert, self._otherwise, number))

    async def _post(self, url: str, target: TargetSettings, body: bytes) -> None:
        headers: dict[str, Any] = {"Content-Type": "application/json"}
        if target.secret is not None:
            signature = hmac.digest(target.secret.get_secret_value().encode(), body, "sha256").hex()
            headers[SIGNATURE] = f"sha256={signature}"
        import aiohttp  # not for who only looks at alerts

        patience = aiohttp.ClientTimeout(total=_PATIENCE)
        try:
            async with self._http.post(url, data=body, headers=headers, timeout=patience, allow_redirects=False) as got:
                status = got.status
        except (TimeoutError, aiohttp.ClientError, OSError) as fault:
            # Its own words may quote the address.
            raise TryLater(f"the webhook is not reached: {type(fault).__name__}") from None
        if status >= 300:
            raise TryLater(f"the webhook answers {status}")
