"""`chatferry turns`: the latest turns, what one called, and one done again, beside a gateway that runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from chatferry.cli.database import is_fresh, opened
from chatferry.config import ServerSettings
from chatferry.ledger.looking import Entry
from chatferry.ledger.steps import Step

_STYLES = {"failed": "red", "gone": "dim", "parked": "yellow", "doing": "cyan"}
_WATCHED = 500
"""How many of the latest turns `--follow` looks at."""
_RESULT = 500
"""Characters of what a call returned that are shown."""


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


def _say_none(server: ServerSettings) -> None:
    where = f" in {server.file}" if server.file else ""
    Console(stderr=True, highlight=False).print(f"no turns yet{where}", soft_wrap=True, markup=False)


async def _show_turns(server: ServerSettings, limit: int, follow: bool) -> None:
    console = Console(highlight=False)
    wide = not console.is_terminal or console.width >= sum(column.width + len(_GAP) for column in _COLUMNS)
    async with opened(server) as (ledger, _):
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
        async with opened(server) as (ledger, _):
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
        async with opened(server) as (ledger, _):
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
