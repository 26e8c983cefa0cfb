"""`chatferry check`: does everything work that the configuration names? Found out by calling it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from chatferry import extras
from chatferry.answering.prompt import narrow
from chatferry.answering.remember import Remember
from chatferry.answering.toolbox import opened
from chatferry.assistant import Assistant
from chatferry.cli import keys as manage_keys
from chatferry.cli.database import is_fresh
from chatferry.cli.knowledge import findings as knowledge
from chatferry.clock import SystemClock
from chatferry.config import ServerSettings, Settings
from chatferry.config.file import read, variables
from chatferry.config.rules import CHANNELS
from chatferry.errors import ChatferryError
from chatferry.ledger import apikeys
from chatferry.ledger.commit import unavailable
from chatferry.ledger.database import connected
from chatferry.ledger.ledger import Ledger
from chatferry.model import Finding
from chatferry.parts import (
    look_for_tools,
    make_assistants,
    make_channels,
    make_engine,
    make_listener,
    make_servers,
)
from chatferry.replies import findings as functions
from chatferry.retry import Circuit
from chatferry.watching.metrics import Metrics

_NAMED = 5
"""Tools that are named where many have no room."""


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


async def findings(settings: Settings, find: extras.Find = find_spec) -> AsyncIterator[Finding]:
    """The extras, the database, the functions, every model, tool server and channel. Nothing is changed or left behind.

    What lacks its extra is told, and not tried. `find`: looks for a module.
    """
    missing = list(extras.missing(settings, find))
    lacking = {one.extra for one in missing}
    for one in missing:
        yield one.finding
    for finding in extras.advised(settings, find):
        yield finding
    if "postgres" not in lacking:
        yield await _database(settings.server)
    tools = list(look_for_tools(settings))
    for finding in (*_unread(settings, os.environ), *functions(settings), *tools, *await _keys(settings)):
        yield finding
    async for finding in knowledge(settings):
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
        engines = {name: make_engine(name, model, http) for name, model in settings.models.items()}
        ears = {assistant.voice for assistant in settings.assistants.values()}
        for name, engine in engines.items():
            listens = name in ears and not _answers(name, settings)
            tried = make_listener(name, settings.models[name], http) if listens else engine
            async for finding in tried.check():
                yield finding
        servers = make_servers(settings, clock) if "mcp" not in lacking else {}
        for server in servers.values():
            async for finding in server.check():
                yield finding
        if not missing and all(tool.ok for tool in tools):
            circuits = {name: Circuit(clock) for name in engines}
            for assistant in make_assistants(settings, engines, servers, circuits, clock, Metrics()).values():
                async for finding in _room(assistant):
                    yield finding
        for name, channel in make_channels(_tried(settings, missing), http, clock).items():
            async for finding in channel.check(_hook_url(settings, name)):
                yield Finding(finding.ok, _named(name, finding.subject), finding.detail, finding.mend)


async def _room(assistant: Assistant) -> AsyncIterator[Finding]:
    """Whether what it is to know fits into its prompts; servers tell their tools when they have been tried."""
    toolbox = await opened(assistant.sources, assistant.settings)
    own = (Remember.tool,) if assistant.settings.profile else ()
    tools = (*own, *(toolbox.offered if toolbox else ()))
    lacking = narrow(assistant, tools)
    if lacking is None:
        return
    subject, given = f"assistant {assistant.name}", assistant.settings.context_tokens
    mend = f"context_tokens = {lacking.enough} in [assistants.{assistant.name}]"
    if lacking.instructions:
        yield Finding(False, subject, f"its instructions do not fit into {given} tokens, and are cut", mend)
    if lacking.tools:
        named = ", ".join(lacking.tools[:_NAMED]) + (", ..." if len(lacking.tools) > _NAMED else "")
        told = f"{given} tokens have no room for {len(lacking.tools)} of its {len(tools)} tools: {named}"
        yield Finding(False, subject, told, f"{mend}, or name only some of a server's tools, by mcp:NAME/TOOL")
    if lacking.picture:
        yield Finding(True, subject, f"{given} tokens have no room for a picture; its model is not shown any", mend)


def _tried(settings: Settings, missing: Collection[extras.Missing]) -> Settings:
    """Without the channels that cannot be made."""
    left_out = {one.place[1] for one in missing if one.extra == "wechat"}
    channels = {name: its for name, its in settings.channels.items() if name not in left_out}
    api = settings.api if all(one.extra != "jwt" for one in missing) else None
    return settings.model_copy(update={"channels": channels, "api": api})


def _answers(name: str, settings: Settings) -> bool:
    """Is the model asked for answers too, by an assistant or in the place of another?"""
    assistants, models = settings.assistants.values(), settings.models.values()
    asked = {model for its in assistants for model in (its.model, its.summary_model, its.checker)}
    return name in asked.union(*(model.fallback for model in models))


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
        if server.file is not None and is_fresh(server):
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
    async with connected(url, migrated=False) as database:
        await database.write(lambda connection: connection.closed)
        try:
            backlog = await Ledger(database, SystemClock()).backlog()
        except ChatferryError:
            return "writable; the next start sets it up"
    return f"{backlog['due']} turns wait, {backlog['doing']} run"


async def _keys(settings: Settings) -> list[Finding]:
    """Those in the database; where it cannot be read, or is not set up yet, that is told already."""
    if settings.api is None:
        return []
    keys: list[apikeys.ApiKey] | None = []
    if not is_fresh(settings.server):
        keys = None
        with contextlib.suppress(SQLAlchemyError, OSError, ChatferryError):
            async with connected(settings.server.database, migrated=False) as database:
                keys = await database.read(apikeys.read)
    others = bool(settings.api.keys or settings.api.jwt)
    return manage_keys.findings(keys, time.time(), others=others) if keys is not None else []


def _try_to_write(folder: Path) -> None:
    """Raises OSError where no file can be made in a folder, or, as long as there is none, in the one above it."""
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass
