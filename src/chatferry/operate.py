"""What an operator does by hand: look at turns, do one again, say something unasked.

These commands work beside a running gateway: they write to the ledger, and its sweep finds the work. Where none runs,
a push is delivered by the command itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatferry.clock import SystemClock
from chatferry.config import Settings
from chatferry.database import migrate, open_database
from chatferry.errors import ConfigError, InUse
from chatferry.gateway import open_gateway
from chatferry.ledger import Entry, Ledger
from chatferry.model import Inbound, says

_CLOSED = ("done", "failed", "gone", "parked", "merged", "withdrawn")
_STYLES = {"done": "green", "failed": "bold red", "gone": "dim", "parked": "yellow", "doing": "cyan"}
_PATIENCE = 60.0
"""Seconds that `push` waits to see its message go out."""


@contextlib.asynccontextmanager
async def _ledger(settings: Settings) -> AsyncIterator[Ledger]:
    database = open_database(settings.server.database)
    try:
        await migrate(database)
        async with Ledger(database, SystemClock()).open() as ledger:
            yield ledger
    finally:
        await database.aclose()


# ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────


def show_turns(settings: Settings, *, limit: int, follow: bool) -> None:
    """Print the latest turns, oldest first; with `follow` each again when it changes, until interrupted."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_show_turns(settings, limit, follow))


async def _show_turns(settings: Settings, limit: int, follow: bool) -> None:
    console = Console()
    async with _ledger(settings) as ledger:
        entries = list(reversed(await ledger.entries(limit=limit)))
        console.print(table(entries) if entries else Text("no turns yet", style="dim"))
        shown = {entry.id: entry for entry in entries}
        while follow:
            await asyncio.sleep(0.5)
            for entry in reversed(await ledger.entries(limit=limit)):
                if shown.get(entry.id) != entry:
                    shown[entry.id] = entry
                    console.print(_line(entry), soft_wrap=True)


def table(entries: Sequence[Entry]) -> Table:
    """Turns as a table: state, times and errors."""
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("turn", "accepted", "state", "waited", "took", "tries", "conversation", "model", "error"):
        grid.add_column(heading, no_wrap=heading != "error", overflow="ellipsis")
    for entry in entries:
        grid.add_row(*_cells(entry))
    return grid


def _cells(entry: Entry) -> tuple[Text | str, ...]:
    return (
        str(entry.id),
        datetime.fromtimestamp(entry.accepted_at).strftime("%m-%d %H:%M:%S"),  # noqa: DTZ006 - the operator's own time
        Text(entry.state, style=_STYLES.get(entry.state, "")),
        _seconds(entry.accepted_at, entry.started_at),
        _seconds(entry.accepted_at, entry.finished_at),
        str(entry.attempts),
        entry.conversation,
        entry.model,
        entry.error,
    )


def _line(entry: Entry) -> Text:
    cells = [cell if isinstance(cell, Text) else Text(cell) for cell in _cells(entry) if cell]
    return Text("  ").join(cells)


def _seconds(begin: float, end: float | None) -> str:
    return "" if end is None else f"{end - begin:.2f} s"


def retry(settings: Settings, turn: int) -> int:
    """Make a closed turn due again. Returns the exit status."""

    async def reopen() -> bool:
        async with _ledger(settings) as ledger:
            return await ledger.reopen(turn)

    reopened = asyncio.run(reopen())
    console = Console(stderr=not reopened)
    if reopened:
        console.print(f"turn {turn} is due again: a running gateway takes it at once, else the next start does")
        return 0
    console.print(f"turn {turn} is not one that failed, waits to be collected, or found nobody there")
    return 1


# ── push ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def push(settings: Settings, channel: str, conversation: str, text: str, key: str) -> int:
    """Keep the message, have it sent, and say what came of it. Returns the exit status: 0 when it is out."""
    if channel not in settings.channels:
        known = ", ".join(settings.channels) or "none"
        raise ConfigError(f"there is no channel {channel!r} that can send; known: {known}")
    if not text.strip():
        raise ConfigError("there is nothing to say: the text is empty")
    event = f"push/{key or uuid.uuid4().hex}"
    inbound = Inbound(event, conversation, "push", says("assistant", text.strip()), at=time.time())
    entry = asyncio.run(_push(settings, channel, inbound))
    if entry.state == "done":
        Console().print(f"sent (turn {entry.id})")
        return 0
    Console(stderr=True).print(f"not sent yet: turn {entry.id} is {entry.state}. {entry.error}".rstrip())
    return 1


async def _push(settings: Settings, channel: str, inbound: Inbound) -> Entry:
    # Beside a running gateway the row is enough. Alone, this process is the gateway for as long as it takes.
    async with _ledger(settings) as ledger:
        (accepted,) = await ledger.accept(channel, [inbound])
    try:
        async with open_gateway(settings) as gateway:
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(gateway.work(stop))
                entry = await _closed(gateway.ledger, accepted.turn)
                stop.set()
            return entry
    except InUse:
        async with _ledger(settings) as ledger:
            return await _closed(ledger, accepted.turn)


async def _closed(ledger: Ledger, turn: int) -> Entry:
    """The turn once it has ended, or as it is when patience has."""
    for _ in range(int(_PATIENCE / 0.1)):
        (entry,) = await ledger.entries(turn=turn)
        if entry.state in _CLOSED:
            break
        await asyncio.sleep(0.1)
    return entry
