"""From the start of the process to its first 200, on a fresh and on an existing database."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from bench import rig

RUNS = 5


def _start(folder: str) -> float:
    port = rig.free_port()
    environ = {
        **os.environ,
        "PORT": str(port),
        "CHATFERRY_DATABASE": f"sqlite:///{folder}/start.db",
        "LINE_CHANNEL_SECRET": "s",
        "LINE_CHANNEL_ACCESS_TOKEN": "t",
        "OPENAI_API_KEY": "k",
    }
    begin = time.perf_counter()
    command = [sys.executable, "-m", "chatferry", "serve", "--host", "127.0.0.1"]
    with subprocess.Popen(command, env=environ, cwd=folder, stderr=subprocess.DEVNULL) as process:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz"):
                    seconds = time.perf_counter() - begin
                break
            except OSError:
                time.sleep(0.002)
        process.kill()
    return seconds


def main() -> list[str]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        first = _start(folder)
        later = [_start(folder) for _ in range(RUNS)]
    rows.append(f"first start, which creates the schema: {first:.2f} s")
    rows.append(
        f"later starts: median {statistics.median(later):.2f} s of {RUNS} ({min(later):.2f} to {max(later):.2f})"
    )
    return rows
