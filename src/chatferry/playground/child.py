"""`python -m chatferry.playground.child`: the gateway of a playground, a process that can be killed.

The first line of standard input is its plan. It writes a line to standard output when it serves, and ends when standard
input does: with whoever started it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

import msgspec

from chatferry.errors import ChatferryError
from chatferry.playground.plan import Plan, compose
from chatferry.serve import run
from chatferry.watching import logs


def main() -> int:
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    try:
        settings = compose(plan).settings
        logs.configure("console", level=logging.INFO, hide=settings.secrets())
        threading.Thread(target=_follow_parent, name="parent", daemon=True).start()
        run(settings, ready=_say)
    except ChatferryError as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    return 0


def _say(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


def _follow_parent() -> None:
    """Read until whoever holds the other end is gone; a SIGKILL leaves no other trace."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
