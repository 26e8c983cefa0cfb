"""PostgreSQL behind a socket in a folder, as Cloud Run lays it into an instance: the folder's name has colons in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import sqlalchemy as sa

from chatferry.config import load_server
from chatferry.ledger.database import migrate, open_database
from chatferry.ledger.postgres import Postgres


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A socket's path has a hundred letters at most, and pytest's own folder takes most of them."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


async def test_a_socket_is_found_by_the_address_on_the_cloud_run_page(postgres: str, short_path: Path) -> None:
    server = await asyncpg.connect(postgres)
    sockets = await server.fetchval("SHOW unix_socket_directories")
    await server.close()
    folder = short_path / "my-project:asia-east1:chatferry"
    folder.symlink_to(sockets)
    _, _, name = postgres.rpartition("/")
    # The port is part of the socket's name, and not the usual one here.
    address = f"postgresql://chatferry:secret@/{name}?host={folder}&port={urlsplit(postgres).port}"
    database = open_database(load_server(environ={"CHATFERRY_DATABASE": address}).database)
    try:
        await migrate(database)
        where = "SELECT inet_server_addr()"
        assert await database.read(lambda connection: connection.execute(sa.text(where)).scalar()) is None
        assert isinstance(database, Postgres)
        listening = await database.connect()
        assert await listening.fetchval(where) is None
        await listening.close()
    finally:
        await database.aclose()
