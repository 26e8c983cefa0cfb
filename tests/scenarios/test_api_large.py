"""What is large, sent to the API: pictures as phones make them, and more than there is room for."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests import media
from tests.scenarios.asking import HEADERS, client
from tests.stack import KEY, Stack, running

PHOTO = media.photo()
SEES = {"sees": True}
SHOWN: list[Any] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "it broke"},
            {"type": "image_url", "image_url": {"url": f"data:;base64,{base64.b64encode(PHOTO).decode()}"}},
        ],
    }
]


def pictures(stack: Stack) -> list[int]:
    """How many pictures the model was shown in each of its requests."""
    return [str(one.body["messages"]).count("data:image/jpeg") for one in stack.model.requests]


async def test_a_phones_photo_comes_by_a_request_and_by_a_stream(tmp_path: Path) -> None:
    assert len(PHOTO) > 2_000_000
    async with running(tmp_path, engine=SEES) as stack, client(stack) as api:
        await api.chat.completions.create(model="default", messages=SHOWN)
        async for _ in await api.chat.completions.create(model="default", messages=SHOWN, stream=True):
            pass
        assert pictures(stack) == [1, 1]


async def test_a_phones_photo_comes_by_a_websocket_whose_caller_is_known(tmp_path: Path) -> None:
    async with running(tmp_path, engine=SEES) as stack:
        url = f"{stack.url.replace('http', 'ws')}/v1/stream"
        async with connect(url, additional_headers=HEADERS) as socket:
            await socket.send(json.dumps({"messages": SHOWN}))
            assert "error" not in json.loads(await socket.recv())
        async with connect(url) as socket:
            await socket.send(json.dumps({"api_key": KEY, "messages": [{"role": "user", "content": "hello"}]}))
            await socket.recv()
            await socket.send(json.dumps({"messages": SHOWN}))
            assert "error" not in json.loads(await socket.recv())
        assert pictures(stack) == [1, 0, 1]


async def test_webhooks_keep_their_small_limit(tmp_path: Path) -> None:
    async with running(tmp_path) as stack, aiohttp.ClientSession() as http:
        limit = stack.gateway.settings.server.body_limit
        async with http.post(f"{stack.url}/hooks/line", data=b"x" * (limit + 1)) as answer:
            assert answer.status == 413
            assert "`[server] body_limit`" in await answer.text()


@asynccontextmanager
async def begun(stack: Stack, size: int) -> AsyncIterator[asyncio.StreamReader]:
    """A request of so many bytes, of which none comes."""
    host, port = stack.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        writer.write(f"{head}Expect: 100-continue\r\nContent-Length: {size}\r\n\r\n".encode())
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


async def test_more_than_there_is_room_for_is_to_come_again(tmp_path: Path) -> None:
    large = 60 << 20
    async with running(tmp_path, engine=SEES, api={"body_limit": 64 << 20}) as stack, aiohttp.ClientSession() as http:

        async def asked() -> tuple[int, str]:
            url = f"{stack.url}/v1/chat/completions"
            body = io.BytesIO(json.dumps({"messages": SHOWN}).encode())
            async with http.post(url, data=body, headers=HEADERS) as answer:
                return answer.status, await answer.text()

        async with begun(stack, large) as first, begun(stack, large) as second:
            assert b"100 Continue" in await first.readline()
            assert b" 503 " in await second.readline()
            assert b"\nretry-after: " in (await second.readuntil(b"\r\n\r\n")).lower()
            url = f"{stack.url.replace('http', 'ws')}/v1/stream"
            async with connect(url, additional_headers=HEADERS) as socket:
                padded = {"messages": SHOWN, "user": "x" * (4 << 20)}
                await socket.send(json.dumps(padded))
                assert json.loads(await socket.recv())["error"]["code"] == "unavailable"
        async with asyncio.timeout(20):
            while (told := await asked())[0] == 503:  # until it is seen that they left
                assert "too many large requests" in told[1]
        assert told[0] == 200


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatferry.web.api._UPLOAD", 0.05)
    async with running(tmp_path) as stack, begun(stack, 1_000_000) as reader:
        await reader.readuntil(b"\r\n\r\n")
        assert b" 408 " in await reader.readline()
