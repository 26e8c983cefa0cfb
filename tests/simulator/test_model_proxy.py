"""The proxy in fair weather: all passes, and is shown."""

from __future__ import annotations

import json

import aiohttp
import pytest

from chatferry.simulator.model import Break, Odd, Pause, Raw, Refuse, split
from chatferry.simulator.model import events as written
from tests.simulator.model_world import GEMINI, KEY, OPENAI, events, world


@pytest.mark.parametrize(("path", "wire"), [(OPENAI, "openai"), (GEMINI, "gemini")])
@pytest.mark.parametrize("crlf", [False, True])
async def test_a_stream_passes_byte_for_byte(path: str, wire: str, crlf: bool) -> None:
    async with world() as its:
        its.sim.plans.append(Odd(crlf=crlf, comments=True))
        async with its.ask(path) as answer:
            body = await answer.read()
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
        head, middle, tail = written(wire, tuple(split("echo: hello")), Odd(crlf=crlf, comments=True))
        assert body == head + b"".join(middle) + tail
        assert (await its.exchange())["answer"] == "echo: hello"


@pytest.mark.parametrize("path", [OPENAI, GEMINI])
async def test_what_has_come_is_passed_on_before_the_rest_is_there(path: str) -> None:
    async with world(tokens=3) as its:
        its.sim.plans.append(Pause(before=(1,)))
        async with its.ask(path) as answer:
            assert await events(answer, 2) == 2
            assert its.sim.connections == 1
            assert (await its.exchange(ended=False))["answer"] == ""
            its.sim.release.set()
            await events(answer)
        assert (await its.exchange())["answer"] == "tok " * 3


async def test_lines_cut_anywhere_and_without_an_end_pass_too() -> None:
    writes = [b"dat", b'a: {"choices":[{"delta":{"content":"a"}}]}\r', b"\n\r\n", b"data: no JSON\n\n", b"data: []"]
    async with world() as its:
        its.sim.plans.append(Raw(writes))
        async with its.ask() as answer:
            assert await answer.read() == b"".join(writes)
        assert (await its.exchange())["answer"] == "ano JSON"


async def test_one_body_passes_as_it_is() -> None:
    async with world() as its:
        async with its.ask(stream=False) as answer:
            body = await answer.json()
        assert body["choices"][0]["message"]["content"] == "echo: hello"
        assert json.loads((await its.exchange())["answer"]) == body


async def test_the_upstream_gets_what_the_gateway_sent() -> None:
    async with world() as its:
        headers = {"x-goog-api-key": KEY, "User-Agent": "ferry/1", "Accept": "text/event-stream"}
        async with its.ask(GEMINI, headers=headers) as answer:
            await answer.read()
        asked = its.sim.requests[0]
        assert (asked.path, asked.query) == ("/v1beta/models/gemini-x:streamGenerateContent", "alt=sse")
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.headers["x-goog-api-key"] == KEY
        assert asked.headers["user-agent"] == "ferry/1"
        assert asked.headers["accept"] == "text/event-stream"
        assert asked.headers["content-type"] == "application/json"
        assert asked.headers["accept-encoding"] == "identity"
        assert asked.headers["host"] not in its.url
        assert asked.body["contents"][0]["parts"] == [{"text": "hello"}]


async def test_other_methods_and_names_with_slashes_pass() -> None:
    async with world() as its, its.http.get(f"{its.url}/a/b/models") as answer:
        assert (await answer.json())["data"] == [{"id": "simulated", "object": "model"}]


async def test_a_refusal_of_the_provider_passes_with_its_headers() -> None:
    async with world() as its:
        its.sim.plans.append(Refuse(429, {"message": "slow down"}, {"Retry-After": "7", "x-request-id": "r1"}))
        async with its.ask() as answer:
            assert (answer.status, await answer.json()) == (429, {"error": {"message": "slow down"}})
            assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("7", "r1")
        fact = await its.exchange()
        assert (fact["status"], fact["reason"]) == (429, "")


async def test_an_exchange_says_what_was_asked_of_which_model() -> None:
    async with world() as its:
        async with its.ask() as answer:
            await answer.read()
        fact = await its.exchange()
        assert (fact["platform"], fact["way"], fact["method"], fact["chat"]) == ("model", "call", "POST", "")
        assert (fact["path"], fact["note"], fact["status"]) == ("/v1/chat/completions", "some-model", 200)
        assert json.loads(fact["request"])["messages"] == [{"role": "user", "content": "hello"}]
        async with its.ask(GEMINI) as answer:
            await answer.read()
        assert (await its.exchange())["note"] == "gemini-x"


async def test_no_fact_has_a_key_in_it() -> None:
    async with world(reply=lambda _: f"your key is {KEY}") as its:
        async with its.ask(f"{GEMINI}&key={KEY}", headers={"x-goog-api-key": KEY}) as answer:
            assert KEY in await answer.text()
        fact = await its.exchange()
        assert KEY not in json.dumps(its.scene.all())
        assert fact["headers"] == {"authorization": "Bearer sk-s…", "x-goog-api-key": "sk-s…"}
        assert fact["answer"] == "your key is sk-s…"


async def test_a_long_answer_is_shown_up_to_a_cap() -> None:
    async with world(reply=lambda _: "word " * 20_000) as its:
        async with its.ask(stream=False) as answer:
            assert len((await answer.json())["choices"][0]["message"]["content"]) == 100_000
        assert len((await its.exchange())["answer"]) < 10_000


async def test_an_unknown_name_is_not_found() -> None:
    async with world() as its:
        async with its.http.post(f"{its.url}/what/chat/completions", data=b"{}") as answer:
            assert answer.status == 404
            assert "no such upstream; there are: a/b, gem, gpt, none" in (await answer.json())["error"]["message"]
        assert (await its.exchange())["status"] == 404


async def test_an_upstream_that_refuses_the_connection_is_a_bad_gateway() -> None:
    told = "The model provider at 127.0.0.1:9 cannot be reached: the connection is refused."
    async with world() as its:
        async with its.ask("/none/chat/completions") as answer:
            assert (answer.status, (await answer.json())["error"]["message"]) == (502, told)
        fact = await its.exchange()
        assert (fact["status"], fact["reason"]) == (502, told)
        async with its.ask("/none/models/x:generateContent") as answer:
            assert (await answer.json())["error"] == {"code": 502, "message": told, "status": "UNAVAILABLE"}


async def test_an_upstream_that_breaks_off_breaks_off_here() -> None:
    async with world(tokens=5) as its:
        its.sim.plans.append(Break("cut", after=2))
        async with its.ask() as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        fact = await its.exchange()
        assert "broke off" in fact["reason"]
        assert fact["answer"] == "tok tok "


async def test_when_the_gateway_hangs_up_the_upstream_is_let_go() -> None:
    async with world(tokens=9) as its:
        its.sim.plans.append(Break("hang", after=3))
        async with its.ask() as answer:
            await events(answer, 4)
            answer.close()
        await its.sim.idle()
        fact = await its.exchange()
        assert its.sim.cancelled == 1
        assert (fact["status"], fact["reason"], fact["answer"]) == (200, "cancelled by the gateway", "tok tok tok ")
        assert its.proxy.underway == 0
