"""The whole thing on real sockets: the gateway, LINE's side and a model provider's side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from chatferry.clock import Clock, SystemClock
from chatferry.config import ApiSettings, AssistantSettings, LineSettings, ModelSettings, ServerSettings, Settings
from chatferry.gateway import Gateway
from chatferry.serve import serve
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving

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
    line = line or LineSimulator(clock=clock.now)
    model = model or ModelSimulator()
    async with line, serving(line) as line_url, serving(model.app) as model_url:
        settings = settings_for(folder, line, line_url, model_url, model=overrides.pop("engine", None), **overrides)
        async with gateway_on(settings, clock) as (gateway, url, stop):
            line.webhook = f"{url}/hooks/line"
            yield Stack(line, model, line_url, model_url, url, gateway, stop)


@contextlib.asynccontextmanager
async def gateway_on(settings: Settings, clock: Clock) -> AsyncIterator[tuple[Gateway, str, asyncio.Event]]:
    """A gateway that serves until the context closes, and then drains."""
    stop = asyncio.Event()
    up: asyncio.Queue[tuple[Gateway, str]] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(settings, stop, clock=clock, ready=lambda gateway, url: up.put_nowait((gateway, url))))
        try:
            gateway, url = await up.get()
            yield gateway, url, stop
        finally:
            stop.set()
