"""`chatferry demo --terminal`, typed at and piped into."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio
from rich.console import Console

from chatferry.cli.terminal import Terminal
from tests.commandline import Shop, shop
from tests.stack import running


@pytest_asyncio.fixture(name="shop")
async def _shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop(tmp_path) as made:
        made.environ.clear()
        yield made


async def test_lines_that_are_piped_in_are_played_to_their_end(shop: Shop) -> None:
    shop.new()
    ended = await shop.run("demo", "--terminal", "--pace", "0", stdin="my name is Anna\n\nwhat is my name?\n我叫小明")
    assert (ended.status, ended.err) == (0, "")
    talk = [line for line in ended.out.splitlines() if "▸" in line]
    assert talk[0] == "you ▸ my name is Anna"
    recalled = "bot ▸ Your name is Anna. You told me so earlier in this conversation."
    assert talk[2:4] == ["you ▸ what is my name?", recalled]
    assert talk[4] == "you ▸ 我叫小明"
    assert "小明" in talk[5]
    assert re.search(r"→ webhook, signed: 200 .*\n +← POST /v2/bot/chat/loading/start: 202\n", ended.out)
    assert "\x1b" not in ended.out
    assert list(shop.folder.iterdir()) == []


async def test_the_tools_of_a_configuration_are_called(shop: Shop) -> None:
    config = Path(__file__).parents[1] / "examples" / "shop" / "chatferry.toml"
    asked = ("demo", "--terminal", "--no-wire", "--pace", "0", "--config", str(config))
    ended = await shop.run(*asked, stdin="我的訂單 1234 到哪裡了")
    assert ended.status == 0, ended.err
    assert "幫你查到了" in ended.out
    assert "1234" in ended.out.partition("幫你查到了")[2]


async def test_no_input_is_no_fault(shop: Shop) -> None:
    ended = await shop.run("demo", "--terminal")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("Chatferry demo")


async def test_bytes_that_are_no_text_do_no_harm(shop: Shop) -> None:
    ended = await shop.run("demo", "--terminal", "--no-wire", stdin=b"\xff\xfe\nhelp\n")
    assert ended.status == 0
    assert ended.out.count("bot ▸") == 2
    assert "webhook, signed" not in ended.out


async def test_typed_at_a_terminal_it_answers_and_ctrl_d_ends_it(shop: Shop) -> None:
    async with shop.terminal("demo", "--terminal") as terminal:
        await terminal.shows("Ctrl-D ends", "you ▸")
        terminal.type("my name is Anna\r")
        await terminal.shows("reply: 200 (free)", "bot ▸", "Nice to meet you, Anna", "you ▸")
        terminal.type("\x04")
        assert await terminal.end() == 0
        assert terminal.echoes


async def test_ctrl_c_ends_it_and_leaves_the_terminal_as_it_was(shop: Shop) -> None:
    async with shop.terminal("demo", "--terminal") as terminal:
        await terminal.shows("you ▸")
        terminal.type("half a li")
        await terminal.shows("half a li")
        terminal.type("\x03")
        assert await terminal.end() == 0
        assert terminal.echoes
        assert "Traceback" not in terminal.screen


async def test_a_button_is_tapped_by_its_number(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        console = Console(record=True, width=100, quiet=True)
        person = Terminal(console, stack.line, stack.gateway, wire=False)
        await person.say("hello")
        actions = [{"type": "postback", "label": label, "data": f"data-{label}"} for label in ("Yes", "No")]
        template: dict[str, object] = {"type": "buttons", "text": "Shall we?", "actions": actions}
        await _push(stack.line_url, stack.line.token, stack.line.address("you"), template)
        await person.say("2")
        assert stack.line.deliveries[-1].events[0]["postback"] == {"data": "data-No"}
        await person.say("3")
        assert stack.line.deliveries[-1].events[0]["message"]["text"] == "3"


async def _push(url: str, token: str, to: str, template: dict[str, object]) -> None:
    body = {"to": to, "messages": [{"type": "template", "altText": "Shall we?", "template": template}]}
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/v2/bot/message/push", json=body, headers=headers) as told,
    ):
        assert told.status == 200
