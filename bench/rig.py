"""Processes to measure and to measure with."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECRET = "bench-secret"
KEY = "bench-key"
LINE = f"""
            [channels.line]
            type = "line"
            secret = "{SECRET}"
            token = "bench-token"
            api_base = "@"
            late = "push"
            """
SLACK = f"""
            [channels.slack]
            type = "slack"
            secret = "{SECRET}"
            token = "bench-token"
            api_base = "@"
            """
"""The channel in a configuration; `@` stands for the platform's address."""
DATABASE = "bench.db"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A running process, as the kernel accounts for it (Linux's /proc)."""

    pid: int

    def cpu(self, *, children: bool = False) -> float:
        """Seconds of CPU used so far, user and system; with that of children that have ended."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11 : 15 if children else 13])) / _TICK

    def rss(self) -> float:
        """Resident memory now, in MB."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def pss(self) -> float:
        """The same, what it shares with others counted in part."""
        fields = Path(f"/proc/{self.pid}/smaps_rollup").read_text().split("Pss:")[1].split()
        return int(fields[0]) * 1024 / 1e6


@dataclass(frozen=True)
class Gateway(Process):
    """A `chatferry serve`."""

    url: str
    port: int
    database: Path
    """The file, where it is one."""
    log: Path

    def counter(self, name: str) -> float:
        """The sum of one metric over its labels."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    def wait(self, name: str, value: float, *, patience: float = 120.0) -> float:
        """Wait until a metric has reached a value; returns when, by `time.perf_counter`."""
        end = time.monotonic() + patience
        while self.counter(name) < value:
            if time.monotonic() > end:
                raise TimeoutError(f"{name} stays at {self.counter(name)} of {value}")
            time.sleep(0.02)
        return time.perf_counter()


@contextlib.contextmanager
def helper(module: str, *arguments: str) -> Iterator[str]:
    """Another module of the bench in a process of its own; yields the address that it prints."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gateway(platform: str, model: str, *, channel: str = LINE, concurrency: int = 10000) -> Iterator[Gateway]:
    """`chatferry serve` on a fresh database of its own, up and answering."""
    with tempfile.TemporaryDirectory(prefix="chatferry-bench-") as folder:
        database = Path(folder) / DATABASE
        config = configured(Path(folder), f"sqlite:///{database}", platform, model, channel, concurrency)
        with serving(config) as running:
            yield running


def configured(
    folder: Path, database: str, platform: str, model: str, channel: str = LINE, concurrency: int = 10000
) -> Path:
    """A configuration, for as many processes as there are."""
    config = folder / "chatferry.toml"
    config.write_text(
        f"""
            [server]
            host = "127.0.0.1"
            database = "{database}"
            concurrency = {concurrency}
            drain = 0
            log = "json"
            [models.default]
            provider = "openai"
            model = "bench"
            base_url = "{model}"
            {channel.replace("@", platform)}
            [api]
            keys = ["{KEY}"]
            """
    )
    return config


@contextlib.contextmanager
def serving(config: Path, role: str = "all") -> Iterator[Gateway]:
    """One process, up and answering. Its log is beside the configuration."""
    port = free_port()
    command = [sys.executable, "-m", "chatferry", "serve", "--config", str(config), "--role", role]
    with (
        open(config.parent / f"{role}-{port}.log", "w") as log,
        subprocess.Popen(command, stderr=log, env=os.environ | {"PORT": str(port)}) as process,
    ):
        try:
            running = Gateway(process.pid, f"http://127.0.0.1:{port}", port, config.parent / DATABASE, Path(log.name))
            _until_up(running.url)
            yield running
        finally:
            process.kill()


def _until_up(url: str) -> None:
    for _ in range(3000):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz") as answer:
            if answer.status == 200:
                return
        time.sleep(0.005)
    raise TimeoutError(f"{url} does not come up")
