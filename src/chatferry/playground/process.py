"""The gateway as a process of its own: started, killed for real, started again. Its state is a fact of the scene."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Literal

import msgspec

from chatferry.playground.plan import Plan
from chatferry.simulator.scene import Scene

State = Literal["starting", "up", "killed", "stopped", "failed"]
_LINES = 12
"""Of the log, when it fails."""


class GatewayProcess:
    """One gateway at a time. `keep` starts it, and starts it again after each end that was wanted here, and after any
    other when somebody wants it to."""

    def __init__(self, plan: Plan, scene: Scene) -> None:
        self._plan = plan
        self._scene = scene
        self._process: Process | None = None
        self._starts = 0
        self._down: float | None = None
        """Seconds to stay away: somebody has killed it."""
        self._up, self._wanted = asyncio.Event(), asyncio.Event()
        self.log = Path(plan.folder) / "gateway.log"

    async def up(self) -> None:
        """Return once it serves."""
        await self._up.wait()

    async def kill(self, down: float = 0.0) -> bool:
        """SIGKILL, and a new start after `down` seconds. False: there is nothing to kill."""
        if self._process is None or self._process.returncode is not None or self._down is not None:
            return False
        self._down = down
        self._process.kill()
        await self._process.wait()
        return True

    def start(self) -> None:
        """Start it again, if it has ended by itself."""
        self._wanted.set()

    async def keep(self) -> None:
        """Run it until we are cancelled. An end that nobody wanted is put as `failed`, with its last words."""
        try:
            while True:
                self._wanted.clear()
                try:
                    await self._run()
                    last = self._last_words() if self._down is None else ""
                except OSError as fault:  # no files or no memory left, or somebody has tidied the folder away
                    last = str(fault)
                if self._down is None:
                    self._put("failed", log=last)
                    await self._wanted.wait()
                else:
                    self._put("killed")
                    await asyncio.sleep(self._down)
                    self._down = None
        finally:
            await self._end()

    async def _run(self) -> None:
        """Start it, and wait for its end."""
        self._starts += 1
        self._put("starting")
        start = time.monotonic()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies where we were started is none of its modules
                "-m",
                "chatferry.playground.child",
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who then tell it
            )
        assert self._process.stdin is not None  # noqa: S101 - a pipe, as asked for
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(msgspec.json.encode(self._plan) + b"\n")
        if await self._process.stdout.readline():
            self._put("up", took=time.monotonic() - start)
            self._up.set()
        await self._process.wait()
        self._up.clear()

    async def _end(self) -> None:
        """Let it drain, for a moment; or for none, if we are cancelled again."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3.0):
                    await process.wait()
                    return
        finally:
            if process.returncode is None:
                process.kill()
        await process.wait()

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-_LINES:])

    def _put(self, state: State, *, took: float | None = None, log: str = "") -> None:
        pid = self._process.pid if self._process and state == "up" else None
        self._scene.put(
            "gateway", "gateway", state=state, since=time.time(), starts=self._starts, took=took, pid=pid, log=log
        )
