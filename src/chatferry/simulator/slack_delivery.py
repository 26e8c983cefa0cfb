"""How the simulated Slack tells the app: over a socket if there is one, else as signed POSTs that are tried again."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from typing import Any

import aiohttp

from chatferry.simulator import slack_people as people
from chatferry.simulator.slack_records import Attempt, Delivery, Kind
from chatferry.simulator.slack_rules import Json
from chatferry.simulator.slack_socket import Sockets, Unacknowledged
from chatferry.simulator.slack_state import State


class Courier:
    """Delivers for one app. Events are tried four times; commands and interactions once, except over a socket."""

    def __init__(self, sim: State, sockets: Sockets) -> None:
        self._sim = sim
        self._sockets = sockets
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def deliver(self, delivery: Delivery, *, again: bool = False) -> Delivery:
        """Bring it there, however many attempts that takes. Without any address nothing is attempted."""
        sim = self._sim
        socket = bool(self._sockets.connected) or (self._sockets.used and not sim.webhook)
        if not (socket or sim.webhook):
            return delivery
        tries = 1 + len(sim.pauses) if socket or delivery.kind == "events_api" else 1
        reason = "http_timeout" if again else ""
        for number in range(tries):
            if number:
                await asyncio.sleep(sim.pauses[number - 1])
            retry = number + again
            start = time.monotonic()
            if socket:
                status, reason, final = await self._over_socket(delivery, retry, reason)
            else:
                status, reason, final = await self._over_http(delivery, retry, reason)
            delivery.attempts.append(Attempt(status, reason, time.monotonic() - start))
            sim.changed()
            if final:
                break
        return delivery

    async def _over_socket(self, delivery: Delivery, retry: int, before: str) -> tuple[int, str, bool]:
        try:
            delivery.answer = await self._sockets.deliver(
                delivery.kind, delivery.payload, retry, before, patience=self._sim.patience
            )
        except Unacknowledged as fault:
            return 0, str(fault), False
        return 200, "", True

    async def _over_http(self, delivery: Delivery, retry: int, before: str) -> tuple[int, str, bool]:
        """One signed POST: its status, Slack's name for what went wrong, and whether that is the end of it."""
        body, content_type = people.encoded(delivery.kind, delivery.payload)
        headers = {"Content-Type": content_type, "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)"}
        headers |= people.signed(self._sim.signing_secret, body, self._sim.clock())
        if retry:
            headers |= {"x-slack-retry-num": str(retry), "x-slack-retry-reason": before or "http_error"}
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        timeout = aiohttp.ClientTimeout(self._sim.patience)
        try:
            async with self._http.post(
                self._sim.webhook, data=body, headers=headers, timeout=timeout, max_redirects=2
            ) as answer:
                delivery.answer = _json(await answer.read())
                if 200 <= answer.status < 300:
                    return answer.status, "", True
                return answer.status, "http_error", answer.headers.get("x-slack-no-retry") == "1"
        except TimeoutError:
            return 0, "http_timeout", False
        except aiohttp.TooManyRedirects:
            return 0, "too_many_redirects", False
        except (aiohttp.ClientSSLError, ssl.SSLError):
            return 0, "ssl_error", False
        except aiohttp.ClientConnectionError:
            return 0, "connection_failed", False
        except aiohttp.ClientError:
            return 0, "unknown_error", False


def envelope(sim: State, event: Json, team: str) -> Delivery:
    return record(sim, "events_api", people.envelope(event, team, sim.enterprise, sim.clock()))


def record(sim: State, kind: Kind, payload: Json) -> Delivery:
    """A delivery that is now under way."""
    delivery = Delivery(kind, payload)
    sim.deliveries.append(delivery)
    return delivery


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
