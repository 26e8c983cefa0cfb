"""A phone with a browser, and a network that can fail it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, Request, expect

NARROW = {"width": 390, "height": 844}
PATIENCE = 30.0
"""Seconds after which something is taken for never to come."""
expect.set_options(timeout=PATIENCE * 1000)


@dataclass
class Phone:
    """What a page did that it should not have is in `faults`."""

    page: Page
    faults: list[str] = field(default_factory=list)

    async def shows(self, state: str) -> None:
        """Wait for the page of an answer to be in this state."""
        await self.page.locator(f"body[data-state={state}]").wait_for()

    async def answer(self) -> str:
        """The answer's text on the screen."""
        return await self.page.locator("#answer").inner_text()

    async def reads(self, text: str) -> None:
        """Wait for the answer to have this text in it."""
        await self.page.locator("#answer", has_text=text).wait_for()

    async def fits(self) -> bool:
        """There is nothing to scroll sideways but what scrolls in itself."""
        fits: bool = await self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        return fits

    async def width(self, selector: str) -> tuple[int, int]:
        """How wide something is on the screen, and how wide is what it holds."""
        seen, held = await self.page.eval_on_selector(selector, "e => [e.clientWidth, e.scrollWidth]")
        return seen, held


@contextlib.asynccontextmanager
async def phone(browser: Browser, url: str, **options: Any) -> AsyncIterator[Phone]:
    """A fresh phone that may talk to `url` and to nobody else."""
    context = await browser.new_context(**({"viewport": NARROW, "locale": "en"} | options))
    context.set_default_timeout(PATIENCE * 1000)
    held = Phone(await context.new_page())

    def asked(request: Request) -> None:
        # What a page made itself has no host.
        if not request.url.startswith(f"blob:{url}/") and urlsplit(request.url).netloc != urlsplit(url).netloc:
            held.faults.append(f"asked elsewhere: {request.url}")

    held.page.on("request", asked)
    held.page.on("pageerror", lambda fault: held.faults.append(f"script failed: {fault}"))
    held.page.on("popup", lambda popup: held.faults.append(f"opened {popup.url}"))

    async def dialog(shown: Any) -> None:
        held.faults.append(f"dialog: {shown.message}")
        await shown.dismiss()

    held.page.on("dialog", dialog)
    try:
        yield held
    finally:
        await context.close()


class Line:
    """A stretch of network between a phone and a server that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._wires: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.cuts = False
        """Whoever calls now is cut off at once."""

    def cut(self) -> None:
        """Break off everything that runs."""
        for wire in self._wires:
            wire.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cuts:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._wires |= {writer, back}
        await asyncio.gather(_pour(reader, back), _pour(there, writer))
        self._wires -= {writer, back}

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator[Line]:
        """A way to the server at `url`, which goes by `Line.url`."""
        line = cls(int(url.rpartition(":")[2]))
        server = await asyncio.start_server(line._carry, "127.0.0.1", 0)
        line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield line
        finally:
            server.close()
            line.cut()
            await server.wait_closed()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()
