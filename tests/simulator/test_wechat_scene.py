"""What there is to see of the simulated WeChat, and what its weather does: facts of its scene, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from chatferry.simulator.wechat_rules import NOTICE
from tests.scenarios.support import until
from tests.simulator.wechat_world import (
    ANN,
    MEDIA,
    SEND,
    Got,
    World,
    encrypted,
    facts,
    reply,
    small_world,
)

NOW = 1_800_000_000.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with small_world() as world:
        yield world


def last(world: World, path: str) -> dict[str, Any]:
    """The last exchange of a path."""
    return [fact for fact in facts(world, "exchange") if fact["path"].startswith(path)][-1]


def other(kind: str, inside: str) -> Callable[[Got], bytes]:
    """A reply that is no text."""

    def written(got: Got) -> bytes:
        return reply("")(got).replace(b"text", kind.encode()).replace(b"</xml>", f"{inside}</xml>".encode())

    return written


# Screens.


async def test_a_message_and_its_answer_are_two_bubbles(world: World) -> None:
    world.bot.answers = [reply('see <a href="https://a.example/">here</a>')]
    delivery = await world.sim.say("ann", "hello")
    asked, answered = facts(world, "bubble")
    assert asked["id"] == f"wechat/{ANN}/{delivery.id}"
    assert [asked[name] for name in ("chat", "who", "text", "shape", "at")] == [ANN, "ann", "hello", "text", NOW]
    assert (answered["who"], answered["via"], answered["answers"]) == ("", "passive", delivery.id)
    assert (answered["text"], answered["shape"]) == ('see <a href="https://a.example/">here</a>', "text")


async def test_what_is_no_text_has_its_shape_its_file_and_its_words(world: World) -> None:
    sim = world.sim
    sent = [await sim.image("ann", b"data"), await sim.voice("ann", recognition="你好"), await sim.video("ann")]
    await sim.location("ann", 25.03, 121.56, "台北")
    await sim.location("ann", 25.03, 121.56)
    await sim.link("ann", "Title", "https://a.example/", "About")
    told = [(one["shape"], one["text"], one["file"]) for one in facts(world, "bubble")]
    image, voice, video = (str(one.fields["MediaId"]) for one in sent)
    assert told == [
        ("image", "", image),
        ("audio", "你好", voice),
        ("video", "", video),
        ("location", "台北\n25.030000, 121.560000", ""),
        ("location", "25.030000, 121.560000", ""),
        ("link", "Title\nAbout\nhttps://a.example/", ""),
    ]


async def test_what_people_do_is_an_action_and_a_reply_says_which_it_answers(world: World) -> None:
    world.bot.answers = [b"success", b"success", b"success", reply("the menu")]
    await world.sim.subscribe("ann", "7")
    await world.sim.scan("ann", "8")
    await world.sim.unsubscribe("ann")
    click = await world.sim.click("ann", "NEW")
    shown = facts(world, "bubble")
    assert [one["text"] for one in shown[:-1]] == ["subscribe qrscene_7", "SCAN 8", "unsubscribe", "CLICK NEW"]
    assert {(one["shape"], one["who"]) for one in shown[:-1]} == {("action", "ann")}
    assert shown[-1]["answers"] == shown[-2]["message"] == click.ref == f"{ANN}:1800000000:CLICK:NEW"


async def test_wechats_own_notice_has_a_shape_of_its_own(world: World) -> None:
    world.bot.answers = [b"{}"]
    delivery = await world.sim.say("ann", "hi")
    notice = facts(world, "bubble")[-1]
    assert [notice[name] for name in ("shape", "text", "who", "via", "answers")] == [
        "notice", NOTICE, "", "", delivery.id,
    ]  # fmt: skip


async def test_replies_that_are_no_text_tell_what_is_on_them(world: World) -> None:
    item = "<item><Title>One</Title><Description>Two</Description><Url>https://a.example/</Url></item>"
    world.bot.answers = [
        other("news", f"<ArticleCount>1</ArticleCount><Articles>{item}</Articles>"),
        other("image", "<Image><MediaId>m1</MediaId></Image>"),
    ]
    await world.sim.say("ann", "hi")
    await world.sim.say("ann", "hi")
    menu = {"head_content": "Good?", "list": [{"id": "1", "content": "Yes"}, {"id": "2", "content": "No"}]}
    assert await world.send("", msgtype="msgmenu", msgmenu=menu) == 0
    assert await world.send("", msgtype="video", video={"media_id": "m2", "title": "A film"}) == 0
    told = [(one["shape"], one["text"], one["file"]) for one in facts(world, "bubble") if not one["who"]]
    assert told == [
        ("link", "One\nTwo\nhttps://a.example/", ""),
        ("image", "", "m1"),
        ("text", "Good?\nYes\nNo", ""),
        ("video", "A film", "m2"),
    ]


async def test_typing_is_a_fact_until_a_message_comes(world: World) -> None:
    await world.sim.say("ann", "hi")
    await world.type()
    [typing] = facts(world, "typing")
    assert [typing[name] for name in ("id", "chat", "thread", "until")] == [f"wechat/{ANN}", ANN, "", NOW + 15]
    await world.send("there")
    assert facts(world, "typing") == []
    assert facts(world, "bubble")[-1]["via"] == "custom"
    await world.type()
    await world.type("CancelTyping")
    assert facts(world, "typing") == []


# Seconds and allowances.


async def test_each_step_of_the_calls_can_be_drawn(world: World) -> None:
    world.bot.answers = [None, None, reply("here")]
    saying = asyncio.ensure_future(world.sim.say("ann", "hi"))
    steps = []
    for _ in range(2):
        await world.bot.arrived.acquire()
        steps.append(facts(world, "clock")[0]["calls"])
        world.clock.advance(5)
    delivery = await saying
    [clock] = facts(world, "clock")
    waiting = {"seconds": None, "outcome": ""}
    timeouts = [{"at": NOW + late, "seconds": 5.0, "outcome": "timeout"} for late in (0, 5)]
    assert steps == [[{"at": NOW} | waiting], [timeouts[0], {"at": NOW + 5} | waiting]]
    assert clock["calls"] == [*timeouts, {"at": NOW + 10, "seconds": 0.0, "outcome": "answered"}]
    assert clock["id"] == f"wechat/{ANN}/{delivery.id}"
    assert [clock[name] for name in ("name", "limit", "of", "began", "until", "done")] == [
        "calls", 5.0, 3, NOW, NOW + 15, "answered",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "outcomes", "done"),
    [
        ([b"success"], ["nothing"], "answered"),
        ([500], ["status"] * 3, "failed"),
        ([b"{}"], ["malformed"], "failed"),
    ],
)
async def test_calls_end_in_many_ways(world: World, answers: list[Any], outcomes: list[str], done: str) -> None:
    world.bot.answers, world.sim.gap = answers, 0.0
    await world.sim.say("ann", "hi")
    [clock] = facts(world, "clock")
    assert ([one["outcome"] for one in clock["calls"]], clock["done"]) == (outcomes, done)


async def test_messages_left_are_a_gauge_of_a_verified_account(world: World) -> None:
    await world.sim.say("ann", "hi")
    await world.send("one")
    [gauge] = facts(world, "gauge")
    assert gauge["id"] == f"wechat/messages_left/{ANN}"
    assert [gauge[name] for name in ("name", "chat", "used", "limit", "until")] == [
        "messages_left", ANN, 1, 5, NOW + 48 * 3600,
    ]  # fmt: skip
    await world.sim.click("ann", "NEW")
    await world.send("two")
    [gauge] = facts(world, "gauge")
    assert (gauge["used"], gauge["limit"]) == (2, 8)
    assert {"used": 1, "limit": 3, "until": NOW + 60} in gauge["parts"]
    world.sim.verify(False)
    assert facts(world, "gauge") == []
    world.sim.verify(True)
    assert len(facts(world, "gauge")) == 1
    await world.sim.unsubscribe("ann")
    assert facts(world, "gauge") == []


# The wire.


@pytest.mark.parametrize("mode", ["plain", "compatible", "encrypted"])
async def test_a_call_is_shown_in_clear_whatever_the_mode(world: World, mode: Any) -> None:
    world.sim.mode = mode
    world.bot.answers = [reply("the answer") if mode == "plain" else encrypted(world.sim, "the answer")]
    delivery = await world.sim.say("ann", "the question")
    [told] = facts(world, "exchange")
    assert "<Content><![CDATA[the question]]></Content>" in told["request"]
    assert "the answer" in told["answer"]
    assert "Encrypt" not in told["request"] + told["answer"]
    assert told["note"] == ("call 1 of 3" if mode == "plain" else "call 1 of 3, encrypted")
    assert [told[name] for name in ("way", "method", "limit", "status", "chat", "message", "reason")] == [
        "hook", "POST", 5.0, 200, ANN, delivery.id, "",
    ]  # fmt: skip
    assert told["path"].startswith("/hooks/wechat?here=kept&signature=")


async def test_a_call_that_runs_is_on_the_wire_without_an_end(world: World) -> None:
    world.bot.answers = [None]
    saying = asyncio.ensure_future(world.sim.say("ann", "hi"))
    await world.bot.arrived.acquire()
    [told] = facts(world, "exchange")
    assert (told["seconds"], told["status"]) == (None, 0)
    world.clock.advance(5)
    await world.silence(2)
    await saying
    ends = [(one["note"], one["seconds"], one["status"], one["reason"]) for one in facts(world, "exchange")]
    assert ends == [(f"call {number} of 3", 5.0, 0, "timeout") for number in (1, 2, 3)]


async def test_the_api_is_on_the_wire_without_its_secrets(world: World) -> None:
    await world.sim.say("ann", "hi")
    token = await world.token()
    plain = (await world.plain())["access_token"]
    await world.send("hello", token)
    media_id = str((await world.sim.image("ann", b"\xff\xd8\xffdata")).fields["MediaId"])
    async with world.http.get(world.url + MEDIA, params={"access_token": token, "media_id": media_id}) as answer:
        assert answer.status == 200
    wire = facts(world, "exchange")
    for secret in (token, plain, world.sim.app_secret):
        assert secret not in json.dumps(wire)
    sent = last(world, SEND)
    assert [sent[name] for name in ("way", "method", "chat", "status", "reason")] == ["call", "POST", ANN, 200, ""]
    assert "hello" in sent["request"]
    assert sent["path"] == f"{SEND}?access_token={token[:4]}…"
    assert last(world, MEDIA)["answer"] == "(7 bytes)"
    await world.send("hello", touser="nobody")
    assert last(world, SEND)["reason"].startswith("40003 invalid openid rid: ")


async def test_the_check_of_the_address_is_on_the_wire(world: World) -> None:
    await world.sim.check()
    world.sim.webhook = "http://127.0.0.1:9/?token=operators"
    await world.sim.check()
    good, bad = facts(world, "exchange")
    assert (good["method"], good["status"], good["reason"], good["note"]) == ("GET", 200, "", "check of the address")
    assert (bad["status"], bad["reason"], "operators" in bad["path"]) == (0, "no answer", False)


# The weather.


@pytest.mark.parametrize(("api", "errcode"), [("429", 45011), ("500", -1)])
async def test_bad_weather_refuses_as_wechat_does(world: World, api: str, errcode: int) -> None:
    await world.sim.say("ann", "hi")
    token = await world.token()
    world.sim.weather.change(api=api)
    assert await world.send("x", token) == errcode
    assert last(world, SEND)["reason"].startswith(f"{errcode} ")
    assert (await world.stable())["errcode"] == errcode
    world.sim.weather.change(api="")
    assert await world.send("y", token) == 0
    assert world.screen() == [("custom", "y")]


async def test_a_day_whose_calls_are_used_up_still_gives_tokens(world: World) -> None:
    await world.sim.say("ann", "hi")
    world.sim.weather.change(used_up=True)
    assert (await world.send("x"), await world.type()) == (45009, 45009)
    assert "access_token" in await world.stable()


async def test_a_lost_answer_was_a_message_and_a_call_without_an_answer_was_none(world: World) -> None:
    await world.sim.say("ann", "hi")
    token = await world.token()
    world.sim.weather.change(api="lost")
    with pytest.raises(aiohttp.ClientError):
        await world.send("lost", token)
    assert last(world, SEND)["reason"] == "its answer was lost"
    world.sim.weather.change(api="timeout")
    impatient = asyncio.ensure_future(world.send("never", token))
    await until(lambda: len(world.sim.calls) == 3)
    impatient.cancel()
    waiting = asyncio.ensure_future(world.send("never", token))
    await until(lambda: len(world.sim.calls) == 4)
    world.sim.weather.change(api="")
    with pytest.raises(aiohttp.ClientError):
        await waiting
    told = [one for one in facts(world, "exchange") if one["path"].startswith(SEND)]
    assert [(one["status"], one["reason"]) for one in told[1:]] == [(0, "no answer")] * 2
    assert world.screen() == [("custom", "lost")]


async def test_a_call_that_comes_twice_is_shown_once(world: World) -> None:
    world.sim.weather.change(duplicate=True)
    world.bot.answers = [b"success", reply("one"), reply("two")]
    delivery = await world.sim.say("ann", "hi")
    await world.sim.say("ann", "again")
    first, second = world.bot.got[:2]
    assert (first.body, first.query) == (second.body, second.query)
    assert len(delivery.attempts) == 1
    assert [via for via, _ in world.screen()] == ["passive"] * 2
    notes = [one["note"] for one in facts(world, "exchange") if one["message"] == delivery.id]
    assert notes == ["call 1 of 3", "call 1 of 3, duplicate"]


async def test_in_disorder_the_second_message_comes_first(world: World) -> None:
    world.sim.weather.change(disorder=True)
    async with asyncio.TaskGroup() as group:
        for words in ("first", "second"):
            group.create_task(world.sim.say("ann", words))
    assert [got["Content"] for got in world.bot.got] == ["second", "first"]
    assert [one["text"] for one in facts(world, "bubble")] == ["first", "second"]
