"""A real browser, one for each module, and the gateway behind it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.phone import Phone, phone
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
