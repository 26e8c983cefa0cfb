"""The command line before any command runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

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
    assert (await shop.run("version")).out.startswith("chatferry ")
