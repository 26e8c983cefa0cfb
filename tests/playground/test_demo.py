"""`chatferry demo` as a program: what it says in the terminal."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

CONFIG = """
[assistants.default]
tools = ["mcp:stock"]

[mcp.stock]
command = ["python3", "-c", "pass"]
"""


async def test_a_tool_server_that_does_not_work_is_told_in_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "chatferry.toml").write_text(CONFIG, "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatferry", "demo", "--no-browser", "--port", "0"), stdout=PIPE, cwd=tmp_path
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = [(await process.stdout.readline()).decode() for _ in range(3)]
    finally:
        process.terminate()
        await process.communicate()
    assert said[0].startswith("Chatferry playground: ")
    assert said[1].startswith("mcp stock: ")
    assert said[2].startswith("  mend: check command in [mcp.stock]")


async def test_why_a_gateway_does_not_start_is_told_in_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "chatferry.toml").write_text('[assistants.default]\ntools = ["my_shop:orders"]\n', "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatferry", "demo", "--no-browser", "--port", "0"), stderr=PIPE, cwd=tmp_path
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            said = [(await process.stderr.readline()).decode() for _ in range(3)]
    finally:
        process.terminate()
        await process.communicate()
    assert said[0] == "The gateway does not run:\n"
    assert "there is no module my_shop" in said[1]
    assert "mend: write my_shop.py beside" in said[2]
