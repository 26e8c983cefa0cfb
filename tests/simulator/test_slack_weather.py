"""What goes wrong on the simulated Slack as long as it does: with the API, and with what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from chatferry.simulator.slack_records import Fault
from tests.simulator.slack_world import Json, World, opened


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


def exchanges(world: World) -> list[Json]:
    return [fact for fact in world.sim.scene.all() if fact["kind"] == "exchange"]


async def test_calls_are_limited_as_slack_limits_them(world: World) -> None:
    world.sim.weather.change(api="429")
    told = await world.call("chat.postMessage", channel=world.general, text="x")
    assert told == {"ok": False, "error": "ratelimited"}
    assert world.headers["Retry-After"] == "1"
    [shown] = exchanges(world)
    assert (shown["status"], shown["reason"], shown["headers"]["retry-after"]) == (429, "ratelimited", "1")
    assert world.sim.screen("general") == []
    world.sim.weather.change(api="")
    assert await world.error("chat.postMessage", channel=world.general, text="x") == ""


async def test_calls_fail_with_slacks_own_error(world: World) -> None:
    world.sim.weather.change(api="500")
    told = await world.call("chat.postMessage", channel=world.general, text="x", answered=500)
    assert told["error"] == "internal_error"
    assert world.sim.screen("general") == []


async def test_what_is_planned_comes_before_the_weather(world: World) -> None:
    world.sim.weather.change(api="429")
    world.sim.faults("auth.test", Fault(error="fatal_error"))
    assert await world.error("auth.test") == "fatal_error"
    assert await world.error("auth.test") == "ratelimited"


async def test_calls_get_no_answer_until_the_weather_changes(world: World) -> None:
    world.sim.weather.change(api="timeout")
    calling = asyncio.ensure_future(world.call("chat.postMessage", channel=world.general, text="x"))
    await world.sim.until(lambda: world.sim.calls)
    assert exchanges(world)[0]["seconds"] is None
    world.sim.weather.change(api="")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await calling
    assert (exchanges(world)[0]["status"], exchanges(world)[0]["reason"]) == (0, "unanswered")
    assert world.sim.screen("general") == []


async def test_who_waits_no_longer_is_not_kept(world: World) -> None:
    world.sim.weather.change(api="timeout")
    calling = asyncio.ensure_future(world.call("auth.test"))
    await world.sim.until(lambda: world.sim.calls)
    calling.cancel()
    await world.seen(lambda: exchanges(world)[0]["seconds"] is not None)
    assert exchanges(world)[0]["reason"] == "unanswered"


async def test_calls_are_carried_out_and_their_answers_lost(world: World) -> None:
    world.sim.weather.change(api="lost")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await world.call("chat.postMessage", channel=world.general, text="x")
    assert [post.text for post in world.sim.screen("general")] == ["x"]
    [shown] = exchanges(world)
    assert (shown["status"], shown["reason"]) == (0, "lost")


@pytest.mark.parametrize(("api", "status", "shown"), [("429", 429, 0), ("500", 500, 0), ("lost", 0, 1)])
async def test_the_weather_is_that_of_response_urls_too(world: World, api: str, status: int, shown: int) -> None:
    await world.sim.command("ann", "/ask")
    url, body = world.bot.got[0]["response_url"], {"text": "late"}
    world.sim.weather.change(api=api)
    try:
        async with world.http.post(url, json=body) as answer:
            assert answer.status == status
    except aiohttp.ServerDisconnectedError:
        assert status == 0
    assert len(world.sim.ephemeral("ann")) == shown
    world.sim.weather.change(api="")
    for bad in (b"{", b"[]"):
        async with world.http.post(url, data=bad) as answer:
            assert (answer.status, (await answer.json())["error"]) == (400, "invalid_payload")


async def test_a_response_url_can_go_unanswered(world: World) -> None:
    await world.sim.command("ann", "/ask")
    world.sim.faults("response", Fault(lose=True))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await world.http.post(world.bot.got[0]["response_url"], json={"text": "late"})
    assert world.sim.ephemeral("ann") == []


async def test_events_come_twice_at_once(world: World) -> None:
    world.sim.weather.change(duplicate=True)
    world.bot.barrier = asyncio.Barrier(2)
    await world.sim.say("ann", "hi")
    world.bot.barrier = None
    first, second = world.bot.got
    assert first == second
    assert world.bot.retries == [("", ""), ("", "")]
    assert sorted(one["note"] for one in exchanges(world)) == ["", "duplicate"]
    [clock] = [fact for fact in world.sim.scene.all() if fact["kind"] == "clock"]
    assert [one["outcome"] for one in clock["tries"]] == ["answered", "answered"]
    await world.sim.command("ann", "/ask")
    assert len(world.bot.got) == 3


async def test_of_two_events_the_second_comes_first(world: World) -> None:
    world.sim.weather.change(disorder=True)
    said = [asyncio.ensure_future(world.sim.say("ann", text)) for text in ("one", "two")]
    await asyncio.gather(*said)
    assert [event["text"] for event in world.bot.events] == ["two", "one"]


async def test_of_the_two_events_of_a_mention_too(world: World) -> None:
    world.sim.weather.change(disorder=True)
    await world.sim.say("ann", "hi", channel="general", mention=True)
    assert [event["type"] for event in world.bot.events] == ["app_mention", "message"]


async def test_the_weather_is_told(world: World) -> None:
    changes: dict[str, Any] = {"api": "500", "duplicate": True}
    async with world.http.post(f"{world.sim.url}/_sim/weather", json=changes) as answer:
        assert await answer.json() == {"api": "500", "duplicate": True, "disorder": False}
    fact = world.sim.scene.get("weather", "slack")
    assert fact is not None
    assert (fact["platform"], fact["api"], fact["duplicate"]) == ("slack", "500", True)
    async with world.http.post(f"{world.sim.url}/_sim/weather", json={"api": "sunny"}) as answer:
        assert answer.status == 400
