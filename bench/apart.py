"""Answers that are waited for in one process and made in another: held WeChat calls, and streams of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import uvloop

from bench import rig, wechat
from bench.fleet import Fleet, fleet, load, tails
from bench.rates import flood, name
from bench.tokens import streamed

PEOPLE, ARRIVALS = 400, 50
"""Who asks on WeChat, and how many a second: some 275 of them wait at a time."""
STREAMS = 100
RATE = 25
FIRST = 1.0
SECONDS = 6


def _held(workers: int) -> str:
    arguments = ("--rate", str(wechat.RATE), "--tokens", "2", "--first", str(wechat.FIRST))
    channel = wechat.channel(hold=wechat.HOLD)
    with rig.helper("bench.provider", *arguments) as model, fleet(workers, "", model, channel=channel) as ours:
        quiet = load()
        requests = [wechat.webhook(user) for user in range(PEOPLE)]
        said = flood(ours.front.port, requests, ARRIVALS, connections=PEOPLE)
        rows = ours.server.fetch("SELECT conversation, answered_at FROM turns")
        took = wechat.waits(said, ((row["conversation"], row["answered_at"]) for row in rows))
    refused = f"; {said.refused} REFUSED" if said.refused else ""
    return (
        f"{name(workers)}, {PEOPLE} held WeChat calls, {ARRIVALS}/s: from the answer to its response "
        f"{tails(took)}{refused} ({quiet})"
    )


async def _read(port: int, first: list[float], counted: list[int]) -> None:
    """One stream: when its first words came after they were said, and how many there were."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(streamed())
    said = b""
    while data := await reader.read(65536):
        now = asyncio.get_running_loop().time()
        if said.count(b"@") < 2:
            said += data
            if said.count(b"@") >= 2:
                first.append(1000 * (now - float(said.split(b"@")[1])))
        counted[0] += data.count(b"token ")


async def _streams(ours: Fleet) -> tuple[list[float], int, list[float]]:
    """How late first words came, how many words came in so many seconds, and CPU: processes, then PostgreSQL."""
    first: list[float] = []
    counted = [0]

    def spent() -> list[float]:
        return [*(one.cpu() for one in ours.processes), ours.server.cpu()]

    async with asyncio.TaskGroup() as group:
        readers = []
        for _ in range(STREAMS):
            readers.append(group.create_task(_read(ours.front.port, first, counted)))
            await asyncio.sleep(0.02)
        await asyncio.sleep(FIRST + 2)
        words, cpu = counted[0], spent()
        await asyncio.sleep(SECONDS)
        words, cpu = counted[0] - words, [after - before for after, before in zip(spent(), cpu, strict=True)]
        for reader in readers:
            reader.cancel()
    return first, words, cpu


def _streamed(workers: int) -> str:
    arguments = ("--rate", str(RATE), "--tokens", "5000", "--first", str(FIRST))
    with rig.helper("bench.provider", *arguments) as model, fleet(workers, "", model, channel="") as ours:
        quiet = load()
        first, words, cpu = uvloop.run(_streams(ours))
    each = [f"{1000 * one / STREAMS / SECONDS:.2f}" for one in cpu]
    return (
        f"{name(workers)}: {STREAMS} API streams at {RATE} tokens/s: first words after {tails(first)}; CPU a "
        f"stream and second: {' + '.join(each[:-1])} ms, PostgreSQL {each[-1]} ms; "
        f"{words / STREAMS / SECONDS:.1f} tokens/s came ({quiet})"
    )


def main() -> Iterator[str]:
    for workers in (0, 1):
        yield _held(workers)
    for workers in (0, 1):
        yield _streamed(workers)
