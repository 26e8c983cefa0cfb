"""A PostgreSQL server of the tests' own: started where it is first wanted, gone with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from chatferry.migrations import HEAD
from tests.ports import free_port

_ACCOUNT = "postgres"
"""PostgreSQL refuses to run as root; its package brings this account along."""


def programs() -> Path | None:
    """Where PostgreSQL's programs are: Debian keeps them out of the way."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """A server while the context is open: the address of its first database. Skips where there is none.

    The one that `TEST_DATABASE_URL` names, or else one of our own on loopback.
    """
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with Cluster() as own:
        yield own.url


class Cluster:
    """A server of the tests' own, which can be stopped and started again.

    durable: what is committed is on the disk, as where it counts; it costs time.
    """

    def __init__(self, *, durable: bool = False) -> None:
        bin_ = programs()
        if bin_ is None:
            pytest.skip("PostgreSQL is not installed, and TEST_DATABASE_URL names no server")
        self._bin = bin_
        self._folder = Path(tempfile.mkdtemp(prefix="chatferry-pg-"))
        self._other: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self._folder, _ACCOUNT)
            self._other = {"user": _ACCOUNT, "group": _ACCOUNT, "extra_groups": ()}
        self.port = free_port()
        self._data = str(self._folder / "data")
        # Nothing here outlives the tests, so nothing has to reach the disk.
        quick = "" if durable else "-c fsync=off -c synchronous_commit=off"
        self._options = f"-c listen_addresses=127.0.0.1 -c max_connections=200 -p {self.port} -k {self._folder} {quick}"
        self.url = f"postgresql://chatferry@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Cluster:
        try:
            self._run("initdb", "-U", "chatferry", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # it did not start
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", self._options, "start")

    def stop(self, how: Literal["smart", "fast", "immediate"] = "fast") -> None:
        self._run("pg_ctl", "-m", how, "-w", "stop")

    def _run(self, program: str, *options: str) -> None:
        command = [str(self._bin / program), "-D", self._data, *options]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._other)  # noqa: S603


@contextlib.asynccontextmanager
async def database_on(server: str, *, template: str = "template1") -> AsyncIterator[str]:
    """A database of a test's own while the context is open: its address."""
    name = f"t{uuid.uuid4().hex}"
    await create(server, name, template)
    try:
        yield named(server, name)
    finally:
        await _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


async def create(server: str, name: str, template: str = "template1") -> None:
    """A database, as a copy of another one."""
    await _administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")


async def empty(url: str) -> None:
    """Remove all rows, and let numbers begin anew. Whoever is still connected is sent away, and knows it."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        others = "pid != pg_backend_pid() AND datname = current_database()"
        await connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = ", ".join(row["tablename"] for row in tables if row["tablename"] != "alembic_version")
        await connection.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
        await connection.execute("UPDATE alembic_version SET version_num = $1", HEAD)
    finally:
        await connection.close()


def named(server: str, name: str) -> str:
    """The address of another database on the same server."""
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


async def _administer(server: str, statement: str) -> None:
    import asyncpg

    admin = await asyncpg.connect(server)
    try:
        await admin.execute(statement)
    finally:
        await admin.close()
