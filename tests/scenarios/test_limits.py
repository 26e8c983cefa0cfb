"""Who asks too fast, on every channel: so many are answered, one kind word, nobody else waits, and then it goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import SecretStr

from chatferry.config import LimitSettings
from chatferry.simulator.line_records import Fault
from chatferry.simulator.model import Break
from chatferry.simulator.slack_people import BOT
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.testing import ManualClock
from chatferry.words import Language, words
from tests.scenarios.asking import ask, client, client_at, is_error, text
from tests.scenarios.slack_support import slack_world
from tests.scenarios.support import CLUB, REPLY, calls, ended, screen, texts, until, world
from tests.scenarios.test_api_socket import frames, put, said, socket
from tests.scenarios.wechat_support import wechat_world
from tests.stack import KEY, running

pytestmark = pytest.mark.usefixtures("layout")


def slow(time: str, language: Language = "en") -> str:
    return words(language).slow.replace("{time}", time)


def limited(it: Any, **limits: str) -> None:
    """The operator sets limits."""
    it.settings = it.settings.model_copy(update={"limits": LimitSettings.model_validate(limits)})


# ── LINE ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_flood_on_line_gets_as_many_answers_as_allowed_and_one_word(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        limited(it, user="10/m")
        async with it.gateway() as gateway:
            it.model.plans.append(Break("hang"))
            await it.line.say("ann", "0")
            await it.model.hanging.wait()
            flood = asyncio.gather(*[it.line.say("ann", str(n)) for n in range(1, 100)])
            await it.line.say("bob", "hello")
            await it.line.seen("bob", 1)
            await flood
            await until(lambda: screen(it.line, "ann"))
            assert screen(it.line, "ann") == [slow("1 minute")], "it goes past the answers that wait"
            assert screen(it.line, "bob") == ["echo: hello"]
            it.model.release.set()
            entries = await ended(gateway, 12)
            assert len(entries) == len({entry.id for entry in entries}) == 12
            assert len(it.model.requests) == 11
            assert len(screen(it.line, "ann")) == 11
            told = gateway.metrics.registry.get_sample_value("chatferry_limited_total", {"channel": "line"})
            assert told == 90.0

            it.clock.advance(60.0)
            await it.line.say("ann", "may I?")
            await ended(gateway, 13)
            assert screen(it.line, "ann")[11:] == ["echo: may I?"]
            assert it.line.used == 0, "nothing of it counted against the quota"


async def test_stop_and_help_work_in_a_pause(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        limited(it, user="1/m")
        async with it.gateway() as gateway:
            it.model.plans.append(Break("hang", after=1))
            await it.line.say("ann", "one")
            await it.model.hanging.wait()
            await it.line.say("ann", "two")
            await it.line.say("ann", "three")
            for command in ("/help", "/stop"):
                await it.line.say("ann", command)
            await ended(gateway, 4)
            assert screen(it.line)[0] == slow("1 minute")
            assert screen(it.line)[1].startswith(words("en").help)
            assert words("en").answer_stopped in screen(it.line)[2:]


async def test_a_group_is_limited_as_one_and_told_once(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"groups": "all", "limits": {"conversation": "2/m"}}) as it:
        limited(it, user="100/m", conversation="50/m")
        async with it.gateway() as gateway:
            for n, who in enumerate(("ann", "bob", "cyd", "dan")):
                await it.line.say(who, f"m{n}", group="club")
            await it.line.say("ann", "alone")
            await ended(gateway, 4)
            assert sorted(texts(it.line.chats[CLUB])) == sorted(["echo: m0", "echo: m1", slow("1 minute")])
            assert screen(it.line, "ann") == ["echo: alone"]


async def test_what_line_delivers_again_is_not_counted(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        limited(it, user="2/m")
        async with it.gateway() as gateway:
            first = await it.line.say("ann", "one")
            for _ in range(5):
                await it.line.deliver(first.events, redelivery=True)
            await it.line.say("ann", "two")
            await it.line.deliver(first.events, redelivery=True)
            await ended(gateway, 2)
            assert screen(it.line) == ["echo: one", "echo: two"]


@pytest.mark.parametrize("carried_out", [True, False])
async def test_the_word_is_said_once_though_the_process_ends_in_the_middle(tmp_path: Path, carried_out: bool) -> None:
    async with world(tmp_path) as it:
        limited(it, user="1/m")
        gate = asyncio.Event()
        async with it.gateway() as gateway:
            await it.line.say("ann", "one")
            await ended(gateway, 1)
            it.line.fail(REPLY, Fault(gate=gate, drop=True, done=carried_out))
            await it.line.say("ann", "two")
            await until(lambda: len(calls(it.line, REPLY)) == 2)
        gate.set()
        if carried_out:
            await it.line.seen("ann", 2)
        async with it.gateway() as gateway:
            await it.line.say("ann", "three")
            await ended(gateway, 2, it.clock)
            assert [entry.state for entry in await gateway.ledger.entries()] == ["done", "done"]
            assert len(screen(it.line)) == 2
            assert screen(it.line)[1].startswith(slow("")[:20])


# ── Slack ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_flood_on_slack_over_many_threads_gets_one_word(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as it:
        limited(it, user="3/m", conversation="100/m")
        async with it.gateway() as gateway:
            threads = [await it.slack.say("ann", f"m{n}") for n in range(8)]
            other = await it.slack.say("bob", "hello")
            await ended(gateway, 5, it.clock, turn=0.01)
            said_ = [[post.markdown for post in it.thread("ann", ts) if post.user == BOT] for ts in threads]
            assert said_ == [[f"echo: m{n}"] for n in range(3)] + [[slow("1 minute")]] + [[]] * 4
            assert [post.markdown for post in it.thread("bob", other)] == ["echo: hello"]
            it.clock.advance(60.0)
            ts = await it.slack.say("ann", "again")
            await ended(gateway, 6, it.clock)
            assert [post.markdown for post in it.thread("ann", ts)] == ["echo: again"]


# ── WeChat ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_account_that_answers_in_the_response_tells_each_one(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as it:
        limited(it, user="2/m")
        async with it.gateway():
            for n in range(2):
                await it.say("ann", f"m{n}")
            await it.say("ann", "m2")
            it.clock.advance(25.0)
            await it.say("ann", "m3")
            await it.say("bob", "hello")
            it.clock.advance(35.0)
            await it.say("ann", "m4")
            told = [slow(time, "zh-CN") for time in ("1 分钟", "40 秒")]
            assert it.screen("ann") == ["echo: m0", "echo: m1", *told, "echo: m4"]
            assert it.screen("bob") == ["echo: hello"]
            assert {one.via for one in it.seen("ann")} == {"passive"}


async def test_an_account_that_may_send_tells_the_first(tmp_path: Path) -> None:
    async with wechat_world(tmp_path, wechat=WeChatSimulator(verified=True)) as it:
        limited(it, user="1/m")
        async with it.gateway() as gateway:
            for n in range(4):
                await it.say("ann", f"m{n}")
            await ended(gateway, 2, it.clock)
            assert sorted(it.screen("ann")) == sorted(["echo: m0", slow("1 分钟", "zh-CN")])


# ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_api_refuses_what_is_too_much_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    clock = ManualClock()
    keys = (SecretStr(KEY), SecretStr("other"))
    async with running(tmp_path, clock=clock, api={"rate": 2, "keys": keys}) as stack, client(stack) as api:
        assert text(await ask(api, "one", once="first")) == "echo: one"
        await ask(api, "two", session="s1")
        with pytest.raises(openai.RateLimitError) as refusal:
            await ask(api, "three", session="s1")
        assert is_error(refusal.value.response.json(), "rate_limit_exceeded")
        assert refusal.value.response.headers["retry-after"] == "30"
        assert len(await stack.gateway.ledger.entries()) == 2
        assert text(await ask(api, "one", once="first")) == "echo: one", "what was answered is answered again"
        assert text(await ask(api, "/stop", session="s1")) == words("en").nothing_to_stop
        async with client(stack, key="other") as other:
            await ask(other, "hello")
        clock.advance(30)
        assert text(await ask(api, "three", session="s1")) == "echo: three"


async def test_on_the_websocket_too(tmp_path: Path) -> None:
    async with running(tmp_path, clock=ManualClock(), api={"rate": 1}) as stack, socket(stack) as connection:
        await put(connection, "one")
        assert said(await frames(connection)) == "echo: one"
        await put(connection, "two")
        assert is_error((await frames(connection))[-1], "rate_limit_exceeded")


async def test_a_session_is_a_conversation_and_a_request_with_its_own_context_is_none(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        limited(it, conversation="1/h")
        async with it.gateway(), client_at(it.line.webhook.removesuffix("/hooks/line")) as api:
            for session in ("s1", "s2", None, None):
                assert text(await ask(api, "hello", session=session)) == "echo: hello"
            with pytest.raises(openai.RateLimitError) as refusal:
                await ask(api, "hello", session="s1")
            assert refusal.value.response.headers["retry-after"] == "3600"
