"""A simulated provider on a real socket, and a session to reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from tests.engines.support import Provider, WatchedConnector


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    sim = ModelSimulator()
    async with serving(sim.app) as url:
        yield Provider(sim, url)
        sim.release.set()


@pytest.fixture
async def connector() -> WatchedConnector:
    return WatchedConnector()


@pytest.fixture
async def http(connector: WatchedConnector) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session
