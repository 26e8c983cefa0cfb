"""SQLite files that have the schema already: copied, as to make it anew takes longer than most tests."""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from chatferry.ledger.database import migrate, open_database


def with_schema(file: Path) -> str:
    """The address of a database of this name, which has at least the schema in it."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_empty())
    return f"sqlite:///{file}"


@cache
def _empty() -> bytes:
    """A database with the schema and nothing else."""

    async def make(file: Path) -> None:
        database = open_database(f"sqlite:///{file}")
        await migrate(database)
        await database.aclose()

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as elsewhere:  # a loop may be running here
        elsewhere.submit(asyncio.run, make(Path(folder) / "empty.db")).result()
        assert [file.name for file in Path(folder).iterdir()] == ["empty.db"], "nothing of it is in a journal"
        return (Path(folder) / "empty.db").read_bytes()
