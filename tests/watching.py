"""Waiting for what a scene shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chatferry.simulator.scene import Scene

Fact = dict[str, Any]


async def until(scene: Scene, kind: str, holds: Callable[[Fact], object]) -> Fact:
    """The first fact of this kind of which this holds, as soon as there is one."""
    async with asyncio.timeout(60):
        async for facts in scene.follow():
            for fact in facts:
                if fact["kind"] == kind and not fact.get("dropped") and holds(fact):
                    return fact
    raise AssertionError
