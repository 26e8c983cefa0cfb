"""How the simulated LINE calls a bot's webhook."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import aiohttp

from chatferry.simulator import line_people as people
from chatferry.simulator import line_rules as rules
from chatferry.simulator.line_records import Delivery
from chatferry.simulator.line_rules import Json
from chatferry.simulator.line_scene import PLATFORM
from chatferry.simulator.line_state import State
from chatferry.simulator.scene import Exchange, known

BOT = people.address("U", "the bot")


class Webhooks:
    """Calls that are signed, measured and shown."""

    def __init__(self, sim: State) -> None:
        self._sim = sim
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def post(
        self, url: str, events: tuple[Json, ...] = (), *, redelivery: bool = False, note: str = ""
    ) -> Delivery:
        """Deliver events once. What goes wrong is told by the reason."""
        body, headers = people.signed(self._sim.secret, {"destination": BOT, "events": events})
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        exchange = self._sim.scene.begin(self._shown(url, events, body, headers, note))
        timeout, start = aiohttp.ClientTimeout(self._sim.patience), time.monotonic()
        status, reason, said = 0, "", b""
        try:
            async with self._http.post(url, data=body, headers=headers, timeout=timeout) as answer:
                said = await answer.read()
                status = answer.status
        except TimeoutError:
            reason = "request_timeout"
        except aiohttp.ClientError:
            reason = "could_not_connect"
        seconds = time.monotonic() - start
        if seconds > rules.WEBHOOK_SECONDS:
            reason = "request_timeout"
        elif not reason and not 200 <= status < 300:
            reason = "error_status_code"
        self._sim.scene.end(exchange, seconds, status, reason=reason, answer=said)
        return Delivery(status, seconds, reason, events, redelivery)

    def _shown(self, url: str, events: tuple[Json, ...], body: bytes, headers: dict[str, str], note: str) -> Exchange:
        return Exchange(
            PLATFORM,
            "hook",
            "POST",
            urlsplit(url).path,
            self._sim.clock(),
            body,
            known(headers, "x-line-signature"),
            chat=people.place(events[0]) if events else "",
            message=people.ref(events[0]) if events else "",
            note=note,
            limit=rules.WEBHOOK_SECONDS,
        )
