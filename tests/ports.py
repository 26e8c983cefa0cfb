"""Ports for what has to know its own before it listens, or comes back at the same one."""

from __future__ import annotations

import contextlib
import random
import socket


def free_port() -> int:
    """A free port below those that the kernel gives to clients: while nobody listens there, no client may get it."""
    while True:
        port = random.randrange(20000, 32000)  # noqa: S311
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
