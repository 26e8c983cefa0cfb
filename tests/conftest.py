"""What all tests share."""

from __future__ import annotations

import structlog

# Plain tracebacks: the pretty ones print local variables, and a failing test should not flood the screen.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
