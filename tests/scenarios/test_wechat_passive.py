"""Accounts that may only answer in the response to WeChat's call: three calls, and a page for the rest."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from chatferry.clock import SystemClock
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_crypto import signature
from chatferry.simulator.wechat_people import xml
from chatferry.simulator.wechat_records import Seen
from tests.scenarios.support import ended, state
from tests.scenarios.wechat_support import (
    HOLD,
    SEND,
    WORDS,
    World,
    earlier,
    event,
    later,
    link,
    page,
    rest,
    together,
    wechat_world,
)
from tests.stack import gateway_on
from tests.web.opening import reading


async def too_late(world: World, who: str = "ann", words: str = "one") -> str:
    """A question whose answer waits beyond the third call; returns the link that the person got."""
    world.slow()
    saying = await world.says(who, words)
    await world.passes(10 + HOLD)
    assert saying.reasons == ["timeout", "timeout", ""]
    told = world.seen(who)[-1]
    assert (told.via, told.call, told.text) == ("passive", 3, later(told.text))
    return link(told.text)


# ── the fifteen seconds ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("seconds", "call"), [(1, 1), (6, 2), (12, 3)])
async def test_an_answer_goes_out_in_the_call_that_is_open(tmp_path: Path, seconds: float, call: int) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        world.slow()
        saying = await world.says("ann", "how far is the moon?")
        await world.passes(seconds)
        await world.thinking()
        world.model.release.set()
        await saying.over()
        [seen] = world.seen()
        assert (seen.via, seen.call, seen.text) == ("passive", call, "echo: how far is the moon?")
        assert saying.reasons == ["timeout"] * (call - 1) + [""]
        assert len(world.model.requests) == 1


async def test_an_answer_that_takes_longer_appears_on_a_page(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        url = await too_late(world)
        assert (await page(url)).state == "growing"
        await world.passes(40 - 10 - HOLD)
        await world.answers(gateway)
        assert await page(url) == (200, "done", "echo: one")
        await state(gateway, 1, "done")
        assert len(world.screen()) == len(world.model.requests) == 1


async def test_an_answer_that_was_read_on_its_page_does_not_come_again(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        url = await too_late(world)
        await world.answers(gateway)
        assert (await page(url)).state == "done"
        await state(gateway, 1, "done")
        await world.say("ann", "two")
        assert world.screen()[1:] == ["echo: two"]


async def test_an_answer_that_grew_on_its_page_before_somebodys_eyes_does_not_come_again(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        async with reading(await too_late(world)) as reader:
            await reader.next()
            await world.thinking()
            world.model.release.set()
            await reader.all()
            assert reader.state == "done"
        await state(gateway, 1, "done")
        await world.say("ann", "two")
        assert world.screen()[1:] == ["echo: two"]


@pytest.mark.parametrize("looked", [False, True])
async def test_an_answer_that_nobody_read_comes_ahead_of_the_next(tmp_path: Path, looked: bool) -> None:
    """Who looked too early has not read it."""
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        url = await too_late(world)
        if looked:
            assert (await page(url)).state == "growing"
        await world.answers(gateway)
        await world.say("ann", "two")
        assert world.screen()[1:] == [together(earlier("echo: one"), "echo: two")]
        assert world.asked() == ["one", "echo: one", "two"]
        await world.say("ann", "three")
        assert world.screen()[2:] == ["echo: three"]
        assert {entry.state for entry in await ended(gateway, 3)} == {"done"}


async def test_several_answers_that_nobody_read_come_in_their_order(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        for turn, words in enumerate(("one", "two"), 1):
            world.slow()
            saying = await world.says("ann", words)
            await world.passes(10 + HOLD)
            await saying.over()
            if turn == 1:
                await world.answers(gateway)
        first, second = world.screen()
        assert first == later(first)
        assert second == together(earlier("echo: one"), later(second))
        await world.answers(gateway, 2)
        await world.say("ann", "three")
        assert world.screen()[2:] == [together(earlier("echo: two"), "echo: three")]


@pytest.mark.long
async def test_seconds_of_the_machine_do_as_well(tmp_path: Path) -> None:
    """All of it on a real clock: two seconds stand for five, and people write all at once."""
    wechat = WeChatSimulator(verified=False, limit=2.0, gap=2.0)
    words = {"ann": 3, "bob": 13, "cyd": 23, "dan": 42}
    async with wechat_world(tmp_path, wechat=wechat, channel={"hold": 1.4, "limit": 2.0}) as world:
        wechat.clock = clock = SystemClock()
        world.model.rate = 5.0  # words each second
        world.model.reply = lambda asked: " ".join([asked] * words[asked])
        async with gateway_on(world.settings, clock) as (gateway, url, _):
            wechat.webhook = f"{url}/hooks/wechat"
            start = time.monotonic()
            await asyncio.gather(*(wechat.say(name, name) for name in words))
            assert time.monotonic() - start < 8.0, "nobody waits for the slowest answer"
            for call, name in enumerate(("ann", "bob", "cyd"), 1):
                [seen] = world.seen(name)
                assert (seen.via, seen.call, seen.text) == ("passive", call, world.model.reply(name))
            [told] = world.seen("dan")
            assert (told.via, told.call, told.text) == ("passive", 3, later(told.text))
            assert (await page(link(told.text))).state == "growing"
            await ended(gateway, 4)
            assert await page(link(told.text)) == (200, "done", world.model.reply("dan"))
            assert len(world.model.requests) == 4


@pytest.mark.parametrize("fraction", [0.0, 0.4, 0.9])
async def test_the_second_of_short_calls_is_not_taken_for_the_last(tmp_path: Path, fraction: float) -> None:
    """WeChat tells whole seconds, which may be longer ago than a call takes where that is set."""
    wechat = WeChatSimulator(verified=False, limit=0.5, gap=0.5)
    async with wechat_world(tmp_path, wechat=wechat, channel={"hold": 0.45, "limit": 0.5}) as world, world.gateway():
        world.clock.advance(fraction)
        world.slow()
        saying = await world.says("ann", "one")
        for call in (1, 2):
            saying.call = call
            await world.taken(saying)
            world.clock.advance(0.46)
            await asyncio.wait([saying.task], timeout=0.1)  # as long as it would have to answer
            world.clock.advance(0.1)
            await world.until(lambda call=call: len(saying.delivery.attempts) == call)  # type: ignore[misc]
        await world.thinking()
        world.model.release.set()
        await saying.over()
        assert [(one.call, one.text) for one in world.seen()] == [(3, "echo: one")]


# ── several messages ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_second_message_is_queued_and_answered_in_a_call_of_its_own(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        world.slow(2)
        one = await world.says("ann", "one")
        await world.passes(2)
        two = await world.says("ann", "two")
        await world.passes(5)
        await world.thinking()
        world.model.release.set()
        await one.over()
        await world.passes(3)
        await world.thinking()
        world.model.release.set()
        await two.over()
        assert [(seen.text, seen.call) for seen in world.seen()] == [("echo: one", 2), ("echo: two", 2)]
        assert len(world.model.requests) == 2
        assert world.asked() == ["one", "echo: one", "two"]


async def test_the_second_messages_response_brings_the_first_ones_answer_and_the_link(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        world.slow(2)
        one = await world.says("ann", "one")
        await world.passes(2)
        two = await world.says("ann", "two")
        await world.passes(14)
        await one.over()
        await world.answers(gateway)
        await world.passes(0.5)
        await two.over()
        first, second = world.screen()
        assert first == later(first)
        assert second == together(earlier("echo: one"), later(second))
        assert link(first) != link(second)
        await world.answers(gateway, 2)
        assert (await page(link(second))).answer == "echo: two"
        assert len(world.model.requests) == 2


async def test_while_the_first_answer_is_not_there_the_second_message_has_a_link_too(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        world.slow(2)
        await world.says("ann", "one")
        await world.passes(2)
        await world.says("ann", "two")
        await world.passes(12 + HOLD)
        first, second = world.screen()
        assert (first, second) == (later(first), later(second))
        assert (await page(link(second))).state == "waiting"
        await world.answers(gateway, 1)
        await world.answers(gateway, 2)
        await world.say("ann", "three")
        assert world.screen()[2:] == [together(earlier("echo: one"), earlier("echo: two"), "echo: three")]


# ── long answers ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_that_just_fits_has_no_link(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        world.model.reply = lambda _: "好" * 682 + "a!"
        await world.say("ann", "one")
        assert world.screen() == ["好" * 682 + "a!"]
        assert len(world.screen()[0].encode()) == 2048


@pytest.mark.parametrize("answer", ["好" * 682 + "ab!", "好，" * 3000], ids=["a byte", "much"])
async def test_what_does_not_fit_is_on_the_page(tmp_path: Path, answer: str) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        world.model.reply = lambda asked: answer if asked == "one" else "short"
        await world.say("ann", "one")
        [said] = world.screen()
        begins, more = said.split("\n\n")
        assert more == rest(said)
        assert answer.startswith(begins)
        assert 1500 < len(said.encode()) <= 2048
        assert (await page(link(said))).answer == answer
        await state(gateway, 1, "done")
        await world.say("ann", "two")
        assert world.screen()[1:] == ["short"]


async def test_code_is_cut_between_its_lines_and_whole_on_the_page(tmp_path: Path) -> None:
    lines = [f"print({number})  # 第{number}行" for number in range(200)]
    async with wechat_world(tmp_path) as world, world.gateway():
        world.model.reply = lambda _: "这样写：\n\n```python\n" + "\n".join(lines) + "\n```\n\n就好。"
        await world.say("ann", "one")
        [said] = world.screen()
        begins, more = said.rsplit("\n\n", 1)
        assert more == rest(said)
        shown = [line.strip() for line in begins.splitlines() if "print" in line]
        assert len(shown) > 30
        assert shown == lines[: len(shown)]
        assert "```" not in said  # WeChat shows no Markdown
        whole = (await page(link(said))).answer
        assert all(line in whole for line in lines)
        assert whole.endswith("就好。")


async def test_a_long_answer_that_nobody_read_leaves_room_for_the_next(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        world.model.reply = lambda asked: "长" * 3000 if asked == "one" else f"echo: {asked}"
        url = await too_late(world)
        await world.answers(gateway)
        await world.say("ann", "two")
        said = world.screen()[1]
        assert said.startswith(earlier("长长长"))
        assert said.endswith(together(rest(said), "echo: two"))
        assert len(said.encode()) <= 2048
        assert (await page(url)).answer == (await page(link(said))).answer == "长" * 3000
        await world.say("ann", "three")
        assert world.screen()[2:] == ["echo: three"]


# ── encryption, and who is not WeChat ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["compatible", "encrypted"])
async def test_encrypted_accounts_end_to_end(tmp_path: Path, mode: str) -> None:
    wechat = WeChatSimulator(verified=False, mode=mode)  # type: ignore[arg-type]  # parametrized
    async with (
        wechat_world(tmp_path, wechat=wechat, channel={"aes_key": SecretStr(wechat.aes_key)}) as world,
        world.gateway() as gateway,
    ):
        assert await wechat.check()
        await world.say("ann", "明文")
        delivery = await world.say("ann", "/help")
        assert "<Encrypt>" in delivery.attempts[0].body.decode()
        url = await too_late(world, words="two")
        await world.answers(gateway, 3)
        await world.say("ann", "three")
        assert world.screen()[0] == "echo: 明文"
        assert world.screen()[1].startswith(WORDS.help)
        assert world.screen()[3:] == [together(earlier("echo: two"), "echo: three")]
        assert (await page(url)).answer == "echo: two"


async def test_the_address_is_checked_by_its_signature(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        assert await world.wechat.check()
        world.wechat.token = "another-token"
        assert not await world.wechat.check()


async def test_who_cannot_sign_is_refused_and_what_cannot_be_read_too(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway, aiohttp.ClientSession() as http:
        good = xml(event(world.wechat, "ann", "subscribe", EventKey="")).encode()
        signed = {"timestamp": "1", "nonce": "2", "signature": signature(world.wechat.token, "1", "2")}
        bombs = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><xml><MsgType>&a;</MsgType></xml>'
        deep = b"<xml>" + b"<a>" * 50_000
        for query, body, status in [
            (signed | {"signature": "0" * 40}, good, 403),
            ({}, good, 403),
            (signed | {"nonce": "3"}, good, 403),
            (signed, b"", 400),
            (signed, b"{}", 400),
            (signed, b"\xff\xfe", 400),
            (signed, b"<xml><ToUserName>", 400),
            (signed, b"<xml></xml>", 400),
            (signed, bombs, 400),
            (signed, deep, 400),
            (signed, good + b" " * 300_000, 413),
        ]:
            async with http.post(world.wechat.webhook, params=query, data=body) as answer:
                assert answer.status == status, (query, body[:60])
        assert await gateway.ledger.entries() == []


# ── what platforms do ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_platform_that_hangs_up_early_gets_the_answer_in_its_next_call(tmp_path: Path) -> None:
    wechat = WeChatSimulator(verified=False, limit=2.0)
    async with wechat_world(tmp_path, wechat=wechat) as world, world.gateway() as gateway:
        world.slow()
        saying = await world.says("ann", "one")
        world.clock.advance(2.0)
        await world.until(lambda: saying.delivery.attempts)
        await world.answers(gateway)
        world.clock.advance(3.0)
        await saying.over()
        [seen] = world.seen()
        assert (seen.text, seen.call) == ("echo: one", 2)
        assert len(world.model.requests) == 1


async def test_what_was_answered_is_answered_the_same_if_the_platform_asks_again(tmp_path: Path) -> None:
    """Its call had been cut off just as we answered, so that nobody has seen it."""
    async with wechat_world(tmp_path) as world, world.gateway():
        first = await world.say("ann", "one")
        again = await world.wechat.deliver(first.fields)
        assert again.attempts[0].body.replace(b" ", b"") == first.attempts[0].body.replace(b" ", b"")
        assert len(world.model.requests) == 1


async def test_many_people_with_a_slow_model_are_all_answered(tmp_path: Path) -> None:
    people = [f"person {number}" for number in range(50)]
    async with wechat_world(tmp_path) as world, world.gateway():
        world.slow(len(people))
        sayings = [await world.says(name, name) for name in people]
        await world.passes(12)
        await world.until(lambda: world.model.connections == len(people))
        world.model.release.set()
        for saying in sayings:
            await saying.over()
        for name in people:
            [seen] = world.seen(name)
            assert (seen.via, seen.call, seen.text) == ("passive", 3, f"echo: {name}")
        assert len(world.model.requests) == len(people)


async def test_what_we_do_not_know_is_taken_in_silence(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        wechat = world.wechat
        for kind in ("TEMPLATESENDJOBFINISH", "VIEW", "LOCATION", "kf_create_session"):
            delivery = await wechat.deliver(event(wechat, "ann", kind, EventKey="x", Status="success"))
            assert [attempt.body for attempt in delivery.attempts] == [b"success"]
        fields = event(wechat, "ann", "") | {"MsgType": "hologram", "MsgId": 1}
        assert [attempt.body for attempt in (await wechat.deliver(fields)).attempts] == [b"success"]
        assert (world.seen(), await gateway.ledger.entries()) == ([], [])


async def test_nothing_is_called_that_the_account_may_not(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        await world.say("ann", "one")
        assert world.wechat.calls == []
        seen: list[Seen] = world.seen()
        assert [one.via for one in seen] == ["passive"]
        assert world.calls(SEND) == []
