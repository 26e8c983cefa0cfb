"""The `chatferry` command as its users run it: a process, an environment, sometimes a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from chatferry.simulator.line import LineSimulator
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from tests.sqlite import with_schema

T = TypeVar("T")
SECRET, TOKEN, KEY = "channel-secret-5566778899", "channel-token-9911223344", "sk-proj-1234567890abcdef"
CHATFERRY = (sys.executable, "-m", "chatferry")
PATIENCE = 60.0

_ON_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


class Served:
    """A gateway that runs as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""
        self.said: list[str] = []
        self._told = asyncio.Condition()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._told:
                self.said.append(line.decode())
                self._told.notify_all()
        async with self._told:
            self._told.notify_all()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said]

    async def event(self, name: str) -> dict[str, Any]:
        """The first log line with this event, once it is written."""
        async with asyncio.timeout(PATIENCE), self._told:
            await self._told.wait_for(lambda: any(event["event"] == name for event in self.events))
        return next(event for event in self.events if event["event"] == name)

    async def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(by)
        return await self.end()

    async def end(self) -> int:
        async with asyncio.timeout(PATIENCE):
            await self.reading
            return await self.process.wait()


class Terminal:
    """A person's terminal, 80 columns wide, with a program in it."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self._master = master
        self.screen = ""
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            self.screen += os.read(self._master, 65536).decode()
        except OSError:  # Linux says EIO when the last program has closed it
            asyncio.get_running_loop().remove_reader(self._master)
        self._changed.set()

    async def shows(self, *words: str) -> None:
        """Wait until these words are on the screen, one after the other."""
        async with asyncio.timeout(PATIENCE):
            while not self._has(words):
                self._changed.clear()
                await self._changed.wait()

    def _has(self, words: tuple[str, ...]) -> bool:
        place = 0
        for word in words:
            found = self.screen.find(word, place)
            if found < 0:
                return False
            place = found + len(word)
        return True

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    @property
    def echoes(self) -> bool:
        """Does it show what is typed? A program that forgets to tidy up leaves it blind."""
        modes: int = termios.tcgetattr(self._master)[3]
        return bool(modes & termios.ECHO) and bool(modes & termios.ICANON)

    async def end(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


class Shop:
    """A machine on which nothing but the variables that the README names is set, and they lead to the simulators."""

    def __init__(self, folder: Path, line: LineSimulator, model: ModelSimulator, line_url: str, model_url: str) -> None:
        self.folder = folder
        self.line = line
        self.model = model
        self.environ = {
            "LINE_CHANNEL_SECRET": SECRET,
            "LINE_CHANNEL_ACCESS_TOKEN": TOKEN,
            "LINE_API_BASE": line_url,
            "LINE_DATA_API_BASE": line_url,
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{model_url}/v1",
            "PORT": "0",
        }

    def new(self) -> None:
        """Nothing has ever run here."""
        (self.folder / "chatferry.db").unlink()

    async def run(self, *arguments: str, stdin: str | bytes = "", **changed: str) -> Ended:
        """Run a command to its end. Nothing secret is in what it says, and it is not a traceback."""
        return await self._run(*CHATFERRY, *arguments, stdin=stdin, changed=changed)

    async def shell(self, script: str) -> Ended:
        """Run a line of bash, to which the command is `"$@"`."""
        return await self._run("bash", "-c", script, "bash", *CHATFERRY)

    async def _run(self, *command: str, stdin: str | bytes = "", changed: dict[str, str] | None = None) -> Ended:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        process = await self._start(*command, changed=changed or {}, out=asyncio.subprocess.PIPE)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(given)
        ended = Ended(process.returncode or 0, out.decode(), err.decode())
        assert "Traceback" not in ended.err
        assert not secrets_in(ended.out + ended.err)
        return ended

    @contextlib.asynccontextmanager
    async def serving(self, *program: str, role: str = "all", **changed: str) -> AsyncIterator[Served]:
        """A gateway while the context is open; LINE calls it. Nothing secret is in what it says."""
        command = program or (*CHATFERRY, "serve", "--role", role)
        process = await self._start(*command, changed=changed, out=asyncio.subprocess.DEVNULL)
        served = Served(process)
        try:
            address = (await served.event("serving"))["address"]
            served.url = address.replace("0.0.0.0", "127.0.0.1")
            self.line.webhook = f"{served.url}/hooks/line"
            yield served
        finally:
            await served.stop()
        assert not secrets_in("".join(served.said))

    @contextlib.asynccontextmanager
    async def terminal(self, *arguments: str, **changed: str) -> AsyncIterator[Terminal]:
        """A command in a terminal while the context is open."""
        master, slave = os.openpty()
        termios.tcsetwinsize(master, (24, 80))
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _ON_A_TERMINAL, *CHATFERRY, *arguments),
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=self.folder,
                env=self._environ(changed | {"TERM": "xterm"}),
            )
            os.close(slave)
            terminal = Terminal(process, master)
            try:
                yield terminal
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
                asyncio.get_running_loop().remove_reader(master)
            assert not secrets_in(terminal.screen)
        finally:
            os.close(master)

    async def _start(self, *command: str, changed: dict[str, str], out: int) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        env = self._environ(changed)
        return await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=out, stderr=pipe, cwd=self.folder, env=env
        )

    def _environ(self, changed: dict[str, str]) -> dict[str, str]:
        environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **self.environ, **changed}
        return {name: value for name, value in environ.items() if value}


@contextlib.asynccontextmanager
async def shop(folder: Path) -> AsyncIterator[Shop]:
    """There is a database, with nothing in it; `Shop.new` is without one."""
    with_schema(folder / "chatferry.db")
    line, model = LineSimulator(secret=SECRET, token=TOKEN), ModelSimulator(key=KEY)
    async with line, serving(line) as line_url, serving(model.app) as model_url:
        yield Shop(folder, line, model, line_url, model_url)


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (SECRET, TOKEN, KEY) if secret in text]


async def soon(happens: Awaitable[T]) -> T:
    """What is awaited, or a failure when it does not come."""
    async with asyncio.timeout(PATIENCE):
        return await happens
