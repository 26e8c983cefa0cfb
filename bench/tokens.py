"""CPU for each streamed token: where a chat channel paces the reading, and through the API's stream."""

from __future__ import annotations

import asyncio
import time

import uvloop

from bench import rig
from bench.load import Load, webhook

STREAMS = 200
RATE = 50
SECONDS = 15


def streamed() -> bytes:
    """A whole HTTP request for an answer that comes as it grows."""
    body = b'{"messages":[{"role":"user","content":"hi"}],"stream":true}'
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (rig.KEY.encode(), len(body), body)
    )


async def _line(port: int) -> None:
    load = Load(port)
    await load.connect()
    await load.run([webhook(user) for user in range(STREAMS)], 400)


async def _api(gateway: rig.Gateway, streams: int, *, settle: float, seconds: float) -> tuple[float, int]:
    """CPU and tokens over `seconds`, with that many clients reading."""
    counted = [0]

    async def read() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(streamed())
        while data := await reader.read(65536):
            counted[0] += data.count(b"token ")

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read()) for _ in range(streams)]
        await asyncio.sleep(settle)
        cpu, tokens = gateway.cpu(), counted[0]
        await asyncio.sleep(seconds)
        result = gateway.cpu() - cpu, counted[0] - tokens
        for reader in readers:
            reader.cancel()
    return result


def main() -> list[str]:
    rows = []
    arguments = ("--rate", str(RATE), "--tokens", str(RATE * 60))
    with rig.helper("bench.line") as line, rig.helper("bench.provider", *arguments) as model:
        with rig.gateway(line, model) as gateway:
            uvloop.run(_line(gateway.port))
            time.sleep(3)
            cpu = gateway.cpu()
            time.sleep(SECONDS)
            spent = gateway.cpu() - cpu
            each = spent / (STREAMS * RATE * SECONDS) * 1e6
            rows.append(f"LINE, {STREAMS} answers at {RATE} tokens/s: {each:.1f} µs of CPU a token")
        for streams in (50, STREAMS):
            with rig.gateway(line, model) as gateway:
                spent, tokens = uvloop.run(_api(gateway, streams, settle=3, seconds=SECONDS))
                rows.append(
                    f"API stream, {streams} answers: {spent / tokens * 1e6:.1f} µs of CPU a token ({tokens} tokens)"
                )
    return rows
