"""`chatferry serve`: the gateway behind a socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator

import structlog
import uvicorn

from chatferry.clock import Clock
from chatferry.config import ServerSettings, Settings
from chatferry.errors import ConfigError
from chatferry.gateway import Gateway, Role, open_gateway
from chatferry.web.app import build
from chatferry.web.http import SILENT
from chatferry.web.sockets import Sockets

log = structlog.get_logger(__name__)

_IDLE = 620
"""Seconds for which a connection may be idle: longer than whoever is in front keeps his (Google 600, AWS and nginx 60).

Who closes first loses what the other is just sending, and a webhook that was sent once does not come again.
"""
_HANDOVER = 3.0
"""Seconds for which we wait for the one before us, or a `chatferry push`, to leave the database."""


class _GivenUp(logging.Filter):
    """A request that is cut off at the end is told in one line by uvicorn, and is no bug that wants a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


_given_up = _GivenUp()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: they begin a drain, not an end."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and cycle.scope.get(SILENT) and not cycle.response_started:
                connection.transport.abort()
        await super().shutdown(sockets)


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    clock: Clock | None = None,
    role: Role = "all",
    ready: Callable[[Gateway, str], None] | None = None,
) -> None:
    """Serve until `stop` is set and what runs has drained. `ready` is told the address that we listen at.

    Raises ConfigError where the port or the database cannot be had.
    """
    listener = _listen(settings.server)
    with listener:
        async with open_gateway(settings, clock, patience=_HANDOVER, role=role) as gateway:
            config = uvicorn.Config(
                build(gateway),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                ws=Sockets,
                ws_max_size=settings.server.body_limit,
                timeout_keep_alive=_IDLE,
                timeout_graceful_shutdown=3,
            )
            logging.getLogger("uvicorn.error").addFilter(_given_up)
            server = _Server(config)
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve(sockets=[listener]), name="http")
                host, port = listener.getsockname()[:2]
                address = f"http://{host if ':' not in host else f'[{host}]'}:{port}"
                hooks = {name: channel.path for name, channel in settings.channels.items()} if role != "worker" else {}
                api = settings.api is not None and role != "worker"
                log.info("serving", role=role, address=address, hooks=hooks, api=api)
                if ready is not None:
                    ready(gateway, address)
                await gateway.work(stop)
                server.should_exit = True


def run(settings: Settings, ready: Callable[[str], None] | None = None, *, role: Role = "all") -> None:
    """Serve in a fresh event loop, the fastest there is; SIGTERM and SIGINT drain, a second one ends at once.

    `ready` is told the address that we listen at.
    """

    async def main() -> None:
        stop = asyncio.Event()
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def told() -> None:
            if stop.is_set() and task is not None:
                task.cancel()
            stop.set()

        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, told)

        def begun(_: Gateway, address: str) -> None:
            _settle()
            if ready is not None:
                ready(address)

        await serve(settings, stop, ready=begun, role=role)

    _more_files()
    with asyncio.Runner(loop_factory=loop_factory()) as runner, contextlib.suppress(asyncio.CancelledError):
        runner.run(main())


def _more_files() -> None:
    """Every connection is a file, and shells often allow a thousand; take as many as we may."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _settle() -> None:
    """Keep the garbage collector from looking, many times a second, at all that lives as long as the process does.

    At 2,000 webhooks/s this alone brought the slowest hundredth of the 200s from 85 to 20 ms.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where there is one: it halves the cost of a token."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _listen(server: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        listener = socket.create_server((server.host, server.port), family=family, backlog=2048)
    except OSError as fault:
        raise ConfigError(
            f"server.port: cannot listen at {server.host}:{server.port}: {fault.strerror}\n"
            "  mend: stop what listens there, or set PORT=... (or server.port) to a free one"
        ) from None
    listener.setblocking(False)
    # Asyncio does this for its own sockets only; without it an answer in two writes takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
