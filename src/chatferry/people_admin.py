"""`chatferry people`: who was let in, and who is not, by hand."""

from __future__ import annotations

import asyncio
from datetime import datetime

import sqlalchemy as sa
from rich.console import Console

from chatferry.config import ServerSettings
from chatferry.model import conversation_key
from chatferry.operate import is_fresh, opened
from chatferry.tables import guests

_PAGE = 500


def show(server: ServerSettings) -> int:
    """Print who has been at the door of a channel, and how they stand."""
    if is_fresh(server):
        return 0
    asyncio.run(_show(server))
    return 0


async def _show(server: ServerSettings) -> None:
    console = Console(highlight=False, soft_wrap=True)
    query = sa.select(guests).where(guests.c.guest > sa.bindparam("past")).order_by(guests.c.guest).limit(_PAGE)
    past: str | None = ""
    async with opened(server) as (ledger, _):
        while past is not None:
            given = {"past": past}
            rows = await ledger.look(lambda connection, given=given: connection.execute(query, given).all())  # type: ignore[misc]
            for row in rows:
                at = datetime.fromtimestamp(row.changed_at)  # noqa: DTZ006 - the operator's own time
                console.print(f"{row.standing:10}  {at:%Y-%m-%d %H:%M}  {row.guest}", markup=False)
            past = rows[-1].guest if len(rows) == _PAGE else None


def stand(server: ServerSettings, channel: str, who: str, *, let_in: bool) -> int:
    """Let a person or a group in, or keep them out, whatever they say."""
    guest = conversation_key(channel, who.removeprefix(f"{channel}:"))

    async def stand() -> None:
        async with opened(server) as (ledger, _):
            await ledger.stand(guest, "in" if let_in else "out")

    asyncio.run(stand())
    Console(highlight=False).print(f"{guest} is {'in' if let_in else 'out'}", soft_wrap=True, markup=False)
    return 0
