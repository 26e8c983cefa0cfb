"""`chatferry health`, as a container's health check runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from chatferry.simulator.serving import serving
from tests.commandline import Shop, shop
from tests.ports import free_port


@pytest_asyncio.fixture(name="shop")
async def _shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop(tmp_path) as made:
        yield made


async def test_it_finds_the_gateway_by_its_settings_or_by_a_port(shop: Shop) -> None:
    async with shop.serving() as served:
        port = str(urlsplit(served.url).port)
        by_variable = await shop.run("health", PORT=port)
        assert (by_variable.status, by_variable.out) == (0, "ok\n")
        assert (await shop.run("health", "--port", port)).status == 0
        (shop.folder / "chatferry.toml").write_text(f'[server]\nhost = "127.0.0.1"\nport = {port}\n')
        assert (await shop.run("health", PORT="")).status == 0


async def test_nobody_there_is_told_in_one_line(shop: Shop) -> None:
    port = free_port()
    ended = await shop.run("health", PORT=str(port))
    assert ended.status == 1
    assert ended.err.startswith(f"no answer at port {port}: ")
    assert ended.err.count("\n") == 1


async def test_who_answers_badly_is_not_well(shop: Shop) -> None:
    async def ill(_: Request) -> PlainTextResponse:
        return PlainTextResponse("no", 500)

    async with serving(Starlette(routes=[Route("/healthz", ill)])) as url:
        port = urlsplit(url).port
        ended = await shop.run("health", PORT=str(port))
    assert (ended.status, ended.err) == (1, f"port {port} answers 500\n")


async def test_who_speaks_no_http_is_not_well(shop: Shop) -> None:
    async def mumble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail at your service\r\n")
        writer.close()

    server = await asyncio.start_server(mumble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ended = await shop.run("health", PORT=str(port))
    assert ended.status == 1
    assert ended.err.startswith(f"no answer at port {port}: ")
