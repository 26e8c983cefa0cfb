"""Answers of the API that are read while they are made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import openai
import pytest

from chatferry.simulator.model import Break, ModelSimulator, Refuse
from chatferry.testing import ManualClock
from tests.scenarios.asking import HEADERS, ask, client, prompt, stream, streamed, text
from tests.stack import Stack, running

pytestmark = pytest.mark.usefixtures("layout")


@contextlib.asynccontextmanager
async def raw(stack: Stack) -> AsyncIterator[aiohttp.ClientResponse]:
    """A stream as it comes over the wire."""
    asked = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
    url = f"{stack.url}/v1/chat/completions"
    async with aiohttp.ClientSession(headers=HEADERS) as http, http.post(url, json=asked) as answer:
        yield answer


async def test_a_stream_is_the_answer_in_pieces_and_ends_with_its_reason(stack: Stack) -> None:
    stack.model.tokens, stack.model.rate = 20, 1000.0
    async with client(stack) as api:
        chunks = await stream(api, "hello")
    assert streamed(chunks) == "tok " * 20
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert {(chunk.id, chunk.model, chunk.usage) for chunk in chunks} == {(chunks[0].id, "default", None)}


async def test_the_usage_comes_in_a_last_chunk_where_it_is_asked_for(stack: Stack) -> None:
    async with client(stack) as api:
        chunks = await stream(api, "hello 😀", stream_options={"include_usage": True})
    assert streamed(chunks) == "echo: hello 😀"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 7 + chunks[-1].usage.completion_tokens


async def test_words_are_passed_on_before_the_model_has_ended(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with client(stack) as api:
        chunks = await api.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        said = ""
        async for chunk in chunks:
            said += chunk.choices[0].delta.content or ""
            if said == "echo:":
                stack.model.release.set()
    assert said == "echo: hello"


async def test_a_streamed_answer_is_remembered_in_its_session(stack: Stack) -> None:
    async with client(stack) as api:
        await stream(api, "one", session="a")
        await ask(api, "two", session="a")
    assert prompt(stack) == ["one", "echo: one", "two"]


async def test_who_comes_late_with_the_same_key_reads_from_the_first_word(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with client(stack) as api:
        first = asyncio.create_task(stream(api, "hello", once="1"))
        await stack.model.hanging.wait()
        chunks = await api.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "hello"}], stream=True,
            extra_headers={"Idempotency-Key": "1"},
        )  # fmt: skip
        late = [await anext(chunks), await anext(chunks)]
        assert streamed(late) == "echo:"
        stack.model.release.set()
        late += [chunk async for chunk in chunks]
        assert streamed(late) == streamed(await first) == "echo: hello"
    assert len(stack.model.requests) == 1


async def test_a_stream_that_its_provider_fails_ends_with_an_error_not_with_silence(stack: Stack) -> None:
    stack.model.plans += [Break("error", after=1, error={"message": "secret", "code": "bad"}), Refuse(400)]
    async with client(stack) as api:
        for _ in range(2):
            with pytest.raises(openai.APIError) as fault:
                await stream(api, "hello")
            assert fault.value.code == "model_failed"
            assert "secret" not in str(fault.value.body)


@pytest.mark.parametrize("layout", ["one process"], indirect=True)  # whoever reads from afar has missed the beginning
async def test_an_answer_that_is_begun_anew_is_an_error_to_who_has_read_of_it_and_there_for_who_asks_again(
    stack: Stack,
) -> None:
    stack.model.plans.append(Break("cut", after=1))
    async with client(stack) as api:
        with pytest.raises(openai.APIError) as fault:
            await stream(api, "hello", once="1")
        assert fault.value.code == "stream_restarted"
        assert text(await ask(api, "hello", once="1")) == "echo: hello"
    assert len(stack.model.requests) == 2


async def test_an_answer_that_is_begun_anew_before_its_first_word_is_just_an_answer(stack: Stack) -> None:
    stack.model.plans.append(Break("cut", after=0))
    async with client(stack) as api:
        assert streamed(await stream(api, "hello")) == "echo: hello"


@pytest.mark.parametrize("session", [None, "a"])
async def test_who_stops_reading_stops_the_model_unless_the_answer_can_be_fetched(
    stack: Stack, session: str | None
) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with client(stack) as api:
        reading = asyncio.create_task(stream(api, "hello", session=session))
        await stack.model.hanging.wait()
        reading.cancel()
        if session:
            stack.model.release.set()
            await ask(api, "next", session=session)
            assert prompt(stack) == ["hello", "echo: hello", "next"]
        await stack.model.idle()
    assert stack.model.cancelled == (0 if session else 1)


async def test_who_never_reads_stops_nobody_else(stack: Stack) -> None:
    stack.model.tokens = 20_000
    async with raw(stack) as deaf, client(stack) as api:
        await deaf.content.readany()
        stack.model.tokens = 0
        assert text(await ask(api, "hello")) == "echo: hello"


async def test_a_stream_that_falls_silent_says_every_15_seconds_that_it_lives(tmp_path: Path) -> None:
    clock, model = ManualClock(), ModelSimulator()
    model.plans.append(Break("hang", after=1))
    async with running(tmp_path, clock=clock, model=model) as stack, raw(stack) as answer:
        said = b""
        while b'"echo:"' not in said:
            said = await answer.content.readuntil(b"\n\n")
        for _ in range(2):
            clock.advance(15)
            assert await answer.content.readuntil(b"\n\n") == b": still here\n\n"
        clock.advance(14)
        model.release.set()
        rest = await answer.content.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert b"still here" not in rest


async def test_a_stream_is_not_to_be_kept_or_collected_by_proxies(stack: Stack) -> None:
    async with raw(stack) as answer:
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert "Content-Length" not in answer.headers


async def test_a_stream_that_a_stop_cuts_off_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, server={"drain": 0.0}) as stack, client(stack) as api:
        stack.model.plans.append(Break("hang", after=1))
        reading = asyncio.create_task(stream(api, "hello", once="1"))
        await stack.model.hanging.wait()
        stack.stop.set()
        with pytest.raises(openai.APIError) as fault:
            await reading
        assert fault.value.code == "unavailable"
