"""Load on an installation of your own, by Locust (`pip install 'chatferry[bench]'`); see docs/load.md.

    locust -f bench/locustfile.py --headless --host https://bot.example.com -u 100 -r 20 -t 60s Api

Each user asks once a second, so `-u 100` is 100 requests a second as long as answers take less than a second; with
`PACE=10` each asks every ten seconds. From the environment: CHATFERRY_API_KEY, LINE_CHANNEL_SECRET, LINE_PATH,
ASSISTANT, QUESTION. MODEL_SECONDS is what the model takes: where that is fixed, the rest is the gateway's part, and is
told at the end.
"""

from __future__ import annotations

import base64
import hmac
import itertools
import json
import os
import random
import secrets
import time
from pathlib import Path
from typing import Any

from locust import FastHttpUser, events, task

QUESTION = os.environ.get("QUESTION", "What is the weather like in Taipei today?")
MODEL_SECONDS = float(os.environ.get("MODEL_SECONDS", "0"))
PACE = float(os.environ.get("PACE", "1"))
REPORT = os.environ.get("REPORT", "")
"""Where the figures are written as JSON, for `python -m bench overhead`."""

_numbers = itertools.count(1)
_spent: list[float] = []
"""Milliseconds of each request that was answered well, the model's not counted. Locust's own figures are rounded."""


class _User(FastHttpUser):
    """Asks at a steady pace. Locust starts its users in heaps, and by its own pacers these would ask in one moment."""

    abstract = True

    def on_start(self) -> None:
        time.sleep(random.uniform(0.0, PACE))  # noqa: S311 - no secret
        self._due = time.time()

    def wait_time(self) -> float:
        self._due = max(self._due + PACE, time.time())
        return self._due - time.time()


class Api(_User):
    """Programs that ask the OpenAI-compatible API and read the answer whole."""

    @task
    def ask(self) -> None:
        asked = {
            "model": os.environ.get("ASSISTANT", "default"),
            "messages": [{"role": "user", "content": QUESTION}],
        }
        key = {"Authorization": f"Bearer {os.environ.get('CHATFERRY_API_KEY', '')}"}
        self.client.post("/v1/chat/completions", json=asked, headers=key)


class Line(_User):
    """LINE, which delivers what people write, signed as LINE does it, and waits for no more than the 200.

    The gateway then answers people who are not there: let its LINE_API_BASE lead to `chatferry simulate` or the like.
    """

    def on_start(self) -> None:
        super().on_start()
        self.who = f"U{secrets.token_hex(16)}"

    @task
    def say(self) -> None:
        number = f"{os.getpid()}{next(_numbers):010d}"
        event = {
            "type": "message",
            "mode": "active",
            "timestamp": int(time.time() * 1000),
            "source": {"type": "user", "userId": self.who},
            "webhookEventId": f"01LOCUST{number}",
            "deliveryContext": {"isRedelivery": False},
            "replyToken": f"token-{number}",
            "message": {"type": "text", "id": number, "quoteToken": "q", "text": QUESTION},
        }
        body = json.dumps({"destination": f"U{0:032x}", "events": [event]})
        secret = os.environ.get("LINE_CHANNEL_SECRET", "").encode()
        signature = base64.b64encode(hmac.digest(secret, body.encode(), "sha256")).decode()
        heads = {"Content-Type": "application/json", "x-line-signature": signature}
        self.client.post(os.environ.get("LINE_PATH", "/hooks/line"), data=body, headers=heads)


@events.request.add_listener  # type: ignore[untyped-decorator]  # Locust gives its events no types
def _answered(response_time: float, exception: Exception | None, name: str, **_: Any) -> None:
    if exception is None:
        _spent.append(response_time - (MODEL_SECONDS * 1000 if name.startswith("/v1/") else 0.0))


@events.quitting.add_listener  # type: ignore[untyped-decorator]  # Locust gives its events no types
def _tell(environment: Any, **_: Any) -> None:
    """The figures, if anything was answered; Locust itself tells what failed."""
    if not _spent:
        return
    spent, total = sorted(_spent), environment.stats.total
    told = {f"p{share}": round(spent[min(len(spent) - 1, len(spent) * share // 100)], 1) for share in (50, 95, 99)}
    told |= {"answered": len(spent), "failed": total.num_failures, "rate": round(total.total_rps, 1)}
    what = f"the model's {MODEL_SECONDS:g} s not counted" if MODEL_SECONDS else "in all"
    print(f"\nms a request, {what}: " + ", ".join(f"{name} {value}" for name, value in told.items()))
    if REPORT:
        Path(REPORT).write_text(json.dumps(told))
