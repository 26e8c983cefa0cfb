"""The simulated WeChat, judged by a small bot that reads its calls on its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chatferry.simulator.serving import serving
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_crypto import Safe, signature
from chatferry.simulator.wechat_records import Delivery
from chatferry.simulator.wechat_rules import NOTICE, TEXT_BYTES
from tests.simulator.wechat_world import ANN, Answer, Bot, Got, World, encrypted, reply, sha1, small_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with small_world() as world:
        yield world


# The bot is called.


async def test_a_message_is_signed_xml_and_its_answer_is_seen(world: World) -> None:
    world.bot.answers = [reply("你好 & ]] <b>")]
    delivery = await world.sim.say("ann", "漢字 🍎 ]]> <b>")
    [got] = world.bot.got
    assert [got[name] for name in ("MsgType", "Content", "FromUserName")] == ["text", "漢字 🍎 ]]> <b>", ANN]
    assert (got["ToUserName"], got["MsgId"], got["CreateTime"]) == (world.sim.account, delivery.id, "1800000000")
    assert int(delivery.id) > 2**53
    parts = [world.sim.token, got.query["timestamp"], got.query["nonce"]]
    assert got.query["signature"] == sha1(*parts)
    assert (got.query["openid"], got.query["here"]) == (ANN, "kept")
    [seen] = await world.sim.seen("ann", 1)
    assert (seen.text, seen.via, seen.call, seen.message) == ("你好 & ]] <b>", "passive", 1, delivery.id)


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda sim: sim.image("ann", b"data"), {"MsgType": "image"}),
        (lambda sim: sim.voice("ann"), {"MsgType": "voice", "Format": "amr", "Recognition": None}),
        (lambda sim: sim.voice("ann", recognition="你好"), {"Recognition": "你好"}),
        (lambda sim: sim.voice("ann", recognition=""), {"Recognition": ""}),
        (lambda sim: sim.video("ann", kind="shortvideo"), {"MsgType": "shortvideo"}),
        (lambda sim: sim.location("ann", 25.03, 121.56, "台北"), {"Location_X": "25.030000", "Label": "台北"}),
        (lambda sim: sim.link("ann", "t", "https://a.example/"), {"Title": "t", "Url": "https://a.example/"}),
        (lambda sim: sim.subscribe("ann"), {"MsgType": "event", "Event": "subscribe", "EventKey": ""}),
        (lambda sim: sim.subscribe("ann", "7"), {"Event": "subscribe", "EventKey": "qrscene_7"}),
        (lambda sim: sim.unsubscribe("ann"), {"Event": "unsubscribe"}),
        (lambda sim: sim.click("ann", "NEW"), {"Event": "CLICK", "EventKey": "NEW"}),
        (lambda sim: sim.scan("ann", "7"), {"Event": "SCAN", "EventKey": "7"}),
    ],
)
async def test_all_that_people_do_reaches_the_bot(
    world: World, act: Callable[[WeChatSimulator], Any], told: dict[str, str | None]
) -> None:
    delivery: Delivery = await act(world.sim)
    [got] = world.bot.got
    assert {name: got[name] for name in told} == told
    assert (got["MsgId"] is None) == (got["MsgType"] == "event")
    assert delivery.reason == ""
    assert world.screen() == []


async def test_a_silent_bot_is_called_three_times_in_fifteen_seconds_and_has_failed(world: World) -> None:
    world.bot.answers = [None]
    saying = asyncio.ensure_future(world.sim.say("ann", "hi"))
    await world.silence(3)
    delivery = await saying
    assert [(one.status, one.seconds, one.reason) for one in delivery.attempts] == [(0, 5, "timeout")] * 3
    assert {got["MsgId"] for got in world.bot.got} == {delivery.id}
    assert {got["CreateTime"] for got in world.bot.got} == {"1800000000"}
    assert world.screen() == [("notice", NOTICE)]
    assert world.clock.now() == 1_800_000_015


@pytest.mark.parametrize("late", [0, 1, 2])
async def test_the_first_answer_in_time_is_shown_and_ends_the_calls(world: World, late: int) -> None:
    world.bot.answers = [*[None] * late, reply("here")]
    saying = asyncio.ensure_future(world.sim.say("ann", "hi"))
    await world.silence(late)
    delivery = await saying
    assert len(world.bot.got) == late + 1
    assert delivery.attempts[-1].status == 200
    [seen] = world.sim.chats[ANN]
    assert (seen.text, seen.call, seen.at) == ("here", late + 1, 1_800_000_000 + 5 * late)


async def test_calls_go_to_all_processes_in_turn(world: World) -> None:
    other = Bot()
    world.bot.answers, other.answers = [None], [reply("from the other")]
    async with serving(other) as url:
        world.sim.replicas = [url]
        saying = asyncio.ensure_future(world.sim.say("ann", "hi"))
        await world.silence(1)
        await saying
    assert [got["MsgId"] for got in world.bot.got] == [got["MsgId"] for got in other.got]
    assert world.screen() == [("passive", "from the other")]


async def test_times_can_be_compressed(world: World) -> None:
    world.bot.answers, world.sim.limit, world.sim.gap = [None], 0.5, 0.0
    saying = asyncio.ensure_future(world.sim.say("ann", "hi"))
    await world.silence(3)
    assert (await saying).reason == "timeout"


async def test_the_machines_clock_cuts_calls_off_too() -> None:
    bot = Bot()
    bot.answers = [None]
    async with WeChatSimulator(limit=0.01, gap=0.01) as sim, serving(bot) as url:
        sim.webhook = url
        delivery = await sim.say("ann", "hi")
    assert [one.reason for one in delivery.attempts] == ["timeout"] * 3


@pytest.mark.parametrize("nothing", [b"", b"success"])
async def test_nothing_is_an_answer(world: World, nothing: bytes) -> None:
    world.bot.answers = [nothing]
    await world.sim.say("ann", "hi")
    assert (len(world.bot.got), world.screen()) == (1, [])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'{"errcode": 0}', "no XML"),
        (b"<xml></xml>", "ToUserName"),
        (b"<html></html>", "the root"),
        (b"<!DOCTYPE xml [<!ENTITY a 'b'>]><xml>&a;</xml>", "a document type"),
        (lambda got: reply("x")(got).replace(b"text", b"poem"), "MsgType 'poem'"),
        (lambda got: reply("x")(got).replace(b">1<", b">soon<"), "CreateTime"),
        (reply(""), "Content is empty"),
        (reply("字" * 683), "Content has 2049 bytes, more than 2048"),
        (lambda got: b"<xml><Encrypt>YQ==</Encrypt></xml>", "encrypted, which"),
    ],
)
async def test_a_malformed_reply_is_a_failure_at_once(world: World, answer: Answer, reason: str) -> None:
    world.bot.answers = [answer]
    delivery = await world.sim.say("ann", "hi")
    assert delivery.reason.startswith(f"malformed: {reason}")
    assert (len(world.bot.got), world.screen()) == (1, [("notice", NOTICE)])


async def test_a_reply_may_fill_its_bytes_and_be_no_text(world: World) -> None:
    full = "字" * 682 + "ab"
    assert len(full.encode()) == TEXT_BYTES
    world.bot.answers = [reply(full), lambda got: reply("")(got).replace(b"text", b"image")]
    await world.sim.say("ann", "hi")
    await world.sim.say("ann", "hi")
    assert [(one.kind, one.text) for one in world.sim.chats[ANN]] == [("text", full), ("image", "")]


async def test_a_status_other_than_200_and_a_refused_connection_are_no_answers(world: World) -> None:
    world.bot.answers, world.sim.gap = [500, 500, reply("at last")], 0.0
    delivery = await world.sim.say("ann", "hi")
    assert [one.status for one in delivery.attempts] == [500, 500, 200]
    world.sim.webhook = "http://127.0.0.1:9/"
    assert (await world.sim.say("ann", "hi")).reason == "unreachable"
    assert world.screen() == [("passive", "at last"), ("notice", NOTICE)]


async def test_the_address_is_checked_by_a_word(world: World) -> None:
    assert await world.sim.check()
    world.sim.webhook = "http://127.0.0.1:9/"
    assert not await world.sim.check()


# Encryption.


async def test_encryption_agrees_with_the_vectors_that_wechatpy_publishes() -> None:
    safe = Safe("kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR", "wx49f0ab532d5d035a")
    echo = "4ByGGj+sVCYcvGeQYhaKIk1o0pQRNbRjxybjTGblXrBaXlTXeOo1+bXFXDQQb1o6co6Yh9Bv41n7hOchLF6p+Q=="
    assert signature("123456", "1411443780", "437374425", echo) == "dd6b9c95b495b3f7e2901bfbc76c664930ffdb96"
    assert safe.open(echo) == b"5927782489442352469"
    message = (
        "<xml>\n<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[test]]></Content>\n"
        "<FromUserName><![CDATA[wx49f0ab532d5d035a]]></FromUserName>\n<ToUserName><![CDATA[messense]]></ToUserName>\n"
        "<AgentID>1</AgentID>\n<CreateTime>1411525903</CreateTime>\n</xml>"
    )
    shut = safe.shut(message.encode(), b"1234567890123456")
    assert signature("123456", "1411525903", "461056294", shut) == "407518b7649e86ef23978113f92d27afa9296533"
    assert safe.open(shut) == message.encode()
    assert signature("test", "1410685589", "test") == "f21891de399b4e33a1a93c9a7b8a8fffb5a443ff"


async def test_an_encrypted_call_shows_nothing_in_clear_and_is_signed_twice(world: World) -> None:
    world.sim.mode, world.bot.answers = "encrypted", [encrypted(world.sim, "secret answer")]
    await world.sim.say("ann", "secret question")
    [got] = world.bot.got
    assert (got["Content"], got["FromUserName"], b"question" in got.body) == (None, None, False)
    parts = [world.sim.token, got.query["timestamp"], got.query["nonce"], got["Encrypt"] or ""]
    assert got.query["msg_signature"] == sha1(*parts)
    assert (got.query["encrypt_type"], len(got.query["signature"])) == ("aes", 40)
    assert world.screen() == [("passive", "secret answer")]


async def test_a_compatible_account_sends_both_and_takes_either(world: World) -> None:
    world.sim.mode = "compatible"
    world.bot.answers = [encrypted(world.sim, "one"), reply("two")]
    for words in ("first", "second"):
        await world.sim.say("ann", words)
    assert [got["Content"] for got in world.bot.got] == ["first", "second"]
    assert all(got["Encrypt"] for got in world.bot.got)
    assert world.screen() == [("passive", "one"), ("passive", "two")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda sim: lambda got: reply("x")(Got({}, Safe(sim.aes_key, sim.app_id).open(got["Encrypt"]))), "not encry"),
        (lambda sim: encrypted(sim, "x", token="another"), "MsgSignature"),
        (lambda sim: encrypted(sim, "x", app_id="wxother"), "does not decrypt: another app id"),
    ],
)
async def test_a_reply_that_is_not_well_encrypted_is_a_failure(
    world: World, answer: Callable[[WeChatSimulator], Answer], reason: str
) -> None:
    world.sim.mode, world.bot.answers = "encrypted", [answer(world.sim)]
    assert (await world.sim.say("ann", "hi")).reason.startswith(f"malformed: {reason}")
    assert world.screen() == [("notice", NOTICE)]


async def test_success_stays_in_clear_in_an_encrypted_account(world: World) -> None:
    world.sim.mode = "encrypted"
    assert (await world.sim.say("ann", "hi")).reason == ""
    assert world.screen() == []
