"""How far each message has come in the gateway: read from its database, as `chatferry turns` does, put as facts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from chatferry.clock import SystemClock
from chatferry.errors import Unavailable
from chatferry.ledger.database import connected
from chatferry.ledger.looking import Looking
from chatferry.simulator.scene import Scene

_WATCHED = 50
"""The latest turns."""
_PACE = 0.25
"""Seconds between two looks, while something goes on."""


async def follow(database: str, scene: Scene, platforms: Mapping[str, str]) -> None:
    """Put a `turn` fact for each turn whenever it changes. `platforms`: channel to platform."""
    async with connected(database, migrated=False) as opened:
        looking = Looking(opened, SystemClock())
        known: dict[int, object] = {}
        stirred = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_stir(scene, stirred))
            while True:
                await stirred.wait()
                stirred.clear()
                if await _look(looking, scene, platforms, known):
                    stirred.set()  # something is under way
                await asyncio.sleep(_PACE)


async def _stir(scene: Scene, stirred: asyncio.Event) -> None:
    async for facts in scene.follow():
        if any(fact["kind"] in ("exchange", "bubble", "gateway") for fact in facts):
            stirred.set()


async def _look(looking: Looking, scene: Scene, platforms: Mapping[str, str], known: dict[int, object]) -> bool:
    """Put what changed; whether any turn is still under way."""
    under_way = False
    with contextlib.suppress(Unavailable):  # the next look sees it
        latest = await looking.entries(limit=_WATCHED)
        sent = await looking.delivered([entry.id for entry in latest])
        for entry in reversed(latest):
            pieces = [{"receipt": piece.receipt, "at": piece.at} for piece in sent.get(entry.id, ())]
            under_way = under_way or entry.state in ("due", "doing")
            if known.get(entry.id) == (entry, pieces):
                continue
            known[entry.id] = (entry, pieces)
            scene.put(
                "turn",
                str(entry.id),
                channel=platforms.get(entry.channel, entry.channel),
                ref=entry.ref,
                event=entry.event,
                turn_kind=entry.kind,
                state=entry.state,
                attempts=entry.attempts,
                accepted_at=entry.accepted_at,
                started_at=entry.started_at,
                first_token_at=entry.first_token_at,
                answered_at=entry.answered_at,
                finished_at=entry.finished_at,
                error=entry.error,
                model=entry.model,
                prompt_tokens=entry.prompt_tokens,
                completion_tokens=entry.completion_tokens,
                sent=pieces,
            )
        for turn in [turn for turn in known if turn < latest[-1].id] if latest else ():
            del known[turn]
    return under_way
