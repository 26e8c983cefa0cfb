"""How soon a platform has its 200, the message being on the disk: p50 and p99 at several rates."""

from __future__ import annotations

import uvloop

from bench import rig
from bench.load import Load, percentile, webhook

RATES = (50, 200, 1000, 2000)
SECONDS = 6


async def _measure(port: int, rate: int) -> Load:
    load = Load(port)
    await load.connect()
    await load.run([webhook(user) for user in range(rate * SECONDS)], rate)
    return load


def main() -> list[str]:
    """Acks alone: the messages wait for one answer that never ends, so that only the acceptance is measured."""
    rows = ["| acks/s asked | p50 ms | p99 ms | max ms | gateway CPU |", "|---|---|---|---|---|"]
    for rate in RATES:
        with (
            rig.helper("bench.line") as line,
            rig.helper("bench.provider", "--rate", "0.02") as model,
            rig.gateway(line, model, concurrency=1) as gateway,
        ):
            uvloop.run(_measure(gateway.port, 50))  # warm
            before = gateway.cpu()
            load = uvloop.run(_measure(gateway.port, rate))
            share = (gateway.cpu() - before) / SECONDS
            seconds = load.seconds
            p50, p99, most = (
                1000 * value for value in (percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds))
            )
            rows.append(f"| {rate} | {p50:.1f} | {p99:.1f} | {most:.1f} | {share:.0%} |")
            if load.refused:
                rows.append(f"{load.refused} were not answered with 200")
    return rows
