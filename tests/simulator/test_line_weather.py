"""The weather of the simulated LINE, each kind by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from chatferry.simulator import line_rules as rules
from chatferry.simulator.line_records import Fault
from chatferry.simulator.serving import listening, serving
from tests.ports import free_port
from tests.simulator.line_world import ANN, PUSH, Bot, World, opened, push, refusal, reply


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as it:
        yield it


async def pushed(world: World) -> int:
    """Status of a push, without a client that tries again."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {world.sim.token}"}) as http,
        http.post(
            world.url + PUSH,
            json={"to": ANN, "messages": [{"type": "text", "text": "x"}]},
        ) as answer,
    ):
        return answer.status


@pytest.mark.parametrize(("trouble", "words"), [("429", rules.RATE_LIMIT), ("500", rules.INTERNAL)])
async def test_calls_are_refused_in_lines_words_until_the_weather_changes(
    world: World, trouble: str, words: str
) -> None:
    await world.token()
    world.sim.weather.change(api=trouble)
    for _ in range(2):
        status, body = await refusal(world.call("push_message", push()))
        assert (status, body) == (int(trouble), f'{{"message":"{words}"}}')
    world.sim.weather.change(api="")
    await world.call("push_message", push())
    assert len(world.sim.chats[ANN]) == 1


async def test_a_call_may_be_carried_out_and_its_answer_lost(world: World) -> None:
    await world.token()
    world.sim.weather.change(api="lost")
    with pytest.raises(aiohttp.ClientError):
        await pushed(world)
    assert len(world.sim.chats[ANN]) == 1


async def test_a_call_may_find_no_answer_and_nothing_done(world: World) -> None:
    await world.token()
    world.sim.weather.change(api="timeout")
    call = asyncio.ensure_future(pushed(world))
    await world.until("exchange", lambda exchange: exchange["way"] == "call")
    world.sim.weather.change(api="")
    with pytest.raises(aiohttp.ClientError):
        await call
    assert world.sim.chats[ANN] == []


async def test_a_call_that_its_caller_gave_up_is_over(world: World) -> None:
    await world.token()
    world.sim.weather.change(api="timeout")
    call = asyncio.ensure_future(pushed(world))
    await world.until("exchange", lambda exchange: exchange["way"] == "call")
    call.cancel()
    await world.until("exchange", lambda exchange: exchange["reason"] == "no answer")


async def test_a_webhook_may_come_twice_at_once(world: World) -> None:
    world.sim.weather.change(duplicate=True)
    await world.token()
    first, second = world.events()
    assert first.webhook_event_id == second.webhook_event_id
    assert [one["note"] for one in world.facts("exchange")] == ["", "copy 2"]
    assert len(world.facts("bubble")) == 1
    assert len(world.sim.deliveries) == 2


async def test_of_two_webhooks_the_second_may_come_first(world: World) -> None:
    world.sim.weather.change(disorder=True)
    first = asyncio.ensure_future(world.sim.say("ann", "first"))
    await world.until("bubble", lambda bubble: bubble["text"] == "first")
    await world.sim.say("ann", "second")
    await first
    assert [event.message.text for event in world.events()] == ["second", "first"]
    assert [one["text"] for one in world.facts("bubble")] == ["first", "second"]


async def test_what_got_no_2xx_comes_again_and_again_with_growing_pauses(world: World) -> None:
    assert list(rules.REDELIVERY_PAUSES) == sorted(rules.REDELIVERY_PAUSES)
    assert world.sim.pauses == rules.REDELIVERY_PAUSES
    world.sim.weather.change(redelivery=True)
    world.sim.pauses, world.bot.refusals = (0.0, 0.001, 0.002, 0.003), 3
    delivery = await world.sim.say("ann", "hi")
    assert (delivery.status, delivery.reason, delivery.redelivery) == (200, "", True)
    events = world.events()
    assert [event.delivery_context.is_redelivery for event in events] == [False, True, True, True]
    assert len({(event.webhook_event_id, event.timestamp, event.reply_token) for event in events}) == 1
    notes = [one["note"] for one in world.facts("exchange")]
    assert notes == ["", "redelivery 1", "redelivery 2", "redelivery 3"]


async def test_a_bot_that_was_away_gets_what_was_written_meanwhile(world: World) -> None:
    world.sim.weather.change(redelivery=True)
    world.sim.pauses = (0.01,) * 500
    bot, port = Bot(), free_port()
    world.sim.webhook = f"http://127.0.0.1:{port}"
    said = asyncio.ensure_future(world.sim.say("ann", "anybody?"))
    await world.until("exchange", lambda exchange: exchange["reason"] == "could_not_connect")
    async with serving(bot, sock=listening(port=port)):
        assert (await said).status == 200
    assert len(bot.got) == 1


async def test_nothing_comes_again_once_redelivery_is_off(world: World) -> None:
    world.bot.status = 500
    await world.token()
    assert len(world.bot.got) == 1
    world.sim.redelivery, world.sim.pauses = True, (0.0, 0.0)
    assert world.sim.weather.redelivery
    await world.token()
    assert len(world.bot.got) == 4
    world.sim.redelivery = False
    await world.token()
    assert len(world.bot.got) == 5


async def test_a_late_webhook_is_a_redelivered_one_with_an_old_token(world: World) -> None:
    world.sim.weather.change(late=40)
    token = await world.token()
    [event] = world.events()
    assert event.delivery_context.is_redelivery
    assert event.timestamp == (world.now[0] - 40) * 1000
    [clock] = world.facts("clock")
    assert (clock["began"], clock["until"]) == (world.now[0] - 40, world.now[0] + 20)
    assert world.facts("exchange")[0]["note"] == "40 s late"
    world.now[0] += 19
    await world.call("reply_message", reply(token))
    world.sim.weather.change(late=61)
    assert await refusal(world.call("reply_message", reply(await world.token()))) == (
        400,
        '{"message":"Invalid reply token"}',
    )
    assert [clock["done"] for clock in world.facts("clock")] == ["used", "expired"]


async def test_reply_tokens_may_be_dead_on_arrival(world: World) -> None:
    world.sim.weather.change(expired=True)
    token = await world.token()
    assert [clock["done"] for clock in world.facts("clock")] == ["expired"]
    assert (await refusal(world.call("reply_message", reply(token))))[0] == 400
    await world.call("push_message", push())
    world.sim.weather.change(expired=False)
    await world.call("reply_message", reply(await world.token()))


async def test_a_fault_that_was_planned_goes_before_the_weather(world: World) -> None:
    await world.token()
    world.sim.weather.change(api="429")
    world.sim.fail(PUSH, Fault(status=503))
    assert [await pushed(world), await pushed(world)] == [503, 429]


async def test_weather_that_there_is_not_is_refused(world: World) -> None:
    for wrong in ({"late": -1}, {"late": "soon"}, {"expired": "no"}, {"snow": True}):
        with pytest.raises(ValueError, match=r".+"):
            world.sim.weather.change(**wrong)
    assert world.sim.weather == type(world.sim.weather)()
