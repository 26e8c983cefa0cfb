"""The simulated WeChat's API: tokens, customer-service messages, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from chatferry.simulator.wechat_records import Fault
from tests.simulator.wechat_world import MEDIA, SEND, STABLE, TOKEN, World, reply, small_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with small_world() as world:
        yield world


# Tokens.


async def test_a_stable_token_stays_the_same_until_five_minutes_before_its_end(world: World) -> None:
    await world.sim.say("ann", "hi")
    first = await world.stable()
    assert first["expires_in"] == 7200
    world.clock.advance(6899)
    assert await world.stable() == first | {"expires_in": 301}
    world.clock.advance(1)
    second = await world.stable()
    assert (second["access_token"] != first["access_token"], second["expires_in"]) == (True, 7200)
    world.clock.advance(299)
    assert await world.send("x", first["access_token"]) == 0
    world.clock.advance(1)
    assert await world.send("x", first["access_token"]) == 42001
    assert await world.send("x", second["access_token"]) == 0


async def test_force_ends_the_token_before_and_is_limited(world: World) -> None:
    await world.sim.say("ann", "hi")
    first = await world.token()
    assert (await world.stable(force_refresh=True))["access_token"] != first
    assert await world.send("x", first) == 40001
    assert (await world.stable(force_refresh=True))["errcode"] == 45011
    for _ in range(19):
        world.clock.advance(30)
        assert "access_token" in await world.stable(force_refresh=True)
    world.clock.advance(30)
    assert (await world.stable(force_refresh=True))["errcode"] == 45009


async def test_the_plain_token_is_another_and_each_new_one_ends_the_last(world: World) -> None:
    await world.sim.say("ann", "hi")
    stable, first = await world.token(), await world.plain()
    second = await world.plain()
    codes = [await world.send("x", token) for token in (stable, first["access_token"], second["access_token"])]
    assert codes == [0, 40001, 0]
    world.sim.tokens.revoke()
    assert await world.send("x", stable) == 40001
    assert (await world.post(SEND, {}))["errcode"] == 41001


async def test_tokens_are_for_who_knows_the_secret_at_an_address_on_the_list(world: World) -> None:
    for get in (world.plain, world.stable):
        assert (await get(appid="wx1"))["errcode"] == 40013
        assert (await get(secret="guess"))["errcode"] == 40125
        assert (await get(grant_type="other"))["errcode"] == 40002
    world.sim.whitelist = {"192.0.2.1"}
    refused = await world.stable()
    assert refused["errcode"] == 40164
    assert refused["errmsg"].startswith("invalid ip 127.0.0.1 ")
    world.sim.whitelist.add("127.0.0.1")
    assert "access_token" in await world.stable()


# Customer-service messages.


async def test_five_messages_may_follow_what_a_person_wrote(world: World) -> None:
    assert await world.send("x") == 45015
    await world.sim.say("ann", "hi")
    assert [await world.send(str(number)) for number in range(6)] == [0] * 5 + [45047]
    assert world.screen() == [("custom", str(number)) for number in range(5)]
    await world.sim.say("ann", "again")
    assert world.sim.allowance("ann") == 5
    world.clock.advance(48 * 3600)
    assert await world.send("x") == 45015


async def test_three_more_follow_a_click_within_a_minute(world: World) -> None:
    await world.sim.say("ann", "hi")
    await world.sim.click("ann", "NEW")
    assert world.sim.allowance("ann") == 8
    assert await world.send("x") == 0
    world.clock.advance(60)
    assert world.sim.allowance("ann") == 5


async def test_who_has_left_gets_nothing(world: World) -> None:
    await world.sim.say("ann", "hi")
    world.bot.answers = [reply("bye")]
    await world.sim.unsubscribe("ann")
    assert (await world.send("x"), world.screen()) == (45015, [])


@pytest.mark.parametrize(
    ("wrong", "errcode"),
    [
        ({"touser": "ann"}, 40003),
        ({"msgtype": "poem"}, 40008),
        ({"text": "x"}, 47001),
        ({"text": {"content": ""}}, 44004),
        ({"text": {"content": "字" * 683}}, 45002),
    ],
)
async def test_a_faulty_message_is_refused_and_costs_nothing(world: World, wrong: dict[str, Any], errcode: int) -> None:
    await world.sim.say("ann", "hi")
    assert await world.send("x", **wrong) == errcode
    assert world.sim.allowance("ann") == 5


async def test_an_unverified_account_may_only_answer(world: World) -> None:
    world.sim.verified, world.bot.answers = False, [reply("here")]
    delivery = await world.sim.image("ann")
    assert (await world.send("x"), await world.type()) == (48001, 48001)
    media = await world.get(MEDIA, access_token=await world.token(), media_id=str(delivery.fields["MediaId"]))
    assert media["errcode"] == 48001
    assert world.screen() == [("passive", "here")]


async def test_typing_shows_for_fifteen_seconds_or_until_a_message(world: World) -> None:
    assert await world.type() == 45080
    await world.sim.say("ann", "hi")
    assert (await world.type(), await world.type(), await world.type("Dance")) == (0, 45081, 45072)
    assert world.sim.typing("ann")
    world.clock.advance(15)
    assert not world.sim.typing("ann")
    assert (await world.type(), await world.send("x"), world.sim.typing("ann")) == (0, 0, False)
    assert (await world.type(), await world.type("CancelTyping"), world.sim.typing("ann")) == (0, 0, False)
    world.clock.advance(16)
    assert await world.type() == 45080


async def test_what_people_send_can_be_fetched(world: World) -> None:
    delivery = await world.sim.voice("ann", b"#!AMR\nsound")
    query = {"access_token": await world.token(), "media_id": str(delivery.fields["MediaId"])}
    async with world.http.get(world.url + MEDIA, params=query) as answer:
        assert await answer.read() == b"#!AMR\nsound"
    assert (await world.get(MEDIA, access_token=query["access_token"], media_id="x"))["errcode"] == 40007


async def test_wrong_paths_methods_and_bodies_are_refused(world: World) -> None:
    assert (await world.get("/cgi-bin/other"))["errcode"] == 40066
    assert (await world.get(SEND))["errcode"] == 43002
    assert (await world.post(TOKEN, {}))["errcode"] == 43001
    assert (await world.post(STABLE, []))["errcode"] == 47001


async def test_faults_happen_once_each_and_only_where_they_were_planned(world: World) -> None:
    await world.sim.say("ann", "hi")
    gate, token = asyncio.Event(), await world.token()
    world.sim.fail(SEND, Fault(errcode=-1), Fault(drop=True, done=True), Fault(gate=gate))
    assert await world.send("one", token) == -1
    with pytest.raises(aiohttp.ClientError):
        await world.send("two", token)
    waiting = asyncio.ensure_future(world.send("three", token))
    assert await world.type() == 0
    assert not waiting.done()
    gate.set()
    assert await waiting == 0
    assert [text for _, text in world.screen()] == ["two", "three"]
    sent = [call for call in world.sim.calls if call.path == SEND]
    assert [(call.status, call.json["text"]["content"]) for call in sent] == [(200, "one"), (0, "two"), (200, "three")]
    assert (sent[0].errcode, sent[-1].errcode) == (-1, 0)
