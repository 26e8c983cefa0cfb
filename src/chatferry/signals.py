"""Waiting for whichever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

Signal = Coroutine[Any, Any, object]


async def first_of(*signals: Signal) -> None:
    """Return when one of them is done, and the others have ended there. What it raises is raised."""
    tasks = [asyncio.ensure_future(signal) for signal in signals]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()
