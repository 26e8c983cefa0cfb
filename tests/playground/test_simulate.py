"""`chatferry simulate`: anybody's bot, as it is, talks to simulated platforms and to whoever looks at the page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from linebot.v3 import messaging  # type: ignore[import-untyped]  # LINE's SDK has no types
from linebot.v3.exceptions import InvalidSignatureError  # type: ignore[import-untyped]  # LINE's SDK has no types
from linebot.v3.webhook import WebhookParser  # type: ignore[import-untyped]  # LINE's SDK has no types
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.cli.simulate import Playing, playing
from chatferry.errors import ConfigError
from chatferry.playground.bots import Bot, Given, bots, named
from chatferry.playground.stage import bound
from chatferry.simulator.serving import listening, serving
from tests.ports import free_port
from tests.watching import Fact, until

SECRET, TOKEN = "the-secret-of-an-echo", "the-token-of-an-echo"
NOBODY = {"line": "", "wechat": "", "slack": ""}
HOOK = "http://127.0.0.1:1/callback"


class Echo:
    """A bot as LINE's own documentation shows one: it says what it is told. Knows nothing of simulators."""

    def __init__(self, secret: str, token: str = TOKEN) -> None:
        self._parser = WebhookParser(secret)
        self._token = token
        self.api = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            events = self._parser.parse((await request.body()).decode(), request.headers["x-line-signature"])
        except InvalidSignatureError:
            await Response(status_code=400)(scope, receive, send)
            return
        async with messaging.AsyncApiClient(messaging.Configuration(host=self.api, access_token=self._token)) as http:
            for event in events:
                said = messaging.TextMessage(text=f"You said: {event.message.text}")
                asked = messaging.ReplyMessageRequest(reply_token=event.reply_token, messages=[said])
                await messaging.AsyncMessagingApi(http).reply_message(asked)
        await Response()(scope, receive, send)


@contextlib.asynccontextmanager
async def echoing(secret: str = SECRET) -> AsyncIterator[Playing]:
    """A simulation for a bot that believes this to be its channel secret."""
    echo = Echo(secret)
    async with serving(echo) as url:
        with listening() as sock:
            async with playing({"line": Bot(f"{url}/callback", SECRET, TOKEN)}, sock) as its:
                echo.api = f"{its.url}/line"
                yield its


async def say(its: Playing, words: str, wait: str = "") -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{its.url}/line/_sim/say{wait}", json={"user": "Mei", "words": words}) as answer,
    ):
        assert answer.ok


def facts(its: Playing, kind: str, holds: Callable[[Fact], object] = bool) -> list[Fact]:
    return [fact for fact in its.scene.all() if fact["kind"] == kind and holds(fact)]


async def test_a_bot_made_with_lines_own_kit_takes_part_unchanged() -> None:
    async with echoing() as its:
        await say(its, "good morning")
        asked, answer = facts(its, "bubble")
        assert (asked["who"], asked["text"]) == ("Mei", "good morning")
        assert (answer["who"], answer["text"], answer["via"]) == ("", "You said: good morning", "reply")
        assert answer["answers"] == asked["message"]
        [hook] = facts(its, "exchange", lambda one: one["way"] == "hook")
        [call] = facts(its, "exchange", lambda one: one["way"] == "call")
        assert (hook["path"], hook["status"], call["path"], call["status"]) == (
            "/callback",
            200,
            "/v2/bot/message/reply",
            200,
        )
        shown = json.dumps(its.scene.all())
        assert SECRET not in shown
        assert TOKEN not in shown


async def test_a_bot_with_another_secret_is_told_so_by_the_wire() -> None:
    async with echoing("another secret") as its:
        await say(its, "good morning", "?wait=no")  # LINE would deliver it again and again
        hook = await until(its.scene, "exchange", lambda one: one["seconds"] is not None)
        assert (hook["status"], hook["reason"]) == (400, "error_status_code")
        assert len(facts(its, "bubble")) == 1


async def test_the_page_knows_whose_bot_it_is_and_that_there_is_no_gateway_to_kill() -> None:
    async with echoing() as its:
        [setup] = facts(its, "setup")
        assert (setup["mode"], setup["platforms"], setup["gateway"]) == ("simulate", ["line"], None)
        assert setup["bots"]["line"].endswith("/callback")
        assert sorted(chat["name"] for chat in facts(its, "chat")) == ["Ferry", "Ferry", "Lunch"]
        async with aiohttp.ClientSession() as http:
            async with http.get(its.url) as page:
                assert page.status == 200
            async with http.post(f"{its.url}/gateway/kill", json={}) as answer:
                assert answer.status == 404
            async with http.post(f"{its.url}/slack/api/auth.test", json={}) as answer:
                assert answer.status == 404


async def test_only_what_was_made_up_is_told() -> None:
    given = replace(nothing(), urls={"line": HOOK, "slack": HOOK, "wechat": HOOK}, wechat_aes_key="k" * 43)
    with listening() as sock:
        async with playing(bots(replace(given, tokens={**NOBODY, "line": TOKEN})), sock) as its:
            told = "\n".join(its.lines)
    for platform, base in (("line", "/line"), ("slack", "/slack/api/"), ("wechat", "/wechat")):
        assert f"{platform}: webhooks go to {HOOK}; the API's base URL is {its.url}{base}\n" in f"{told}\n"
    assert re.findall(r": ([\w ]+) = \S{16}", told) == [
        "channel secret",
        "signing secret",
        "bot token",
        "token",
        "AppID",
        "AppSecret",
    ]
    assert TOKEN not in told
    assert "k" * 43 not in told


async def test_slacks_shortcuts_are_those_that_were_named() -> None:
    with listening() as sock:
        async with playing({"slack": Bot(HOOK)}, sock, shortcuts=named(["Stop it=stop", "a=b=c"])) as its:
            [setup] = facts(its, "setup")
    assert setup["shortcuts"] == [{"name": "Stop it", "callback_id": "stop"}, {"name": "a=b", "callback_id": "c"}]


@pytest.mark.parametrize("wrong", ["stop", "=stop", "Stop it=", ""])
def test_a_shortcut_has_a_name_and_a_callback(wrong: str) -> None:
    with pytest.raises(ConfigError, match="is not NAME=CALLBACK_ID"):
        named([wrong])


def nothing() -> Given:
    return Given(NOBODY, NOBODY, NOBODY)


def test_what_is_given_for_all_is_for_the_only_bot_and_what_is_given_for_one_comes_first() -> None:
    given = replace(nothing(), urls={**NOBODY, "line": HOOK}, secret="all", token="tok")
    assert bots(given) == {"line": Bot(HOOK, "all", "tok")}
    assert bots(replace(given, secrets={**NOBODY, "line": "own"})) == {"line": Bot(HOOK, "own", "tok")}


def test_a_slack_app_that_opens_a_socket_needs_no_address() -> None:
    assert bots(replace(nothing(), slack_app_token="xapp-1")) == {"slack": Bot("", more={"app_token": "xapp-1"})}


def test_a_key_for_encryption_is_what_makes_wechat_encrypt() -> None:
    given = replace(nothing(), urls={**NOBODY, "wechat": HOOK}, wechat_app_id="wx1")
    assert bots(given)["wechat"].more == {"app_id": "wx1"}
    more = {"app_id": "wx1", "aes_key": "k" * 43, "mode": "encrypted"}
    assert bots(replace(given, wechat_aes_key="k" * 43))["wechat"].more == more


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "which bot?"),
        ({"secret": "s"}, "which bot?"),
        ({"urls": {**NOBODY, "line": HOOK, "slack": HOOK}, "secret": "s"}, "whose? of line and slack"),
        ({"urls": {**NOBODY, "line": HOOK}, "slack_app_token": "x", "token": "t"}, "whose? of line and slack"),
        ({"urls": {**NOBODY, "line": "localhost:5000/callback"}}, "--line: must be an address"),
        ({"urls": {**NOBODY, "wechat": "http://"}}, "--wechat: must be an address"),
        ({"urls": {**NOBODY, "slack": "ftp://x/y"}}, "--slack: must be an address"),
        ({"urls": {**NOBODY, "line": "http://x/a b"}}, "--line: must be an address"),
        ({"urls": {**NOBODY, "wechat": HOOK}, "wechat_aes_key": "short"}, "43 letters and digits"),
    ],
)
def test_what_cannot_be_meant_is_told_by_the_name_of_its_option(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        bots(replace(nothing(), **changes))


def test_a_page_is_at_the_usual_port_or_if_that_is_taken_at_another() -> None:
    with listening(port=(usual := free_port())):
        with bound(None, usual) as sock:
            assert sock.getsockname()[1] not in (0, usual)
        with pytest.raises(ConfigError, match=f"--port: cannot listen at 127.0.0.1:{usual}: .*\n  mend: "):
            bound(usual, 1)
    with bound(None, usual) as sock:
        assert sock.getsockname()[1] == usual
    with bound(usual, 1) as sock:
        assert sock.getsockname()[1] == usual
    with bound(0, usual) as sock:
        assert sock.getsockname()[1] not in (0, usual)


async def test_the_command_tells_what_the_bot_needs_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatferry", "simulate", "--no-browser", "--port", "0"),
        *("--line", HOOK, "--line-secret", SECRET, "--slack", HOOK, "--shortcut", "Stop=stop"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = [(await process.stdout.readline()).decode() for _ in range(6)]
            found = re.fullmatch(r"Chatferry playground: (http://127\.0\.0\.1:\d+)  \(Ctrl-C ends it\)\n", said[0])
            assert found, said
            assert said[1] == f"  line: webhooks go to {HOOK}; the API's base URL is {found[1]}/line\n"
            assert [line.partition(" = ")[0].strip() for line in said[2:]] == [
                "line: channel access token",
                f"slack: webhooks go to {HOOK}; the API's base URL is {found[1]}/slack/api/",
                "slack: signing secret",
                "slack: bot token",
            ]
            async with aiohttp.ClientSession() as http, http.get(f"{found[1]}/scene") as stream:
                assert await stream.content.readline() == b"event: all\n"
                process.send_signal(signal.SIGINT)  # and somebody still looks at it
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_command_says_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatferry", "simulate", "--line", "localhost:5000"),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, err = await process.communicate()
    assert process.returncode == 2
    assert err.decode() == "--line: must be an address that begins with http:// or https://\n"
