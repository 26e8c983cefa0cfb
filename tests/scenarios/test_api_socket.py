"""The API's WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from chatferry.simulator.model import Break, Refuse
from tests.scenarios.asking import HEADERS, is_error, prompt
from tests.stack import KEY, Stack, running

pytestmark = pytest.mark.usefixtures("layout")


@contextlib.asynccontextmanager
async def socket(stack: Stack, headers: dict[str, str] | None = HEADERS) -> AsyncIterator[ClientConnection]:
    url = stack.url.replace("http:", "ws:") + "/v1/stream"
    async with connect(url, additional_headers=headers, proxy=None) as connection:
        yield connection


async def put(connection: ClientConnection, question: str, **more: Any) -> None:
    await connection.send(json.dumps({"messages": [{"role": "user", "content": question}], "stream": True, **more}))


async def frames(connection: ClientConnection) -> list[dict[str, Any]]:
    """The frames of one answer."""
    told = [json.loads(await connection.recv())]
    while not {"done", "error"} & set(told[-1]):
        told.append(json.loads(await connection.recv()))
    return told


def said(told: list[dict[str, Any]]) -> str:
    return "".join(frame.get("delta", "") for frame in told)


async def test_an_answer_comes_in_deltas_and_ends_with_its_usage(stack: Stack) -> None:
    async with socket(stack) as connection:
        await put(connection, "hello 😀")
        told = await frames(connection)
    assert said(told) == "echo: hello 😀"
    assert told[-1]["done"] is True
    assert told[-1]["finish_reason"] == "stop"
    assert told[-1]["usage"]["prompt_tokens"] == 7


async def test_an_answer_that_is_not_to_be_streamed_is_one_frame(stack: Stack) -> None:
    async with socket(stack) as connection:
        await put(connection, "hello", stream=False)
        [frame] = await frames(connection)
    assert (frame["content"], frame["done"]) == ("echo: hello", True)


async def test_one_socket_takes_question_after_question_and_answers_them_in_order(stack: Stack) -> None:
    async with socket(stack) as connection:
        for n in range(3):
            await put(connection, f"q{n}", session_id="a")
        assert [said(await frames(connection)) for _ in range(3)] == ["echo: q0", "echo: q1", "echo: q2"]
    assert prompt(stack) == ["q0", "echo: q0", "q1", "echo: q1", "q2"]


async def test_a_session_is_the_same_over_any_socket(stack: Stack) -> None:
    for question in ("one", "two"):
        async with socket(stack) as connection:
            await put(connection, question, session_id="a")
            await frames(connection)
    assert prompt(stack) == ["one", "echo: one", "two"]


async def test_the_key_may_come_in_the_first_frame(stack: Stack) -> None:
    async with socket(stack, {}) as connection:
        await put(connection, "one", api_key=KEY)
        assert said(await frames(connection)) == "echo: one"
        await put(connection, "two")
        assert said(await frames(connection)) == "echo: two"


async def test_nobody_is_answered_without_a_key(stack: Stack) -> None:
    async with socket(stack, {}) as connection:
        for key in ({}, {"api_key": "wrong"}, {"api_key": ""}, {"api_key": 7}):
            await put(connection, "hello", **key)
            [told] = await frames(connection)
            assert is_error(told, "invalid_api_key")
            assert told["error"]["type"] == "authentication_error"
    assert stack.model.requests == []


async def test_a_wrong_key_in_the_header_is_not_mended_by_the_frame(stack: Stack) -> None:
    async with socket(stack, {"Authorization": "Bearer wrong"}) as connection:
        await put(connection, "hello", api_key=KEY)
        [told] = await frames(connection)
    assert is_error(told, "invalid_api_key")


BAD: list[tuple[str | bytes, str]] = [
    ("", "invalid_json"),
    ("{", "invalid_json"),
    (b"\xff\xfe", "invalid_json"),
    ('{"x": ' + "[" * 50_000, "invalid_json"),
    ('{"messages": [{"role": "user", "content": "\\ud800"}]}', "invalid_json"),
    ("{}", "invalid_value"),
    ("[]", "invalid_value"),
    ('{"messages": [{"role": "user", "content": "x"}], "model": "gpt-9"}', "model_not_found"),
]


async def test_a_bad_frame_is_told_and_the_next_one_is_answered(stack: Stack) -> None:
    async with socket(stack) as connection:
        for frame, code in BAD:
            await connection.send(frame)
            [told] = await frames(connection)
            assert is_error(told, code)
        await put(connection, "hello")
        assert said(await frames(connection)) == "echo: hello"


async def test_a_frame_of_bytes_is_as_good_as_one_of_text(stack: Stack) -> None:
    async with socket(stack) as connection:
        await connection.send(b'{"messages": [{"role": "user", "content": "hello"}], "stream": true}')
        assert said(await frames(connection)) == "echo: hello"


async def test_a_frame_that_is_too_large_closes_the_socket(stack: Stack) -> None:
    settings = stack.gateway.settings
    # Who is not known yet has little room.
    for headers, limit in ((HEADERS, settings.api_limit), ({}, settings.server.body_limit)):
        async with socket(stack, headers) as connection:
            await connection.send("x" * (limit + 1))
            with pytest.raises(ConnectionClosed) as closed:
                await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_more_questions_than_can_wait_close_the_socket(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=0))
    async with socket(stack) as connection:
        await put(connection, "hello")
        await stack.model.hanging.wait()
        for _ in range(20):
            await put(connection, "hello")
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        await stack.model.idle()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert (len(stack.model.requests), stack.model.cancelled) == (1, 1)


async def test_a_provider_that_fails_is_told_kindly_and_the_socket_stays(stack: Stack) -> None:
    stack.model.plans += [Refuse(400, {"message": "secret"}), Break("error", after=1, error={"message": "secret"})]
    async with socket(stack) as connection:
        for _ in range(2):
            await put(connection, "hello")
            told = await frames(connection)
            assert is_error(told[-1], "model_failed")
            assert "secret" not in json.dumps(told)
        await put(connection, "hello")
        assert said(await frames(connection)) == "echo: hello"


@pytest.mark.parametrize("layout", ["one process"], indirect=True)  # whoever reads from afar has missed the beginning
async def test_an_answer_that_is_begun_anew_says_that_what_came_is_void(stack: Stack) -> None:
    stack.model.plans.append(Break("cut", after=1))
    async with socket(stack) as connection:
        await put(connection, "hello")
        told = await frames(connection)
    void = told.index({"restart": True})
    assert said(told[:void]) == "echo:"
    assert said(told[void:]) == "echo: hello"


@pytest.mark.parametrize("waits", [0, 2])
async def test_who_leaves_in_the_middle_stops_the_model(stack: Stack, waits: int) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with socket(stack) as connection:
        for _ in range(1 + waits):
            await put(connection, "hello")
        await stack.model.hanging.wait()
    await stack.model.idle()
    assert stack.model.cancelled == 1
    assert len(stack.model.requests) == 1


async def test_who_leaves_a_session_in_the_middle_finds_the_answer_in_it(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with socket(stack) as connection:
        await put(connection, "one", session_id="a")
        await stack.model.hanging.wait()
    stack.model.release.set()
    async with socket(stack) as connection:
        await put(connection, "two", session_id="a")
        await frames(connection)
    assert prompt(stack) == ["one", "echo: one", "two"]
    assert stack.model.cancelled == 0


async def test_a_caller_who_asks_too_often_is_told_so_over_whatever_wire(tmp_path: Path) -> None:
    async with running(tmp_path, api={"rate": 1}) as stack, socket(stack) as connection:
        await put(connection, "hello")
        await frames(connection)
        await put(connection, "hello")
        assert is_error((await frames(connection))[-1], "rate_limit_exceeded")


async def test_a_stop_ends_what_runs_with_a_word_and_closes_the_socket(tmp_path: Path) -> None:
    async with running(tmp_path, server={"drain": 0.0}) as stack, socket(stack) as connection:
        stack.model.plans.append(Break("hang", after=1))
        await put(connection, "hello", session_id="a")
        await stack.model.hanging.wait()
        stack.stop.set()
        assert is_error((await frames(connection))[-1], "unavailable")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(connection.recv(), 10)
