"""LINE's own asynchronous client, unchanged, against the simulator: each call of the gateway's, each way it fails.

And LINE's own parser reads each webhook that the simulator sends, whatever the weather.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from linebot.v3 import messaging  # type: ignore[import-untyped]  # LINE's SDK has no types
from linebot.v3.exceptions import InvalidSignatureError  # type: ignore[import-untyped]  # LINE's SDK has no types
from linebot.v3.webhook import WebhookParser  # type: ignore[import-untyped]  # LINE's SDK has no types

from chatferry.simulator import line_rules as rules
from chatferry.simulator.line import BOT, LineSimulator
from chatferry.simulator.line_people import address
from chatferry.simulator.line_records import Fault
from tests.simulator.line_world import ANN, LOADING, PUSH, REPLY, World, buttons, opened, push, reply, text

GROUP = address("C", "friends")
CONTENT = "/v2/bot/message/{}/content"
ERRORS = [(429, rules.RATE_LIMIT), (500, rules.INTERNAL), (403, "Access to this API is not available")]


class Client:
    """The official client for one channel access token."""

    def __init__(self, world: World, token: str) -> None:
        self.http = messaging.AsyncApiClient(messaging.Configuration(host=world.url, access_token=token))
        self.api = messaging.AsyncMessagingApi(self.http)
        self.blob = messaging.AsyncMessagingApiBlob(self.http)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as it:
        yield it


@pytest.fixture
async def line(world: World) -> AsyncIterator[Client]:
    client = Client(world, world.sim.token)
    yield client
    await client.http.close()


async def refused(calling: Awaitable[Any]) -> tuple[int, Any]:
    """Status and body of a refusal, in the form of every error of LINE's."""
    with pytest.raises(messaging.ApiException) as raised:
        await calling
    assert raised.value.headers["x-line-request-id"]
    body = json.loads(raised.value.body)
    messaging.ErrorResponse.from_dict(body)
    return raised.value.status, body


def loading(chat: str = ANN, seconds: int = 20) -> messaging.ShowLoadingAnimationRequest:
    return messaging.ShowLoadingAnimationRequest(chat_id=chat, loading_seconds=seconds)


def endpoint(url: str) -> messaging.SetWebhookEndpointRequest:
    return messaging.SetWebhookEndpointRequest(endpoint=url)


CALLS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    REPLY: lambda line: line.api.reply_message(reply("any")),
    PUSH: lambda line: line.api.push_message(push()),
    LOADING: lambda line: line.api.show_loading_animation(loading()),
    "/v2/bot/message/quota": lambda line: line.api.get_message_quota(),
    "/v2/bot/message/quota/consumption": lambda line: line.api.get_message_quota_consumption(),
    "/v2/bot/info": lambda line: line.api.get_bot_info(),
    f"/v2/bot/profile/{ANN}": lambda line: line.api.get_profile(ANN),
    CONTENT.format(1): lambda line: line.blob.get_message_content("1"),
    "/v2/bot/channel/webhook/endpoint": lambda line: line.api.get_webhook_endpoint(),
    "/v2/bot/channel/webhook/test": lambda line: line.api.test_webhook_endpoint(messaging.TestWebhookEndpointRequest()),
}


async def test_a_reply_is_answered_with_what_was_sent(world: World, line: Client) -> None:
    sent = await line.api.reply_message(reply(await world.token(), text("one"), buttons("which?", "this")))
    assert [one.id for one in sent.sent_messages] == [one.id for one in world.sim.chats[ANN]]
    assert all(one.quote_token for one in sent.sent_messages)


async def test_a_push_with_a_retry_key_is_carried_out_once(world: World, line: Client) -> None:
    await world.token()
    key = str(uuid4())
    answer = await line.api.push_message_with_http_info(push(), x_line_retry_key=key)
    with pytest.raises(messaging.ApiException) as raised:
        await line.api.push_message(push(), x_line_retry_key=key)
    assert raised.value.status == 409
    assert raised.value.headers["x-line-accepted-request-id"] == answer.headers["x-line-request-id"]
    told = messaging.ErrorResponse.from_dict(json.loads(raised.value.body))
    assert told.message == "The retry key is already accepted"
    assert [one.id for one in told.sent_messages] == [one.id for one in answer.data.sent_messages]
    assert len(world.sim.chats[ANN]) == 1
    assert await refused(line.api.push_message(push(), x_line_retry_key="no UUID")) == (
        400,
        {"message": rules.RETRY_KEY_INVALID},
    )


async def test_reply_tokens_that_are_spent_old_or_none_are_refused(world: World, line: Client) -> None:
    used, old = await world.token(), await world.token()
    await line.api.reply_message(reply(used))
    world.now[0] += 61
    for token in (used, old, "none"):
        assert await refused(line.api.reply_message(reply(token))) == (400, {"message": "Invalid reply token"})


async def test_faults_of_a_message_are_told_with_their_places(world: World, line: Client) -> None:
    await world.token()
    status, body = await refused(line.api.push_message(push(ANN, text("fine"), text("🍎" * 2501), text(""))))
    assert (status, body["message"]) == (400, "The request body has 2 error(s)")
    assert [one["property"] for one in body["details"]] == ["messages[1].text", "messages[2].text"]
    told = messaging.ErrorResponse.from_dict(body)
    assert told.details[0].message == "Length must be between 1 and 5000"


async def test_nobody_unknown_is_pushed_to(world: World, line: Client) -> None:
    assert await refused(line.api.push_message(push())) == (400, {"message": "Failed to send messages"})
    assert (await refused(line.api.push_message(push("ann"))))[0] == 400


async def test_the_month_has_an_end(world: World, line: Client) -> None:
    await world.token()
    world.sim.quota = 1
    await line.api.push_message(push())
    quota, used = await line.api.get_message_quota(), await line.api.get_message_quota_consumption()
    assert (quota.type, quota.value, used.total_usage) == ("limited", 1, 1)
    assert await refused(line.api.push_message(push())) == (429, {"message": "You have reached your monthly limit."})
    world.sim.quota = None
    quota = await line.api.get_message_quota()
    assert (quota.type, quota.value) == ("none", None)


async def test_the_dots(world: World, line: Client) -> None:
    await world.token()
    answer = await line.api.show_loading_animation_with_http_info(loading())
    assert answer.status_code == 202
    status, body = await refused(line.api.show_loading_animation(loading(GROUP)))
    assert (status, body["details"][0]["property"]) == (400, "chatId")
    status, body = await refused(line.api.show_loading_animation(loading(ANN, 7)))
    assert (status, body["details"][0]["property"]) == (400, "loadingSeconds")


async def test_who_is_who(world: World, line: Client) -> None:
    await world.token()
    bot, person = await line.api.get_bot_info(), await line.api.get_profile(ANN)
    assert (bot.user_id, bot.chat_mode, bot.mark_as_read_mode, bot.basic_id) == (BOT, "bot", "auto", "@ferry")
    assert (person.user_id, person.display_name) == (ANN, "ann")
    await world.sim.say("ann", "hi", group="friends")
    assert (await line.api.get_group_summary(GROUP)).group_name == "friends"
    assert (await line.api.get_group_member_profile(GROUP, ANN)).display_name == "ann"
    assert (await refused(line.api.get_group_summary(address("C", "strangers"))))[0] == 404
    await world.sim.unfollow("ann")
    assert await refused(line.api.get_profile(ANN)) == (404, {"message": "Not found"})


async def test_what_people_send_is_downloaded(world: World, line: Client) -> None:
    message = (await world.sim.show("ann", "file", b"\0data\xff", "a.bin")).events[0]["message"]["id"]
    assert bytes(await line.blob.get_message_content(message)) == b"\0data\xff"
    assert bytes(await line.blob.get_message_content_preview(message)) == b"\0data\xff"
    assert await refused(line.blob.get_message_content("1")) == (404, {"message": "Not found"})
    world.sim.contents[message] = None
    assert (await line.blob.get_message_content_with_http_info(message)).status_code == 202


async def test_the_webhooks_address_is_told_changed_and_tried(world: World, line: Client) -> None:
    there = await line.api.get_webhook_endpoint()
    assert (there.endpoint, there.active) == (world.sim.webhook, True)
    tried = await line.api.test_webhook_endpoint(messaging.TestWebhookEndpointRequest())
    assert (tried.success, tried.status_code, tried.reason) == (True, 200, "OK")
    assert world.events() == []
    world.bot.status = 404
    tried = await line.api.test_webhook_endpoint(messaging.TestWebhookEndpointRequest(endpoint=world.sim.webhook))
    assert (tried.success, tried.status_code, tried.reason) == (False, 404, "ERROR_STATUS_CODE")
    await line.api.set_webhook_endpoint(endpoint("http://127.0.0.1:9/"))
    assert (await line.api.get_webhook_endpoint()).endpoint == "http://127.0.0.1:9/"
    tried = await line.api.test_webhook_endpoint(messaging.TestWebhookEndpointRequest())
    assert (tried.success, tried.status_code, tried.reason) == (False, 0, "COULD_NOT_CONNECT")
    world.sim.webhook = ""
    assert await refused(line.api.get_webhook_endpoint()) == (404, {"message": "Not found"})


@pytest.mark.parametrize("path", CALLS)
async def test_every_call_needs_the_token(world: World, path: str) -> None:
    stranger = Client(world, "wrong")
    status, body = await refused(CALLS[path](stranger))
    assert (status, body) == (401, {"message": rules.UNAUTHORIZED})
    assert world.sim.calls[-1].path == path
    await stranger.http.close()


@pytest.mark.parametrize("path", CALLS)
async def test_every_call_may_fail_as_planned_and_as_the_weather_has_it(world: World, line: Client, path: str) -> None:
    world.sim.fail(path, *(Fault(status=status, message=message) for status, message in ERRORS))
    for status, message in ERRORS:
        assert await refused(CALLS[path](line)) == (status, {"message": message})
    for trouble, (status, message) in zip(("429", "500"), ERRORS, strict=False):
        world.sim.weather.change(api=trouble)
        assert await refused(CALLS[path](line)) == (status, {"message": message})


async def everything(sim: LineSimulator) -> list[str]:
    """All that people can do; the kinds of what they did."""
    said = await sim.say("ann", "漢字 🍎")
    done = [
        said,
        await sim.say("bob", "you there", group="friends", mention_self=True),
        await sim.say("bob", "in a room", group="R" + "0" * 32),
        await sim.sticker("ann", "happy"),
        *[await sim.show("ann", kind, b"data", "a.txt") for kind in ("image", "audio", "video", "file")],
        await sim.show("ann", "image", b"data", group="friends"),
        await sim.tap("ann", "data", label="Go"),
        await sim.follow("ann", unblocked=True),
        await sim.join("friends"),
        await sim.unsend("ann", said.events[0]["message"]["id"]),
        await sim.unfollow("ann"),
    ]
    return [event["type"] for delivery in done for event in delivery.events]


@pytest.mark.parametrize("weather", [{}, {"late": 90.0}, {"expired": True}, {"duplicate": True}, {"redelivery": True}])
async def test_the_official_parser_reads_every_webhook(world: World, weather: dict[str, Any]) -> None:
    world.sim.weather.change(**weather)
    world.sim.pauses, world.bot.refusals = (0.0, 0.0), 2 if "redelivery" in weather else 0
    kinds = await everything(world.sim)
    parser = WebhookParser(world.sim.secret)
    read = []
    for body, signature in world.bot.got:
        payload = parser.parse(body.decode(), signature, as_payload=True)
        assert payload.destination == BOT
        read += payload.events
    assert set(kinds) == {event.type for event in read}
    assert len({event.webhook_event_id for event in read}) == len(kinds)
    for event in read:
        assert type(event).__name__ != "UnknownEvent"
        assert event.mode.value == "active"
        assert event.source.type in ("user", "group", "room")
        if event.type == "message":
            assert type(event.message).__name__ != "UnknownMessageContent"
            assert event.message.id
        assert bool(getattr(event, "reply_token", None)) == (event.type not in ("unfollow", "unsend"))


async def test_a_webhook_that_was_touched_is_not_lines(world: World) -> None:
    await world.token()
    [(body, signature)] = world.bot.got
    with pytest.raises(InvalidSignatureError):
        WebhookParser(world.sim.secret).parse(body.decode().replace("hi", "ho"), signature)
    with pytest.raises(InvalidSignatureError):
        WebhookParser("another secret").parse(body.decode(), signature)
