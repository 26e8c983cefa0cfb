"""The simulated WeChat, steered by its control API from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.simulator.wechat_world import ANN, SEND, STABLE, World, facts, small_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with small_world() as world:
        yield world


async def test_people_act_by_the_control_api(world: World) -> None:
    acts: list[tuple[str, dict[str, Any]]] = [
        ("say", {"who": "ann", "words": "hi"}),
        ("image", {"who": "ann", "data": "iVBORw0="}),
        ("voice", {"who": "ann", "recognition": "你好"}),
        ("video", {"who": "ann", "kind": "shortvideo"}),
        ("location", {"who": "ann", "latitude": 25.03, "longitude": 121, "label": "台北"}),
        ("link", {"who": "ann", "title": "t", "url": "https://a.example/"}),
        ("subscribe", {"who": "ann", "scene": "7"}),
        ("click", {"who": "ann", "key": "NEW"}),
        ("scan", {"who": "ann", "scene": "7"}),
        ("unsubscribe", {"who": "ann"}),
    ]
    for act, given in acts:
        told = await world.post(f"/_sim/{act}", given)
        assert told["fields"]["FromUserName"] == ANN
        assert told["attempts"][0]["reason"] == ""
    kinds = [got["Event"] or got["MsgType"] for got in world.bot.got]
    assert kinds == [
        "text", "image", "voice", "shortvideo", "location", "link", "subscribe", "CLICK", "SCAN", "unsubscribe",
    ]  # fmt: skip
    picture = facts(world, "bubble")[1]["file"]
    async with world.http.get(f"{world.url}/_sim/file/{picture}") as answer:
        assert (answer.content_type, await answer.read()) == ("image/png", b"\x89PNG\r")


async def test_the_account_is_steered_by_the_control_api(world: World) -> None:
    await world.post("/_sim/say", {"who": "ann", "words": "hi"})
    token = await world.token()
    await world.post("/_sim/fail", {"path": SEND, "errcode": -1, "times": 2})
    assert [await world.send("x", token) for _ in range(3)] == [-1, -1, 0]
    assert [one["verified"] for one in facts(world, "account")] == [True]
    await world.post("/_sim/verified", {"on": False})
    assert [one["verified"] for one in facts(world, "account")] == [False]
    assert await world.send("x", token) == 48001
    await world.post("/_sim/revoke", {})
    assert await world.send("x", token) == 40001
    assert (await world.post("/_sim/weather", {"api": "500"}))["api"] == "500"
    assert (await world.post(STABLE, {}))["errcode"] == -1
    [weather] = facts(world, "weather")
    told = {"api": "500", "duplicate": False, "disorder": False, "used_up": False}
    assert weather == {"kind": "weather", "id": "wechat", "platform": "wechat"} | told
    await world.post("/_sim/check", {})
    assert facts(world, "exchange")[-1]["note"] == "check of the address"
    await world.post("/_sim/webhook", {"url": "http://127.0.0.1:9/"})
    state = await world.get("/_sim/state")
    assert (state["webhook"], state["verified"], state["mode"]) == ("http://127.0.0.1:9/", False, "plain")
    assert (state["subscribed"], state["messages_left"]) == ([ANN], {ANN: 4})
    assert [one["text"] for one in state["chats"][ANN]] == ["x"]
    assert [one["errcode"] for one in state["calls"] if one["path"] == SEND] == [-1, -1, 0, 48001, 40001]
    assert (state["deliveries"][0]["attempts"][0]["status"], state["typing"]) == (200, [])
    async with world.http.get(f"{world.url}/_sim/scene") as answer:
        assert await answer.json() == json.loads(json.dumps(world.sim.scene.all()))


async def test_whoever_does_not_wait_is_told_at_once(world: World) -> None:
    world.bot.answers = [None]
    async with world.http.post(f"{world.url}/_sim/say?wait=no", json={"who": "ann", "words": "hi"}) as answer:
        assert answer.status == 202
    await world.bot.arrived.acquire()
    assert world.sim.deliveries[0].attempts == []


def test_a_plain_account_needs_nothing_that_encrypts() -> None:
    program = """
import sys
sys.modules["cryptography"] = None
from chatferry.simulator.wechat import WeChatSimulator
WeChatSimulator()
try:
    WeChatSimulator(mode="encrypted")
except ImportError as fault:
    print(fault)
"""
    told = subprocess.check_output([sys.executable, "-c", program], text=True)  # noqa: S603
    assert told == "to encrypt for WeChat, install 'chatferry[wechat]'\n"
