"""The simulated LINE, judged by LINE's own Python client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from linebot.v3 import messaging  # type: ignore[import-untyped]  # LINE's SDK has no types
from linebot.v3.webhook import WebhookParser  # type: ignore[import-untyped]  # LINE's SDK has no types
from linebot.v3.webhooks import MessageEvent  # type: ignore[import-untyped]  # LINE's SDK has no types

from chatferry.simulator.line import BOT, LineSimulator
from chatferry.simulator.line_people import address
from chatferry.simulator.line_records import Fault
from tests.simulator.line_world import ANN, PUSH, REPLY, World, buttons, opened, push, refusal, reply, text


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as it:
        yield it


async def test_a_webhook_is_one_that_lines_own_parser_accepts(world: World) -> None:
    delivery = await world.sim.say("ann", "漢字 🍎", group="friends", mention_self=True)
    assert (delivery.status, delivery.reason) == (200, "")
    [(body, signature)] = world.bot.got
    [event] = WebhookParser(world.sim.secret).parse(body.decode(), signature)
    assert isinstance(event, MessageEvent)
    assert event.message.text == "@Ferry 漢字 🍎"
    [mentionee] = event.message.mention.mentionees
    assert (mentionee.is_self, mentionee.user_id, mentionee.length) == (True, BOT, 6)
    assert len(event.webhook_event_id) == 26
    assert event.source.group_id == address("C", "friends")


@pytest.mark.parametrize(
    "act",
    [
        lambda sim: sim.sticker("ann", "happy"),
        lambda sim: sim.show("ann", "file", b"data", "a.txt"),
        lambda sim: sim.show("ann", "image", b"data"),
        lambda sim: sim.tap("ann", "data"),
        lambda sim: sim.follow("ann", unblocked=True),
        lambda sim: sim.unfollow("ann"),
        lambda sim: sim.join("friends"),
        lambda sim: sim.unsend("ann", "1"),
    ],
)
async def test_all_that_people_do_is_readable_for_lines_own_parser(
    world: World, act: Callable[[LineSimulator], Any]
) -> None:
    delivery = await act(world.sim)
    [(body, signature)] = world.bot.got
    [event] = WebhookParser(world.sim.secret).parse(body.decode(), signature)
    assert event.type == delivery.events[0]["type"]


async def test_a_reply_shows_up_and_names_its_event(world: World) -> None:
    token = await world.token()
    sent = await world.call("reply_message", reply(token, text("one"), text("two")))
    seen = await world.sim.seen("ann", 2)
    assert [one.text for one in seen] == ["one", "two"]
    assert [one.id for one in seen] == [message.id for message in sent.sent_messages]
    assert {one.event for one in seen} == {world.sim.deliveries[0].events[0]["webhookEventId"]}


async def test_a_reply_token_works_once_and_for_a_minute(world: World) -> None:
    used, old = await world.token(), await world.token()
    await world.call("reply_message", reply(used))
    world.now[0] += 61
    for token in (used, old, "never given"):
        assert await refusal(world.call("reply_message", reply(token))) == (400, '{"message":"Invalid reply token"}')


async def test_a_redelivered_event_keeps_its_id_and_its_token_gets_no_younger(world: World) -> None:
    world.sim.redelivery, world.sim.pauses, world.bot.status = True, (0.0,), 500
    delivery = await world.sim.say("ann", "hi")
    assert [one.redelivery for one in world.sim.deliveries] == [False, True]
    assert len({one.events[0]["webhookEventId"] for one in world.sim.deliveries}) == 1
    assert (delivery.status, delivery.reason) == (500, "error_status_code")
    world.now[0] += 59
    await world.sim.deliver(delivery.events, redelivery=True)
    world.now[0] += 2
    assert (await refusal(world.call("reply_message", reply(delivery.events[0]["replyToken"]))))[0] == 400


async def test_a_retry_key_sends_once_for_a_day(world: World) -> None:
    await world.token()
    key = str(uuid4())
    sent = await world.call("push_message", push(), x_line_retry_key=key)
    with pytest.raises(messaging.ApiException) as raised:
        await world.call("push_message", push(), x_line_retry_key=key)
    assert raised.value.status == 409
    assert raised.value.headers["x-line-accepted-request-id"]
    assert sent.sent_messages[0].id in str(raised.value.body)
    assert len(world.sim.chats[ANN]) == 1
    world.now[0] += 24 * 3600
    await world.call("push_message", push(), x_line_retry_key=key)
    assert len(world.sim.chats[ANN]) == 2


async def test_a_reply_takes_no_retry_key(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.sim.token}", "X-Line-Retry-Key": str(uuid4())}
    body = {"replyToken": await world.token(), "messages": [{"type": "text", "text": "x"}]}
    async with aiohttp.ClientSession() as http, http.post(world.url + REPLY, json=body, headers=headers) as answer:
        assert answer.status == 400
    assert world.sim.chats[ANN] == []


async def test_a_wrong_token_is_refused_on_every_path(world: World) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer wrong"}) as http:
        for path in (PUSH, "/v2/bot/info", "/v2/bot/message/1/content"):
            async with http.post(world.url + path) as answer:
                assert answer.status == 401
                assert "Authentication failed" in (await answer.json())["message"]


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (text("🍎" * 2501), "messages[0].text"),
        (text(""), "messages[0].text"),
        (buttons("a" * 161, "ok"), "messages[0].template.text"),
        (buttons("a", "l" * 21), "messages[0].template.actions[0].label"),
    ],
)
async def test_a_message_beyond_the_limits_is_refused_with_its_place(world: World, message: Any, where: str) -> None:
    token = await world.token()
    status, body = await refusal(world.call("reply_message", reply(token, message)))
    assert status == 400
    assert f'"property":"{where}"' in body
    await world.call("reply_message", reply(token, text("🍎" * 2500)))  # a refusal does not spend the token


async def test_six_messages_and_unknown_kinds_are_refused(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.sim.token}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for messages, where in (
            ([{"type": "text", "text": "x"}] * 6, "messages"),
            ([{"type": "x"}], "messages[0].type"),
        ):
            async with http.post(world.url + PUSH, json={"to": ANN, "messages": messages}) as answer:
                assert answer.status == 400
                assert (await answer.json())["details"][0]["property"] == where


async def test_pushes_count_people_and_end_with_the_month(world: World) -> None:
    group = address("C", "friends")
    await world.sim.join("friends")
    world.sim.quota, world.sim.members = 6, {group: 5}
    await world.call("push_message", push(group, text("a"), text("b")))
    assert (await world.call("get_message_quota")).value == 6
    assert (await world.call("get_message_quota_consumption")).total_usage == 5
    status, body = await refusal(world.call("push_message", push(group)))
    assert (status, body) == (429, '{"message":"You have reached your monthly limit."}')
    world.sim.quota = None
    assert (await world.call("get_message_quota")).type == "none"


async def test_strangers_are_refused_and_blockers_are_not(world: World) -> None:
    assert await refusal(world.call("push_message", push())) == (400, '{"message":"Failed to send messages"}')
    assert "'to'" in (await refusal(world.call("push_message", push("ann"))))[1]
    await world.token()
    await world.sim.unfollow("ann")
    await world.call("push_message", push())
    assert (world.sim.chats[ANN], world.sim.used) == ([], 0)
    assert (await refusal(world.call("get_profile", ANN)))[0] == 404


async def test_the_loading_dots_are_for_users_and_multiples_of_five(world: World) -> None:
    def loading(chat: str, seconds: int) -> messaging.ShowLoadingAnimationRequest:
        return messaging.ShowLoadingAnimationRequest(chat_id=chat, loading_seconds=seconds)

    await world.call("show_loading_animation", loading(ANN, 20))
    assert world.sim.calls[-1].status == 202
    for wrong in (loading(address("C", "friends"), 20), loading(ANN, 21)):
        assert (await refusal(world.call("show_loading_animation", wrong)))[0] == 400


async def test_who_the_bot_is_and_where_it_listens(world: World) -> None:
    info = await world.call("get_bot_info")
    assert (info.user_id, info.chat_mode) == (BOT, "bot")
    assert (await world.call("get_webhook_endpoint")).endpoint == world.sim.webhook
    tested = await world.call("test_webhook_endpoint", messaging.TestWebhookEndpointRequest())
    assert (tested.success, tested.status_code, tested.reason) == (True, 200, "OK")
    assert b'"events":[]' in world.bot.got[-1][0]
    there = messaging.SetWebhookEndpointRequest(endpoint="http://127.0.0.1:9/")
    await world.call("set_webhook_endpoint", there)
    tested = await world.call("test_webhook_endpoint", messaging.TestWebhookEndpointRequest())
    assert (tested.success, tested.reason) == (False, "COULD_NOT_CONNECT")


async def test_what_people_send_can_be_fetched(world: World) -> None:
    delivery = await world.sim.show("ann", "image", b"\x89PNG")
    assert bytes(await world.content(delivery.events[0]["message"]["id"])) == b"\x89PNG"
    assert (await refusal(world.content("1")))[0] == 404


async def test_messages_can_be_tried_without_sending(world: World) -> None:
    await world.call("validate_reply", messaging.ValidateMessageRequest(messages=[text("x")]))
    assert (await refusal(world.call("validate_push", messaging.ValidateMessageRequest(messages=[text("")]))))[0] == 400
    assert world.sim.chats == {}


async def test_faults_happen_once_each_and_only_where_they_were_planned(world: World) -> None:
    await world.token()
    gate = asyncio.Event()
    world.sim.fail(PUSH, Fault(status=500, message="oops"), Fault(gate=gate))
    assert await refusal(world.call("push_message", push())) == (500, '{"message":"oops"}')
    waiting = asyncio.ensure_future(world.call("push_message", push()))
    await world.call("get_bot_info")
    assert not waiting.done()
    gate.set()
    await waiting
    assert [call.status for call in world.sim.calls if call.path == PUSH] == [500, 200]


async def test_other_processes_drive_it_by_its_control_api(world: World) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{world.url}/_sim/say", json={"user": "ann", "words": "hi"}) as answer:
            token = (await answer.json())["events"][0]["replyToken"]
        await world.call("reply_message", reply(token))
        async with http.get(f"{world.url}/_sim/state") as answer:
            state = await answer.json()
    assert [one["message"]["text"] for one in state["chats"][ANN]] == ["hello"]
    assert [call["status"] for call in state["calls"]] == [200]
