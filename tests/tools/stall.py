"""An MCP server of the official SDK, as a program: `stall.py stdio`, or `stall.py PORT` for HTTP."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

server = MCPServer("stall", log_level="ERROR")
NOTES = Path(os.environ.get("NOTES", os.devnull))


class Shelf(BaseModel):
    flavour: str
    jars: int


def note(text: str) -> None:
    with NOTES.open("a") as file:
        file.write(f"{text}\n")


@server.tool()
def in_stock(flavour: str) -> Shelf:
    """How many jars of a flavour there are."""
    sys.stderr.write("somebody looks at the shelf\n")
    return Shelf(flavour=flavour, jars=len(flavour))


@server.tool()
async def wait(who: str) -> str:
    """Waits to be ended."""
    note(f"begun {who}")
    await anyio.sleep_forever()
    return "never"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("the shelf fell down")


@server.tool()
def told() -> str:
    """What it was started with."""
    return "\n".join(sorted(os.environ))


@server.tool()
async def grow(ctx: Context) -> str:
    """Offers one more tool from now on."""
    server.add_tool(told, name="new one!", description="What is new.")
    await ctx.notify_tools_changed()
    return "grown"


if __name__ == "__main__":
    note(f"started {os.getpid()}")
    if sys.argv[1] == "stdio":
        server.run()
    elif sys.argv[1] == "mute":
        time.sleep(600)
    elif sys.argv[1] == "babble":
        while True:
            sys.stdout.write("good morning, good morning\n")
            sys.stdout.flush()
            time.sleep(0.01)
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
