"""The control API of the simulated LINE: all that people do, from another process."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from chatferry.simulator.line_people import address
from tests.simulator.line_world import ANN, PUSH, World, opened, push, refusal, reply

GROUP = address("C", "friends")
DATA = base64.b64encode(b"\x89PNG...").decode()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as it:
        yield it


@pytest.mark.parametrize(
    ("act", "given", "kind", "shape"),
    [
        ("say", {"words": "hi"}, "message", "text"),
        ("say", {"words": "hi", "group": "friends", "mention_self": True}, "message", "text"),
        ("sticker", {}, "message", "sticker"),
        ("sticker", {"keywords": ["happy"], "group": "friends"}, "message", "sticker"),
        ("image", {"data": DATA}, "message", "image"),
        ("image", {"data": DATA, "group": "friends"}, "message", "image"),
        ("audio", {"data": DATA}, "message", "audio"),
        ("video", {"data": DATA}, "message", "video"),
        ("file", {"data": DATA, "name": "a.png"}, "message", "file"),
        ("tap", {"data": "d", "label": "Go"}, "postback", "action"),
        ("tap", {"data": "d", "label": "Go", "group": "friends"}, "postback", "action"),
        ("follow", {}, "follow", "action"),
        ("follow", {"unblocked": True}, "follow", "action"),
        ("unfollow", {}, "unfollow", "action"),
        ("join", {"group": "friends"}, "join", "action"),
    ],
)
async def test_each_act_is_delivered_and_shown(
    world: World, act: str, given: dict[str, Any], kind: str, shape: str
) -> None:
    status, delivery = await world.act(act, user="ann", **given)
    assert (status, delivery["status"], delivery["events"][0]["type"]) == (200, 200, kind)
    [event] = world.events()
    assert event.type == kind
    [bubble] = world.facts("bubble")
    assert (bubble["shape"], bubble["who"]) == (shape, "ann")
    assert bubble["chat"] == (GROUP if "group" in given else ANN)
    if "data" in given and act != "tap":
        assert world.sim.contents[bubble["file"]] == b"\x89PNG..."


async def test_a_message_is_unsent(world: World) -> None:
    _, delivery = await world.act("say", user="ann", words="oh no")
    status, _ = await world.act("unsend", user="ann", message_id=delivery["events"][0]["message"]["id"])
    assert status == 200
    assert [one["deleted"] for one in world.facts("bubble")] == [True]


async def test_the_webhook_the_quota_faults_and_the_weather_are_set(world: World) -> None:
    assert await world.act("quota", used=5, limit=5) == (200, {"used": 5, "limit": 5})
    await world.act("say", user="ann", words="hi")
    assert (await refusal(world.call("push_message", push())))[0] == 429
    assert await world.act("quota", used=0) == (200, {"used": 0, "limit": 5})
    await world.act("fail", path=PUSH, status=500, message="oops")
    assert await refusal(world.call("push_message", push())) == (500, '{"message":"oops"}')
    await world.call("push_message", push())
    assert await world.act("webhook", url="http://127.0.0.1:9/") == (200, {})
    assert world.sim.webhook == "http://127.0.0.1:9/"
    status, weather = await world.act("weather", late=5, redelivery=True)
    assert (status, weather["late"], weather["redelivery"], weather["api"]) == (200, 5.0, True, "")
    [shown] = world.facts("weather")
    assert (shown["id"], shown["late"], shown["expired"]) == ("line", 5.0, False)


@pytest.mark.parametrize(
    ("act", "given"),
    [
        ("say", {"user": "ann"}),
        ("say", {"user": "ann", "words": 5}),
        ("say", {"user": "ann", "words": "hi", "loud": True}),
        ("image", {"user": "ann", "data": "not Base64!"}),
        ("sticker", {"user": "ann", "keywords": "happy"}),
        ("tap", {"user": "ann"}),
        ("fail", {"status": 500}),
        ("quota", {"used": "all"}),
        ("quota", {"used": -1}),
        ("webhook", {}),
        ("weather", {"api": "418"}),
        ("weather", {"late": -5}),
        ("weather", {"snow": True}),
    ],
)
async def test_arguments_that_cannot_be_meant_are_refused(world: World, act: str, given: dict[str, Any]) -> None:
    status, told = await world.act(act, **given)
    assert (status, bool(told["error"])) == (400, True)
    assert (world.bot.got, world.sim.used, world.sim.quota) == ([], 0, 200)


async def test_unknown_acts_are_named_as_such(world: World) -> None:
    status, told = await world.act("dance", user="ann")
    assert status == 404
    assert "say" in told["error"]


async def test_nobody_has_to_wait_for_an_act(world: World) -> None:
    world.sim.weather.change(redelivery=True)
    world.sim.pauses, world.bot.status = (3600.0,), 500
    url = f"{world.url}/_sim/say?wait=no"
    async with aiohttp.ClientSession() as http, http.post(url, json={"user": "ann", "words": "hi"}) as answer:
        assert answer.status == 202


async def test_what_fails_at_once_is_told_all_the_same(world: World) -> None:
    url = f"{world.url}/_sim/quota?wait=no"
    async with aiohttp.ClientSession() as http, http.post(url, json={"used": -1}) as answer:
        assert (answer.status, "fewer" in (await answer.json())["error"]) == (400, True)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"late": 1e999}', b'{"late": NaN}', b'{"\\ud800": 1}'])
async def test_bodies_that_nobody_means(world: World, body: bytes) -> None:
    async with aiohttp.ClientSession() as http, http.post(f"{world.url}/_sim/weather", data=body) as answer:
        assert (answer.status, bool((await answer.json())["error"])) == (400, True)


async def test_the_state_is_what_it_was(world: World) -> None:
    _, delivery = await world.act("say", user="ann", words="hi")
    await world.call("reply_message", reply(delivery["events"][0]["replyToken"]))
    async with aiohttp.ClientSession() as http, http.get(f"{world.url}/_sim/state") as answer:
        state = await answer.json()
    [seen] = state["chats"][ANN]
    assert set(seen) == {"id", "message", "via", "at", "event"}
    assert state["calls"] == [{"path": "/v2/bot/message/reply", "status": 200, "at": world.now[0]}]
    assert state["used"] == 0
