"""How the simulated Slack tells the app: over a socket if there is one, else as signed POSTs that are tried again."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp

from chatferry.simulator import slack_people as people
from chatferry.simulator.scene import Exchange, known
from chatferry.simulator.slack_records import Attempt, Delivery, Kind
from chatferry.simulator.slack_rules import Json
from chatferry.simulator.slack_scene import Ack
from chatferry.simulator.slack_socket import Sockets, Unacknowledged
from chatferry.simulator.slack_state import State

_SHOWN = ("x-slack-signature", "x-slack-request-timestamp", "x-slack-retry-num", "x-slack-retry-reason")


@dataclass(frozen=True)
class _Outcome:
    status: int
    reason: str
    """Slack's name for what went wrong."""
    final: bool
    """No further attempt is made."""
    body: bytes = b""


class Courier:
    """Delivers for one app. Events are tried four times; commands and interactions once, except over a socket."""

    def __init__(self, sim: State, sockets: Sockets) -> None:
        self._sim = sim
        self._sockets = sockets
        self._http: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def later(self, delivery: Delivery) -> None:
        """Deliver while others go on."""
        task: asyncio.Task[object] = asyncio.create_task(self.deliver(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def deliver(self, delivery: Delivery, *, again: bool = False) -> Delivery:
        """Bring it there, however many attempts that takes. Without any address nothing is attempted."""
        sim = self._sim
        if not (self._by_socket or sim.webhook):
            return delivery
        if delivery.kind != "events_api":
            await self._tried(delivery, again)
            return delivery
        async with sim.weather.turn():
            if not sim.weather.duplicate:
                await self._tried(delivery, again)
                return delivery
            twin = record(sim, delivery.kind, delivery.payload)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tried(delivery, again))
                group.create_task(self._tried(twin, again, note="duplicate"))
        return delivery

    @property
    def _by_socket(self) -> bool:
        return bool(self._sockets.connected) or (self._sockets.used and not self._sim.webhook)

    async def _tried(self, delivery: Delivery, again: bool, note: str = "") -> None:
        """Attempts, until one is the last."""
        sim, socket = self._sim, self._by_socket
        pauses = sim.pauses if socket or delivery.kind == "events_api" else ()
        ack = Ack(sim.scene, delivery.kind, delivery.payload, sim.patience)
        reason = "http_timeout" if again else ""
        for number in range(1 + len(pauses)):
            if number:
                await asyncio.sleep(pauses[number - 1])
            retry = number + again
            note = f"retry {retry}: {reason}" if retry else note
            attempt, start = ack.begin(sim.clock()), time.monotonic()
            bring = self._over_socket if socket else self._over_http
            outcome = await bring(delivery, retry, reason, note, ack)
            seconds, reason = time.monotonic() - start, outcome.reason
            delivery.attempts.append(Attempt(outcome.status, reason, seconds))
            last = outcome.final or number == len(pauses)
            ack.end(attempt, seconds, reason or "answered", None if last else sim.clock() + pauses[number])
            sim.changed()
            if last:
                break

    async def _over_socket(self, delivery: Delivery, retry: int, before: str, note: str, ack: Ack) -> _Outcome:
        envelope = str(uuid4())
        frame: Json = {"envelope_id": envelope, "type": delivery.kind, "payload": delivery.payload}
        frame["accepts_response_payload"] = delivery.kind != "events_api"
        if delivery.kind == "events_api":
            frame |= {"retry_attempt": retry, "retry_reason": before}
        text = _written(frame)
        exchange = self._begin("WS", f"/{delivery.kind}", text.encode(), {}, note, ack)
        start = time.monotonic()
        try:
            ours, answer = await self._sockets.deliver(envelope, text, patience=self._sim.patience)
        except Unacknowledged as fault:
            outcome = _Outcome(0, str(fault), False)
        else:
            delivery.answer, outcome = ours, _Outcome(200, "", True, answer.encode())
        self._end(exchange, start, outcome)
        return outcome

    async def _over_http(self, delivery: Delivery, retry: int, before: str, note: str, ack: Ack) -> _Outcome:
        """One signed POST."""
        sim = self._sim
        body, content_type = people.encoded(delivery.kind, delivery.payload)
        headers = {"content-type": content_type, "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)"}
        headers |= {name.lower(): value for name, value in people.signed(sim.signing_secret, body, sim.clock()).items()}
        if retry:
            headers |= {"x-slack-retry-num": str(retry), "x-slack-retry-reason": before or "http_error"}
        shown = body if delivery.kind == "events_api" else _pretty(delivery.payload)
        path = urlsplit(sim.webhook).path or "/"
        exchange = self._begin("POST", path, shown, known(headers, "content-type", *_SHOWN), note, ack)
        start = time.monotonic()
        outcome = await self._posted(delivery, body, headers)
        self._end(exchange, start, outcome)
        return outcome

    async def _posted(self, delivery: Delivery, body: bytes, headers: dict[str, str]) -> _Outcome:
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        timeout = aiohttp.ClientTimeout(self._sim.patience)
        try:
            async with self._http.post(
                self._sim.webhook, data=body, headers=headers, timeout=timeout, max_redirects=2
            ) as answer:
                said = await answer.read()
                delivery.answer = _json(said)
                if 200 <= answer.status < 300:
                    return _Outcome(answer.status, "", True, said)
                return _Outcome(answer.status, "http_error", answer.headers.get("x-slack-no-retry") == "1", said)
        except TimeoutError:
            return _Outcome(0, "http_timeout", False)
        except aiohttp.TooManyRedirects:
            return _Outcome(0, "too_many_redirects", False)
        except (aiohttp.ClientSSLError, ssl.SSLError):
            return _Outcome(0, "ssl_error", False)
        except aiohttp.ClientConnectionError:
            return _Outcome(0, "connection_failed", False)
        except aiohttp.ClientError:
            return _Outcome(0, "unknown_error", False)

    def _begin(self, method: str, path: str, body: bytes, headers: dict[str, str], note: str, ack: Ack) -> Exchange:
        exchange = Exchange(
            "slack",
            "hook",
            method,
            path,
            self._sim.clock(),
            body,
            headers,
            chat=ack.chat,
            message=ack.message,
            note=note,
            limit=self._sim.patience,
        )
        return self._sim.scene.begin(exchange)

    def _end(self, exchange: Exchange, start: float, outcome: _Outcome) -> None:
        seconds = time.monotonic() - start
        self._sim.scene.end(exchange, seconds, outcome.status, reason=outcome.reason, answer=outcome.body)


def envelope(sim: State, event: Json, team: str) -> Delivery:
    return record(sim, "events_api", people.envelope(event, team, sim.enterprise, sim.clock()))


def record(sim: State, kind: Kind, payload: Json) -> Delivery:
    """A delivery that is now under way."""
    delivery = Delivery(kind, payload)
    sim.deliveries.append(delivery)
    return delivery


def _written(frame: Json) -> str:
    text = json.dumps(frame, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, which no frame can carry as it is
        return json.dumps(frame)
    return text


def _pretty(payload: Json) -> bytes:
    """A form as one reads it."""
    return json.dumps(payload, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
