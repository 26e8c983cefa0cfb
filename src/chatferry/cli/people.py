"""`chatferry people`: who was let in, and who is not, by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from rich.console import Console

from chatferry.cli.database import is_fresh, opened
from chatferry.config import ServerSettings
from chatferry.config.file import suggest
from chatferry.errors import ConfigError
from chatferry.ledger.tables import guests, turns
from chatferry.model import conversation_key

_PAGE = 500


def show(server: ServerSettings) -> None:
    """Print who has been at the door of a channel, and how they stand."""
    if not is_fresh(server):
        asyncio.run(_show(server))


async def _show(server: ServerSettings) -> None:
    console = Console(highlight=False, soft_wrap=True)
    past: str | None = ""
    async with opened(server) as (ledger, _):
        while past is not None:
            rows = await ledger.look(partial(_page, past=past))
            for row in rows:
                at = datetime.fromtimestamp(row.changed_at)  # noqa: DTZ006 - the operator's own time
                console.print(f"{row.standing:10}  {at:%Y-%m-%d %H:%M}  {row.guest}", markup=False)
            past = rows[-1].guest if len(rows) == _PAGE else None


def _page(connection: sa.Connection, past: str) -> Sequence[sa.Row[Any]]:
    return connection.execute(
        sa.select(guests).where(guests.c.guest > past).order_by(guests.c.guest).limit(_PAGE)
    ).all()


def stand(
    server: ServerSettings, channel: str, who: str, channels: Mapping[str, Mapping[str, Any]], *, let_in: bool
) -> int:
    """Let a person or a group in, or keep them out, whatever they say. Returns the exit status: 0 when that counts.

    Whoever has not been here yet may be let in as well, but that may be a slip of the pen, so it is said.
    Raises ConfigError where there is no such door. channels: their tables in the configuration, by name.
    """
    if channel == "api":
        raise ConfigError("the API has keys, and no door\n  mend: chatferry keys create, chatferry keys revoke")
    there(channel, channels)
    who = who.removeprefix(f"{channel}:")
    guest = conversation_key(channel, who)

    async def stand() -> bool:
        async with opened(server) as (ledger, _):
            been = await ledger.look(partial(_been, guest=guest))
            await ledger.stand(guest, "in" if let_in else "out")
            return been

    new = "" if asyncio.run(stand()) else "; nobody of this id has been here yet"
    Console(highlight=False).print(f"{guest} is {'in' if let_in else 'out'}{new}", soft_wrap=True, markup=False)
    if mend := mended(channels[channel], who, let_in=let_in):
        told = f"but as {channel} is set, that counts for nothing\n  mend: {mend} in [channels.{channel}]"
        Console(stderr=True, highlight=False).print(told, soft_wrap=True, markup=False)
    return 1 if mend else 0


def mended(table: Mapping[str, Any], who: str, *, let_in: bool) -> str:
    """What would let somebody in or keep them out where lists decide, or nobody does; empty: how they stand counts."""
    allow, deny = table.get("allow", ()), table.get("deny", ())
    if who in (deny if let_in else allow):
        return f"take it out of {'deny' if let_in else 'allow'}"
    if table.get("first_contact") == "code":
        return ""
    if let_in:
        return f'add "{who}" to allow' if allow and who not in allow else ""
    if allow or who in deny or table.get("denied"):  # who is told that they are denied is looked up
        return ""
    return f'add "{who}" to deny' if deny else f'deny = ["{who}"]'


def there(channel: str, channels: Collection[str]) -> None:
    """Raises ConfigError where no channel has this name."""
    if channel not in channels:
        mend = suggest(channel, channels) if channels else "[channels.NAME] in chatferry.toml"
        raise ConfigError(f"there is no channel {channel!r}\n  mend: {mend}")


def _been(connection: sa.Connection, guest: str) -> bool:
    known = sa.select(guests.c.guest).where(guests.c.guest == guest)
    said = sa.select(turns.c.id).where(turns.c.conversation == guest).limit(1)
    return any(connection.execute(query).first() is not None for query in (known, said))
