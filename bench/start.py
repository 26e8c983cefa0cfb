"""From the start of the process to its first 200, on a fresh and on an existing database; and of the playground."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

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


def _play() -> tuple[float, float, float]:
    """Seconds from the start of `chatferry demo` to its page, to its gateway, and to the first answer on a screen."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "chatferry", "demo", "--no-browser", "--port", "0", "--model", "script"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = next(word for word in process.stdout.readline().split() if word.startswith("http"))
        page = up = 0.0
        with urllib.request.urlopen(url):
            page = time.perf_counter() - begin
        try:
            for fact in _facts(url):
                if not up and fact["kind"] == "gateway" and fact["state"] == "up":
                    up = time.perf_counter() - begin
                    _say(url, "hello")
                if fact["kind"] == "bubble" and not fact["who"]:
                    return page, up, time.perf_counter() - begin
            raise AssertionError("the page was closed")
        finally:
            process.terminate()


def _facts(url: str) -> Iterator[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/scene") as scene:
        for line in scene:
            if line.startswith(b"data: "):
                yield from json.loads(line.removeprefix(b"data: "))


def _say(url: str, words: str) -> None:
    body = json.dumps({"user": "Mei", "words": words}).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/line/_sim/say?wait=no", body, headers)):
        pass


def main() -> list[str]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        first = _start(folder)
        later = [_start(folder) for _ in range(RUNS)]
    rows.append(f"first start, which creates the schema: {first:.2f} s")
    rows.append(
        f"later starts: median {statistics.median(later):.2f} s of {RUNS} ({min(later):.2f} to {max(later):.2f})"
    )
    plays = [_play() for _ in range(RUNS)]
    page, up, answer = (statistics.median(times) for times in zip(*plays, strict=True))
    rows.append(
        f"playground: page {page:.2f} s, gateway up {up:.2f} s, first answer on a screen {answer:.2f} s (medians)"
    )
    return rows
