"""What all tests share."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest
import structlog

from chatferry.ledger.database import Database, migrate, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.testing import ManualClock
from tests.postgres import cluster, create, database_on, empty, named
from tests.sqlite import with_schema
from tests.stack import apart

# Plain tracebacks: the pretty ones print local variables, and a failing test should not flood the screen.
# Lines go where those of the product go: what a command prints is its own.
structlog.configure(
    logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ],
)
# How long an example takes, or is sought for, says on a busy machine nothing of the example.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """A command that ran in this process, and has set what is logged, has set it for itself alone."""
    before, last_words = structlog.get_config(), sys.excepthook
    yield
    structlog.configure(**before)
    sys.excepthook = last_words


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, help="How often the crash test kills the gateway: 8 times, 24 with --long.")
    parser.addoption("--seed", type=int, help="Repeats the random choices of a crash test that printed this.")
    parser.addoption(
        "--examples", type=int, default=20, help="Requests of each kind that the API's document is tried by."
    )
    parser.addoption("--deploy", action="store_true", help="Build the image's file system: it takes most of a minute.")
    parser.addoption("--long", action="store_true", help="Also what takes long and tells little beyond its neighbours.")


LONG = ("test_crash", "test_line_busy", "test_wechat_crash", "test_playground_faults", "test_hardening")
"""Files that take long, or wait long: who begins with them is not the last to end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        # Not skipped: a skip is something that this machine lacks.
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with cluster() as url:
        yield url


@pytest.fixture
async def postgres(postgres_server: str) -> AsyncIterator[str]:
    """The address of an empty PostgreSQL database."""
    async with database_on(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of a database with the schema in it, to be copied: that is quicker than to make it anew."""
    name = f"t{uuid.uuid4().hex}"

    async def make() -> None:
        await create(postgres_server, name)
        database = open_database(named(postgres_server, name))
        await migrate(database)
        await database.aclose()

    with ThreadPoolExecutor(1) as elsewhere:  # a loop may be running here
        elsewhere.submit(asyncio.run, make()).result()
    return name


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def postgres_clean(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The address of a database with the schema and nothing else: emptied after each test, as that is quickest."""
    url = named(postgres_server, postgres_template)
    yield url
    with ThreadPoolExecutor(1) as elsewhere:  # a loop may be running here
        elsewhere.submit(asyncio.run, empty(url)).result()


@pytest.fixture(params=["one process", pytest.param("web and worker", marks=pytest.mark.long)])
def layout(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything that `gateway_on` starts is one process on SQLite, or two on PostgreSQL."""
    token = apart.set(None if request.param == "one process" else request.getfixturevalue("postgres_clean"))
    yield
    apart.reset(token)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a database of either kind, with the schema in it."""
    if request.param == "sqlite":
        yield with_schema(tmp_path / "ledger.db")
    else:
        yield request.getfixturevalue("postgres_clean")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The same, opened."""
    database = open_database(database_url)
    yield database
    await database.aclose()


@pytest.fixture
async def ledger(database: Database, clock: ManualClock) -> AsyncIterator[Ledger]:
    async with Ledger(database, clock).open() as ledger:
        yield ledger
