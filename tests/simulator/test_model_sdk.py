"""OpenAI's own client is content with the proxy, and with how it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from tests.simulator.model_world import KEY, World, world

HELLO: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def its() -> AsyncIterator[World]:
    async with world(key=KEY) as its:
        yield its


@pytest.fixture
async def client(its: World) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{its.url}/gpt", api_key=KEY, max_retries=0) as client:
        yield client


async def test_an_answer_in_one_piece(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="m", messages=HELLO)
    assert answer.choices[0].message.content == "echo: hello"


async def test_an_answer_that_streams(client: openai.AsyncOpenAI) -> None:
    said = ""
    async for chunk in await client.chat.completions.create(model="m", messages=HELLO, stream=True):
        said += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    assert said == "echo: hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_refusals(its: World, client: openai.AsyncOpenAI, stream: bool) -> None:
    its.proxy.weather.change(fault="429")
    with pytest.raises(openai.RateLimitError) as limited:
        await client.chat.completions.create(model="m", messages=HELLO, stream=stream)
    assert limited.value.code == "rate_limit_exceeded"
    its.proxy.weather.change(fault="500")
    with pytest.raises(openai.InternalServerError) as broken:
        await client.chat.completions.create(model="m", messages=HELLO, stream=stream)
    assert broken.value.type == "server_error"


async def test_the_providers_own_refusals(its: World, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="wrong-key-of-somebody").chat.completions.create(model="m", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as refused:
        await client.post("/chat/completions", body={"model": "m"}, cast_to=object)
    assert (refused.value.param, refused.value.code) == ("messages", "missing_required_parameter")
    with pytest.raises(openai.InternalServerError, match="cannot be reached"):
        await client.with_options(base_url=f"{its.url}/none").chat.completions.create(model="m", messages=HELLO)
