"""A TCP proxy that can be cut, or swallow everything: the network between two processes, and the balancer in front."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine
from typing import Self


class Proxy:
    """Forwards what comes at `port` to one of the backends, in turn, leaving out those that refuse."""

    def __init__(self, *backends: int) -> None:
        """backends: ports on loopback."""
        self.port = 0
        self._backends = backends
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._refusing = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        self._flows.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Drop all connections, and let nobody in."""
        self._refusing = True
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Nothing goes through either way, and nobody is told."""
        self._flows.clear()

    def mend(self) -> None:
        """All is well again. What was swallowed arrives now, where anybody still waits for it."""
        self._refusing = False
        self._flows.set()

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        writers = [writer]
        self._writers.add(writer)
        try:
            await self._flows.wait()
            there = None if self._refusing else await self._backend()
            if there is None or self._refusing:
                return
            writers.append(there[1])
            self._writers.add(there[1])
            await _first(self._pump(reader, there[1]), self._pump(there[0], writer))
            for one in writers:
                one.close()  # after what is still to be written
        finally:
            for one in writers:
                self._writers.discard(one)
                if not one.is_closing():
                    one.transport.abort()

    async def _backend(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._turn)
        for n in range(len(self._backends)):
            port = self._backends[(first + n) % len(self._backends)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()


async def _first(*ways: Coroutine[object, object, None]) -> None:
    """Return when one of these has ended, and end the others."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
