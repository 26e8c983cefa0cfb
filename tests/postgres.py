"""A PostgreSQL server of the tests' own: started where it is first wanted, gone with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

_ACCOUNT = "postgres"
"""PostgreSQL refuses to run as root; its package brings this account along."""


def programs() -> Path | None:
    """Where PostgreSQL's programs are: Debian keeps them out of the way."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Server:
    """A server on loopback, which can be stopped and started again."""

    def __init__(self, bin_: Path, folder: Path, *, durable: bool) -> None:
        """durable: what was committed is still there when the server was stopped at once."""
        self._bin, self._folder = bin_, folder
        self._other: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(folder, _ACCOUNT)
            self._other = {"user": _ACCOUNT, "group": _ACCOUNT, "extra_groups": ()}
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.url = f"postgresql://chatferry@127.0.0.1:{self.port}/postgres"
        # Nothing here outlives the tests, so nothing has to reach the disk.
        self._options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {folder} -c fsync=off -c max_connections=200"
        self._options += "" if durable else " -c synchronous_commit=off"

    def create(self) -> None:
        self._run("initdb", "-U", "chatferry", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", self._options, "start")

    def stop(self, how: Literal["fast", "immediate"] = "immediate") -> None:
        self._run("pg_ctl", "-m", how, "-w", "stop")

    def _run(self, program: str, *options: str) -> None:
        command = [str(self._bin / program), "-D", str(self._folder / "data"), *options]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._other)  # noqa: S603


@contextlib.contextmanager
def server(*, durable: bool = False) -> Iterator[Server]:
    """A server that runs while the context is open. Skips where there is none."""
    bin_ = programs()
    if bin_ is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="chatferry-pg-"))
    server = Server(bin_, folder, durable=durable)
    try:
        server.create()
        server.start()
        yield server
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # it does not run
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """A server on loopback while the context is open: the address of its first database. Skips where there is none."""
    with server() as one:
        yield one.url
