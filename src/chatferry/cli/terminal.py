"""`chatferry demo --terminal`: the whole way of a message in one terminal, without an account or a key.

Every line typed is a signed LINE webhook over HTTP into the gateway, and the answer comes back through calls to the
LINE simulator's API. The gateway is the one that `chatferry serve` runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from chatferry.config import Settings
from chatferry.gateway import Gateway
from chatferry.playground import acting, stage
from chatferry.playground.ending import heed_signals
from chatferry.playground.plan import SCRIPT, Plan, compose
from chatferry.serve import loop_factory, serve
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from chatferry.watching import logs

_USER = "you"
_PATIENCE = 120.0


def run(*, config: Path | None, model: str, pace: float, wire: bool) -> int:
    """Chat until the input ends. Returns the exit status."""
    logs.configure("console", level=logging.WARNING)
    if sys.stdin is None:  # closed by whoever started us
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - as long as we live
    with _tidy_terminal(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            return runner.run(_run(config, model, pace, wire))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return 0


async def _run(config: Path | None, model: str, pace: float, wire: bool) -> int:
    heed_signals()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="chatferry-demo-") as folder:
        script = ModelSimulator(converse=stage.script, act=acting.act, rate=1 / pace if pace else 0.0)
        async with LineSimulator() as line, serving(line) as line_url, serving(script.app) as script_url:
            channel = {"secret": line.secret, "token": line.token, "api_base": line_url, "data_api_base": line_url}
            plan = Plan(
                base="",
                port=0,
                folder=folder,
                channels={"line": channel},
                config=str(config) if config else None,
                model=model,
                script=f"{script_url}/v1",
            )
            settings = compose(plan).settings
            async with _gateway(settings) as (gateway, url):
                line.webhook = url + next(str(one.path) for one in settings.channels.values())
                return await Terminal(console, line, gateway, wire).chat()


@contextlib.asynccontextmanager
async def _gateway(settings: Settings) -> AsyncIterator[tuple[Gateway, str]]:
    stop = asyncio.Event()
    ready: asyncio.Queue[tuple[Gateway, str]] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(settings, stop, ready=lambda gateway, url: ready.put_nowait((gateway, url))))
        try:
            yield await ready.get()
        finally:
            stop.set()


class Terminal:
    """One person at the keyboard."""

    def __init__(self, console: Console, line: LineSimulator, gateway: Gateway, wire: bool) -> None:
        self._console = console
        self._line = line
        self._gateway = gateway
        self._wire = wire
        self._typing = sys.stdin.isatty()
        self._calls = 0

    async def chat(self) -> int:
        """Say each line of the input, and show what comes back. Returns 0, or 1 when an answer did not come."""
        self._console.print(
            "[bold]Chatferry demo[/bold]: what you type travels as a signed LINE webhook into the gateway;\n"
            f"the answer comes back through LINE's API, simulated. {_told(self._gateway.settings)}"
            + ("[dim] · Ctrl-D ends[/dim]" if self._typing else ""),
            soft_wrap=True,
        )
        async for words in _lines(prompt="\nyou ▸ " if self._typing else ""):
            if not words.strip():
                continue
            if words.strip().lower() in ("exit", "quit", "/exit", "/quit"):
                break
            if not self._typing:
                self._console.print(f"\n[bold cyan]you ▸[/bold cyan] {escape(words)}")
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self.say(words.strip())
            except TimeoutError:
                self._console.print(f"[red]no answer within {_PATIENCE:.0f} s[/red]")
                return 1
        return 0

    async def say(self, words: str) -> None:
        chat = self._line.chats[self._line.address(_USER)]
        before = len(chat)
        buttons = chat[-1].buttons if chat else []
        if words.isdigit() and 1 <= int(words) <= len(buttons):
            delivery = await self._line.tap(_USER, buttons[int(words) - 1][1])
        else:
            delivery = await self._line.say(_USER, words)
        self._told(f"→ webhook, signed: {delivery.status} in {delivery.seconds * 1000:.0f} ms, kept on the disk")
        await self._closed()
        calls, self._calls = self._line.calls[self._calls :], len(self._line.calls)
        for call in calls:
            free = " (free)" if call.path.endswith("/reply") else ""
            self._told(f"← {call.method} {call.path}: {call.status}{free}")
        for seen in chat[before:]:
            self._console.print(f"[bold green]bot ▸[/bold green] {escape(seen.text)}", soft_wrap=True)
            for number, (label, _) in enumerate(seen.buttons, 1):
                self._console.print(f"      [reverse] {number} {escape(label)} [/reverse]")

    async def _closed(self) -> None:
        """Wait until the turn of what was just said has ended, and with it the last piece is there."""
        for latest in await self._gateway.ledger.entries(limit=1):
            tail = self._gateway.feed.tail(latest.id)
            (entry,) = await self._gateway.ledger.entries(turn=latest.id)
            if entry.state in ("due", "doing"):
                async for _ in tail.follow():
                    pass

    def _told(self, line: str) -> None:
        if self._wire:
            self._console.print(f"[dim]      {escape(line)}[/dim]")


def _told(settings: Settings) -> str:
    """What answers, and for the script what it knows."""
    models = [settings.models[assistant.model] for assistant in settings.assistants.values()]
    if any(model.model == SCRIPT or model.provider == "demo" for model in models):
        return (
            "The model is a script, not an AI.\n"
            "[dim]Try: my name is Anna · what is my name? · 我叫小明 · table · code · long[/dim]"
        )
    return f"The model is {', '.join(sorted({model.model for model in models}))}."


@contextlib.contextmanager
def _tidy_terminal() -> Iterator[None]:
    """Leave the terminal as it was: whoever ends us by Ctrl-C interrupts a line that is being edited, without echo."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


async def _lines(prompt: str) -> AsyncIterator[str]:
    """The lines of standard input. Read in a thread that may be left behind: nothing can interrupt a read."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    wanted = threading.Semaphore(0)

    def read() -> None:
        # Not `sys.stdin` itself: Python aborts when it ends while a thread still reads from that.
        piped = open(sys.stdin.fileno(), encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        if prompt:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 - gives `input` its line editing
        while True:
            wanted.acquire()
            try:
                line: str | None = input(prompt) if prompt else next(piped, None)
            except (EOFError, OSError):  # OSError: the terminal is gone
                line = None
            loop.call_soon_threadsafe(lines.put_nowait, line)
            if line is None:
                return

    threading.Thread(target=read, name="keyboard", daemon=True).start()
    while True:
        wanted.release()
        line = await lines.get()
        if line is None:
            return
        yield line
