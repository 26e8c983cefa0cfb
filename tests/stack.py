"""The whole thing on real sockets: the gateway, LINE's side and a model provider's side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from chatferry.clock import Clock, SystemClock
from chatferry.config import ApiSettings, AssistantSettings, LineSettings, ModelSettings, ServerSettings, Settings
from chatferry.gateway import Gateway, Role
from chatferry.serve import serve
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from tests.sqlite import with_schema

KEY = "test-api-key"


@dataclass
class Stack:
    """Where everything is."""

    line: LineSimulator
    model: ModelSimulator
    line_url: str
    model_url: str
    url: str
    gateway: Gateway
    stop: asyncio.Event


def settings_for(
    folder: Path,
    line: LineSimulator,
    line_url: str,
    model_url: str,
    *,
    server: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    assistant: dict[str, Any] | None = None,
    channel: dict[str, Any] | None = None,
    api: dict[str, Any] | None = None,
) -> Settings:
    """Settings that lead to the simulators; each table can be overridden."""
    database = f"sqlite:///{folder}/chatferry.db"
    place = {"host": "127.0.0.1", "port": 0, "database": database, "drain": 5.0}
    return Settings(
        server=ServerSettings(**{**place, **(server or {})}),
        models={
            "default": ModelSettings(
                **{"provider": "openai", "model": "sim", "base_url": f"{model_url}/v1", **(model or {})}
            )
        },
        assistants={"default": AssistantSettings(**{"language": "en", **(assistant or {})})},
        channels={
            "line": LineSettings(
                **{
                    "secret": SecretStr(line.secret),
                    "token": SecretStr(line.token),
                    "api_base": line_url,
                    "data_api_base": line_url,
                    "path": "/hooks/line",
                    **(channel or {}),
                }
            )
        },
        api=ApiSettings(**{"keys": (SecretStr(KEY),), **(api or {})}),
        source="test",
    )


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    *,
    clock: Clock | None = None,
    line: LineSimulator | None = None,
    model: ModelSimulator | None = None,
    **overrides: dict[str, Any],
) -> AsyncIterator[Stack]:
    """A gateway between its simulators while the context is open."""
    clock = clock or SystemClock()
    line = line or LineSimulator(clock=clock.now, patience=60.0)
    model = model or ModelSimulator()
    async with line, serving(line) as line_url, serving(model.app) as model_url:
        settings = settings_for(folder, line, line_url, model_url, model=overrides.pop("engine", None), **overrides)
        async with gateway_on(settings, clock) as (gateway, url, stop):
            line.webhook = f"{url}/hooks/line"
            yield Stack(line, model, line_url, model_url, url, gateway, stop)


apart: ContextVar[str | None] = ContextVar("apart", default=None)
"""The address of a PostgreSQL on which one process takes in and another one answers; None: one does both."""


@contextlib.asynccontextmanager
async def gateway_on(settings: Settings, clock: Clock) -> AsyncIterator[tuple[Gateway, str, asyncio.Event]]:
    """A gateway that serves until the context closes, and then drains. Of two that share the work, it is the web."""
    if (database := apart.get()) is None:
        async with process_on(settings, clock) as process:
            yield process
        return
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"database": database})})
    async with process_on(settings, clock, "worker"), process_on(settings, clock, "web") as web:
        yield web


@contextlib.asynccontextmanager
async def process_on(
    settings: Settings, clock: Clock, role: Role = "all"
) -> AsyncIterator[tuple[Gateway, str, asyncio.Event]]:
    """What would be a process of its own, until the context closes, and then it drains."""
    if settings.server.database.startswith("sqlite:///"):
        with_schema(Path(settings.server.database.removeprefix("sqlite:///")))
    stop = asyncio.Event()
    up: asyncio.Queue[tuple[Gateway, str]] = asyncio.Queue()

    def ready(gateway: Gateway, url: str) -> None:
        up.put_nowait((gateway, url))

    async with asyncio.TaskGroup() as group:
        group.create_task(serve(settings, stop, clock=clock, ready=ready, role=role))
        try:
            gateway, url = await up.get()
            yield gateway, url, stop
        finally:
            stop.set()
