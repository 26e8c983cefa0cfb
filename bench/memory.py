"""Memory and CPU with 2,000 answers in flight at 50 tokens/s."""

from __future__ import annotations

import time

import uvloop

from bench import rig
from bench.load import Load, webhook

ANSWERS = 2000
SECONDS = 10


async def _fill(port: int) -> None:
    load = Load(port)
    await load.connect()
    await load.run([webhook(user) for user in range(ANSWERS)], 300)


def main() -> list[str]:
    with (
        rig.helper("bench.line") as line,
        rig.helper("bench.provider", "--rate", "50", "--tokens", "5000") as model,
        rig.gateway(line, model) as gateway,
    ):
        base = gateway.rss()
        uvloop.run(_fill(gateway.port))
        time.sleep(8)
        running, cpu = gateway.counter("chatferry_running"), gateway.cpu()
        time.sleep(SECONDS)
        share, rss = (gateway.cpu() - cpu) / SECONDS, gateway.rss()
    each = (rss - base) / running * 1000
    return [
        f"{running:.0f} answers in flight: {rss:.0f} MB ({base:.0f} MB idle, {each:.0f} kB each), {share:.0%} of a core"
    ]
