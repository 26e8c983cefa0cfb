"""The API as programs use it: OpenAI's own client against the gateway, on real sockets."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from pydantic import SecretStr

from chatferry.clock import SystemClock
from chatferry.simulator.model import Break, Refuse
from chatferry.testing import ManualClock
from tests.scenarios.asking import HEADERS, ask, client, client_at, ending, is_error, prompt, stream, streamed, text
from tests.stack import KEY, Stack, gateway_on, running, settings_for


async def post(stack: Stack, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any, dict[str, str]]:
    """A request that OpenAI's client would not make: status, JSON and headers of the answer."""
    url = f"{stack.url}/v1/chat/completions"
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers or HEADERS) as answer:
        return answer.status, await answer.json(), {name.lower(): value for name, value in answer.headers.items()}


async def draining(stack: Stack) -> None:
    """Return when the gateway says that it takes nothing more."""
    async with aiohttp.ClientSession() as http:
        status = 200
        while status == 200:
            async with http.get(f"{stack.url}/readyz") as answer:
                status = answer.status


def question(words: str = "hello") -> bytes:
    return b'{"messages": [{"role": "user", "content": "%s"}]}' % words.encode()


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_official_client_gets_an_answer_with_its_usage(stack: Stack) -> None:
    async with client(stack) as api:
        answer = await ask(api, "hello 😀 世界")
    assert text(answer) == "echo: hello 😀 世界"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "default"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (7, 7 + answer.usage.completion_tokens)


async def test_the_models_are_the_assistants(stack: Stack) -> None:
    async with client(stack) as api:
        assert [model.id async for model in api.models.list()] == ["default"]
        assert (await api.models.retrieve("default")).id == "default"
        with pytest.raises(openai.NotFoundError):
            await api.models.retrieve("gpt-9")


async def test_without_a_session_the_request_is_the_whole_context(stack: Stack) -> None:
    async with client(stack) as api:
        await ask(api, "forgotten")
        await api.chat.completions.create(
            model="default",
            messages=[
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "two"},
                {"role": "user", "content": [{"type": "text", "text": "three"}]},
            ],
            max_tokens=5,
            temperature=0.5,
            top_p=0.25,
            stop="\n",
        )
    body = stack.model.requests[-1].body
    assert prompt(stack) == ["one", "two", "three"]
    assert body["messages"][0]["content"].endswith("Be brief.")
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["stop"]) == (5, 0.5, 0.25, ["\n"])


async def test_a_picture_by_its_address_is_refused(stack: Stack) -> None:
    async with client(stack) as api:
        picture: Any = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/secret"}}
        with pytest.raises(openai.UnprocessableEntityError, match="inline"):
            await api.chat.completions.create(model="default", messages=[{"role": "user", "content": [picture]}])
    assert not stack.model.requests


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_is_remembered_and_other_sessions_do_not_see_it(stack: Stack) -> None:
    async with client(stack) as api:
        await ask(api, "my name is Ann", session="a")
        await ask(api, "who am I?", session="a")
        assert prompt(stack) == ["my name is Ann", "echo: my name is Ann", "who am I?"]
        await ask(api, "who am I?", session="b")
        assert prompt(stack) == ["who am I?"]


async def test_a_caller_that_sends_its_history_along_with_a_session_is_not_heard_twice(stack: Stack) -> None:
    async with client(stack) as api:
        await ask(api, "one", session="a")
        await api.chat.completions.create(
            model="default",
            messages=[
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "echo: one"},
                {"role": "user", "content": "two"},
            ],
            extra_body={"session_id": "a"},
        )
    assert prompt(stack) == ["one", "echo: one", "two"]


async def test_sessions_and_idempotency_keys_belong_to_the_api_key(tmp_path: Path) -> None:
    keys = (SecretStr("ann-key"), SecretStr("bob-key"))
    async with running(tmp_path, api={"keys": keys}) as stack:
        async with client(stack, key="ann-key") as ann, client(stack, key="bob-key") as bob:
            await ask(ann, "mine", session="a", once="1")
            answer = await ask(bob, "yours", session="a", once="1")
        assert text(answer) == "echo: yours"
        assert prompt(stack) == ["yours"]


async def test_questions_at_the_same_time_in_one_session_are_answered_one_after_the_other(stack: Stack) -> None:
    async with client(stack) as api:
        answers = await asyncio.gather(*[ask(api, f"q{n}", session="a") for n in range(4)])
    assert [text(answer) for answer in answers] == [f"echo: q{n}" for n in range(4)]
    assert [len(prompt(stack, n)) for n in range(4)] == [1, 3, 5, 7]


# ── once and only once ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_key_at_the_same_time_asks_the_model_once(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with client(stack) as api:
        asking = [asyncio.create_task(ask(api, "hello", once="1")) for _ in range(3)]
        streaming = [asyncio.create_task(stream(api, "hello", once="1")) for _ in range(2)]
        await stack.model.hanging.wait()
        stack.model.release.set()
        answers, streams = await asyncio.gather(*asking), await asyncio.gather(*streaming)
    assert {text(answer) for answer in answers} == {streamed(chunks) for chunks in streams} == {"echo: hello"}
    assert len({answer.id for answer in answers}) == 1
    assert len(stack.model.requests) == 1


async def test_the_same_key_later_fetches_the_answer_whole_or_streamed(stack: Stack) -> None:
    async with client(stack) as api:
        first = await ask(api, "hello", once="1")
        again = await ask(api, "hello", once="1")
        chunks = await stream(api, "hello", once="1", stream_options={"include_usage": True})
    assert (again.id, again.usage) == (first.id, first.usage) == (chunks[0].id, chunks[-1].usage)
    assert text(again) == streamed(chunks) == "echo: hello"
    assert len(stack.model.requests) == 1


async def test_the_same_key_with_another_question_is_refused(stack: Stack) -> None:
    async with client(stack) as api:
        await ask(api, "hello", once="1")
        with pytest.raises(openai.UnprocessableEntityError, match="another request"):
            await ask(api, "something else", once="1")


async def test_a_failed_request_that_is_made_again_is_really_made_again(stack: Stack) -> None:
    stack.model.plans += [Refuse(400), Refuse(400)]
    async with client(stack) as api:
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                await ask(api, "hello", once="1")
        answers = await asyncio.gather(*[ask(api, "hello", once="1") for _ in range(3)])
    assert {text(answer) for answer in answers} == {"echo: hello"}
    assert len(stack.model.requests) == 3


async def test_what_was_accepted_is_answered_after_a_restart_and_fetched_by_its_key(tmp_path: Path) -> None:
    async with running(tmp_path / "other") as other:
        other.model.plans.append(Break("hang", after=1))
        settings = settings_for(tmp_path, other.line, other.line_url, other.model_url, server={"drain": 0.0})
        async with gateway_on(settings, SystemClock()) as (_, url, stop), client_at(url) as api:
            asking = asyncio.create_task(ask(api, "hello", once="1"))
            await other.model.hanging.wait()
            stop.set()
            with pytest.raises(openai.InternalServerError) as refusal:
                await asking
            assert refusal.value.status_code == 503
            assert is_error(refusal.value.response.json(), "unavailable")
        async with gateway_on(settings, SystemClock()) as (gateway, url, _), client_at(url) as api:
            assert text(await ask(api, "hello", once="1")) == "echo: hello"
            [entry] = await gateway.ledger.entries()
            assert entry.state == "done"
        assert len(other.model.requests) == 2


# ── leaving ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_leaves_without_a_way_to_come_back_stops_the_model(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with client(stack) as api:
        asking = asyncio.create_task(ask(api, "hello"))
        await stack.model.hanging.wait()
        asking.cancel()
        await stack.model.idle()
    [entry] = await stack.gateway.ledger.entries()
    assert stack.model.cancelled == 1
    assert entry.state == "withdrawn"


@pytest.mark.parametrize("way", [{"session": "a"}, {"once": "1"}])
async def test_who_leaves_and_can_come_back_finds_the_answer(stack: Stack, way: dict[str, str]) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with client(stack) as api:
        asking = asyncio.create_task(ask(api, "hello", **way))
        await stack.model.hanging.wait()
        asking.cancel()
        stack.model.release.set()
        await stack.model.idle()
        assert stack.model.cancelled == 0
        if "once" in way:
            assert text(await ask(api, "hello", once="1")) == "echo: hello"
            assert len(stack.model.requests) == 1
        else:
            await ask(api, "again", session="a")
            assert prompt(stack) == ["hello", "echo: hello", "again"]


# ── endings ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_the_finish_reason_is_the_models_and_the_text_is_nothing_but_its_own(stack: Stack, finish: str) -> None:
    stack.model.plans += [ending(finish, "half a")] * 2
    async with client(stack) as api:
        answer, chunks = await ask(api, "hello"), await stream(api, "hello")
    assert answer.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == finish
    assert text(answer) == streamed(chunks) == "half a"


async def test_an_answer_that_was_withheld_whole_is_explained_the_same_way_streamed_or_not(stack: Stack) -> None:
    stack.model.plans += [ending("content_filter", "")] * 2
    async with client(stack) as api:
        answer, chunks = await ask(api, "hello"), await stream(api, "hello")
    assert answer.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "content_filter"
    assert text(answer) == streamed(chunks) != ""


async def test_a_provider_that_fails_is_a_502_in_kind_words(stack: Stack) -> None:
    stack.model.plans.append(Refuse(400, {"message": "secret detail", "code": "secret_code"}))
    async with client(stack) as api:
        with pytest.raises(openai.InternalServerError) as refusal:
            await ask(api, "hello")
    assert refusal.value.status_code == 502
    assert is_error(refusal.value.response.json(), "model_failed")
    assert "secret" not in refusal.value.response.text


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nobody_gets_in_without_a_key(stack: Stack) -> None:
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
        status, body, told = await post(stack, question(), {"Accept": "*/*", **given})
        assert status == 401
        assert is_error(body, "invalid_api_key")
        assert told["www-authenticate"] == "Bearer"
    async with client(stack, key="wrong") as api:
        with pytest.raises(openai.AuthenticationError):
            await ask(api, "hello")
        with pytest.raises(openai.AuthenticationError):
            await api.models.list()
    assert stack.model.requests == []


async def test_an_unknown_model_is_not_found_and_the_known_ones_are_told(stack: Stack) -> None:
    async with client(stack) as api:
        with pytest.raises(openai.NotFoundError, match="known: default"):
            await api.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "hello"}])


async def test_an_unknown_address_is_refused_in_the_same_form(stack: Stack) -> None:
    async with client(stack) as api:
        with pytest.raises(openai.NotFoundError, match="/v1/chat/completions"):
            await api.embeddings.create(model="default", input="hello")
    async with aiohttp.ClientSession() as http, http.get(f"{stack.url}/v1/chat/completions") as answer:
        assert answer.status == 404
        assert is_error(await answer.json(), "unknown_url")


NO_JSON = [
    b"",
    b"{",
    b"\xff",
    b'{"x": ' + b"[" * 100_000,
    question(r"\ud83d"),
    question(r"\udc00 x"),
    question("a").replace(b'"a"', b'"\xed\xa0\x80"'),
]


async def test_what_is_no_json_is_a_bad_request(stack: Stack) -> None:
    for body in NO_JSON:
        status, told, _ = await post(stack, body)
        assert status == 400, body[:50]
        assert is_error(told, "invalid_json")
    async with client(stack) as api:
        with pytest.raises(openai.BadRequestError):
            await api.post("/chat/completions", content=b"{", cast_to=object)


SAID = [{"role": "user", "content": "x"}]
MEANINGLESS: list[dict[str, Any]] = [
    {},
    {"messages": []},
    {"messages": "hello"},
    {"messages": [{"role": "user", "content": 1}]},
    {"messages": [{"role": "tool", "content": "x"}]},
    {"messages": [{"role": "assistant", "content": "x"}]},
    {"messages": [{"role": "user", "content": " "}]},
    {"messages": [{"role": "user"}]},
    {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
    {"messages": SAID, "n": 2},
    {"messages": SAID, "temperature": 3},
    {"messages": SAID, "max_tokens": 0},
    {"messages": SAID, "max_tokens": 10**30},
    {"messages": SAID, "stream": "yes"},
    {"messages": SAID, "session_id": "a\x00"},
    {"messages": SAID, "session_id": "a\n"},
    {"messages": SAID, "session_id": "a" * 201},
]


async def test_what_cannot_be_meant_is_told_in_words(stack: Stack) -> None:
    async with client(stack) as api:
        for body in MEANINGLESS:
            with pytest.raises(openai.UnprocessableEntityError) as refusal:
                await api.post("/chat/completions", body=body, cast_to=object)
            assert is_error(refusal.value.response.json(), "invalid_value")
    assert stack.model.requests == []


async def test_an_idempotency_key_is_short_and_plain(stack: Stack) -> None:
    for key in ("k" * 201, "k\u00e9y"):
        status, body, _ = await post(stack, question(), HEADERS | {"Idempotency-Key": key})
        assert status == 422
        assert is_error(body, "invalid_value")


async def test_odd_characters_go_there_and_back_unharmed(stack: Stack) -> None:
    stack.model.reply = lambda asked: asked
    async with client(stack) as api:
        for words in ("a\x00b", "\u202e\ufffe\U0010ffff", "👩‍👩‍👧‍👦", "e\u0301"):
            assert text(await ask(api, words, session=words.replace("\0", ""))) == words
            await ask(api, "next", session=words.replace("\0", ""))
            assert prompt(stack) == [words, words, "next"]


async def test_a_large_body_is_refused_whether_its_length_was_told_or_not(stack: Stack) -> None:
    limit = stack.gateway.settings.api_limit

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(limit // 1000 + 1):
            yield b"x" * 1000

    for body in (io.BytesIO(b"x" * (limit + 1)), chunks()):
        status, told, _ = await post(stack, body)
        assert status == 413
        assert is_error(told, "body_too_large")
        assert "`[api] body_limit`" in told["error"]["message"]
    async with client(stack) as api:
        with pytest.raises(openai.APIStatusError) as refusal:
            await ask(api, "x" * limit)
    assert refusal.value.status_code == 413


async def test_a_caller_who_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    clock = ManualClock()
    keys = (SecretStr(KEY), SecretStr("other"))
    async with running(tmp_path, clock=clock, api={"rate": 2, "keys": keys}) as stack, client(stack) as api:
        for _ in range(2):
            await ask(api, "hello")
            clock.advance(10)
        with pytest.raises(openai.RateLimitError) as refusal:
            await ask(api, "hello")
        assert is_error(refusal.value.response.json(), "rate_limit_exceeded")
        assert refusal.value.response.headers["retry-after"] == "10"
        async with client(stack, key="other") as other:
            await ask(other, "hello")
        clock.advance(10)
        await ask(api, "hello")


async def test_while_draining_nothing_more_is_taken_and_what_runs_is_answered(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with client(stack) as api, client(stack) as late:
        asking = asyncio.create_task(ask(api, "hello"))
        await stack.model.hanging.wait()
        stack.stop.set()
        await draining(stack)
        with pytest.raises(openai.InternalServerError) as refusal:
            await ask(late, "too late")
        assert refusal.value.status_code == 503
        assert is_error(refusal.value.response.json(), "unavailable")
        assert refusal.value.response.headers["retry-after"] == "5"
        stack.model.release.set()
        assert text(await asking) == "echo: hello"
    assert len(stack.model.requests) == 1
