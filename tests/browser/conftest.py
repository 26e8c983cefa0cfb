"""A real browser, one for each module, and the gateway behind it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from chatferry.cli.demo import Playing, Wish, playing
from chatferry.simulator.serving import listening
from tests.browser.phone import Phone, phone
from tests.browser.playground import WIDE, Desk, sitting
from tests.stack import Stack, running

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")  # CI installs it, and takes no skipped test
    # Chromium refuses to put root into a sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running(tmp_path, server={"drain": 0.2}) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def hand(browser: Browser, stack: Stack) -> AsyncIterator[Phone]:
    """A phone, in a hand that watches what it does."""
    async with phone(browser, stack.url) as held:
        yield held


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def played(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Playing]:
    """A playground whose gateway is a process of its own, and is up."""
    config = tmp_path_factory.mktemp("played") / "chatferry.toml"
    config.write_text('[assistants.default]\nlanguage = "en"\n', "utf-8")  # whatever the machine speaks
    with listening() as sock:
        async with playing(Wish(config, "script", 0.0), sock) as its:
            await its.gateway.up()
            yield its


@pytest_asyncio.fixture(loop_scope="module")
async def desk(browser: Browser, played: Playing) -> AsyncIterator[Desk]:
    """The playground's page, wide enough for all of it."""
    async with sitting(browser, played, viewport=WIDE) as its:
        yield its
