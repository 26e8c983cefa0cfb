"""Run an ASGI app on a real loopback socket inside the running event loop, and hang up on who calls it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp, Receive, Send

_PATIENCE = 0.5
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
        await self._idle()
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # who reads nothing any more, or waits for what does not come
        await self._idle()
        for task in self.server_state.tasks:
            task.cancel()

    async def _idle(self) -> None:
        """Return when nothing is open any more, or patience is at its end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.001)

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
    """Serve `app` while the context is open, on `sock` or on a free port of 127.0.0.1; yields its base URL, as it is
    reached from this machine.

    The socket listens before this yields, so there is no moment at which a client would be refused.
    """
    sock = sock or listening()
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - from here it is reached so
    # Idle connections stay open for as long as with providers and platforms, not for the five seconds of uvicorn.
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=75)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    server = _Server(config)
    with sock:
        # No task group: whoever is interrupted in here leaves by an exception, and the server has to end in peace.
        task = asyncio.create_task(server.serve(sockets=[sock]), name="simulator")
        try:
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        finally:
            server.stop.set()
            await task


def _is_news(record: logging.LogRecord) -> bool:
    """Not that a request was given up when everything ended."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


async def hang_up(receive: Receive, send: Send) -> None:
    """Close the connection without a word. ASGI has no way to say that, so this goes through uvicorn's own cycle."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]  # uvicorn's, which ASGI does not know
    await gone(receive)


async def gone(receive: Receive) -> None:
    """Return when whoever calls has hung up. The body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
