"""The network of the chaos run: it forwards, drops everything, or swallows everything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Proxy
from tests.ports import free_port


@contextlib.asynccontextmanager
async def saying(word: bytes) -> AsyncIterator[int]:
    """A server that says its word, then all that it is told; yields its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(word)
            while data := await reader.read(100):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def calling(proxy: Proxy) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_connections_go_to_the_backends_in_turn_and_past_those_that_refuse() -> None:
    async with saying(b"a") as one, saying(b"b") as two, Proxy(one, free_port(), two) as proxy:
        heard = []
        for _ in range(6):
            async with calling(proxy) as (reader, writer):
                word = await reader.readexactly(1)
                writer.write(b"echo")
                assert await reader.readexactly(4) == b"echo"
                heard.append(word)
    assert {*heard} == {b"a", b"b"}


async def test_where_nobody_listens_the_connection_ends() -> None:
    async with Proxy(free_port()) as proxy, calling(proxy) as (reader, _):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)


async def test_a_cut_drops_what_is_open_and_lets_nobody_in_until_it_is_mended() -> None:
    async with saying(b"a") as port, Proxy(port) as proxy:
        async with calling(proxy) as (reader, _):
            await reader.readexactly(1)
            proxy.cut()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(1)
        async with calling(proxy) as (reader, _):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(1)
        proxy.mend()
        async with calling(proxy) as (reader, _):
            assert await reader.readexactly(1) == b"a"


async def test_what_is_frozen_says_nothing_and_what_was_swallowed_arrives_afterwards() -> None:
    async with saying(b"a") as port, Proxy(port) as proxy, calling(proxy) as (reader, writer):
        await reader.readexactly(1)
        proxy.freeze()
        writer.write(b"echo")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(4), 0.2)
        proxy.mend()
        assert await reader.readexactly(4) == b"echo"
