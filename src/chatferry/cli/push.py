"""`chatferry push`: something is said unasked. Where no gateway runs, the command delivers it by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid

from rich.console import Console

from chatferry.cli.database import opened
from chatferry.config import Settings
from chatferry.errors import ConfigError, InUse
from chatferry.gateway import open_gateway
from chatferry.ledger.looking import Entry
from chatferry.model import Inbound, conversation_key, says

_PATIENCE = 60.0
"""Seconds that `push` waits to see its message go out."""


def push(settings: Settings, channel: str, conversation: str, text: str, key: str) -> int:
    """Keep the message, have it sent, and say what came of it. Returns the exit status: 0 when it is out."""
    if channel not in settings.channels:
        known = ", ".join(settings.channels) or "none"
        raise ConfigError(f"there is no channel {channel!r} that can send; known: {known}")
    if not text.strip():
        raise ConfigError("there is nothing to say: the text is empty")
    conversation = conversation.removeprefix(f"{channel}:")  # as `chatferry turns` shows it
    event = f"push/{conversation}/{key or uuid.uuid4().hex}"
    inbound = Inbound(event, conversation, "push", says("assistant", text.strip()), at=time.time())
    entry = asyncio.run(deliver(settings, channel, inbound))
    out = entry.state == "done"
    Console(stderr=not out, highlight=False).print(became(entry), soft_wrap=True, markup=False)
    return 0 if out else 1


def became(entry: Entry) -> str:
    """What has become of a message that nobody asked for."""
    turn = f"(turn {entry.id})"
    match entry.state:
        case "done":
            return f"sent {turn}"
        case "parked":
            return (
                f"kept {turn}: it cannot be pushed now, and goes out, free, when the person writes next. {entry.error}"
            )
        case "gone":
            return f"not sent {turn}: nobody is there. {entry.error}"
        case "failed":
            return f"not sent {turn}: {entry.error}\n  when that is mended: `chatferry turns retry {entry.id}`"
    return f"not sent yet {turn}; a running gateway, or the next start, goes on trying. {entry.error}"


async def deliver(settings: Settings, channel: str, inbound: Inbound) -> Entry:
    """Beside a running gateway the row is enough. Alone, this process is the gateway for this conversation."""
    async with opened(settings.server) as (ledger, _):
        (accepted,) = await ledger.accept(channel, [inbound])
        end = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(InUse):
                async with open_gateway(settings) as gateway:
                    while await gateway.worker.handle(conversation_key(channel, inbound.conversation), asyncio.Event()):
                        pass
            (entry,) = await ledger.entries(turn=accepted.turn)
            if entry.state not in ("due", "doing") or time.monotonic() > end:
                return entry
            await asyncio.sleep(0.1)
