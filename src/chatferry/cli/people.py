"""`chatferry people`: who was let in, and who is not, by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
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


def stand(server: ServerSettings, channel: str, who: str, channels: Collection[str], *, let_in: bool) -> None:
    """Let a person or a group in, or keep them out, whatever they say. Raises ConfigError where there is no such door.

    Whoever has not been here yet may be let in as well, but that may be a slip of the pen, so it is said.
    """
    if channel == "api":
        raise ConfigError("the API has keys, and no door\n  mend: chatferry keys create, chatferry keys revoke")
    there(channel, channels)
    guest = conversation_key(channel, who.removeprefix(f"{channel}:"))

    async def stand() -> bool:
        async with opened(server) as (ledger, _):
            been = await ledger.look(partial(_been, guest=guest))
            await ledger.stand(guest, "in" if let_in else "out")
            return been

    new = "" if asyncio.run(stand()) else "; nobody of this id has been here yet"
    Console(highlight=False).print(f"{guest} is {'in' if let_in else 'out'}{new}", soft_wrap=True, markup=False)


def there(channel: str, channels: Collection[str]) -> None:
    """Raises ConfigError where no channel has this name."""
    if channel not in channels:
        mend = suggest(channel, channels) if channels else "[channels.NAME] in chatferry.toml"
        raise ConfigError(f"there is no channel {channel!r}\n  mend: {mend}")


def _been(connection: sa.Connection, guest: str) -> bool:
    known = sa.select(guests.c.guest).where(guests.c.guest == guest)
    said = sa.select(turns.c.id).where(turns.c.conversation == guest).limit(1)
    return any(connection.execute(query).first() is not None for query in (known, said))
