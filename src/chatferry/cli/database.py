"""The database as commands open it: beside a gateway that runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from chatferry.clock import Clock
from chatferry.config import ServerSettings
from chatferry.ledger.database import Database, connected
from chatferry.ledger.ledger import Ledger
from chatferry.migrations import HEAD


@contextlib.asynccontextmanager
async def opened(server: ServerSettings, clock: Clock | None = None) -> AsyncIterator[tuple[Ledger, Database]]:
    """The ledger, and what it lies in. clock: else the one by which all processes go."""
    async with connected(server.database) as its, Ledger(its, clock or await its.clock()).open() as ledger:
        yield ledger, its


def is_fresh(server: ServerSettings) -> bool:
    """Nothing was ever kept, and looking must not leave an empty database behind."""
    return server.file is not None and not server.file.exists()


def upgrade(server: ServerSettings) -> str:
    """Bring the schema to this version's, and tell how it is. Raises ConfigError."""

    async def upgrade() -> None:
        async with connected(server.database):
            pass

    asyncio.run(upgrade())
    return f"the tables are as this version wants them (revision {HEAD})\n"
