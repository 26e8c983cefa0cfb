"""The command line before any command runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chatferry import __version__
from chatferry.cli.main import welcome
from chatferry.config import load
from tests.commandline import Shop, shop


@pytest_asyncio.fixture(name="shop")
async def _shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop(tmp_path) as made:
        yield made


async def test_help_needs_no_settings(shop: Shop) -> None:
    shop.environ.clear()
    ended = await shop.run("--help")
    assert ended.status == 0
    assert all(command in ended.out for command in ("serve", "demo", "check", "turns", "push"))
    for asked in ("version", "--version"):
        assert (await shop.run(asked)).out == f"chatferry {__version__}\n"


def test_the_first_lines_say_how_slack_comes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"OPENAI_API_KEY": "k", "SLACK_SIGNING_SECRET": "s"}
    socket = welcome(load(environ=given | {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}))
    assert "channel slack: events by Socket Mode" in socket
    assert "hint" not in socket
    installed = {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "s", "CHATFERRY_SECRET": "0123456789abcdef"}
    several = welcome(load(environ=given | installed))
    assert "channel slack: workspaces install it at https://YOUR-ADDRESS/slack/install" in several
    assert "hint: set CHATFERRY_PUBLIC_URL" in several
