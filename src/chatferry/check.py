"""`chatferry check`: does everything work that the configuration names? Found out by calling it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from chatferry.clock import SystemClock
from chatferry.commit import unavailable
from chatferry.config import ServerSettings, Settings
from chatferry.configfile import read, variables
from chatferry.configrules import CHANNELS
from chatferry.database import open_database
from chatferry.errors import ChatferryError
from chatferry.gateway import look_for_tools, make_channels, make_engine, make_servers
from chatferry.ledger import Ledger
from chatferry.model import Finding
from chatferry.replies import findings as functions


def run(settings: Settings, console: Console | None = None) -> int:
    """Print a line for each finding, with its mend. Returns 0 when all is well, else 1."""
    return asyncio.run(_run(settings, console or Console(highlight=False)))


async def _run(settings: Settings, console: Console) -> int:
    secrets = settings.secrets()

    def say(text: str, style: str) -> None:
        # What a platform or provider says may quote anything.
        for secret in secrets:
            text = text.replace(secret, "***")
        console.print(Text(text, style=style), soft_wrap=True)

    faults = 0
    say(f"configuration: {settings.source}", "dim")
    async for finding in findings(settings):
        mark, style = ("ok   ", "green") if finding.ok else ("FAULT", "bold red")
        if finding.ok and finding.mend:
            mark, style = "note ", "yellow"
        say(f"{mark} {finding.subject}: {finding.detail}", style)
        if finding.mend:
            say(f"      mend: {finding.mend}", "")
        faults += not finding.ok
    say("all is well" if not faults else f"{faults} fault{'s' if faults > 1 else ''}", "bold")
    return 1 if faults else 0


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """The database, the functions, every model, tool server and channel. Nothing is changed or left behind."""
    yield await _database(settings.server)
    for finding in (*_unread(settings, os.environ), *functions(settings), *look_for_tools(settings)):
        yield finding
    public = settings.server.public_url
    # The other channels say it by themselves.
    if public is None and any(channel.type == "line" for channel in settings.channels.values()):
        yield Finding(
            True,
            "public address",
            "not set, so it is not known whether platforms call the right one",
            'CHATFERRY_PUBLIC_URL=https://..., or public_url = "https://..." in [server]',
        )
    clock = SystemClock()
    async with aiohttp.ClientSession() as http:
        for name, model in settings.models.items():
            async for finding in make_engine(name, model, http, clock).check():
                yield finding
        for server in make_servers(settings, clock).values():
            async for finding in server.check():
                yield finding
        for name, channel in make_channels(settings, http, clock).items():
            async for finding in channel.check(_hook_url(settings, name)):
                yield Finding(finding.ok, _named(name, finding.subject), finding.detail, finding.mend)


def _unread(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is set for a channel, beside a file that takes its place and does not read it."""
    path = Path(settings.source)
    if not path.is_file():
        return
    known, text = variables(path.parent, environ), read(path)
    for channel in {channel.type for channel in settings.channels.values()}:
        for setting, name in CHANNELS[channel].items():
            if name in known and f"${{{name}" not in text:
                mend = f'{setting} = "${{{name}}}" in [channels.{channel}], or unset it'
                yield Finding(True, name, f"is set, but {path} does not read it", mend)


def _named(channel: str, subject: str) -> str:
    return subject if channel in subject.split() else f"{channel} {subject}"


def _hook_url(settings: Settings, name: str) -> str | None:
    """What the platform is to call, as far as we know our address."""
    channel, public = settings.channels.get(name), settings.server.public_url
    if channel is None or public is None:
        return None
    token = f"?token={channel.url_token.get_secret_value()}" if channel.url_token else ""
    return f"{public}{channel.path}{token}"


async def _database(server: ServerSettings) -> Finding:
    subject = f"database {server.file}" if server.file else "database"
    try:
        if server.file is not None and not server.file.exists():
            _try_to_write(server.file.absolute().parent)
            return Finding(True, subject, "is made by the first start")
        return Finding(True, subject, await _look_into(server.database))
    except SQLAlchemyError as fault:
        detail = str(unavailable(fault))
    except (ChatferryError, OSError) as fault:
        detail = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
    if server.file is None:
        return Finding(False, subject, detail, "check server.database: is the server up, are name and password right?")
    return Finding(False, subject, detail, "check server.database and that we may write to this file and its folder")


async def _look_into(url: str) -> str:
    """Beside a gateway that runs: a transaction in which nothing is written, and a look."""
    database = open_database(url)
    try:
        await database.write(lambda connection: connection.closed)
        try:
            backlog = await Ledger(database, SystemClock()).backlog()
        except ChatferryError:
            return "writable; the next start sets it up"
    finally:
        await database.aclose()
    return f"{backlog['due']} turns wait, {backlog['doing']} run"


def _try_to_write(folder: Path) -> None:
    """Raises OSError where no file can be made in a folder, or, as long as there is none, in the one above it."""
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass
