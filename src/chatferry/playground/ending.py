"""How a playground ends: Ctrl-C, a supervisor's SIGTERM, and a terminal that is closed are all the same to it."""

from __future__ import annotations

import asyncio
import contextlib
import signal


def heed_signals() -> None:
    """Let the running task be cancelled by what would end the process and leave a folder behind.

    Not by what is ignored: whoever says `nohup` wants to stay. SIGINT is among them because Python raises a second one
    anywhere: in the start of a thread, and the process never ends.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - called from one
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        sent = getattr(signal, name, None)
        if sent is not None and signal.getsignal(sent) is not signal.SIG_IGN:
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(sent, task.cancel)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel it, and return when it is over."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
