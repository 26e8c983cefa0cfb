"""`chatferry keys`: what opens the API, made, shown, rotated and revoked, beside a gateway that runs.

A key is told once, on standard output and alone there, so that it can be piped to where it belongs.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeVar

from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from chatferry.access import CHAT, READ, asking, strangers
from chatferry.cli.database import is_fresh
from chatferry.config import ServerSettings
from chatferry.config.file import suggest
from chatferry.errors import ConfigError
from chatferry.keyring import PULSE
from chatferry.ledger import apikeys
from chatferry.ledger.apikeys import ApiKey
from chatferry.ledger.commit import unavailable
from chatferry.ledger.database import Work, connected
from chatferry.model import Finding

T = TypeVar("T")

_DAY = 86400.0
_SOON = 7 * _DAY
"""Seconds before its end at which a key should have been rotated."""
_NAME = 60
_HEADINGS = ("name", "key", "scopes", "made", "expires", "last used")


def create(
    server: ServerSettings, name: str, scopes: Sequence[str], lifetime: float | None, assistants: Collection[str]
) -> int:
    """Make a key and tell it. Returns the exit status. Raises ConfigError where name or scopes cannot be."""
    if not 0 < len(name) <= _NAME or not name.isprintable() or name != name.strip():
        raise ConfigError(f"the name of a key must be a line of 1 to {_NAME} characters")
    if wrong := strangers(scopes, assistants):
        # Nearest to chat:NOBODY may be chat, which asks everybody: whoever wants little is not sent there.
        each = [f"`{asking(name)}`" for name in sorted(assistants)]
        mend = f"one of {', '.join(each)}" if wrong[0].startswith(asking("")) else suggest(wrong[0], {CHAT, READ})
        raise ConfigError(f"--scope: {wrong[0]} is no scope here\n  mend: {mend}")
    scopes = list(dict.fromkeys(scopes)) or [CHAT, READ]
    now = time.time()
    key = _on(server, lambda connection: apikeys.create(connection, name, scopes, now, lifetime))
    if key is None:
        _note(
            f"there is a key {name} already: `chatferry keys rotate` makes a new one, `chatferry keys revoke` ends it"
        )
        return 1
    until = f", until {_day(now + lifetime)}" if lifetime else ""
    _tell(key, f"key {name}, for {' '.join(scopes)}{until}. It is shown this once")
    return 0


def rotate(server: ServerSettings, name: str, grace: float, lifetime: float | None) -> int:
    """Make a new key in the place of one, which stays good for its grace, and tell it. Returns the exit status."""
    now = time.time()
    key = _on(server, lambda connection: apikeys.rotate(connection, name, now, grace, lifetime))
    if key is None:
        _note(f"there is no key {name}")
        return 1
    before = f"is good until {_moment(now + grace)} at the longest" if grace else "is not good any more"
    _tell(key, f"a new key {name}; the one before it {before}. It is shown this once")
    return 0


def revoke(server: ServerSettings, name: str) -> int:
    """End a key, and the one that it replaced. Returns the exit status."""
    gone = _on(server, lambda connection: apikeys.revoke(connection, name))
    _note(f"key {name} is revoked: in {PULSE:g} seconds no process takes it" if gone else f"there is no key {name}")
    return 0 if gone else 1


def show(server: ServerSettings) -> None:
    """Print all keys: never what opens the API, but by what a lost one is recognised."""
    keys = [] if is_fresh(server) else _on(server, apikeys.read)
    if not keys:
        _note("no keys yet: `chatferry keys create NAME` makes one")
        return
    now = time.time()
    rows = [_HEADINGS, *(_cells(key, now) for key in keys)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    console = Console(highlight=False)
    for place, row in enumerate(rows):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        console.print(Text(line, style="" if place else "dim"), soft_wrap=True)
        if place and (warning := _warning(keys[place - 1], now)):
            console.print(Text(f"  {warning}", style="yellow"), soft_wrap=True)


def findings(keys: Sequence[ApiKey], now: float, *, others: bool) -> list[Finding]:
    """What `chatferry check` says of the keys. others: there are ways into the API beside these."""
    if not keys and not others:
        return [Finding(True, "api keys", "none, so nobody can ask", "chatferry keys create NAME")]
    warned = [(key, warning) for key in keys if (warning := _warning(key, now))]
    told = [Finding(True, "api keys", f"{len(keys)} in the database")] if keys and not warned else []
    return told + [
        Finding(True, f"api key {key.name}", warning, f"chatferry keys rotate {key.name}") for key, warning in warned
    ]


def _warning(key: ApiKey, now: float) -> str:
    if key.replaced:
        return ""
    if key.expires_at is not None and key.expires_at - now < _SOON:
        return "has expired" if key.expired(now) else f"expires on {_day(key.expires_at)}"
    return f"is {int((now - key.created_at) / _DAY)} days old: it should be rotated" if key.old(now) else ""


def _cells(key: ApiKey, now: float) -> tuple[str, ...]:
    expires = "" if key.expires_at is None else "expired" if key.expired(now) else _moment(key.expires_at)
    used = _moment(key.used_at) if key.used_at is not None else "never"
    name = f"{key.name} (before)" if key.replaced else key.name
    return name, key.shown, key.scopes.replace(" ", ","), _day(key.created_at), expires, used


def _day(at: float) -> str:
    return _moment(at)[:10]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006 - the operator's own time


def _tell(key: str, about: str) -> None:
    _note(f"{about}; in {PULSE:g} seconds every process knows it.")
    sys.stdout.write(f"{key}\n")


def _note(text: str) -> None:
    Console(stderr=True, highlight=False).print(text, soft_wrap=True, markup=False)


def _on(server: ServerSettings, work: Work[T]) -> T:
    """Do this in a transaction, whatever runs beside us. Raises ConfigError or Unavailable."""

    async def on() -> T:
        async with connected(server.database) as database:
            try:
                return await database.write(work)
            except (SQLAlchemyError, OSError) as fault:
                raise unavailable(fault) from None

    return asyncio.run(on())
