"""OpenAI's wire format, as OpenAI and as less careful servers speak it."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

import aiohttp
import msgspec
import pytest

from chatferry.clock import Clock
from chatferry.engines.base import Call, Done, Picture, Prompt, Result, Round
from chatferry.engines.openai import OpenAI, OpenAIReader
from chatferry.errors import Final, TryLater
from chatferry.model import File, Message, Options, Text, Usage
from chatferry.simulator.model import Odd, Refuse
from chatferry.simulator.model_calls import acts
from chatferry.testing import ManualClock
from tests.contracts.engine import NOTHING, WireContract
from tests.engines.support import Provider, WatchedConnector, asking, settings, settle, whole


class TestOpenAI(WireContract):
    overloaded: ClassVar[Any] = {"message": "try again", "type": "server_error", "code": "overloaded"}
    invalid: ClassVar[Any] = {"message": "no", "type": "invalid_request_error"}

    def make(self, base: str, http: aiohttp.ClientSession, clock: Clock, **more: Any) -> OpenAI:
        return OpenAI("smart", settings("openai", f"{base}/v1", **more), http, clock)


@pytest.fixture
def engine(provider: Provider, http: aiohttp.ClientSession) -> OpenAI:
    return OpenAI("smart", settings("openai", f"{provider.url}/v1", temperature=0.3), http, ManualClock())


async def test_the_request_is_what_the_manual_says(engine: OpenAI, provider: Provider) -> None:
    prompt = asking("hi", "hello", "how are you?", system="Be brief.", options=Options(top_p=0.9, stop=("END",)))
    await whole(engine.run(prompt))
    assert provider.sim.requests[0].body == {
        "model": "some-model",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "how are you?"},
        ],
        "max_tokens": 1000,
        "temperature": 0.3,
        "top_p": 0.9,
        "stop": ["END"],
    }


async def test_files_and_empty_messages_are_left_out(engine: OpenAI, provider: Provider) -> None:
    picture = File("image", ref="1")
    talk = (Message("user", (picture,)), Message("user", (Text("what is it?"), picture)))
    await whole(engine.run(msgspec.structs.replace(asking(), messages=talk)))
    assert provider.sim.requests[0].body["messages"] == [{"role": "user", "content": "what is it?"}]


async def test_the_caller_may_ask_for_less_than_the_operator_allows_not_for_more(
    engine: OpenAI, provider: Provider
) -> None:
    for wanted in (10, 5000):
        await whole(engine.run(asking("hi", options=Options(max_tokens=wanted, temperature=0.0))))
    assert [asked.body["max_tokens"] for asked in provider.sim.requests] == [10, 1000]
    assert provider.sim.requests[0].body["temperature"] == 0.0


async def test_usage_and_model_are_those_that_the_provider_tells(engine: OpenAI) -> None:
    _, done = await whole(engine.run(asking("one two")))
    assert done == Done("stop", Usage(7, 3), "simulated-1")


async def test_an_answer_in_one_piece_is_taken_too(engine: OpenAI, provider: Provider) -> None:
    provider.sim.plans.append(Odd(whole=True))
    assert await whole(engine.run(asking("one two"))) == ("echo: one two", Done("stop", Usage(7, 3), "simulated-1"))


async def test_a_server_that_keeps_the_body_open_after_done_does_not_keep_us(
    engine: OpenAI, provider: Provider
) -> None:
    provider.sim.plans.append(Odd(lingers=True))
    assert (await whole(engine.run(asking("hello"))))[0] == "echo: hello"
    await provider.sim.idle()
    assert provider.sim.cancelled == 1


async def test_a_body_that_ends_a_little_after_done_leaves_its_connection_to_the_next(
    engine: OpenAI, provider: Provider, connector: WatchedConnector
) -> None:
    provider.sim.plans.append(Odd(lingers=True))
    answer = asyncio.ensure_future(whole(engine.run(asking("hello"))))
    await provider.sim.hanging.wait()
    await settle()
    provider.sim.release.set()
    await answer
    await whole(engine.run(asking("hello")))
    assert len(set(connector.transports)) == 1


SHOWN = Prompt(
    "",
    (Message("user", (Text("what is it?"), File("image", "", kept=7, text="[image]"))),),
    pictures={7: Picture("image/png", b"png")},
)


@pytest.mark.parametrize("told", ["image_url is only supported by certain models", "content must be a string"])
async def test_who_takes_no_pictures_is_asked_in_words(
    provider: Provider, http: aiohttp.ClientSession, told: str
) -> None:
    seeing = OpenAI("smart", settings("openai", f"{provider.url}/v1", sees=True), http, ManualClock())
    provider.sim.plans.append(Refuse(400, {"message": told}))
    assert (await whole(seeing.run(SHOWN)))[0] == "echo: what is it?\n\n[image]"
    first, second = [request.body["messages"][0]["content"] for request in provider.sim.requests]
    assert first == [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
    ]
    assert second == "what is it?\n\n[image]"


async def test_another_refusal_of_a_picture_is_a_fault(provider: Provider, http: aiohttp.ClientSession) -> None:
    seeing = OpenAI("smart", settings("openai", f"{provider.url}/v1", sees=True), http, ManualClock())
    provider.sim.plans.append(Refuse(401, {"message": "no images for you"}))
    with pytest.raises(Final):
        await whole(seeing.run(SHOWN))
    assert len(provider.sim.requests) == 1


async def test_an_option_that_the_server_does_not_know_is_not_sent_again(engine: OpenAI, provider: Provider) -> None:
    provider.sim.refuses = {"max_tokens", "temperature"}
    assert (await whole(engine.run(asking("hello"))))[0] == "echo: hello"
    assert len(provider.sim.requests) == 3
    await whole(engine.run(asking("hello")))
    last = provider.sim.requests[-1].body
    assert len(provider.sim.requests) == 4
    assert last["max_completion_tokens"] == 1000
    assert not last.keys() & {"max_tokens", "temperature"}


async def test_a_server_that_knows_no_option_at_all_gets_none(engine: OpenAI, provider: Provider) -> None:
    provider.sim.refuses = {"max_tokens", "max_completion_tokens", "temperature", "stream_options"}
    await whole(engine.run(asking("hello")))
    assert provider.sim.requests[-1].body.keys() == {"model", "messages", "stream"}


@pytest.mark.parametrize(
    "error",
    [
        {"message": "max_tokens is too large: 1000. This model supports at most 512.", "param": "max_tokens"},
        {"message": "model 'some-model' is not supported", "param": "model"},
    ],
)
async def test_a_refusal_for_another_reason_is_not_tried_again(
    engine: OpenAI, provider: Provider, error: dict[str, str]
) -> None:
    provider.sim.plans.append(Refuse(400, error=error))
    with pytest.raises(Final, match="400"):
        await whole(engine.run(asking("hello")))
    assert len(provider.sim.requests) == 1


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("https://mine.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("https://notopenai.com/v1", "max_tokens"),
        ("http://localhost:11434/v1", "max_tokens"),
    ],
)
async def test_the_host_decides_what_the_limit_is_called(http: aiohttp.ClientSession, base: str, name: str) -> None:
    request = OpenAI("smart", settings("openai", base), http)._request(asking("hi"))
    assert {"max_tokens", "max_completion_tokens"} & request.keys() == {name}


async def test_an_empty_purse_is_final_though_it_is_told_as_429(engine: OpenAI, provider: Provider) -> None:
    provider.sim.plans.extend([Refuse(429, error={"message": "no money", "code": "insufficient_quota"})] * 2)
    with pytest.raises(Final, match="insufficient_quota"):
        await whole(engine.run(asking("hello")))
    findings = [finding async for finding in engine.check()]
    assert "credit" in findings[0].mend


def told(*payloads: str) -> tuple[str, OpenAIReader]:
    reader = OpenAIReader("smart")
    return "".join([reader.read(payload.encode()) for payload in payloads]), reader


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ('{"choices":[{"delta":{"content":"好"}}]}', "好"),
        ('{"choices":[{"delta":{"role":"assistant","content":null}}]}', ""),
        ('{"choices":[{"delta":{"reasoning_content":"hm","content":""}}]}', ""),
        ('{"choices":[{"delta":{"content":[{"type":"thinking","text":"hm"},{"type":"text","text":"yes"}]}}]}', "yes"),
        ('{"choices":[{"delta":null,"finish_reason":null}]}', ""),
        ('{"choices":[]}', ""),
        ('{"choices":null,"usage":null,"model":null,"error":null}', ""),
        ('{"choices":[{}],"usage":{"prompt_tokens":null}}', ""),
        ("{}", ""),
    ],
)
def test_what_a_server_leaves_out_or_adds_is_no_error(payload: str, text: str) -> None:
    assert told(payload)[0] == text


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "filter"),
        ("tool_calls", "stop"),
        ("eos", "stop"),
    ],
)
def test_the_reason_to_stop_is_put_in_our_words(reason: str, finish: str) -> None:
    _, reader = told(f'{{"choices":[{{"finish_reason":"{reason}"}}]}}')
    assert reader.end().finish == finish


def test_done_alone_ends_an_answer() -> None:
    assert told('{"choices":[{"delta":{"content":"a"}}]}', "[DONE]")[1].end().finish == "stop"


def test_usage_is_taken_from_whatever_chunk_has_it() -> None:
    usage = '"usage":{"prompt_tokens":3,"completion_tokens":5}'
    _, reader = told(f'{{"choices":[{{"delta":{{"content":"a"}}}}],{usage}}}', '{"choices":[{"finish_reason":"stop"}]}')
    assert reader.end().usage == Usage(3, 5)


@pytest.mark.parametrize("payload", ["{", '"text"', '{"choices":3}', '{"choices":[{"delta":{"content":7}}]}'])
def test_what_is_no_chat_completion_may_be_tried_again(payload: str) -> None:
    with pytest.raises(TryLater, match="smart"):
        told(payload)


def test_text_that_is_no_utf_8_may_be_tried_again() -> None:
    with pytest.raises(TryLater):
        OpenAIReader("smart").read(b'{"choices":[{"delta":{"content":"\xff"}}]}')


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ('{"message":"x","type":"rate_limit_error"}', TryLater),
        ('{"message":"x","code":"rate_limit_exceeded"}', TryLater),
        ('{"message":"x","type":"overloaded_error"}', TryLater),
        ('{"message":"x","code":502}', TryLater),
        ('{"message":"x","code":"503"}', TryLater),
        ('{"message":"x","code":400}', Final),
        ('{"message":"x","type":"invalid_request_error"}', Final),
        ('"something"', Final),
    ],
)
def test_an_error_in_the_stream_is_told_apart_by_its_words(error: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        told(f'{{"error":{error}}}')


@pytest.mark.parametrize("odd", [Odd(indexes=False), Odd(ids=False), Odd(whole=True)])
async def test_calls_are_told_apart_however_they_are_numbered(engine: OpenAI, provider: Provider, odd: Odd) -> None:
    provider.sim.act = lambda *_: acts(("look", {"at": "sea"}), ("look", {"at": "shore"}))
    provider.sim.plans.append(odd)
    _, done = await whole(engine.run(msgspec.structs.replace(asking("hi"), tools=(NOTHING,))))
    assert [call.arguments for call in done.calls] == ['{"at": "sea"}', '{"at": "shore"}']
    assert len({call.id for call in done.calls}) == 2


@pytest.mark.parametrize(
    "calls",
    [
        '{"index":0,"id":"a","function":{"name":"x","arguments":"{}"}},'  # all of them are the first
        '{"index":0,"id":"b","function":{"name":"x","arguments":"{}"}}',
        '{"function":{"name":"x","arguments":{}}},{"function":{"name":"x","arguments":"{}"}}',  # an object, and no ids
        '{"index":3,"id":"a","function":{"name":"x","arguments":"{}"}},{"index":7,"function":{"name":"x","arguments":"{}"}}',
    ],
)
def test_odd_numbers_of_calls_make_two_calls(calls: str) -> None:
    _, reader = told(f'{{"choices":[{{"delta":{{"tool_calls":[{calls}]}},"finish_reason":"stop"}}]}}')
    done = reader.end()
    assert done.finish == "calls"
    assert [(call.name, call.arguments) for call in done.calls] == [("x", "{}")] * 2
    assert len({call.id for call in done.calls}) == 2


def test_a_call_without_a_name_and_one_that_was_withheld_are_none() -> None:
    nameless = '{"choices":[{"delta":{"tool_calls":[{"index":0}]},"finish_reason":"tool_calls"}]}'
    assert told(nameless)[1].end().finish == "stop"
    call = '{"index":0,"id":"a","function":{"name":"x"}}'
    withheld = f'{{"choices":[{{"delta":{{"tool_calls":[{call}]}},"finish_reason":"content_filter"}}]}}'
    assert told(withheld)[1].end() == Done("filter")


async def test_a_signature_that_came_with_a_call_goes_back_with_it(engine: OpenAI, provider: Provider) -> None:
    made = Round("", (Call("a", "wait", "{}", '{"google":{"thought_signature":"x"}}'),), (Result("done"),))
    await whole(engine.run(msgspec.structs.replace(asking("hi"), tools=(NOTHING,), rounds=(made,))))
    [call] = provider.sim.requests[0].body["messages"][1]["tool_calls"]
    assert call["extra_content"] == {"google": {"thought_signature": "x"}}


@pytest.mark.parametrize("amiss", ['{"at": "se', "", "[]", "[" * 100_000])
async def test_what_a_model_called_amiss_goes_back_as_an_object(engine: OpenAI, provider: Provider, amiss: str) -> None:
    made = Round("", (Call("a", "wait", amiss),), (Result("Not called.", failed=True),))
    await whole(engine.run(msgspec.structs.replace(asking("hi"), tools=(NOTHING,), rounds=(made,))))
    [call] = provider.sim.requests[0].body["messages"][1]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == ({"arguments": amiss} if amiss else {})


def test_pieces_of_tool_calls_are_put_together() -> None:
    def piece(call: str) -> str:
        return f'{{"choices":[{{"delta":{{"tool_calls":[{call}]}}}}]}}'

    _, reader = told(
        piece('{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":""}}'),
        piece('{"index":0,"function":{"arguments":"{\\"a\\":"}}'),
        piece('{"index":1,"id":"c2","function":{"name":"find","arguments":"{}"}}'),
        piece('{"index":0,"function":{"arguments":"1}"}}'),
    )
    assert reader.read(b"[DONE]") == ""
    assert reader.end().calls == (Call("c1", "look", '{"a":1}'), Call("c2", "find", "{}"))
