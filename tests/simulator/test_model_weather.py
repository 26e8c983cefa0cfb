"""The proxy in bad weather, real sockets all the way."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest

from chatferry.simulator.model import Pause
from chatferry.simulator.model_weather import CUT_AFTER
from tests.simulator.model_world import GEMINI, OPENAI, World, events, world


async def read(its: World, path: str = OPENAI, *, stream: bool = True) -> bytes:
    async with its.ask(path, stream=stream) as answer:
        body: bytes = await answer.read()
        return body


async def test_a_refusal_is_the_providers_own() -> None:
    async with world() as its:
        its.proxy.weather.change(fault="429")
        async with its.ask() as answer:
            assert (answer.status, answer.headers["retry-after"]) == (429, "2")
            error = (await answer.json())["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == "rate_limit_exceeded"
        async with its.ask(GEMINI) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (429, "2")
            error = (await answer.json())["error"]
        assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
        its.proxy.weather.change(fault="500")
        async with its.ask() as answer:
            assert (answer.status, (await answer.json())["error"]["type"]) == (500, "server_error")
        async with its.ask(GEMINI) as answer:
            assert (answer.status, (await answer.json())["error"]["status"]) == (500, "INTERNAL")
        assert (await its.exchange())["reason"] == "refused by the weather"
        assert its.sim.requests == []


@pytest.mark.parametrize("path", [OPENAI, GEMINI])
async def test_a_stream_is_cut_in_the_middle(path: str) -> None:
    async with world(tokens=30) as its:
        its.proxy.weather.change(fault="cut")
        async with its.ask(path) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await events(answer)
        await its.sim.idle()
        fact = await its.exchange()
        assert (fact["status"], fact["reason"]) == (200, f"cut by the weather after {CUT_AFTER} events")
        # The first event has no text yet.
        assert fact["answer"] == "tok " * (CUT_AFTER - 1)


@pytest.mark.parametrize("path", [OPENAI, GEMINI])
async def test_a_short_stream_is_cut_before_it_says_that_it_ends(path: str) -> None:
    async with world(tokens=2) as its:
        its.proxy.weather.change(fault="cut")
        async with its.ask(path) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        assert (await its.exchange())["reason"] == "cut by the weather after 3 events"


async def test_an_answer_in_one_body_is_cut_too() -> None:
    async with world() as its:
        its.proxy.weather.change(fault="cut")
        async with its.ask(stream=False) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        fact = await its.exchange()
        assert fact["reason"] == "cut by the weather"
        assert fact["answer"].startswith('{"model"')


async def test_an_answer_under_way_is_cut_when_the_weather_changes() -> None:
    async with world(tokens=20) as its:
        its.sim.plans.append(Pause(before=(15,)))
        async with its.ask() as answer:
            assert await events(answer, 16) == 16
            its.proxy.weather.change(fault="cut")
            its.sim.release.set()
            with pytest.raises(aiohttp.ClientPayloadError):
                await events(answer)
        assert (await its.exchange())["reason"] == "cut by the weather after 16 events"


async def test_nothing_comes_while_it_hangs() -> None:
    async with world() as its, asyncio.TaskGroup() as group:
        its.proxy.weather.change(fault="hang")
        asked = group.create_task(read(its))
        assert (await its.exchange(ended=False))["status"] == 0
        its.proxy.weather.change(rate=900)
        assert its.sim.requests == []
        its.proxy.weather.change(fault="")
        assert b"[DONE]" in await asked


async def test_what_hangs_is_refused_when_that_is_the_weather_next() -> None:
    async with world() as its, asyncio.TaskGroup() as group:
        its.proxy.weather.change(fault="hang")
        asked = group.create_task(read(its))
        await its.exchange(ended=False)
        its.proxy.weather.change(fault="429")
        assert b"rate_limit_exceeded" in await asked


async def test_a_stream_under_way_hangs_too() -> None:
    async with world(tokens=9) as its:
        its.sim.plans.append(Pause(before=(3,)))
        async with its.ask() as answer:
            await events(answer, 4)
            its.proxy.weather.change(fault="hang")
            its.sim.release.set()
            await its.sim.idle()  # all of it is at the proxy, or on the way there
            assert (await its.exchange(ended=False))["status"] == 0
            its.proxy.weather.change(fault="")
            await events(answer)
        assert (await its.exchange())["answer"] == "tok " * 9


async def test_a_gateway_that_hangs_up_while_it_waits_never_asks_the_upstream() -> None:
    async with world() as its:
        its.proxy.weather.change(fault="hang")
        asked = asyncio.ensure_future(read(its))
        await its.exchange(ended=False)
        asked.cancel()
        fact = await its.exchange()
        assert (fact["status"], fact["reason"]) == (0, "cancelled by the gateway")
        assert its.sim.requests == []


async def test_a_slow_model_keeps_one_waiting() -> None:
    async with world() as its:
        its.proxy.weather.change(first=0.05)
        began = time.monotonic()
        await read(its)
        assert time.monotonic() - began >= 0.05


async def test_a_slow_wait_ends_when_the_weather_improves() -> None:
    async with world() as its, asyncio.TaskGroup() as group:
        its.proxy.weather.change(first=500)
        asked = group.create_task(read(its))
        await its.exchange(ended=False)
        its.proxy.weather.change(first=0)
        assert b"[DONE]" in await asked


@pytest.mark.parametrize("path", [OPENAI, GEMINI])
async def test_no_more_events_come_than_the_rate_allows(path: str) -> None:
    async with world(tokens=20) as its:
        its.proxy.weather.change(rate=200)
        began = time.monotonic()
        async with its.ask(path) as answer:
            count = await events(answer)
        assert time.monotonic() - began >= (count - 1) / 200
        assert (await its.exchange())["answer"] == "tok " * 20


async def test_a_new_rate_holds_at_once() -> None:
    async with world(tokens=20) as its:
        its.proxy.weather.change(rate=0.01)
        async with its.ask() as answer:
            assert await events(answer, 1) == 1
            its.proxy.weather.change(rate=0)
            assert await events(answer) == 22 + 1


async def test_the_weather_is_a_fact_and_changes_over_http() -> None:
    async with world() as its:
        assert its.scene.get("weather", "model") == {
            "kind": "weather", "id": "model", "platform": "model", "first": 0.0, "rate": 0.0, "fault": "",
        }  # fmt: skip
        async with its.http.post(f"{its.url}/_sim/weather", json={"first": 2, "fault": "hang"}) as answer:
            assert await answer.json() == {"first": 2.0, "rate": 0.0, "fault": "hang"}
        fact = its.scene.get("weather", "model")
        assert fact is not None
        assert (fact["first"], fact["fault"]) == (2.0, "hang")
        async with its.http.get(f"{its.url}/_sim/state") as answer:
            assert await answer.json() == {"upstreams": ["a/b", "gem", "gpt", "none"], "underway": 0}
        async with its.http.get(f"{its.url}/_sim/scene") as answer:
            assert await answer.json() == its.scene.all()


@pytest.mark.parametrize(
    "wrong", [{"fault": "snow"}, {"first": -1}, {"first": float("nan")}, {"rate": 1e9}, {"rate": "x"}, {"api": "429"}]
)
async def test_there_is_no_other_weather(wrong: dict[str, object]) -> None:
    async with world() as its:
        headers = {"Content-Type": "application/json"}
        async with its.http.post(f"{its.url}/_sim/weather", data=json.dumps(wrong), headers=headers) as answer:
            assert answer.status == 400
        assert its.proxy.weather.fault == ""
