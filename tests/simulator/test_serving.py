"""How a simulator is served, and above all how that ends: at once, in peace, whoever is still there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from chatferry.playground.app import Playground
from chatferry.playground.stage import Simulators, opened
from chatferry.simulator.scene import Scene
from chatferry.simulator.serving import listening, serving


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    async def much() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(0)

    await StreamingResponse(much())(scope, receive, send)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"])
async def test_the_address_leads_there(host: str) -> None:
    try:
        sock = listening(host)
    except OSError:
        pytest.skip(f"there is no {host} here")
    async with serving(hello, sock=sock) as url, aiohttp.ClientSession() as http, http.get(url) as answer:
        assert await answer.text() == "hello"


async def test_whoever_leaves_by_an_exception_leaves_by_that_one() -> None:
    with pytest.raises(BrokenPipeError):
        async with serving(hello):
            raise BrokenPipeError


async def test_pages_that_are_open_keep_nobody_from_ending(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, as by Ctrl-C: nobody's patience is waited for, and nothing is told of it."""
    monkeypatch.setattr("chatferry.simulator.serving._PATIENCE", 3600.0)
    scene, sock = Scene(), listening()
    following = asyncio.Event()

    async def play() -> None:
        async with opened(Simulators(scene), sock):
            following.set()
            await asyncio.Event().wait()

    playing = asyncio.create_task(play())
    await following.wait()
    async with aiohttp.ClientSession() as http:
        pages = [await http.get(f"http://127.0.0.1:{sock.getsockname()[1]}/scene") for _ in range(20)]
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(60):
                await playing
        for page in pages:
            assert (await page.read()).startswith(b"event: all")
    assert not caplog.records


async def test_who_never_reads_keeps_nobody_from_ending_for_long(caplog: pytest.LogCaptureFixture) -> None:
    sock = listening()
    with socket.create_connection(sock.getsockname()) as caller:
        async with asyncio.timeout(60), serving(flood, sock=sock):
            caller.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.to_thread(caller.recv, 10)
    assert not caplog.records


async def test_who_hangs_up_in_the_middle_of_a_request_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    from chatferry.simulator.line import LineSimulator

    scene = Scene()
    async with LineSimulator(scene=scene) as line, serving(Playground(scene, {"line": line})) as url:
        host, port = url.removeprefix("http://").split(":")
        for path in ("/line/v2/bot/message/push", "/line/_sim/say"):
            _, writer = await asyncio.open_connection(host, int(port))
            head = (
                f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
            )
            writer.write(head.encode() + b"{")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    assert not caplog.records
