"""The simulated provider: what it says to a talk, and to what is none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.simulator.model_world import KEY, world

PARTS = [{"type": "text", "text": "and"}, {"type": "image_url", "image_url": {"url": "data:"}},
         {"type": "text", "text": "you?"}]  # fmt: skip


def recall(talk: Sequence[Mapping[str, Any]]) -> str:
    return " | ".join(f"{said['role']}: {said['content']}" for said in talk)


async def test_a_script_is_given_the_whole_talk_as_text() -> None:
    said = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "I am Mei."},
        {"role": "assistant", "content": None},
        {"role": "user", "content": PARTS},
    ]
    async with world(converse=recall) as its:
        async with its.http.post(f"{its.url}/gpt/chat/completions", json={"messages": said}) as answer:
            text = (await answer.json())["choices"][0]["message"]["content"]
        assert text == "system: Be kind. | user: I am Mei. | assistant:  | user: and\nyou?"


async def test_a_talk_of_gemini_is_given_in_the_same_form() -> None:
    said = [{"role": "user", "parts": [{"text": "I am Mei."}]}, {"role": "model", "parts": [{"text": "Hi"}]}]
    async with world(converse=recall) as its:
        async with its.http.post(f"{its.url}/gem/models/m:generateContent", json={"contents": said}) as answer:
            text = (await answer.json())["candidates"][0]["content"]["parts"][0]["text"]
        assert text == "user: I am Mei. | assistant: Hi"


async def test_without_a_script_the_last_words_are_answered() -> None:
    async with world() as its:
        body = {"messages": [{"role": "user", "content": PARTS}]}
        async with its.http.post(f"{its.url}/gpt/chat/completions", json=body) as answer:
            assert (await answer.json())["choices"][0]["message"]["content"] == "echo: and\nyou?"


@pytest.mark.parametrize("wire", ["openai", "gemini"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[]", b"7", b"{}", b'{"messages": "hi", "contents": {}}',
     b'{"messages": [1], "contents": [2]}'],
)  # fmt: skip
async def test_what_is_no_request_is_a_bad_request(wire: str, body: bytes) -> None:
    path = "/gpt/chat/completions" if wire == "openai" else "/gem/models/m:generateContent"
    async with world() as its, its.http.post(its.url + path, data=body) as answer:
        error = json.loads(await answer.read())["error"]
        assert answer.status == 400
        if wire == "openai":
            assert error["type"] == "invalid_request_error"
        else:
            assert error["status"] == "INVALID_ARGUMENT"


async def test_a_message_without_a_role_is_a_bad_request() -> None:
    async with world() as its:
        body = {"messages": [{"content": "hi"}]}
        async with its.http.post(f"{its.url}/gpt/chat/completions", json=body) as answer:
            assert (answer.status, (await answer.json())["error"]["param"]) == (400, "messages")


async def test_who_has_no_key_hears_that_first() -> None:
    async with world(key=KEY) as its, its.http.post(f"{its.url}/gpt/chat/completions", data=b"{}") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (401, "invalid_api_key")
