"""`chatferry check`: does everything work that the configuration names? Found out by calling it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from rich.console import Console
from rich.text import Text

from chatferry.clock import SystemClock
from chatferry.config import Settings
from chatferry.database import migrate, open_database
from chatferry.errors import ChatferryError, ConfigError
from chatferry.gateway import make_channels, make_engine
from chatferry.ledger import Ledger
from chatferry.model import Finding


def run(settings: Settings, console: Console | None = None) -> int:
    """Print a line for each finding, with its mend. Returns 0 when all is well, else 1."""
    return asyncio.run(_run(settings, console or Console()))


async def _run(settings: Settings, console: Console) -> int:
    faults = 0
    console.print(Text(f"configuration: {settings.source}", style="dim"))
    async for finding in findings(settings):
        mark = Text("✓ ", style="green") if finding.ok else Text("✗ ", style="bold red")
        console.print(mark + Text(f"{finding.subject}: ", style="bold") + Text(finding.detail), soft_wrap=True)
        if finding.mend:
            console.print(Text(f"  mend: {finding.mend}", style="yellow"), soft_wrap=True)
        faults += not finding.ok
    console.print(Text("all is well" if not faults else f"{faults} fault(s)", style="green" if not faults else "red"))
    return 1 if faults else 0


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """The database, then every model, then every channel."""
    yield await _database(settings)
    public = settings.server.public_url
    if public is None and settings.channels:
        yield Finding(
            True,
            "public address",
            "not set, so it is not known whether platforms reach this gateway",
            'server.public_url = "https://..." in the configuration, or CHATFERRY_PUBLIC_URL=https://...',
        )
    clock = SystemClock()
    async with aiohttp.ClientSession() as http:
        for name, model in settings.models.items():
            async for finding in make_engine(name, model, http, clock).check():
                yield finding
        for name, channel in make_channels(settings, http, clock).items():
            path = settings.channels[name].path if name in settings.channels else None
            async for finding in channel.check(f"{public}{path}" if public and path else None):
                yield finding


async def _database(settings: Settings) -> Finding:
    database = open_database(settings.server.database)
    try:
        await migrate(database)
        backlog = await Ledger(database, SystemClock()).backlog()
    except ConfigError:
        raise
    except (ChatferryError, OSError) as fault:
        return Finding(False, "database", str(fault), "check server.database and the permissions of its folder")
    finally:
        await database.aclose()
    return Finding(True, "database", f"{backlog['due']} turn(s) wait, {backlog['doing']} run")
