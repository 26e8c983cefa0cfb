"""`chatferry people`: who was let in, and who is not, by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from rich.console import Console

from chatferry.cli.database import is_fresh, opened
from chatferry.config import ServerSettings
from chatferry.ledger.tables import guests
from chatferry.model import conversation_key

_PAGE = 500


def show(server: ServerSettings) -> int:
    """Print who has been at the door of a channel, and how they stand."""
    if is_fresh(server):
        return 0
    asyncio.run(_show(server))
    return 0


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


def stand(server: ServerSettings, channel: str, who: str, *, let_in: bool) -> int:
    """Let a person or a group in, or keep them out, whatever they say."""
    guest = conversation_key(channel, who.removeprefix(f"{channel}:"))

    async def stand() -> None:
        async with opened(server) as (ledger, _):
            await ledger.stand(guest, "in" if let_in else "out")

    asyncio.run(stand())
    Console(highlight=False).print(f"{guest} is {'in' if let_in else 'out'}", soft_wrap=True, markup=False)
    return 0
