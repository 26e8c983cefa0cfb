"""The same commands wherever people talk: LINE, Slack and the API."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chatferry.config import ReplySettings
from chatferry.gateway import Gateway
from chatferry.simulator.model import Break
from chatferry.simulator.slack_people import BOT
from chatferry.words import words
from tests.scenarios.asking import ask, client_at, text
from tests.scenarios.slack_support import World as SlackWorld
from tests.scenarios.slack_support import slack_world
from tests.scenarios.support import World, ended, screen, until, world
from tests.stack import Stack, running
from tests.web.opening import get

pytestmark = pytest.mark.usefixtures("layout")

WORDS = words("en")
ENDED = WORDS.session_ended.replace("{start}", "/chatgpt")
GATE = {"session": {"ttl": 300.0}}


def linked(said: str) -> str:
    """The history's link in what was said, which says nothing else."""
    url = said.split()[-1]
    assert said == WORDS.history_here.replace("{link}", url)
    return url


def question(model: Any, request: int = -1) -> list[str]:
    """What the model was asked, without the assistant's own instructions."""
    return [said["content"] for said in model.requests[request].body["messages"] if said["role"] != "system"]


# ── LINE ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def on_line(it: World, gateway: Gateway, *texts: str) -> list[str]:
    """What ann has on the screen after she said all this, one after the other, and nothing else before."""
    before = len(screen(it.line))
    for said in texts:
        turns = len(await gateway.ledger.entries(limit=1000))
        await it.line.say("ann", said)
        await ended(gateway, turns)
    await until(lambda: not gateway.worker.running)
    return screen(it.line)[before:]


async def test_commands_on_line(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        assert await on_line(it, gateway, "one", "/new", "two") == ["echo: one", WORDS.cleared, "echo: two"]
        assert question(it.model) == ["two"]
        assert await on_line(it, gateway, "/clear", "/STOP") == [WORDS.cleared, WORDS.nothing_to_stop]
        [told] = await on_line(it, gateway, "/help")
        assert told.startswith(WORDS.help)
        assert "/chatgpt" not in told, "there is no gate"
        [said] = await on_line(it, gateway, "/history")
        history = (await get(linked(said))).text
        assert "echo: one" in history
        assert "echo: two" in history
        assert len(it.model.requests) == 2


async def test_a_slow_answer_on_line_is_stopped_and_other_commands_go_past_it(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang", after=1))
        await it.line.say("ann", "one")
        await it.model.hanging.wait()
        await it.line.say("ann", "/help")
        await until(lambda: screen(it.line))
        assert screen(it.line)[0].startswith(WORDS.help)
        await it.line.say("ann", "/stop")
        await ended(gateway, 3)
        assert screen(it.line)[1:] == [WORDS.answer_stopped]
        await until(lambda: it.model.cancelled)
        assert await on_line(it, gateway, "two") == ["echo: two"]


async def test_a_session_on_line(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=GATE) as it, it.gateway() as gateway:
        await it.line.say("ann", "hello")
        said = await on_line(it, gateway, "/chatgpt", "one", "/chatgpt", "/stop")
        assert said == [WORDS.session_began, "echo: one", WORDS.session_ongoing, ENDED]
        assert await on_line(it, gateway, "/chatgpt two") == ["echo: two"]
        assert question(it.model) == ["two"]
        it.clock.advance(301)
        told, *more = await on_line(it, gateway, "three")
        assert (told, more) == (WORDS.session_expired.replace("{time}", "5 minutes").replace("{start}", "/chatgpt"), [])
        await it.line.say("ann", "four")
        assert await on_line(it, gateway, "/chatgpt five") == ["echo: five"]
        assert question(it.model) == ["five"]
        [told] = await on_line(it, gateway, "/help")
        assert "/chatgpt" in told


# ── Slack ────────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def slack_chat(folder: Path, **tables: Any) -> AsyncIterator[tuple[SlackWorld, Gateway]]:
    """Direct messages that are one talk."""
    async with slack_world(folder, channel={"dm": "chat"}, **tables) as it, it.gateway() as gateway:
        yield it, gateway


async def on_slack(it: SlackWorld, gateway: Gateway, *texts: str) -> list[str]:
    """What the bot has said in ann's direct messages after all this, and not before."""
    before = len(answers(it))
    for said in texts:
        turns = len(await gateway.ledger.entries(limit=1000))
        await it.slack.say("ann", said)
        await ended(gateway, turns, it.clock)
    await until(lambda: not gateway.worker.running, it.clock)
    return answers(it)[before:]


def answers(it: SlackWorld) -> list[str]:
    return [post.markdown for post in it.slack.screen(it.slack.dm("ann")) if post.user == BOT]


async def test_commands_on_slack(tmp_path: Path) -> None:
    async with slack_chat(tmp_path) as (it, gateway):
        assert await on_slack(it, gateway, "one", "/new", "two") == ["echo: one", WORDS.cleared, "echo: two"]
        assert it.asked() == ["two"]
        [told] = await on_slack(it, gateway, "/help")
        assert told.startswith(WORDS.help)
        [said] = await on_slack(it, gateway, "/history")
        [url] = re.findall(r"http[^\s>|]+", said)
        assert "echo: two" in (await get(url)).text
        assert await on_slack(it, gateway, "/stop") == [WORDS.nothing_to_stop]


async def test_a_session_on_slack(tmp_path: Path) -> None:
    async with slack_chat(tmp_path, assistant=GATE) as (it, gateway):
        await it.slack.say("ann", "hello")
        assert await on_slack(it, gateway, "/chatgpt one", "/stop") == ["echo: one", ENDED]
        await it.slack.say("ann", "hello?")
        assert await on_slack(it, gateway, "/chatgpt", "two") == [WORDS.session_began, "echo: two"]
        assert it.asked() == ["two"]


# ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_commands_in_a_session_of_the_api(stack: Stack) -> None:
    await stack.gateway.reached(stack.url)
    async with client_at(stack.url) as api:
        said = [text(await ask(api, words, session="s1")) for words in ("one", "/new", "two", "/stop", "/help")]
        assert said[:4] == ["echo: one", WORDS.cleared, "echo: two", WORDS.nothing_to_stop]
        assert said[4].startswith(WORDS.help)
        assert question(stack.model) == ["two"]
        await ask(api, "other", session="s2")
        history = await get(linked(text(await ask(api, "/history", session="s1"))))
        assert "echo: one" in history.text
        assert "other" not in history.text


async def test_without_a_public_address_the_api_has_no_link(stack: Stack) -> None:
    """Its callers may be on this very machine."""
    async with client_at(stack.url) as api:
        assert text(await ask(api, "/history", session="s1")) == WORDS.no_history


async def test_a_slow_answer_of_the_api_is_stopped(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with client_at(stack.url) as api:
        slow = asyncio.create_task(ask(api, "one", session="s1"))
        await stack.model.hanging.wait()
        assert text(await ask(api, "/help", session="s1")).startswith(WORDS.help)
        assert text(await ask(api, "/stop", session="s1")) == WORDS.answer_stopped
        assert text(await slow) in ("", "echo:")
        assert text(await ask(api, "two", session="s1")) == "echo: two"


async def test_a_session_of_the_api(tmp_path: Path) -> None:
    """Whoever waits for an answer gets one, also outside."""
    async with running(tmp_path, assistant=GATE) as stack, client_at(stack.url) as api:
        said = [text(await ask(api, words, session="s1")) for words in ("hi", "/chatgpt one", "two", "/stop", "hi")]
        assert said[1:4] == ["echo: one", "echo: two", ENDED]
        assert said[0].startswith(WORDS.help)
        assert said[4].startswith(WORDS.help)
        assert question(stack.model) == ["one", "echo: one", "two"]


async def test_who_brings_the_whole_talk_along_has_no_commands(stack: Stack) -> None:
    async with client_at(stack.url) as api:
        assert text(await ask(api, "/help")) == "echo: /help"


# ── prepared answers, and functions of the operator's ────────────────────────────────────────────────────────────


@pytest.fixture
def house(tmp_path: Path) -> Iterator[str]:
    """A module of the operator's."""
    name = "chatferry_test_house"
    (tmp_path / f"{name}.py").write_text(
        "async def price(text, conversation):\n    return f'{text} costs 5 ({conversation[:1]})'\n"
        "def silent(text):\n    return None\n"
        "def broken(text):\n    raise RuntimeError('a secret')\n"
    )
    sys.path.append(str(tmp_path))
    yield name
    sys.path.remove(str(tmp_path))
    sys.modules.pop(name, None)


async def test_replies_go_before_the_model_on_their_channels(tmp_path: Path, house: str) -> None:
    rules = (
        ReplySettings(match="hours", reply="9 to 18", channels=("line",)),
        ReplySettings(match=r"^price of (\w+)", by="regex", python=f"{house}:price"),
        ReplySettings(match="price", by="prefix", reply="Of what?"),
        ReplySettings(match="psst", python=f"{house}:silent"),
        ReplySettings(match="break", python=f"{house}:broken"),
    )
    async with world(tmp_path) as it:
        it.settings = it.settings.model_copy(update={"replies": rules})
        async with it.gateway() as gateway:
            said = await on_line(it, gateway, " HOURS ", "price of tea", "price", "psst", "break", "hours?")
            assert said == ["9 to 18", "price of tea costs 5 (U)", "Of what?", WORDS.sorry_failed, "echo: hours?"]
            url = it.line.webhook.removesuffix("/hooks/line")
            async with client_at(url) as api:
                told = [text(await ask(api, words, session="s1")) for words in ("hours", "price of tea", "price")]
            assert told[0] == "echo: hours", "that rule is LINE's"
            assert told[1].startswith("price of tea costs 5")
            assert told[2] == "Of what?"
            assert len(it.model.requests) == 2
