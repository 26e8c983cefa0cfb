"""What all tests share."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from chatferry.database import Database, migrate, open_database
from chatferry.ledger import Ledger
from chatferry.testing import ManualClock
from tests.postgres import cluster

# Plain tracebacks: the pretty ones print local variables, and a failing test should not flood the screen.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=40, help="How often the crash test kills the gateway.")
    parser.addoption("--seed", type=int, help="Repeats the random choices of a crash test that printed this.")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with cluster() as url:
        yield url


@pytest.fixture
async def postgres(postgres_server: str) -> AsyncIterator[str]:
    """The address of an empty PostgreSQL database."""
    import asyncpg  # type: ignore[import-untyped]  # it brings no types

    name = f"t{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres_server)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        yield postgres_server.removesuffix("postgres") + name
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of either kind."""
    return (
        str(request.getfixturevalue("postgres")) if request.param == "postgres" else f"sqlite:///{tmp_path}/ledger.db"
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A real file with the schema in it."""
    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    await migrate(database)
    yield database
    await database.aclose()


@pytest.fixture
async def ledger(database: Database, clock: ManualClock) -> AsyncIterator[Ledger]:
    async with Ledger(database, clock).open() as ledger:
        yield ledger
