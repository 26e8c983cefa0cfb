"""What operators, and the machines that watch for them, look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import BadRequestError
from prometheus_client.parser import text_string_to_metric_families

from chatferry.simulator.model import Break
from tests.scenarios.asking import ask, client
from tests.stack import KEY, Stack, running


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running(tmp_path) as stack:
        yield stack


async def get(stack: Stack, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"{stack.url}{path}") as answer:
        return answer.status, await answer.text()


async def readiness(stack: Stack) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"{stack.url}/readyz") as answer:
        return answer.status, await answer.json()


async def test_a_process_that_runs_says_so(stack: Stack) -> None:
    assert await get(stack, "/healthz") == (200, '{"status":"ok"}')
    assert await readiness(stack) == (200, {"status": "ready", "due": 0, "doing": 0})


async def test_a_process_that_drains_is_alive_but_not_ready(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=0))
    async with client(stack) as api:
        asking = asyncio.create_task(ask(api, "hello"))
        await stack.model.hanging.wait()
        assert await readiness(stack) == (200, {"status": "ready", "due": 0, "doing": 1})
        stack.stop.set()
        ready = 200
        while ready == 200:
            ready, told = await readiness(stack)
        assert (ready, told) == (503, {"status": "not dispatching"})
        assert (await get(stack, "/healthz"))[0] == 200
        stack.model.release.set()
        await asking


async def test_the_metrics_count_what_was_taken_answered_and_refused_and_name_nobody(stack: Stack) -> None:
    async with client(stack) as api:
        await ask(api, "a private matter", session="private-session", once="private-key")
        await ask(api, "a private matter", session="private-session", once="private-key")
        with pytest.raises(BadRequestError):
            await api.post("/chat/completions", content=b"{", cast_to=object)
    await stack.line.say("private-person", "a private matter")
    await stack.line.seen("private-person", 1)
    _, shown = await get(stack, "/metrics")
    counted = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(shown)
        for sample in family.samples
    }
    assert counted["chatferry_accepted_total", "api"] == 1
    assert counted["chatferry_repeated_total", "api"] == 1
    assert counted["chatferry_turns_total", "default", "api", "default", "done"] == 1
    assert counted["chatferry_turn_seconds_count", "default", "api", "default"] == 1
    assert counted["chatferry_rejected_total", "api", "400"] == 1
    assert counted["chatferry_accepted_total", "line"] == 1
    assert ("chatferry_running",) in counted
    assert "private" not in shown
    assert KEY not in shown


async def test_a_body_that_breaks_off_harms_nobody(stack: Stack) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(stack.url.rpartition(":")[2]))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    writer.write(f"{head}Content-Length: 50\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    shown = ""
    while 'chatferry_rejected_total{channel="api",status="400"} 1.0' not in shown:
        _, shown = await get(stack, "/metrics")


async def test_a_connection_that_is_idle_is_not_closed_before_whoever_stands_in_front_does(stack: Stack) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(stack.url.rpartition(":")[2]))
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'{"status":"ok"}')
    with pytest.raises(TimeoutError):  # uvicorn's own 5 s are over, and nothing has come, not even an end
        async with asyncio.timeout(5.5):
            await reader.read(1)
    writer.close()
    await writer.wait_closed()


async def test_a_hook_answers_a_browser_in_words(stack: Stack) -> None:
    status, told = await get(stack, "/hooks/line")
    assert status == 405
    assert "webhook" in told
