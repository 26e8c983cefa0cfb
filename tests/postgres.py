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
from typing import Any

import pytest

_ACCOUNT = "postgres"
"""PostgreSQL refuses to run as root; its package brings this account along."""


def programs() -> Path | None:
    """Where PostgreSQL's programs are: Debian keeps them out of the way."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """A server on loopback while the context is open: the address of its first database. Skips where there is none."""
    bin_ = programs()
    if bin_ is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="chatferry-pg-"))
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, _ACCOUNT)
        other = {"user": _ACCOUNT, "group": _ACCOUNT, "extra_groups": ()}

    def run(program: str, *options: str) -> None:
        subprocess.run([str(bin_ / program), *options], check=True, capture_output=True, cwd="/", **other)  # noqa: S603

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    data = str(folder / "data")
    # Nothing here outlives the tests, so nothing has to reach the disk.
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off -c synchronous_commit=off"
    try:
        run("initdb", "-D", data, "-U", "chatferry", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        yield f"postgresql://chatferry@127.0.0.1:{port}/postgres"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # it did not start
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)
