"""Ways to ask the API as its users do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from chatferry.simulator.model import Raw
from tests.scenarios.support import World
from tests.stack import KEY, Stack

HEADERS = {"Authorization": f"Bearer {KEY}"}


def client(stack: Stack, *, key: str = KEY) -> AsyncOpenAI:
    """OpenAI's own client, told nothing but where we are."""
    return client_at(stack.url, key=key)


def client_at(url: str, *, key: str = KEY) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def api(it: World) -> Any:
    """The same, for the gateway that LINE calls."""
    return client_at(it.line.webhook.removesuffix("/hooks/line"))


async def ask(
    openai: AsyncOpenAI, question: str, *, session: str | None = None, once: str | None = None, **options: Any
) -> ChatCompletion:
    """One question, one answer. `once`: the Idempotency-Key."""
    answer: ChatCompletion = await openai.chat.completions.create(
        model="default", messages=[{"role": "user", "content": question}], **_extra(session, once), **options
    )
    return answer


async def stream(
    openai: AsyncOpenAI, question: str, *, session: str | None = None, once: str | None = None, **options: Any
) -> list[ChatCompletionChunk]:
    """One question and all chunks of its answer."""
    chunks = await openai.chat.completions.create(
        model="default", messages=[{"role": "user", "content": question}], stream=True,
        **_extra(session, once), **options,
    )  # fmt: skip
    return [chunk async for chunk in chunks]


def text(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


def streamed(chunks: list[ChatCompletionChunk]) -> str:
    """The text of a stream."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def prompt(stack: Stack, request: int = -1) -> list[str]:
    """What the model was asked in one of its requests, without the assistant's own instructions."""
    return [said["content"] for said in stack.model.requests[request].body["messages"] if said["role"] != "system"]


def ending(finish: str, said: str) -> Raw:
    """A model's answer that ends for this reason."""
    delta = {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    return Raw([f"data: {json.dumps(chunk)}\n\n".encode() for chunk in (delta, end)] + [b"data: [DONE]\n\n"])


def is_error(body: Any, code: str) -> bool:
    """Is it OpenAI's error object, whole, with this code?"""
    error: Mapping[str, Any] = body["error"]
    told = isinstance(error["message"], str) and error["message"] and isinstance(error["type"], str)
    return bool(told) and set(error) == {"message", "type", "param", "code"} and error["code"] == code


def _extra(session: str | None, once: str | None) -> dict[str, Any]:
    return {
        "extra_body": {"session_id": session} if session else None,
        "extra_headers": {"Idempotency-Key": once} if once else None,
    }
