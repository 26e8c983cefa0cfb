"""The tools of the scenarios: a function that answers when it is let to."""

from __future__ import annotations

import asyncio


class Gate:
    """What holds `ferry` up; set anew by each test."""

    open = asyncio.Event()
    called = asyncio.Event()


async def ferry(name: str) -> str:
    """Where a ferry is."""
    Gate.called.set()
    await Gate.open.wait()
    return f"{name} is at sea"


async def sunk() -> str:
    """What never comes back."""
    raise ValueError
