"""How a playground ends: Ctrl-C, a supervisor's SIGTERM, and a terminal that is closed are all the same to it."""

from __future__ import annotations

import asyncio
import contextlib
import signal


def heed_signals() -> None:
    """Let the running task be cancelled by what would end the process and leave a folder behind.

    Not by what is ignored: whoever says `nohup` wants to stay. Python sees to SIGINT itself.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - called from one
    for name in ("SIGTERM", "SIGHUP"):
        sent = getattr(signal, name, None)
        if sent is not None and signal.getsignal(sent) is signal.SIG_DFL:
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(sent, task.cancel)
