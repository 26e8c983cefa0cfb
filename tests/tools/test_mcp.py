"""MCP servers, against the official SDK's own: as programs, and by HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import signal
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp.client import stdio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from chatferry.clock import SystemClock
from chatferry.config import McpSettings
from chatferry.engines.base import Result
from chatferry.serve import loop_factory
from chatferry.simulator.serving import serving
from chatferry.tools import mcp
from chatferry.tools.base import Caller
from chatferry.tools.mcp import Server
from chatferry.tools.mcp_pipe import LONGEST, Lines
from tests.ports import free_port

STALL = str(Path(__file__).with_name("stall.py"))
CALLER = Caller("line", "room", "ann", "default", 1, "key-1")


class Hasty(SystemClock):
    """Waits between two tries are short, and remembered."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.waits: list[float] = []

    def now(self) -> float:
        return super().now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await super().sleep(min(seconds, 0.02))


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may take as long to start as the machine is busy."""
    monkeypatch.setattr(mcp, "_PATIENCE", 60.0)
    monkeypatch.setattr(mcp, "_HELLO", 60.0)


def stall(folder: Path, how: str = "stdio") -> McpSettings:
    folder.mkdir(exist_ok=True)
    return McpSettings.model_validate(
        {"command": (sys.executable, STALL, how), "env": {"NOTES": str(folder / "notes")}}
    )


def notes(folder: Path, word: str) -> list[str]:
    path = folder / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.removeprefix(f"{word} ") for line in lines if line.startswith(word)]


@contextlib.asynccontextmanager
async def kept(settings: McpSettings, *wanted: str, clock: Hasty | None = None) -> AsyncIterator[Server]:
    server = Server("stall", settings, "chatferry.toml", clock or Hasty(), wanted)
    keeping = asyncio.create_task(server.keep())
    try:
        yield server
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def call(server: Server, name: str, **arguments: str) -> Result:
    tools = {tool.own: tool for tool in await server.tools()}
    return await tools[name].call(arguments, CALLER)


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not met():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_program_is_started_once_asked_and_left_in_good_order(tmp_path: Path) -> None:
    async with kept(stall(tmp_path)) as server:
        tools = await server.tools()
        assert [tool.tool.name for tool in tools][:2] == ["stall_in_stock", "stall_wait"]
        assert tools[0].tool.description == "How many jars of a flavour there are."
        assert tools[0].tool.parameters["required"] == ["flavour"]
        assert [tool.tool.name for tool in await server.offering("fail").tools()] == ["stall_fail"]
        found = await asyncio.gather(*(call(server, "in_stock", flavour=flavour) for flavour in ("plum", "lychee")))
        assert [msgspec.json.decode(result.text)["jars"] for result in found] == [4, 6]
        assert (await call(server, "fail")).failed
        misfit = await call(server, "in_stock", flavor="plum")
        assert (misfit.failed, "'flavour' is a required property" in misfit.text) == (True, True)
        known = (await call(server, "told")).text.split()
        assert {"NOTES", "PATH"} <= set(known)
        assert not [name for name in known if name.startswith("PYTEST")], "nothing of ours"
    assert len(notes(tmp_path, "started")) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(notes(tmp_path, "started")[0]), 0)


async def test_a_program_that_dies_fails_its_calls_and_is_started_again(tmp_path: Path) -> None:
    async with kept(stall(tmp_path)) as server:
        waiting = asyncio.create_task(call(server, "wait", who="one"))
        await until(lambda: notes(tmp_path, "begun"))
        os.kill(int(notes(tmp_path, "started")[0]), signal.SIGKILL)
        lost = await waiting
        assert (lost.failed, "went away" in lost.text) == (True, True)
        assert not (await call(server, "in_stock", flavour="plum")).failed
    assert len(notes(tmp_path, "started")) == 2


async def test_a_program_that_dies_again_and_again_is_started_more_and_more_seldom(tmp_path: Path) -> None:
    clock = Hasty()
    async with kept(stall(tmp_path), clock=clock) as server:
        for number, lasted in enumerate((0.0, 0.0, 60.0)):
            await until(lambda number=number: len(notes(tmp_path, "started")) > number)  # type: ignore[misc]
            assert not (await call(server, "in_stock", flavour="plum")).failed
            clock.ahead += lasted
            os.kill(int(notes(tmp_path, "started")[number]), signal.SIGKILL)
            await until(lambda number=number: len(clock.waits) > number)  # type: ignore[misc]
    assert clock.waits == [0.5, 1.0, 0.5]


async def test_a_list_that_changes_is_read_again(tmp_path: Path) -> None:
    async with kept(stall(tmp_path)) as server:
        await call(server, "grow")
        async with asyncio.timeout(60):
            while "new one!" not in [tool.own for tool in await server.tools()]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_call_that_is_cancelled_leaves_the_others_alone(tmp_path: Path) -> None:
    async with kept(stall(tmp_path)) as server:
        waiting = asyncio.create_task(call(server, "wait", who="one"))
        await until(lambda: notes(tmp_path, "begun"))
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert not (await call(server, "in_stock", flavour="plum")).failed
    assert len(notes(tmp_path, "started")) == 1


@pytest.mark.parametrize("how", ["mute", "babble"])
async def test_a_program_that_is_no_server_keeps_nobody_waiting(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "_PATIENCE", 0.05)
    monkeypatch.setattr(stdio, "PROCESS_TERMINATION_TIMEOUT", 0.1)  # neither ends by itself
    async with kept(stall(tmp_path, how)) as server:
        async with asyncio.timeout(mcp._HELLO / 2):
            assert await server.tools() == ()
            assert (await server.call("in_stock", {}, "key")).failed
        monkeypatch.setattr(mcp, "_HELLO", 1.5)
        [found] = [finding async for finding in Server("x", stall(tmp_path, how), "x", Hasty()).check()]
        assert not found.ok
        assert "is it an MCP server?" in found.mend


async def test_a_server_that_is_away_is_told_before_the_time_of_the_call_is_over(tmp_path: Path) -> None:
    server = Server("stall", stall(tmp_path), "x", Hasty(), timeout=1.0)
    async with asyncio.timeout(1.0):
        assert (await server.call("in_stock", {}, "key")).text == "Not called: the server stall cannot be reached now."


async def test_a_tool_that_the_server_has_not_is_told_by_check_and_in_the_log(tmp_path: Path) -> None:
    server = Server("stall", stall(tmp_path), "x", Hasty(), {"fail", "no_such"})
    [found] = [finding async for finding in server.check()]
    assert (found.ok, "in_stock" in found.detail, "and not no_such" in found.detail) == (False, True, True)
    with capture_logs() as logged:
        async with kept(stall(tmp_path), "fail", "no_such") as server:
            await server.tools()
    [warned] = [line for line in logged if line["log_level"] == "warning"]
    assert (warned["event"], warned["tools"]) == ("tools not offered", ["no_such"])


@pytest.mark.parametrize("python", ["python", "python3"])
async def test_python_is_the_one_that_runs_us(python: str) -> None:
    settings = McpSettings.model_validate({"command": (python, STALL, "stdio"), "env": {"PATH": "/nowhere"}})
    [found] = [finding async for finding in Server("x", settings, "x", Hasty()).check()]
    assert found.ok, found.detail


async def test_a_program_that_is_not_there_is_told_by_check() -> None:
    settings = McpSettings(command=("no-such-program",))
    [found] = [finding async for finding in Server("x", settings, "x", Hasty()).check()]
    assert (found.ok, found.subject) == (False, "mcp x")
    assert "no-such-program" in found.detail


def test_a_dead_program_is_named_by_every_loop_there_is() -> None:
    async def told() -> list[str]:
        programs = ("no-such-program",), (sys.executable, "-c", "import sys; sys.exit('the key is wrong')")
        servers = [Server("x", McpSettings(command=command), "x", Hasty()) for command in programs]
        return [found.detail for server in servers async for found in server.check()]

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        lacking, dying = runner.run(told())
    assert "no-such-program" in lacking
    assert dying == f"{sys.executable}: MCPError: Connection closed; it said last: the key is wrong"


async def test_a_server_that_floods_costs_its_own_call_and_nobody_elses(tmp_path: Path) -> None:
    async with kept(stall(tmp_path, "flood")) as flood, kept(stall(tmp_path / "other")) as other:
        assert len(await flood.tools()) == 100, "of a list that never ends"
        assert notes(tmp_path, "listed") == ["listed"]
        chatter = asyncio.create_task(call(flood, "chatter"))
        others = asyncio.create_task(call(other, "in_stock", flavour="plum"))
        assert (await asyncio.wait([chatter, others], return_when=asyncio.FIRST_COMPLETED))[0] == {others}
        heap, stock = await asyncio.gather(call(flood, "heap"), call(flood, "in_stock"))
        assert heap == Result("It failed: it said more than 4000000 bytes", failed=True)
        assert [(await chatter).text, stock.text, (await others).failed] == ["enough", "4", False]
        assert not flood._lost, "and the session goes on"


def test_what_is_held_of_a_message_has_a_bound() -> None:
    lines, piece = Lines(), b"x" * 65_536
    assert lines.decode(b'{"jsonrpc":"2.0","id":7,"result":"') == ""
    tracemalloc.start()
    try:
        assert {lines.decode(piece) for _ in range(1_600)} == {""}
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * LONGEST, "of a hundred megabytes"
    failed, rest = lines.decode(b'"}\n{"id":8}\n{').splitlines()
    assert (msgspec.json.decode(failed)["id"], rest) == (7, '{"id":8}')
    assert lines.decode("明\n".encode()[:2]) == ""
    assert lines.decode("明\n".encode()[2:]) == "{明\n"


@contextlib.asynccontextmanager
async def by_http(folder: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    known = {**os.environ, "NOTES": str(folder / "notes")}
    process = await asyncio.create_subprocess_exec(sys.executable, STALL, str(port), env=known)
    try:
        while True:
            with contextlib.suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            await asyncio.sleep(0.02)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_server_by_http_may_go_and_come_back(tmp_path: Path) -> None:
    port = free_port()
    settings = McpSettings.model_validate({"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Key": "Bearer abc"}})
    async with contextlib.AsyncExitStack() as stack:
        async with by_http(tmp_path, port) as process:
            server = await stack.enter_async_context(kept(settings))
            assert not (await call(server, "in_stock", flavour="plum")).failed
            waiting = asyncio.create_task(call(server, "wait", who="one"))
            await until(lambda: notes(tmp_path, "begun"))
            process.kill()
            assert (await waiting).failed
        async with by_http(tmp_path, port):
            assert not (await call(server, "in_stock", flavour="plum")).failed


NAMES = ("heap", "bomb", "hiss", "in_stock")


class Wordy:
    """A server by hand that answers without a stream, as some do: SDKs do not let one say so much."""

    def __init__(self) -> None:
        self.app = Starlette(routes=[Route("/mcp", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        asked = await request.json()
        result: dict[str, Any]
        match asked["method"], asked.get("params", {}).get("name"):
            case "initialize", _:
                told = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
                result = {**told, "serverInfo": {"name": "wordy", "version": "1"}}
            case "tools/list", _:
                schema = {"type": "object", "properties": {}}
                result = {"tools": [{"name": name, "inputSchema": schema} for name in NAMES]}
            case "tools/call", "heap":
                return StreamingResponse(self._heap(), media_type="application/json")
            case "tools/call", "bomb":
                packed = gzip.compress(b" " * 100_000_000)
                return Response(packed, media_type="application/json", headers={"Content-Encoding": "gzip"})
            case "tools/call", "hiss":
                packed = gzip.compress(b": still here\n" * 5_000_000)
                return Response(packed, media_type="text/event-stream", headers={"Content-Encoding": "gzip"})
            case "tools/call", _:
                result = {"content": [{"type": "text", "text": "4"}]}
            case _:
                return Response(status_code=202 if "id" not in asked else 400)
        return JSONResponse({"jsonrpc": "2.0", "id": asked["id"], "result": result})

    async def _heap(self) -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * (1 << 20)
            await asyncio.sleep(0)


async def test_an_answer_by_http_that_is_too_long_costs_its_own_call() -> None:
    async with serving(Wordy().app) as url, kept(McpSettings.model_validate({"url": f"{url}/mcp"})) as server:
        heap, bomb, hiss, stock = await asyncio.gather(*(call(server, name) for name in NAMES))
        assert heap == Result("It failed: Failed to parse JSON response: it said more than 4000000 bytes", failed=True)
        assert bomb == hiss == Result("It failed: Unexpected content type: compressed", failed=True)
        assert stock.text == "4"
        assert not server._lost, "and the session goes on"
