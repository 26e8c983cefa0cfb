"""How `chatferry demo` ends, as a process: with its gateway and its folder, whoever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import aiohttp
import pytest

ARGS = {
    "demo": ["demo", "--no-browser", "--port", "0"],
    "simulate": ["simulate", "--no-browser", "--port", "0", "--line", "http://127.0.0.1:9/"],
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("command", "sent", "times"),
    [
        ("demo", signal.SIGINT, 1),
        ("demo", signal.SIGINT, 2),
        ("demo", signal.SIGTERM, 1),
        ("demo", signal.SIGHUP, 1),
        ("simulate", signal.SIGTERM, 1),
    ],
)
async def test_nothing_is_left_and_nothing_is_said(
    tmp_path: Path, command: str, sent: signal.Signals, times: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatferry", *ARGS[command]),
        stdout=PIPE,
        stderr=PIPE,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().split()[2]
    async with aiohttp.ClientSession() as http, http.get(f"{url}/scene") as page:
        assert (await page.content.readline()) == b"event: all\n"
        for _ in range(times):
            process.send_signal(sent)
        async with asyncio.timeout(60):
            _, told = await process.communicate()
    assert (process.returncode, told.decode(), os.listdir(tmp_path)) == (0, "", [])


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_in_a_terminal_too_while_it_waits_for_what_is_piped_in(tmp_path: Path, sent: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatferry", "demo", "--terminal", "--pace", "0"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"hello\n")
    async with asyncio.timeout(60):
        while "bot" not in (await process.stdout.readline()).decode():
            pass
        process.send_signal(sent)
        await process.wait()
        assert process.stderr is not None
        told = await process.stderr.read()
    assert (process.returncode, told.decode(), os.listdir(tmp_path)) == (0, "", [])
