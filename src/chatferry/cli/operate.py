"""What an operator does by hand: look at turns and alerts, do a turn again, say something unasked.

These commands work beside a running gateway: they write to the ledger, and its sweep finds the work. Where none runs,
a push is delivered by the command itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import aiohttp
from rich.console import Console
from rich.text import Text

from chatferry.clock import Clock, SystemClock
from chatferry.config import AlertSettings, ServerSettings, Settings, TargetSettings
from chatferry.config.file import suggest
from chatferry.errors import ConfigError, Fault, InUse
from chatferry.gateway import open_gateway
from chatferry.ledger.database import Database, migrate, open_database
from chatferry.ledger.incidents import Incident, Told
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Entry
from chatferry.ledger.steps import Step
from chatferry.migrations import HEAD
from chatferry.model import Inbound, conversation_key, says
from chatferry.watching.alarms import Bell, shown, text_of, watched

_STYLES = {"failed": "red", "gone": "dim", "parked": "yellow", "doing": "cyan"}
_WATCHED = 500
"""How many of the latest turns `--follow` looks at."""
_RESULT = 500
"""Characters of what a call returned that are shown."""
_PATIENCE = 60.0
"""Seconds that `push` waits to see its message go out."""


@contextlib.asynccontextmanager
async def opened(server: ServerSettings, clock: Clock | None = None) -> AsyncIterator[tuple[Ledger, Database]]:
    """The ledger beside a running gateway, and what it lies in. clock: else the one by which all processes go."""
    database = open_database(server.database)
    try:
        await migrate(database)
        async with Ledger(database, clock or await database.clock()).open() as ledger:
            yield ledger, database
    finally:
        await database.aclose()


@contextlib.asynccontextmanager
async def _ledger(server: ServerSettings) -> AsyncIterator[Ledger]:
    async with opened(server, SystemClock()) as (ledger, _):
        yield ledger


# ── the schema ───────────────────────────────────────────────────────────────────────────────────────────────────


def upgrade(server: ServerSettings) -> str:
    """Bring the schema to this version's, and tell how it is. Raises ConfigError."""

    async def upgrade() -> None:
        database = open_database(server.database)
        try:
            await migrate(database)
        finally:
            await database.aclose()

    asyncio.run(upgrade())
    return f"the tables are as this version wants them (revision {HEAD})\n"


# ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Column(NamedTuple):
    heading: str
    width: int
    right: bool = False
    spare: bool = False
    """Left out where the terminal is narrow."""


_COLUMNS = (
    _Column("turn", 5, right=True),
    _Column("accepted", 14),
    _Column("state", 6),
    _Column("waited", 7, right=True, spare=True),
    _Column("took", 7, right=True),
    _Column("tries", 5, right=True, spare=True),
    _Column("model", 16, spare=True),
    _Column("conversation", 38),
)
_GAP = "  "


def show_turns(server: ServerSettings, *, limit: int, follow: bool) -> None:
    """Print the latest turns, oldest first; with `follow` each again when it changes, until interrupted."""
    if is_fresh(server) and not follow:
        _say_none(server)
        return
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_show_turns(server, limit, follow))


def is_fresh(server: ServerSettings) -> bool:
    """Nothing was ever kept, and looking must not leave an empty database behind."""
    return server.file is not None and not server.file.exists()


def _say_none(server: ServerSettings) -> None:
    where = f" in {server.file}" if server.file else ""
    Console(stderr=True, highlight=False).print(f"no turns yet{where}", soft_wrap=True, markup=False)


async def _show_turns(server: ServerSettings, limit: int, follow: bool) -> None:
    console = Console(highlight=False)
    wide = not console.is_terminal or console.width >= sum(column.width + len(_GAP) for column in _COLUMNS)
    async with _ledger(server) as ledger:
        known = {entry.id: entry for entry in await ledger.entries(limit=max(limit, _WATCHED))}
        latest = list(known.values())[:limit]
        if not latest:
            _say_none(server)
        if latest or follow:
            console.print(Text(heading(wide), style="dim"), soft_wrap=True)
        for entry in reversed(latest):
            _print(console, entry, wide)
        while follow:
            await asyncio.sleep(0.5)
            entries = await ledger.entries(limit=max(limit, _WATCHED))
            for entry in reversed(entries):
                if known.get(entry.id) != entry:
                    _print(console, entry, wide)
            known = {entry.id: entry for entry in entries}


def heading(wide: bool) -> str:
    """The names of the columns."""
    return _row([column.heading for column in _COLUMNS], wide)


def row(entry: Entry, wide: bool) -> Iterator[str]:
    """A turn as a line that fits 80 columns unless `wide`; its error, if any, is a second one. Nothing is cut off."""
    cells = (
        str(entry.id),
        datetime.fromtimestamp(entry.accepted_at).strftime("%m-%d %H:%M:%S"),  # noqa: DTZ006 - the operator's own time
        entry.state,
        _seconds(entry.accepted_at, entry.started_at),
        _seconds(entry.accepted_at, entry.finished_at),
        str(entry.attempts),
        entry.model,
        entry.conversation,
    )
    yield _row(cells, wide)
    if entry.error:
        error = entry.error.replace("\n  mend:", "; mend:")
        yield f"{'':{_COLUMNS[0].width}}{_GAP}{' '.join(error.split())}"


def show_turn(server: ServerSettings, turn: int) -> int:
    """Print a turn and what was called for its answer. Returns the exit status."""

    async def look() -> tuple[list[Entry], list[Step]]:
        async with _ledger(server) as ledger:
            return await ledger.entries(turn=turn), await ledger.steps(turn)

    found, steps = ([], []) if is_fresh(server) else asyncio.run(look())
    if not found:
        Console(stderr=True, highlight=False).print(f"there is no turn {turn}", soft_wrap=True, markup=False)
        return 1
    console = Console(highlight=False)
    console.print(Text(heading(wide=True), style="dim"), soft_wrap=True)
    _print(console, found[0], wide=True)
    for step in steps:
        for line, style in told(step):
            console.print(Text(line, style=style), soft_wrap=True)
    return 0


def told(step: Step) -> Iterator[tuple[str, str]]:
    """A call as lines, each with its style: what was called, and the beginning of what came back."""
    took = _seconds(step.began_at, step.ended_at) or "has not returned"
    yield f"{'':{_COLUMNS[0].width}}{_GAP}round {step.round + 1}  {step.call.name} {step.call.arguments}  {took}", ""
    if step.result is not None:
        words = " ".join(step.result.text[:_RESULT].split())
        more = "..." if len(step.result.text) > _RESULT else ""
        yield f"{'':{_COLUMNS[0].width}}{_GAP}  -> {words}{more}", "red" if step.result.failed else "dim"


def _row(cells: Sequence[str], wide: bool) -> str:
    shown = [(cell, column) for cell, column in zip(cells, _COLUMNS, strict=True) if wide or not column.spare]
    padded = (f"{cell:{'>' if column.right else '<'}{column.width}}" for cell, column in shown)
    return _GAP.join(padded).rstrip()


def _print(console: Console, entry: Entry, wide: bool) -> None:
    for line in row(entry, wide):
        console.print(Text(line, style=_STYLES.get(entry.state, "")), soft_wrap=True)


def _seconds(begin: float, end: float | None) -> str:
    if end is None:
        return ""
    return f"{end - begin:.2f} s" if end - begin < 1000 else f"{end - begin:.0f} s"


def retry(server: ServerSettings, turn: int) -> int:
    """Make a closed turn due again. Returns the exit status."""

    async def reopen() -> tuple[bool, list[Entry]]:
        async with _ledger(server) as ledger:
            return await ledger.reopen(turn), await ledger.entries(turn=turn)

    reopened, found = (False, []) if is_fresh(server) else asyncio.run(reopen())
    console = Console(stderr=not reopened, highlight=False)
    if reopened:
        told = f"turn {turn} is due again: a running gateway takes it at once, else the next start does"
    elif found:
        told = f"turn {turn} is {found[0].state}: only one that failed, is parked or is gone can be done again"
    else:
        told = f"there is no turn {turn}"
    console.print(told, soft_wrap=True, markup=False)
    return 0 if reopened else 1


# ── push ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    entry = asyncio.run(_push(settings, channel, inbound))
    out = entry.state == "done"
    Console(stderr=not out, highlight=False).print(_became(entry), soft_wrap=True, markup=False)
    return 0 if out else 1


def _became(entry: Entry) -> str:
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


async def _push(settings: Settings, channel: str, inbound: Inbound) -> Entry:
    """Beside a running gateway the row is enough. Alone, this process is the gateway for this conversation."""
    async with _ledger(settings.server) as ledger:
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


# ── alerts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def show_alerts(settings: Settings) -> None:
    """Print every alert, how it stands, and whom it tells."""

    async def look() -> list[Incident]:
        async with _ledger(settings.server) as ledger:
            return await ledger.incidents()

    stands = {} if is_fresh(settings.server) else {one.alert: one for one in asyncio.run(look())}
    console = Console(highlight=False)
    for key, alert in watched(settings).items():
        name = key.replace("\n", ": ")
        console.print(Text(f"{name}: {_stands(alert, stands.get(key))}"), soft_wrap=True)
        console.print(Text(f"  tells {', '.join(map(shown, alert.to))}", style="dim"), soft_wrap=True)
    if not settings.alerts:
        console.print("no alerts: write [[alerts]] into chatferry.toml", soft_wrap=True, markup=False)


def _stands(alert: AlertSettings, incident: Incident | None) -> str:
    if incident is None or not incident.looked_at:
        return "not looked at yet"
    measured = ""
    if incident.value is not None:
        share = alert.when in ("success", "budget")
        value = f"{incident.value * 100:.3g} %" if share else f"{incident.value:.3g} s"
        measured = f" ({value}, of {incident.turns} messages)" if incident.turns else f" ({value})"
    if not incident.open:
        return f"all is well{measured}"
    since = datetime.fromtimestamp(incident.began_at).strftime("%m-%d %H:%M:%S")  # noqa: DTZ006 - the operator's own time
    return f"bad since {since}{measured}"


def try_alert(settings: Settings, name: str) -> int:
    """Tell everybody whom an alert tells that this is a try. Returns the exit status: 0 when all of them heard it."""
    alert = next((one for one in settings.alerts if one.name == name), None)
    if alert is None:
        known = [one.name for one in settings.alerts]
        mend = suggest(name, known) if known else "write [[alerts]] into chatferry.toml"
        raise ConfigError(f"there is no alert {name!r}\n  mend: {mend}")
    heard = [_try(settings, alert, target) for target in alert.to]
    return 0 if all(heard) else 1


def _try(settings: Settings, alert: AlertSettings, target: TargetSettings) -> bool:
    now = time.time()
    told = Told(alert.name, 0, "try", now, now, None, 0)
    if target.push is not None:
        channel, _, address = target.push.partition(":")
        words = settings.assistants[settings.channels[channel].assistant].words
        said = says("assistant", text_of(told, alert, words))
        entry = asyncio.run(
            _push(settings, channel, Inbound(f"alarm/try/{uuid.uuid4()}", address, "push", said, at=now))
        )
        heard, became = entry.state == "done", _became(entry)
    else:
        fault = asyncio.run(_post(settings, alert, target, told))
        heard, became = fault is None, "heard" if fault is None else str(fault)
    Console(stderr=not heard, highlight=False).print(f"{shown(target)}: {became}", soft_wrap=True, markup=False)
    return heard


async def _post(settings: Settings, alert: AlertSettings, target: TargetSettings, told: Told) -> Fault | None:
    async def say(channel: str, inbound: Inbound) -> None:
        raise AssertionError("a webhook is no channel")

    async with aiohttp.ClientSession() as http:
        try:
            await Bell.of(settings, http, say).ring(target, alert, told, 0)
        except Fault as fault:
            return fault
    return None
