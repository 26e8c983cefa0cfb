"""Run an ASGI app on a real loopback socket inside the running event loop, and hang up on who calls it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp, Receive, Send

_PATIENCE = 1.0
"""Seconds that requests have to end in."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait to be stopped. Uvicorn's own loop looks ten times a second, which a suite of small tests would feel."""
        await self.on_tick(0)
        await self.stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is open. Uvicorn's own gives that a tenth of a second, needed or not."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.001)
        for task in self.server_state.tasks:
            task.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program that we run in."""
        yield


def listening(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A socket that callers can already reach. Port 0: any free one. Raises OSError."""
    sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    sock.setblocking(False)
    # Asyncio does this for its own sockets only; without it an answer in two writes takes 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, *, sock: socket.socket | None = None) -> AsyncIterator[str]:
    """Serve `app` while the context is open, on `sock` or on a free port of 127.0.0.1; yields its base URL.

    The socket listens before this yields, so there is no moment at which a client would be refused.
    """
    sock = sock or listening()
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    server = _Server(config)
    with sock:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[sock]), name="simulator")
            try:
                yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            finally:
                server.stop.set()


async def hang_up(receive: Receive, send: Send) -> None:
    """Close the connection without a word. ASGI has no way to say that, so this goes through uvicorn's own cycle."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]  # uvicorn's, which ASGI does not know
    while (await receive())["type"] != "http.disconnect":
        pass
