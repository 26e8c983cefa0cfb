"""A provider closes connections that are idle, and may do so just when a request comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from chatferry.engines.http import noting_reuse
from chatferry.engines.openai import OpenAI
from chatferry.errors import TryLater
from chatferry.testing import ManualClock
from tests.engines.support import asking, settings, whole

BODY = b'{"choices": [{"message": {"content": "Here."}, "finish_reason": "stop"}]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Closing:
    """Answers so many requests of each connection, one entry a connection, and hangs up when the next one comes."""

    def __init__(self, *answers: int) -> None:
        self._answers = list(answers)
        self.requests = 0

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self._answers.pop(0)
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            self.requests += 1
            if not left:
                break
            left -= 1
            writer.write(ANSWER)
        writer.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trace_configs=[noting_reuse()]) as session:
        yield session


async def asked(closing: Closing, http: aiohttp.ClientSession, *questions: str) -> list[str]:
    server = await asyncio.start_server(closing.met, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        engine = OpenAI("smart", settings("openai", f"http://127.0.0.1:{port}/v1"), http, ManualClock())
        answers = [(await whole(engine.run(asking(question))))[0] for question in questions]
        await http.close()
        return answers


async def test_a_request_that_meets_a_closing_connection_is_made_again_on_a_new_one(
    http: aiohttp.ClientSession,
) -> None:
    closing = Closing(1, 1)
    assert await asked(closing, http, "one", "two" * 100_000) == ["Here.", "Here."]
    assert closing.requests == 3


async def test_one_that_is_hung_up_on_as_soon_as_it_connects_is_not(http: aiohttp.ClientSession) -> None:
    closing = Closing(0)
    with pytest.raises(TryLater, match="ServerDisconnected"):
        await asked(closing, http, "one")
    assert closing.requests == 1


async def test_nor_is_one_that_is_hung_up_on_twice(http: aiohttp.ClientSession) -> None:
    closing = Closing(1, 0)
    with pytest.raises(TryLater, match="ServerDisconnected"):
        await asked(closing, http, "one", "two")
    assert closing.requests == 3
