"""What the simulated LINE shows of itself: bubbles, the wire, tokens that run out, dots, pushes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from linebot.v3 import messaging  # type: ignore[import-untyped]  # LINE's SDK has no types

from chatferry.simulator.line_people import address
from chatferry.simulator.line_records import Fault
from tests.simulator.line_world import ANN, LOADING, PUSH, REPLY, World, buttons, opened, push, refusal, reply, text

GROUP = address("C", "friends")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as it:
        yield it


async def bubble(world: World, message: dict[str, Any]) -> Any:
    """How a message of any bot is shown."""
    await world.token()
    headers = {"Authorization": f"Bearer {world.sim.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(world.url + PUSH, json={"to": ANN, "messages": [message]}) as answer,
    ):
        assert answer.status == 200, await answer.text()
    return world.facts("bubble")[-1]


def action(label: str, **more: str) -> dict[str, str]:
    return {"type": "postback", "label": label, "data": label.lower(), **more}


CAFE = {
    "type": "bubble",
    "hero": {"type": "image", "url": "https://a.example/1.jpg"},
    "body": {
        "type": "box",
        "layout": "vertical",
        "contents": [
            {"type": "text", "contents": [{"type": "span", "text": "A "}, {"type": "span", "text": "café"}]},
            {"type": "separator"},
            {
                "type": "box",
                "layout": "baseline",
                "contents": [{"type": "text", "text": "Place"}, {"type": "text", "text": "Tokyo"}],
            },
        ],
    },
    "footer": {"type": "box", "layout": "vertical", "contents": [{"type": "button", "action": action("Book")}]},
}


async def test_what_people_write_and_what_they_are_told_are_bubbles_of_one_chat(world: World) -> None:
    await world.call("reply_message", reply(await world.token(), text("one"), text("two")))
    await world.call("push_message", push(ANN, text("three")))
    said, *told = world.facts("bubble")
    assert (said["chat"], said["who"], said["text"], said["shape"]) == (ANN, "ann", "hi", "text")
    assert [(one["who"], one["text"], one["via"]) for one in told] == [
        ("", "one", "reply"),
        ("", "two", "reply"),
        ("", "three", "push"),
    ]
    assert [one["answers"] for one in told] == [said["message"], said["message"], ""]
    assert [one["message"] for one in told] == [one.id for one in world.sim.chats[ANN]]


async def test_pictures_and_files_can_be_shown_in_groups_too(world: World) -> None:
    await world.sim.show("ann", "image", b"\x89PNG...", group="friends")
    await world.sim.show("ann", "file", b"data", "a.txt")
    await world.sim.sticker("ann", "happy", "cat")
    image, file, sticker = world.facts("bubble")
    assert (image["chat"], image["shape"], image["who"]) == (GROUP, "image", "ann")
    assert (file["shape"], file["name"]) == ("file", "a.txt")
    assert (sticker["shape"], sticker["text"], sticker["file"]) == ("sticker", "happy, cat", "")
    async with aiohttp.ClientSession() as http, http.get(f"{world.url}/_sim/file/{image['file']}") as answer:
        assert (await answer.read(), answer.content_type) == (b"\x89PNG...", "image/png")
    assert bytes(await world.content(image["message"])) == b"\x89PNG..."


async def test_taps_and_comings_and_goings_are_actions(world: World) -> None:
    await world.sim.follow("ann")
    await world.sim.join("friends", "ann")
    await world.sim.tap("ann", "secret=1", label="Go on")
    await world.sim.tap("ann", "secret=2")
    await world.sim.unfollow("ann")
    assert [(one["shape"], one["text"]) for one in world.facts("bubble")] == [
        ("action", "follow"),
        ("action", "join"),
        ("action", "Go on"),
        ("action", "secret=2"),
        ("action", "unfollow"),
    ]
    assert [event.type for event in world.events()] == ["follow", "join", "postback", "postback", "unfollow"]


@pytest.mark.parametrize(
    ("offered", "picked"),
    [
        ({"mode": "time", "initial": "09:30"}, r"09:30"),
        ({"mode": "date"}, r"\d{4}-\d\d-\d\d"),
        ({"mode": "datetime"}, r"\d{4}-\d\d-\d\dT\d\d:\d\d"),
    ],
)
async def test_who_taps_a_date_picker_takes_what_it_offers(world: World, offered: dict[str, str], picked: str) -> None:
    picker = {"type": "datetimepicker", "label": "When", "data": "w", **offered}
    await bubble(world, {"type": "template", "altText": "x", "template": {**_buttons("?"), "actions": [picker]}})
    delivery = await world.sim.tap("ann", "w", label="When")
    params = delivery.events[0]["postback"]["params"]
    assert list(params) == [offered["mode"]]
    assert re.fullmatch(picked, params[offered["mode"]])


async def test_an_answer_to_a_tap_names_the_tap(world: World) -> None:
    delivery = await world.sim.tap("ann", "d", label="Go")
    await world.call("reply_message", reply(delivery.events[0]["replyToken"]))
    tapped, told = world.facts("bubble")
    assert told["answers"] == tapped["message"] == delivery.events[0]["webhookEventId"]


async def test_a_button_that_says_words_makes_the_person_say_them(world: World) -> None:
    words = {"type": "message", "label": "Yes", "text": "Yes, please"}
    shown = action("Show", displayText="I want to see")
    await bubble(world, {"type": "text", "text": "?", "quickReply": {"items": [{"type": "action", "action": words}]}})
    await bubble(world, {"type": "template", "altText": "x", "template": {**_buttons("?"), "actions": [shown]}})
    await world.sim.tap("ann", "Yes, please", label="Yes")
    await world.sim.tap("ann", "show", label="Show")
    assert world.events()[-2].message.text == "Yes, please"
    assert world.events()[-1].postback.data == "show"
    assert [one["text"] for one in world.facts("bubble")[-2:]] == ["Yes, please", "I want to see"]


async def test_an_unsent_message_is_gone(world: World) -> None:
    message = (await world.sim.say("ann", "oh no")).events[0]["message"]["id"]
    await world.sim.unsend("ann", message)
    [gone] = world.facts("bubble")
    assert (gone["message"], gone["text"], gone["deleted"]) == (message, "oh no", True)
    await world.sim.unsend("ann", "unknown")
    assert len(world.facts("bubble")) == 1


def _buttons(words: str) -> dict[str, Any]:
    return {"type": "buttons", "text": words, "actions": [action("One")]}


@pytest.mark.parametrize(
    ("message", "shape", "words", "labels"),
    [
        ({"type": "template", "altText": "x", "template": {**_buttons("b"), "title": "a"}}, "text", "a\nb", ["One"]),
        (
            {
                "type": "template",
                "altText": "x",
                "template": {
                    "type": "carousel",
                    "columns": [
                        {"text": "a", "actions": [action("One")]},
                        {"title": "b", "text": "c", "actions": [action("Two")]},
                    ],
                },
            },
            "text",
            "a\n\nb\nc",
            ["One", "Two"],
        ),
        (
            {
                "type": "template",
                "altText": "pictures",
                "template": {
                    "type": "image_carousel",
                    "columns": [{"imageUrl": "https://a.example/1.jpg", "action": action("One")}],
                },
            },
            "text",
            "pictures",
            ["One"],
        ),
        (
            {
                "type": "flex",
                "altText": "a menu",
                "contents": {
                    "type": "bubble",
                    "body": {"type": "box", "contents": [{"type": "button", "action": action("Tea")}]},
                    "footer": {"type": "box", "contents": "not what it should be", "action": "nothing"},
                },
            },
            "text",
            "a menu",
            ["Tea"],
        ),
        (
            {"type": "flex", "altText": "cafés", "contents": {"type": "carousel", "contents": [CAFE, CAFE]}},
            "text",
            "A café\nPlace Tokyo\n\nA café\nPlace Tokyo",
            ["Book", "Book"],
        ),
        ({"type": "imagemap", "altText": "a map", "actions": []}, "text", "a map", []),
        ({"type": "image", "originalContentUrl": "https://a.example/1.jpg"}, "image", "https://a.example/1.jpg", []),
        ({"type": "location", "title": "Here", "address": "Tokyo"}, "location", "Here\nTokyo", []),
        ({"type": "sticker", "packageId": "446", "stickerId": "1988"}, "sticker", "", []),
        (
            {
                "type": "textV2",
                "text": "{who}, {all}: {{ok}} {icon}{what}",
                "substitution": {
                    "who": {"type": "mention", "mentionee": {"type": "user", "userId": ANN}},
                    "all": {"type": "mention", "mentionee": {"type": "all"}},
                    "icon": {"type": "emoji", "productId": "1", "emojiId": "1"},
                },
            },
            "text",
            "@ann, @All: {ok} ☺{what}",
            [],
        ),
    ],
)
async def test_what_any_bot_sends_has_words_and_buttons(
    world: World, message: dict[str, Any], shape: str, words: str, labels: list[str]
) -> None:
    shown = await bubble(world, message)
    assert (shown["shape"], shown["text"]) == (shape, words)
    assert [button["label"] for button in shown["buttons"]] == labels
    assert [button["value"] for button in shown["buttons"]] == [label.lower() for label in labels]
    assert not shown["quick"]


async def test_quick_replies_go_and_buttons_with_an_address_open_it(world: World) -> None:
    link = {"type": "uri", "label": "Open", "uri": "https://a.example/"}
    items = [{"type": "action", "action": one} for one in (action("One"), link)]
    shown = await bubble(world, {"type": "text", "text": "?", "quickReply": {"items": items}})
    assert shown["quick"]
    assert [button["url"] for button in shown["buttons"]] == ["", "https://a.example/"]


@pytest.mark.parametrize(
    ("template", "where"),
    [
        ({"type": "confirm", "text": "?", "actions": [action("One")]}, "template.actions"),
        ({"type": "carousel", "columns": []}, "template.columns"),
        ({"type": "carousel", "columns": ["x"]}, "template.columns[0]"),
        ({"type": "carousel", "columns": [{"text": "", "actions": [action("One")]}]}, "template.columns[0].text"),
        ({"type": "image_carousel", "columns": [{}]}, "template.columns[0].action.type"),
        ({"type": "mosaic"}, "template.type"),
    ],
)
async def test_templates_that_cannot_be_shown_are_refused(world: World, template: dict[str, Any], where: str) -> None:
    await world.token()
    headers = {"Authorization": f"Bearer {world.sim.token}"}
    message = {"type": "template", "altText": "x", "template": template}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(world.url + PUSH, json={"to": ANN, "messages": [message]}) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["details"][0]["property"] == f"messages[0].{where}"


async def test_nobody_who_blocked_us_sees_anything(world: World) -> None:
    await world.token()
    await world.sim.unfollow("ann")
    before = world.facts("bubble")
    await world.call("push_message", push())
    assert world.facts("bubble") == before


async def test_the_dots_move_until_a_message_comes(world: World) -> None:
    token = await world.token()
    request = messaging.ShowLoadingAnimationRequest(chat_id=ANN, loading_seconds=20)
    await world.call("show_loading_animation", request)
    [typing] = world.facts("typing")
    assert (typing["chat"], typing["until"]) == (ANN, world.now[0] + 20)
    await world.call("reply_message", reply(token))
    assert world.facts("typing") == []


async def test_a_reply_token_is_a_clock_that_ends_when_it_is_used_or_refused(world: World) -> None:
    used, old = await world.token(), await world.token()
    said = [one["message"] for one in world.facts("bubble")]
    began = world.now[0]
    for clock, message in zip(world.facts("clock"), said, strict=True):
        assert (clock["name"], clock["chat"], clock["message"]) == ("reply_token", ANN, message)
        assert (clock["began"], clock["until"], clock["done"]) == (began, began + 60, "")
    await world.call("reply_message", reply(used))
    world.now[0] += 61
    await refusal(world.call("reply_message", reply(old)))
    await refusal(world.call("reply_message", reply(used)))
    assert [clock["done"] for clock in world.facts("clock")] == ["used", "expired"]


async def test_pushes_fill_a_gauge(world: World) -> None:
    assert [(one["name"], one["used"], one["limit"]) for one in world.facts("gauge")] == [("push_quota", 0, 200)]
    await world.token()
    await world.call("push_message", push())
    await world.sim.set_quota(limit=1)
    assert [(one["used"], one["limit"]) for one in world.facts("gauge")] == [(1, 1)]


async def test_the_wire_is_shown_both_ways(world: World) -> None:
    await world.call("reply_message", reply(await world.token()))
    hook, call = world.facts("exchange")
    said = world.facts("bubble")[0]["message"]
    assert (hook["way"], hook["method"], hook["path"], hook["limit"]) == ("hook", "POST", "", 2.0)
    assert (hook["chat"], hook["message"], hook["status"], hook["reason"]) == (ANN, said, 200, "")
    assert hook["headers"]["x-line-signature"] == world.bot.got[0][1]
    assert '"text":"hi"' in hook["request"]
    assert (call["way"], call["path"], call["chat"], call["message"]) == ("call", REPLY, ANN, said)
    assert (call["status"], call["headers"]["authorization"]) == (200, "Bearer simu…")
    assert "sentMessages" in call["answer"]
    assert 0 < hook["seconds"] < 2
    assert 0 < call["seconds"] < 2


async def test_a_push_is_shown_with_its_key_and_what_became_of_it(world: World) -> None:
    await world.token()
    key = "6a3a1c1e-0000-4000-8000-000000000001"
    await world.call("push_message", push(), x_line_retry_key=key)
    await refusal(world.call("push_message", push(), x_line_retry_key=key))
    first, second = world.facts("exchange")[1:]
    assert first["headers"]["x-line-retry-key"] == second["headers"]["x-line-retry-key"] == key
    assert first["message"] == second["message"] == world.facts("bubble")[-1]["message"]
    assert (second["status"], bool(second["headers"]["x-line-accepted-request-id"])) == (409, True)


async def test_calls_that_say_what_they_are_about_are_shown_with_it(world: World) -> None:
    message = (await world.sim.show("ann", "image", b"\x89PNG", group="friends")).events[0]["message"]["id"]
    await world.sim.say("ann", "hi")
    await world.content(message)
    await world.call("get_profile", ANN)
    await world.call("get_bot_info")
    loading = messaging.ShowLoadingAnimationRequest(chat_id=ANN, loading_seconds=5)
    await world.call("show_loading_animation", loading)
    about = [(one["chat"], one["message"]) for one in world.facts("exchange") if one["way"] == "call"]
    assert about == [(GROUP, message), (ANN, ""), ("", ""), (ANN, "")]
    assert world.facts("exchange")[-1]["path"] == LOADING


async def test_a_webhook_that_fails_says_why(world: World) -> None:
    world.bot.status = 500
    await world.token()
    world.sim.webhook = "http://127.0.0.1:9/hook"
    await world.token()
    assert [(one["status"], one["reason"]) for one in world.facts("exchange")] == [
        (500, "error_status_code"),
        (0, "could_not_connect"),
    ]


async def test_a_call_without_an_answer_ends_all_the_same(world: World) -> None:
    await world.token()
    world.sim.fail(PUSH, Fault(drop=True), Fault(drop=True, done=True))
    for _ in range(2):
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {world.sim.token}"}) as http:
            with pytest.raises(aiohttp.ClientError):
                await http.post(world.url + PUSH, json={"to": ANN, "messages": [{"type": "text", "text": "x"}]})
    ends = [(one["status"], one["reason"]) for one in world.facts("exchange") if one["way"] == "call"]
    assert ends == [(0, "no answer"), (0, "answer lost")]
    assert len(world.sim.chats[ANN]) == 1


async def test_buttons_of_the_official_client_are_shown(world: World) -> None:
    await world.call("reply_message", reply(await world.token(), buttons("which?", "this")))
    shown = world.facts("bubble")[-1]
    assert (shown["text"], [one["label"] for one in shown["buttons"]]) == ("which?", ["this"])


async def test_the_wire_says_why_a_call_was_refused(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.sim.token}"}
    sent = {"replyToken": "none", "messages": [{"type": "text", "text": "x" * 5001}]}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(world.url + REPLY, json=sent) as answer:
        assert answer.status == 400
        told = await answer.json()
    [call] = world.facts("exchange")
    assert call["reason"].startswith(told["message"])
    assert told["details"][0]["message"] in call["reason"]
