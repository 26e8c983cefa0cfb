"""A simulated provider, the proxy before it, and a client: what tests of the model's weather share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.model_weather import ModelProxy
from chatferry.simulator.scene import Fact, Scene
from chatferry.simulator.serving import serving

KEY = "sk-secret-0123456789abcdef"
OPENAI = "/gpt/chat/completions"
GEMINI = "/gem/models/gemini-x:streamGenerateContent?alt=sse"


@dataclass
class World:
    sim: ModelSimulator
    proxy: ModelProxy
    url: str
    http: aiohttp.ClientSession

    @property
    def scene(self) -> Scene:
        return self.proxy.scene

    def ask(self, path: str = OPENAI, *, stream: bool = True, headers: Mapping[str, str] | None = None) -> Any:
        """Somebody says hello; the answer is aiohttp's, as a context."""
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
        if path == OPENAI:
            body = {"model": "some-model", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
        return self.http.post(self.url + path, json=body, headers={"Authorization": f"Bearer {KEY}", **(headers or {})})

    async def exchange(self, *, ended: bool = True) -> Fact:
        """The last exchange, as soon as there is one that has ended, or one that has not."""
        async for _ in self.scene.follow():
            found = [fact for fact in self.scene.all() if fact["kind"] == "exchange"]
            if found and (found[-1]["seconds"] is not None) == ended:
                return found[-1]
        raise AssertionError("a scene never ends")


@contextlib.asynccontextmanager
async def world(**given: Any) -> AsyncIterator[World]:
    sim = ModelSimulator(**given)
    async with serving(sim.app) as up:
        upstreams = {"gpt": f"{up}/v1", "gem": f"{up}/v1beta/", "a/b": f"{up}/v1", "none": "http://127.0.0.1:9/v1"}
        async with (
            ModelProxy(Scene(), upstreams) as proxy,
            serving(proxy) as url,
            aiohttp.ClientSession() as http,
        ):
            yield World(sim, proxy, url, http)
            sim.release.set()
            proxy.weather.change(fault="", first=0, rate=0)


async def events(answer: aiohttp.ClientResponse, count: int = 1000) -> int:
    """Read so many events, or all; returns how many there were."""
    seen = 0
    while seen < count and (line := await answer.content.readline()):
        seen += line.startswith(b"data:")
    return seen
