"""Gemini's wire format."""

from __future__ import annotations

from typing import Any, ClassVar

import aiohttp
import pytest

from chatferry.clock import Clock
from chatferry.engines.base import Done, Picture, Prompt
from chatferry.engines.gemini import Gemini, GeminiReader, contents
from chatferry.errors import TryLater
from chatferry.model import File, Message, Options, Text, Usage, says
from chatferry.simulator.model import Refuse
from chatferry.testing import ManualClock
from tests.contracts.engine import WireContract
from tests.engines.support import Provider, asking, settings, whole


class TestGemini(WireContract):
    overloaded: ClassVar[Any] = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
    invalid: ClassVar[Any] = {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}

    def make(self, base: str, http: aiohttp.ClientSession, clock: Clock, **more: Any) -> Gemini:
        return Gemini("fast", settings("gemini", f"{base}/v1beta", **more), http, clock)


@pytest.fixture
def engine(provider: Provider, http: aiohttp.ClientSession) -> Gemini:
    return Gemini("fast", settings("gemini", f"{provider.url}/v1beta", model="models/g-1"), http, ManualClock())


async def test_the_request_is_what_the_manual_says(engine: Gemini, provider: Provider) -> None:
    options = Options(max_tokens=50, temperature=0.5, top_p=0.9, stop=("END",))
    await whole(engine.run(asking("hi", "hello", "well?", system="Be brief.", options=options)))
    asked = provider.sim.requests[0]
    assert (asked.path, asked.query) == ("/v1beta/models/g-1:streamGenerateContent", "alt=sse")
    assert asked.body == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"text": "hello"}]},
            {"role": "user", "parts": [{"text": "well?"}]},
        ],
        "generationConfig": {"maxOutputTokens": 50, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
    }


def test_the_user_begins_and_the_sides_take_turns() -> None:
    talk = (
        says("assistant", "welcome"),
        says("user", "a"),
        says("user", ""),
        says("system", "aside"),
        says("user", "b"),
        says("assistant", "c"),
    )
    assert contents(Prompt("", talk), sees=True) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}]},
    ]


def test_pictures_stand_where_they_were_said() -> None:
    said = Message("user", (Text("a"), File("image", "", kept=7, text="[image]"), Text("b"), File("image", "", kept=8)))
    prompt = Prompt("", (said,), pictures={7: Picture("image/png", b"png")})
    [shown] = contents(prompt, sees=True)
    inline = {"inlineData": {"mimeType": "image/png", "data": "cG5n"}}
    assert shown["parts"] == [{"text": "a"}, inline, {"text": "b"}]
    [read] = contents(prompt, sees=False)
    assert read["parts"] == [{"text": "a\n\n[image]\n\nb"}]


async def test_a_wait_told_in_the_body_is_passed_on(engine: Gemini, provider: Provider) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "quota", "details": [{"@type": "x"}, info]}
    provider.sim.plans.append(Refuse(429, error=error))
    with pytest.raises(TryLater, match="RESOURCE_EXHAUSTED: quota") as caught:
        await whole(engine.run(asking("hello")))
    assert caught.value.after == 34.5


async def test_a_wrong_key_is_told_as_400_and_its_mend_is_the_key(engine: Gemini, provider: Provider) -> None:
    provider.sim.key = "another"
    findings = [finding async for finding in engine.check()]
    assert "api_key" in findings[0].mend


def told(*payloads: str) -> tuple[str, GeminiReader]:
    reader = GeminiReader("fast")
    return "".join([reader.read(payload.encode()) for payload in payloads]), reader


def test_thoughts_are_paid_for_but_not_said() -> None:
    text, reader = told(
        '{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"yes"}]},"finishReason":"STOP"}],'
        '"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":3,"thoughtsTokenCount":4},"modelVersion":"g-1"}'
    )
    assert text == "yes"
    assert reader.end() == Done("stop", Usage(2, 7), "g-1")


@pytest.mark.parametrize(
    ("payload", "finish"),
    [
        ('{"candidates":[{"finishReason":"MAX_TOKENS"}]}', "length"),
        ('{"candidates":[{"finishReason":"SAFETY"}]}', "filter"),
        ('{"candidates":[{"finishReason":"RECITATION","content":{}}]}', "filter"),
        ('{"candidates":[{"finishReason":"PROHIBITED_CONTENT"}]}', "filter"),
        ('{"candidates":[{"finishReason":"BLOCKLIST"}]}', "filter"),
        ('{"candidates":[{"finishReason":"SOMETHING_NEW"}]}', "stop"),
        ('{"promptFeedback":{"blockReason":"SAFETY"}}', "filter"),
        ('{"promptFeedback":{},"usageMetadata":{"promptTokenCount":3}}', "stop"),
        ('{"candidates":[]}', "stop"),
    ],
)
def test_an_answer_without_text_ends_with_its_reason(payload: str, finish: str) -> None:
    text, reader = told(payload)
    assert text == ""
    assert reader.end().finish == finish


@pytest.mark.parametrize("payloads", [(), ('{"candidates":[{"content":{"parts":[{"text":"and then"}]}}]}',)])
def test_an_answer_that_does_not_say_why_it_ended_broke_off(payloads: tuple[str, ...]) -> None:
    with pytest.raises(TryLater, match="broke off"):
        told(*payloads)[1].end()


@pytest.mark.parametrize("payload", ["{", '{"candidates":3}'])
def test_what_is_no_gemini_answer_may_be_tried_again(payload: str) -> None:
    with pytest.raises(TryLater, match="fast"):
        told(payload)
