"""An MCP server of the official SDK, as a program: `stall.py stdio`, or `stall.py PORT` for HTTP."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

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


def flood() -> None:
    """A server by hand, which talks without end: SDKs do not let one."""
    schema = {"type": "object", "properties": {}}
    listed = [{"name": name, "inputSchema": schema} for name in ("in_stock", "chatter", "heap")]
    listed += [{"name": f"tool {n}", "description": "d" * 50, "inputSchema": schema} for n in range(10_000)]
    told = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 200}}
    for line in sys.stdin:
        asked = json.loads(line)
        result: dict[str, Any] | None
        match asked["method"], asked.get("params", {}).get("name"):
            case "initialize", _:
                its = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}}}
                result = {**its, "serverInfo": {"name": "flood", "version": "1"}}
            case "tools/list", _:
                note("listed")
                result = {"tools": listed, "nextCursor": "more"}
            case "tools/call", "chatter":
                progress = {**told, "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}
                for _ in range(3_000):
                    sys.stdout.write(f"{json.dumps(told)}\n{json.dumps(progress)}\n")
                result = {"content": [{"type": "text", "text": "enough"}]}
            case "tools/call", "heap":
                result = {"content": [{"type": "text", "text": "x" * 20_000_000}]}
            case "tools/call", _:
                result = {"content": [{"type": "text", "text": "4"}]}
            case _:
                result = None
        if "id" in asked:
            said = {"error": {"code": -32601, "message": "no"}} if result is None else {"result": result}
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    note(f"started {os.getpid()}")
    if sys.argv[1] == "stdio":
        server.run()
    elif sys.argv[1] == "flood":
        flood()
    elif sys.argv[1] == "mute":
        time.sleep(600)
    elif sys.argv[1] == "babble":
        while True:
            sys.stdout.write("good morning, good morning\n")
            sys.stdout.flush()
            time.sleep(0.01)
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
