"""WeChat, where answers go out in responses: what waiting costs, and the pages that are read meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import sqlite3
import time
from collections.abc import Iterable

import uvloop

from bench import rig
from bench.load import Load, percentile
from chatferry.simulator.wechat_crypto import Safe, signature

PEOPLE = 500
ARRIVALS = 100
"""Messages a second, where latency is measured; all of them wait before the first is answered."""
FIRST, HOLD = 5.5, 9.0
REQUESTS = 2000
STREAMS = 200
RATE = 50
SECONDS = 13
CALL = 5.0
"""Seconds until WeChat hangs up, and calls again, three times."""

APP = "wx0123456789abcdef"
AES = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
_LINK = re.compile(rb"http://[\w.:]+(/a/[\w-]+)")
_SAFE = Safe(AES, APP)
_numbers = itertools.count(int(time.time() * 1e6))


def channel(*, safe: bool = False, hold: float = 4.5) -> str:
    keys = f'app_id = "{APP}"\naes_key = "{AES}"' if safe else ""
    return f"""
            [channels.wechat]
            type = "wechat"
            token = "{rig.SECRET}"
            mode = "passive"
            hold = {hold}
            limit = {hold + 0.5}
            {keys}
            """


def openid(user: int) -> str:
    return f"o{user:027d}"


def webhook(user: int, *, safe: bool = False) -> bytes:
    """A whole HTTP request with one signed text message."""
    number, now = next(_numbers), int(time.time())
    body = (
        f"<xml><ToUserName><![CDATA[gh_0123456789ab]]></ToUserName><FromUserName><![CDATA[{openid(user)}]]>"
        f"</FromUserName><CreateTime>{now}</CreateTime><MsgType><![CDATA[text]]></MsgType><Content>"
        f"<![CDATA[What is the weather like in Taipei today?]]></Content><MsgId>{number}</MsgId></xml>"
    ).encode()
    nonce = hashlib.sha256(body).hexdigest()[:10]
    query = f"signature={signature(rig.SECRET, str(now), nonce)}&timestamp={now}&nonce={nonce}"
    if safe:
        shut = _SAFE.shut(body)
        query += f"&encrypt_type=aes&msg_signature={signature(rig.SECRET, str(now), nonce, shut)}"
        body = f"<xml><ToUserName>gh_0123456789ab</ToUserName><Encrypt>{shut}</Encrypt></xml>".encode()
    return (
        b"POST /hooks/wechat?%b HTTP/1.1\r\nHost: bench\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%b"
        % (query.encode(), len(body), body)
    )


async def burst(port: int, requests: list[bytes], rate: float) -> Load:
    load = Load(port, PEOPLE)
    await load.connect()
    await load.run(requests, rate)
    if load.refused:
        raise RuntimeError(f"{load.refused} were not answered with 200")
    return load


def _latency() -> str:
    """From the model's last word to the response, with everybody waiting at once."""
    arguments = ("--rate", str(RATE), "--tokens", "2", "--first", str(FIRST))
    with (
        rig.helper("bench.provider", *arguments) as model,
        rig.gateway("", model, channel=channel(hold=HOLD)) as gateway,
    ):
        load = uvloop.run(burst(gateway.port, [webhook(user) for user in range(PEOPLE)], ARRIVALS))
        with sqlite3.connect(gateway.database) as database:
            took = waits(load, database.execute("SELECT conversation, answered_at FROM turns"))
    p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
    return f"{PEOPLE} waiting: p50 {p50:.1f} ms, p99 {p99:.1f} ms from the answer to its response"


def waits(load: Load, rows: Iterable[tuple[str, float]]) -> list[float]:
    """Milliseconds from each answer to its response. rows: conversations, and when they were answered."""
    answered = {conversation.rpartition(":")[2].encode(): at for conversation, at in rows}
    ahead = time.time() - time.perf_counter()
    took = []
    for body, at in load.bodies:
        [person] = re.findall(rb"<ToUserName><!\[CDATA\[(o\d+)", body)
        took.append(1000 * (at + ahead - answered[person]))
    return took


def _rate(*, safe: bool) -> str:
    """Questions a second that are answered in their first call."""
    with (
        rig.helper("bench.provider", "--rate", "0", "--tokens", "20") as model,
        rig.gateway("", model, channel=channel(safe=safe)) as gateway,
    ):
        uvloop.run(burst(gateway.port, [webhook(user, safe=safe) for user in range(PEOPLE)], 200))
        requests = [webhook(number % PEOPLE, safe=safe) for number in range(REQUESTS)]
        cpu, begin = gateway.cpu(), time.perf_counter()
        load = uvloop.run(burst(gateway.port, requests, 100_000))
        rate = REQUESTS / (load.bodies[-1][1] - begin)
        each = (gateway.cpu() - cpu) / REQUESTS * 1000
    name = "encrypted" if safe else "plain"
    return f"{name}: {rate:.0f} answered requests/s, {each:.2f} ms of CPU each"


async def _called(port: int, user: int) -> bytes:
    """What WeChat does for one message; returns the path of the page where the answer grows."""
    request = webhook(user)
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(CALL):
                writer.write(request)
                answer = await reader.read(8192)
                answer += await reader.read(8192) if b"</xml>" not in answer else b""
            found = _LINK.search(answer)
            if found is None:
                raise RuntimeError(f"no link in {answer!r}")
            return found[1]
        except TimeoutError:
            continue
        finally:
            writer.close()
    raise RuntimeError("no call was answered")


async def _read(port: int, path: bytes, counted: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %b/events HTTP/1.1\r\nHost: bench\r\n\r\n" % path)
    while data := await reader.read(65536):
        counted[0] += data.count(b"data: {")


async def _spent(gateway: rig.Gateway, seconds: float) -> float:
    cpu = gateway.cpu()
    await asyncio.sleep(seconds)
    return gateway.cpu() - cpu


async def _long(gateway: rig.Gateway) -> tuple[float, float, float, int]:
    """CPU of so many seconds: while the calls are held, when they are over, and with a reader for each; and events."""
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(_called(gateway.port, user)) for user in range(STREAMS)]
        await asyncio.sleep(1)
        held = await _spent(gateway, SECONDS)
        paths = await asyncio.gather(*calls)
        await asyncio.sleep(1)
        alone = await _spent(gateway, SECONDS)
        counted = [0]
        readers = [group.create_task(_read(gateway.port, path, counted)) for path in paths]
        await asyncio.sleep(2)
        before = counted[0]
        read = await _spent(gateway, SECONDS)
        events = counted[0] - before
        for reader in readers:
            reader.cancel()
    return held, alone, read, events


def _answers() -> list[str]:
    arguments = ("--rate", str(RATE), "--tokens", str(RATE * 60))
    with (
        rig.helper("bench.provider", *arguments) as model,
        rig.gateway("", model, channel=channel()) as gateway,
    ):
        held, alone, read, events = uvloop.run(_long(gateway))
    tokens = STREAMS * RATE * SECONDS
    reader = (read - alone) / (STREAMS * SECONDS)
    return [
        f"{STREAMS} answers at {RATE} tokens/s, their calls held: {held / tokens * 1e6:.1f} µs of CPU a token",
        f"the same, their calls over: {alone / tokens * 1e6:.1f} µs of CPU a token",
        f"with a reader of each page: {1000 * reader:.2f} ms of CPU a reader and second, "
        f"{events / (STREAMS * SECONDS):.1f} events/s each, {read / SECONDS:.0%} of a core in all",
    ]


def main() -> list[str]:
    return [_latency(), _rate(safe=False), _rate(safe=True), *_answers()]
