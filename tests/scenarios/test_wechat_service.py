"""Accounts that may send: WeChat's call is answered at once, and the answer follows as customer-service messages."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatferry.gateway import Gateway
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_records import Fault
from tests.scenarios.support import ended, until
from tests.scenarios.wechat_support import (
    HOLD,
    SEND,
    STABLE,
    TYPING,
    WORDS,
    World,
    event,
    later,
    link,
    page,
    rest,
    turn,
    wechat_world,
)


def verified() -> WeChatSimulator:
    return WeChatSimulator(verified=True)


def chapters(letters: str) -> str:
    """A long answer: each letter is a paragraph that fills a message of its own."""
    return "\n\n".join(letter * 2048 for letter in letters)


# ── an account that may send ─────────────────────────────────────────────────────────────────────────────────────


async def test_the_call_is_answered_at_once_and_the_answer_follows(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.slow()
        delivery = await world.say("ann", "one")
        assert [attempt.body for attempt in delivery.attempts] == [b"success"]
        await world.until(lambda: world.wechat.typing("ann"))
        await world.passes(40)
        assert world.seen() == []
        await world.answers(gateway, 1, "done")
        [seen] = world.seen()
        assert (seen.via, seen.text) == ("custom", "echo: one")
        assert not world.wechat.typing("ann")
        assert len(world.model.requests) == 1


async def test_typing_is_shown_for_as_long_as_wechat_lets_us(tmp_path: Path) -> None:
    """Not while it shows already, and not long after a person's last word."""
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.slow()
        await world.say("ann", "one")
        await world.thinking()
        await until(lambda: 45080 in {call.errcode for call in world.calls(TYPING) if call.status}, world.clock)
        shown = [call.errcode for call in world.calls(TYPING)]
        assert set(shown) == {0, 45080}
        assert shown[0] == 0
        world.model.release.set()
        await turn(gateway, 1, "done")
        assert world.screen() == ["echo: one"]


async def test_what_fits_the_allowance_comes_whole(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.model.reply = lambda _: chapters("abcde")
        await world.say("ann", "one")
        await turn(gateway, 1, "done")
        assert world.screen() == [letter * 2048 for letter in "abcde"]
        assert world.wechat.allowance("ann") == 0


async def test_the_last_message_of_the_allowance_tells_where_the_rest_is(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.model.reply = lambda asked: chapters("abcdefgh") if asked == "one" else "short"
        await world.say("ann", "one")
        await turn(gateway, 1, "done")
        *whole, last = world.screen()
        assert whole == [letter * 2048 for letter in "abcd"]
        assert last.startswith("eeee")
        assert last.endswith(rest(last))
        assert len(last.encode()) <= 2048
        assert (await page(link(last))).answer.split() == [letter * 2048 for letter in "abcdefgh"]
        await world.say("ann", "two")
        await turn(gateway, 2, "done")
        assert world.screen()[5:] == ["short"]


async def test_an_answer_for_which_there_is_no_leave_comes_with_the_next_message(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.wechat.fail(SEND, Fault(errcode=45047))
        with capture_logs() as logged:
            await world.say("ann", "one")
            await turn(gateway, 1, "parked")
            assert world.seen() == []
            await world.say("ann", "two")
            await turn(gateway, 2, "done")
        told = [line["event"] for line in logged if line["event"] in ("answer waits to be fetched", "turn closed")]
        assert told[0] == "answer waits to be fetched"
        assert world.screen() == ["echo: one", "echo: two"]
        assert {entry.state for entry in await ended(gateway, 2)} == {"done"}
        assert len(world.model.requests) == 2


async def test_an_answer_whose_allowance_ends_in_its_middle_goes_on_with_the_next_message(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.model.reply = lambda asked: chapters("abcd") if asked == "one" else "short"
        world.wechat.fail(SEND, Fault(), Fault(), Fault(errcode=45047))
        await world.say("ann", "one")
        await turn(gateway, 1, "parked")
        assert world.screen() == ["a" * 2048, "b" * 2048]
        await world.say("ann", "two")
        await turn(gateway, 2, "done")
        assert world.screen()[2:] == ["c" * 2048, "d" * 2048, "short"]


async def test_an_answer_that_was_read_on_its_page_needs_no_leave(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.wechat.fail(SEND, Fault(errcode=45047))
        await world.say("ann", "one")
        entry = await turn(gateway, 1, "parked")
        url = gateway.links.answer(entry.id, world.clock.now())
        assert url
        assert (await page(url)).answer == "echo: one"
        await turn(gateway, 1, "done")
        await world.say("ann", "two")
        await turn(gateway, 2, "done")
        assert world.screen() == ["echo: two"]


# ── tokens and faults ────────────────────────────────────────────────────────────────────────────────────────────


async def slowly(world: World, gateway: Gateway, place: int) -> None:
    """A question is answered while typing shows, so that the token is asked for before it is needed."""
    world.slow()
    await world.say("ann", f"{place}")
    await world.until(lambda: world.wechat.typing("ann"))
    await world.answers(gateway, place, "done")
    assert world.screen()[-1] == f"echo: {place}"


async def test_one_token_does_for_many_messages_and_for_the_next_process(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world:
        for places in ((1, 2), (3,)):
            async with world.gateway() as gateway:
                for place in places:
                    await slowly(world, gateway, place)
        assert len(world.calls(STABLE)) == 1


async def test_a_token_that_was_taken_back_is_renewed_once(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        await slowly(world, gateway, 1)
        world.wechat.tokens.revoke()
        await slowly(world, gateway, 2)
        assert [call.errcode for call in world.calls(TYPING)] == [0, 40001, 0]
        assert [call.errcode for call in world.calls(SEND)] == [0, 0]
        assert len(world.calls(STABLE)) == 2


async def test_a_token_that_is_taken_back_just_before_the_answer_is_renewed_and_the_answer_comes_once(
    tmp_path: Path,
) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.slow()
        await world.say("ann", "one")
        await world.until(lambda: world.wechat.typing("ann"))
        world.wechat.tokens.revoke()
        await world.answers(gateway, 1, "done")
        assert [call.errcode for call in world.calls(SEND)] == [40001, 0]
        assert world.screen() == ["echo: one"]
        assert len(world.calls(STABLE)) == 2


async def test_a_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        await slowly(world, gateway, 1)
        world.clock.advance(7200 - 120)
        await slowly(world, gateway, 2)
        assert {call.errcode for call in world.calls(SEND) + world.calls(TYPING)} == {0}
        assert len(world.calls(STABLE)) == 2


@pytest.mark.parametrize("fault", [Fault(errcode=-1), Fault(errcode=45011), Fault(status=502), Fault(drop=True)])
async def test_what_passes_is_tried_again(tmp_path: Path, fault: Fault) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.wechat.fail(SEND, fault)
        await world.say("ann", "one")
        await ended(gateway, 1, world.clock, turn=1.0)
        assert world.screen() == ["echo: one"]
        assert len(world.model.requests) == 1


async def test_an_answer_whose_sending_is_in_doubt_is_there_at_least_once(tmp_path: Path) -> None:
    """Nobody can tell a message that was sent from one that was not: rather twice than never, and the log says so."""
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.wechat.fail(SEND, Fault(drop=True, done=True))
        with capture_logs() as logs:
            await world.say("ann", "one")
            await ended(gateway, 1, world.clock, turn=0.5)
        assert world.screen() == ["echo: one"] * 2
        assert len(world.model.requests) == 1
        assert [line["pieces"] for line in logs if line["event"] == "sent twice, perhaps"] == [[1]]


async def test_so_is_one_whose_process_ended_while_it_was_sent(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world:
        gate = asyncio.Event()
        world.wechat.fail(SEND, Fault(gate=gate, drop=True, done=True))
        async with world.gateway():
            await world.say("ann", "one")
            await world.until(lambda: len(world.calls(SEND)) == 1)
        gate.set()
        await world.wechat.seen("ann", 1)
        with capture_logs() as logs:
            async with world.gateway() as gateway:
                await ended(gateway, 1, world.clock)
        assert world.screen() == ["echo: one"] * 2
        assert [line["pieces"] for line in logs if line["event"] == "sent twice, perhaps"] == [[1]]


async def test_who_unsubscribed_meanwhile_gets_nothing_and_blocks_nobody(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified()) as world, world.gateway() as gateway:
        world.slow()
        await world.say("ann", "one")
        await world.thinking()
        delivery = await world.wechat.unsubscribe("ann")
        assert [attempt.body for attempt in delivery.attempts] == [b"success"]
        world.model.release.set()
        await turn(gateway, 1, "parked")
        await world.say("bob", "two")
        await turn(gateway, 2, "done")
        assert (world.screen(), world.screen("bob")) == ([], ["echo: two"])


# ── which of the two it is, is found out ─────────────────────────────────────────────────────────────────────────


async def test_an_account_that_may_not_send_is_found_out_with_its_first_message(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, channel={"mode": "auto"}) as world:
        async with world.gateway():
            await world.say("ann", "one")
            [seen] = world.seen()
            assert (seen.via, seen.call, seen.text) == ("passive", 1, "echo: one")
            assert [call.errcode for call in world.calls(SEND)] == [48001]
            await world.say("ann", "two")
        async with world.gateway():
            await world.say("bob", "three")
            assert world.screen() == ["echo: one", "echo: two"]
            assert world.screen("bob") == ["echo: three"]
        assert len(world.calls(SEND)) == 1
        assert [one.via for one in world.seen() + world.seen("bob")] == ["passive"] * 3


async def test_a_slow_first_answer_of_such_an_account_comes_in_a_later_call(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, channel={"mode": "auto"}) as world, world.gateway():
        world.slow()
        saying = await world.says("ann", "one")
        await world.passes(6)
        await world.thinking()
        world.model.release.set()
        await saying.over()
        assert [(one.via, one.call, one.text) for one in world.seen()] == [("passive", 2, "echo: one")]
        assert len(world.calls(SEND)) == 1


async def test_where_it_cannot_be_found_out_answers_come_in_the_response(tmp_path: Path) -> None:
    """Else one that can never ask WeChat would hold up whatever a person asks next, for an hour."""
    async with wechat_world(tmp_path, channel={"mode": "auto", "api_base": "http://127.0.0.1:9"}) as world:
        async with world.gateway():
            await world.say("ann", "one")
            await world.say("ann", "two")
        assert [(one.via, one.call, one.text) for one in world.seen()] == [
            ("passive", 1, "echo: one"), ("passive", 1, "echo: two"),
        ]  # fmt: skip


async def test_an_account_that_may_send_is_found_out_with_its_first_message(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=verified(), channel={"mode": "auto"}) as world, world.gateway() as gateway:
        delivery = await world.say("ann", "one")
        assert [attempt.body for attempt in delivery.attempts] == [b"success"]
        await turn(gateway, 1, "done")
        world.slow()
        delivery = await world.say("ann", "two")
        assert [attempt.body for attempt in delivery.attempts] == [b"success"]
        await world.until(lambda: world.wechat.typing("ann"))
        await world.answers(gateway, 2, "done")
        assert [(one.via, one.text) for one in world.seen()] == [("custom", "echo: one"), ("custom", "echo: two")]


async def test_a_slow_first_answer_of_such_an_account_is_said_once(tmp_path: Path) -> None:
    """The third call has the link already when the answer can be sent."""
    async with wechat_world(tmp_path, wechat=verified(), channel={"mode": "auto"}) as world, world.gateway() as gateway:
        world.slow()
        saying = await world.says("ann", "one")
        await world.passes(10 + HOLD)
        await saying.over()
        assert world.screen() == [later(world.screen()[0])]
        await world.answers(gateway, 1, "done")
        assert world.screen()[1:] == ["echo: one"]
        await world.say("ann", "two")
        await turn(gateway, 2, "done")
        assert world.screen()[2:] == ["echo: two"]


# ── what people do besides writing ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("may_send", [False, True])
async def test_whoever_subscribes_is_greeted(tmp_path: Path, may_send: bool) -> None:
    wechat = WeChatSimulator(verified=may_send)
    async with wechat_world(tmp_path, wechat=wechat) as world, world.gateway() as gateway:
        await wechat.subscribe("ann")
        await wechat.subscribe("bob", "poster")
        await ended(gateway, 2)
        await world.until(lambda: world.seen() and world.seen("bob"))
        assert world.screen() == world.screen("bob") == [WORDS.greeting]
        assert world.seen()[0].via == ("custom" if may_send else "passive")
        assert world.model.requests == []


async def test_a_greeting_of_ones_own_or_none(tmp_path: Path) -> None:
    for number, greeting in enumerate(("欢迎光临", "")):
        (folder := tmp_path / str(number)).mkdir()
        assistants = {"default": {"greeting": greeting}}
        async with wechat_world(folder, assistants=assistants) as world, world.gateway():
            delivery = await world.wechat.subscribe("ann")
            assert world.screen() == ([greeting] if greeting else [])
            assert greeting or delivery.attempts[0].body == b"success"


async def test_who_leaves_and_who_scans_is_owed_nothing(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        for delivery in (await world.wechat.scan("ann", "poster"), await world.wechat.unsubscribe("ann")):
            assert [attempt.body for attempt in delivery.attempts] == [b"success"]
        assert (world.seen(), await gateway.ledger.entries()) == ([], [])


@pytest.mark.parametrize("may_send", [False, True])
async def test_the_menu_is_a_command_or_a_question(tmp_path: Path, may_send: bool) -> None:
    menu = {"HELP": "/help", "PAST": "/history", "MOON": "how far is the moon?", "NONE": ""}
    wechat = WeChatSimulator(verified=may_send)
    async with wechat_world(tmp_path, wechat=wechat, channel={"menu": menu}) as world, world.gateway() as gateway:
        for place, key in enumerate(("HELP", "PAST", "MOON"), 1):
            await wechat.click("ann", key)
            await turn(gateway, place, "done")
        for key in ("NONE", "UNKNOWN"):
            delivery = await wechat.click("ann", key)
            assert [attempt.body for attempt in delivery.attempts] == [b"success"]
        told, past, moon = world.screen()
        assert told.startswith(WORDS.help)
        assert past == WORDS.history_here.replace("{link}", link(past, "h"))
        assert moon == "echo: how far is the moon?"
        assert [request.body["messages"][-1]["content"] for request in world.model.requests] == [menu["MOON"]]


async def test_a_tap_on_the_menu_lets_us_send_three_messages(tmp_path: Path) -> None:
    menu = {"menu": {"ALL": "all"}}
    async with wechat_world(tmp_path, wechat=verified(), channel=menu) as world, world.gateway() as gateway:
        world.model.reply = lambda _: chapters("abcdefgh")
        await world.wechat.click("ann", "ALL")
        await turn(gateway, 1, "done")
        *whole, last = world.screen()
        assert whole == ["a" * 2048, "b" * 2048]
        assert last.endswith(rest(last))


async def test_what_is_no_text_reaches_the_model_in_words(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        wechat = world.wechat
        await wechat.image("ann")
        await wechat.voice("bob", recognition="今天天气怎么样？")
        await wechat.voice("cyd", recognition="")
        await wechat.voice("dan")
        await wechat.video("eve")
        await wechat.video("fay", kind="shortvideo")
        await wechat.location("gus", 23.134521, 113.358803, "广州市天河区")
        await wechat.link("hal", "标题", "https://example.com/a", "简介")
        said = [world.asked(request) for request in range(len(world.model.requests))]
        assert said == [
            [WORDS.image],
            ["今天天气怎么样？"],
            [WORDS.audio],
            [WORDS.audio],
            [WORDS.video],
            [WORDS.video],
            [WORDS.location.replace("{text}", "广州市天河区, 23.134521, 113.358803")],
            ["标题\n简介\nhttps://example.com/a"],
        ]
        assert world.screen("gus") == [f"echo: {said[6][0]}"]


async def test_an_event_that_comes_again_is_one_event(tmp_path: Path) -> None:
    """Events have no number."""
    menu = {"menu": {"MOON": "moon"}}
    async with wechat_world(tmp_path, wechat=verified(), channel=menu) as world, world.gateway() as gateway:
        fields = event(world.wechat, "ann", "CLICK", EventKey="MOON")
        for _ in range(3):
            await world.wechat.deliver(fields)
        assert len(await ended(gateway, 1)) == len(world.model.requests) == 1
