"""`chatferry usage`: what was asked, and what it cost."""

from __future__ import annotations

import asyncio
import csv
import sys
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from chatferry.cli.database import is_fresh
from chatferry.clock import SystemClock
from chatferry.config import MoneySettings, ServerSettings
from chatferry.errors import ConfigError
from chatferry.ledger.database import connected
from chatferry.ledger.looking import Looking
from chatferry.ledger.usage import NAMES, Used, together


def show_usage(
    server: ServerSettings, money: MoneySettings, *, since: str, until: str, by: Sequence[str], as_csv: bool
) -> None:
    """Print what was answered from the day `since` to the day `until`, both included. Raises ConfigError."""
    if "person" in by and "channel" not in by:
        # The same id is somebody else on another channel.
        place = by.index("person")
        by = [*by[:place], "channel", *by[place:]]
    zone = ZoneInfo(money.timezone)
    today = datetime.fromtimestamp(time.time(), zone).date()
    first, last = _day("since", since) or today.replace(day=1), _day("until", until) or today
    if unknown := [name for name in by if name not in NAMES]:
        raise ConfigError(f"--by: there is no {unknown[0]!r}\n  mend: one or more of {', '.join(NAMES)}")
    if last < first:
        raise ConfigError("--until is before --since")
    begin = datetime.combine(first, datetime.min.time(), zone).timestamp()
    end = datetime.combine(last + timedelta(days=1), datetime.min.time(), zone).timestamp()
    found = [] if is_fresh(server) else _found(server, begin, end, zone, by)
    if as_csv:
        _write(found, by, money.currency)
    else:
        _print(found, by, f"{first} to {last} ({money.timezone})", money.currency)


def _day(option: str, given: str) -> date | None:
    try:
        return date.fromisoformat(given) if given else None
    except ValueError:
        raise ConfigError(f"--{option}: {given!r} is no day\n  mend: one such as 2026-11-28") from None


def _found(server: ServerSettings, begin: float, end: float, zone: ZoneInfo, by: Sequence[str]) -> list[Used]:
    async def look() -> list[Used]:
        async with connected(server.database) as database:
            return await Looking(database, SystemClock()).usage(begin, end, zone, people="person" in by)

    return together(asyncio.run(look()), by)


def _numbers(one: Used) -> tuple[int, int, int, str]:
    return one.turns, one.prompt_tokens, one.completion_tokens, f"{one.cost / 1_000_000:.6f}"


def _write(found: Sequence[Used], by: Sequence[str], currency: str) -> None:
    sheet = csv.writer(sys.stdout)
    sheet.writerow([*by, "answers", "prompt_tokens", "completion_tokens", f"cost_{currency}"])
    for one in found:
        # A name that begins like a formula is not to be one where it is opened as a sheet.
        names = [f"'{name}" if (name := getattr(one, of))[:1] in ("=", "+", "-", "@", "\t") else name for of in by]
        sheet.writerow([*names, *_numbers(one)])


def _print(found: Sequence[Used], by: Sequence[str], span: str, currency: str) -> None:
    table = Table(title=span, title_justify="left", box=None, pad_edge=False, show_footer=len(found) > 1)
    total = together(found, ())
    for place, name in enumerate(by):
        table.add_column(name, footer="" if place else "all")
    sums = _shown(total[0]) if total else ("",) * 4
    for heading, footer in zip(("answers", "tokens in", "tokens out", currency), sums, strict=True):
        table.add_column(heading, justify="right", footer=footer)
    for one in found:
        table.add_row(*(getattr(one, name) or "-" for name in by), *_shown(one))
    console = Console(highlight=False, markup=False)
    console.print(table if found else f"nothing was answered from {span}")


def _shown(one: Used) -> tuple[str, str, str, str]:
    return f"{one.turns:,}", f"{one.prompt_tokens:,}", f"{one.completion_tokens:,}", f"{one.cost / 1_000_000:,.2f}"
