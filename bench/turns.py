"""Answered turns a second with a model of no delay, from webhook to reply."""

from __future__ import annotations

import time

import uvloop

from bench import rig
from bench.load import Load, webhook

USERS = 500
TURNS = 5000


async def _burst(port: int, requests: list[bytes], rate: float) -> None:
    load = Load(port)
    await load.connect()
    await load.run(requests, rate)


def main() -> list[str]:
    """Everything at once, then counted until the last turn is closed."""
    with (
        rig.helper("bench.line") as line,
        rig.helper("bench.provider", "--rate", "0", "--tokens", "20") as model,
        rig.gateway(line, model) as gateway,
    ):
        uvloop.run(_burst(gateway.port, [webhook(10**6 + user) for user in range(200)], 200))
        gateway.wait("chatferry_turns_total", 200)
        cpu, begin = gateway.cpu(), time.perf_counter()
        uvloop.run(_burst(gateway.port, [webhook(number % USERS) for number in range(TURNS)], 100_000))
        end = gateway.wait("chatferry_turns_total", 200 + TURNS)
        spent = gateway.cpu() - cpu
    rate, each = TURNS / (end - begin), spent / TURNS * 1000
    return [
        f"{TURNS} turns of {USERS} users: {rate:.0f} answered turns/s, {each:.2f} ms of CPU each (acceptance included)"
    ]
