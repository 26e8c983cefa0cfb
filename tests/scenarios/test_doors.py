"""Who is let in, on every channel: lists, a code, and how long a message may be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from chatferry.config import LimitSettings
from chatferry.simulator import line_people
from chatferry.simulator.slack_people import BOT
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.words import words
from tests.scenarios.slack_support import slack_world
from tests.scenarios.support import CLUB, ended, screen, texts, world
from tests.scenarios.test_forget import everything
from tests.scenarios.wechat_support import wechat_world

pytestmark = pytest.mark.usefixtures("layout")

EN, CN = words("en"), words("zh-CN")
ANN, BOB = (line_people.address("U", name) for name in ("ann", "bob"))
CODE: dict[str, Any] = {"first_contact": "code", "code": SecretStr("heron-tea-2026")}


def doors(it: Any, name: str, **settings: Any) -> None:
    """The operator sets them for a channel."""
    channels = dict(it.settings.channels)
    channels[name] = channels[name].model_copy(update=settings)
    it.settings = it.settings.model_copy(update={"channels": channels})


# ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_is_denied_is_told_once_and_nothing_of_theirs_is_kept(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"deny": (ANN,), "denied": "Not here, sorry."}) as it, it.gateway() as gateway:
        for n in range(3):
            await it.line.say("ann", f"heron {n}")
        await it.line.say("bob", "hello")
        await ended(gateway, 2, it.clock)
        assert screen(it.line, "ann") == ["Not here, sorry."]
        assert screen(it.line, "bob") == ["echo: hello"]
        assert "heron" not in await everything(gateway, tmp_path)


async def test_where_some_are_allowed_nobody_else_is_answered(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"allow": (ANN, CLUB), "groups": "all"}) as it, it.gateway() as gateway:
        await it.line.say("bob", "hello")
        await it.line.say("bob", "in the club", group="club")
        await it.line.say("bob", "in the pub", group="pub")
        await it.line.say("ann", "hello")
        await ended(gateway, 2, it.clock)
        assert screen(it.line, "ann") == ["echo: hello"]
        assert screen(it.line, "bob") == []
        assert texts(it.line.chats[CLUB]) == ["echo: in the club"]
        assert len(it.model.requests) == 2


# ── the code ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stranger_on_line_is_asked_for_the_code_and_is_in_with_it(tmp_path: Path) -> None:
    async with world(tmp_path, channel={**CODE, "groups": "all"}) as it, it.gateway() as gateway:
        await it.line.say("ann", "heron", group="club")
        await it.line.say("ann", "heron again", group="club")
        await it.line.say("ann", "heron?")
        await it.line.say("ann", "heron-coffee")
        again = await it.line.say("ann", "Heron-Tea-2026 ")
        await it.line.deliver(again.events, redelivery=True)
        await it.line.say("ann", "hello")
        await it.line.say("ann", "and here", group="club")
        await it.line.say("bob", "me too", group="club")
        await it.line.say("bob", "and alone?")
        await ended(gateway, 8, it.clock)
        told = [EN.code_ask, EN.code_wrong, EN.code_right, "echo: hello"]
        assert sorted(screen(it.line, "ann")) == sorted(told)
        assert texts(it.line.chats[CLUB])[0] == EN.code_group
        assert texts(it.line.chats[CLUB])[1:] == ["echo: and here", "echo: me too"]
        assert screen(it.line, "bob") == [EN.code_ask]
        kept = await everything(gateway, tmp_path)
        assert "heron" not in kept.lower().replace("heron-tea", ""), "nothing of a stranger's words"
        assert "heron-tea" not in kept.lower()


async def test_the_code_cannot_be_found_by_guessing_and_two_at_once_are_asked_once(tmp_path: Path) -> None:
    async with world(tmp_path, channel=CODE) as it, it.gateway() as gateway:
        await asyncio.gather(*[it.line.say("ann", f"guess {n}") for n in range(10)])
        await it.line.say("ann", "heron-tea-2026")
        await ended(gateway, 7, it.clock)
        pause = EN.code_pause.replace("{time}", "12 minutes")
        assert sorted(screen(it.line, "ann")) == sorted([EN.code_ask, *[EN.code_wrong] * 5, pause])
        it.clock.advance(720.0)
        await it.line.say("ann", "heron-tea-2026")
        await ended(gateway, 8, it.clock)
        assert screen(it.line, "ann")[-1] == EN.code_right


async def test_whoever_is_expelled_stays_out_and_whoever_is_admitted_needs_no_code(tmp_path: Path) -> None:
    async with world(tmp_path, channel=CODE) as it, it.gateway() as gateway:
        await gateway.ledger.stand(f"line:{ANN}", "out")
        await gateway.ledger.stand(f"line:{BOB}", "in")
        await it.line.say("ann", "heron-tea-2026")
        await it.line.say("bob", "hello")
        await ended(gateway, 1, it.clock)
        assert (screen(it.line, "ann"), screen(it.line, "bob")) == ([], ["echo: hello"])


@pytest.mark.parametrize("door", [CODE, {"deny": ("U0",), "denied": "Not here, sorry."}])
async def test_a_group_that_is_expelled_stays_out_whoever_speaks_in_it(tmp_path: Path, door: dict[str, Any]) -> None:
    async with world(tmp_path, channel={**door, "groups": "all"}) as it, it.gateway() as gateway:
        await gateway.ledger.stand(f"line:{BOB}", "in")
        await gateway.ledger.stand(f"line:{CLUB}", "out")
        await it.line.say("bob", "hello", group="club")
        await it.line.say("bob", "hello")
        await ended(gateway, 1, it.clock)
        assert (texts(it.line.chats[CLUB]), screen(it.line, "bob")) == ([], ["echo: hello"])


async def test_on_slack_a_stranger_says_the_code_in_a_direct_message(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as it:
        doors(it, "slack", **CODE)
        async with it.gateway() as gateway:
            first = await it.slack.say("ann", "hello")
            second = await it.slack.say("ann", "heron-tea-2026")
            third = await it.slack.say("ann", "who are you?")
            await ended(gateway, 3, it.clock)
            said = [
                [post.markdown for post in it.thread("ann", ts) if post.user == BOT] for ts in (first, second, third)
            ]
            assert said == [[EN.code_ask], [EN.code_right], ["echo: who are you?"]]


@pytest.mark.parametrize("verified", [False, True])
async def test_on_wechat_too_in_the_response_or_by_messages(tmp_path: Path, verified: bool) -> None:
    async with wechat_world(tmp_path, wechat=WeChatSimulator(verified=verified)) as it:
        doors(it, "wechat", **CODE)
        async with it.gateway() as gateway:
            for n, said in enumerate(("你好", "heron-tea-2026", "在吗")):
                await it.say("ann", said)
                await ended(gateway, n + 1, it.clock)
            assert it.screen("ann") == [CN.code_ask, CN.code_right, "echo: 在吗"]


# ── how much ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_message_that_is_too_long_is_told_so_and_not_kept(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"limits": {"message": 100}}) as it, it.gateway() as gateway:
        await it.line.say("ann", "heron " * 50)
        await it.line.say("ann", "x" * 100)
        await ended(gateway, 2, it.clock)
        assert sorted(screen(it.line)) == sorted([EN.too_long.replace("{number}", "100"), f"echo: {'x' * 100}"])
        assert "heron" not in await everything(gateway, tmp_path)


async def test_a_channel_is_limited_as_a_whole_and_each_is_told_once(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.settings = it.settings.model_copy(update={"limits": LimitSettings.model_validate({"channel": "3/m"})})
        async with it.gateway() as gateway:
            for who in ("ann", "bob", "cyd", "ann", "ann", "bob", "dan"):
                await it.line.say(who, "hello")
            await ended(gateway, 6, it.clock)
            slow = EN.slow.replace("{time}", "1 minute")
            assert [sorted(screen(it.line, who)) for who in ("ann", "bob", "cyd", "dan")] == [
                [slow, "echo: hello"], [slow, "echo: hello"], ["echo: hello"], [slow]
            ]  # fmt: skip
