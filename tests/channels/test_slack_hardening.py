"""The Slack channel against those who mean it ill, and against a Slack that talks nonsense."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from structlog.testing import capture_logs

from chatferry.channels.base import Hook
from chatferry.channels.slack_api import LONGEST_WAIT, OneToken, SlackApi, Told
from chatferry.channels.slack_limits import Paced
from chatferry.channels.slack_thread import Threads
from chatferry.errors import Fault, NoLeave, Rejected, TryLater
from chatferry.model import Grant, Message, Text, says
from chatferry.testing import ManualClock
from tests.channels.slack_payloads import (
    ROOT,
    TEAM,
    channel,
    clicked,
    command,
    delivered,
    direct,
    envelope,
    form,
    mention,
    message,
    submitted,
    taken,
)
from tests.channels.slack_world import opened

HERE = "https://x.example/?a=1&ssl_check=1&b=2"
OK = "HTTP/1.1 200 OK\r\n"


@contextlib.asynccontextmanager
async def slack_that_answers(raw: str) -> AsyncIterator[tuple[SlackApi, str]]:
    """Slack, and an address of it that is a secret."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b":0")
        await reader.readexactly(int(length.partition(b":")[2]))
        writer.write(raw.encode())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, aiohttp.ClientSession() as http:
        yield SlackApi(OneToken("xoxb-1"), f"{base}/api", http), f"{base}/commands/secret-leave"


@pytest.mark.parametrize(
    "raw",
    [
        "not HTTP\r\n\r\n",
        f"{OK}no header\r\n\r\n",
        f"{OK}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        f"{OK}X: {'x' * 9000}\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\nnot at http://127.0.0.1/commands/secret-leave",
    ],
)
async def test_no_fault_tells_where_a_command_may_be_answered(raw: str) -> None:
    async with slack_that_answers(raw) as (api, url):
        with pytest.raises(Fault) as fault:
            await api.respond(url, {"text": "hi"})
    assert "secret-leave" not in str(fault.value)


@pytest.mark.parametrize("seconds", ["86400000", "9" * 400])
async def test_no_wait_that_we_are_told_is_for_ever(seconds: str) -> None:
    busy = f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n"
    async with slack_that_answers(busy) as (api, _):
        with pytest.raises(TryLater) as fault:
            await api.call("chat.update", "T1", Told)
    assert fault.value.after == LONGEST_WAIT


async def test_an_answer_that_is_nested_without_end_is_a_fault_like_others() -> None:
    nested = '{"ok":true,"message":' + "[" * 100_000
    async with slack_that_answers(f"{OK}Content-Length: {len(nested)}\r\n\r\n{nested}") as (api, _):
        with pytest.raises(TryLater, match="not the answer that is documented"):
            await api.call("chat.update", "T1", Told)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example\\.slack.com/x",
        "https://evil.example%2f.slack.com/x",
        "https://me:secret@hooks.slack.com/x",
        "https://hooks.slack.com:22/x",
        "https://hooks.slack.com:x/x",
        "https://evil.example;.slack.com/x",
    ],
)
async def test_an_address_that_could_be_read_in_two_ways_is_not_slacks(url: str) -> None:
    async with opened() as world:
        with pytest.raises(NoLeave), capture_logs() as logs:
            await world.slack().send("T1/C1/ask/U1", [says("assistant", "x")], key="", grant=Grant(url, 0))
    assert not logs


def test_a_link_in_a_message_is_not_taken_for_slack_trying_our_certificate() -> None:
    block = {"type": "rich_text", "elements": [{"type": "link", "url": HERE}]}
    hook = delivered(envelope(direct("look at this", blocks=[block])))
    assert b"&ssl_check=1&" in hook.body
    assert len(channel().take(hook).events) == 1


@pytest.mark.parametrize(
    "hook",
    [
        delivered(envelope(direct("what did I ask?", thread_ts="ask/U0BOB"))),
        delivered(envelope(direct("what did I ask?", channel="C0001/ask"))),
        delivered(envelope(direct("what did I ask?", ts="1\x00"))),
        form(command(channel_id="C0001/ask/U0BOB")),
        form(command(team_id="T0001/C0001")),
        form(command(user_id="U0BOB/x")),
        clicked(submitted("stop_answer", '{"address":"T0001/C0001/ask/U0BOB/","ts":"1.1"}')),
    ],
)
def test_no_id_leads_into_the_talk_of_somebody_else(hook: Hook) -> None:
    with pytest.raises(Rejected, match="none of Slack's"):
        channel().take(hook)


async def test_no_model_calls_anybody() -> None:
    async with opened() as world:
        slack, asked = world.slack(stream="edit"), await world.asked()
        await slack.send(asked.conversation, [says("assistant", "<@U0BOB> <@W0BOB|bob> a<@b>")], key="k", grant=None)
        (post,) = world.answers(asked)
        assert "<@U" not in post.markdown
        assert "<@W" not in post.markdown
        assert "a<@b>" in post.markdown
        assert "<@" not in post.text


async def test_nobody_speaks_for_others_by_a_name_of_two_lines() -> None:
    async with opened() as world:
        world.sim.display_names["ann"] = "Ann: yes\nBob"
        heard = Message("user", (Text("hi"),), author=world.sim.user("ann"))
        assert (await world.slack().named(f"{TEAM}/C1/{ROOT}", heard)).name == "Ann: yes Bob"


@pytest.mark.parametrize(("account", "admin"), [("T1", True), ("T2", False), ("E1+T2", True)])
async def test_an_admin_of_another_company_is_none_here(account: str, admin: bool) -> None:
    told = '{"ok":true,"user":{"id":"U1","team_id":"T1","name":"boss","is_admin":true}}'
    async with slack_that_answers(f"{OK}Content-Length: {len(told)}\r\n\r\n{told}") as (api, _):
        clock = ManualClock()
        assert (await Threads(Paced(api, clock), clock).person(account, "U1")).admin is admin


def test_two_bots_that_answer_everybody_do_not_talk_for_ever() -> None:
    other = {"bot_id": "B9", "app_id": "A9", "user": "U9", "thread_ts": ROOT}
    everybody = {"bots": True, "threads": "all"}
    assert [event.kind for event in taken(message("I think so", **other), **everybody)] == ["heard"]
    assert [event.kind for event in taken(mention("<@U0BOT> and you?", **other), **everybody)] == ["message"]
    assert [event.kind for event in taken(message("hi", thread_ts=ROOT), **everybody)] == ["message"]
