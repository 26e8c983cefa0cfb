"""What all tests share."""

from __future__ import annotations

import pytest
import structlog

# Plain tracebacks: the pretty ones print local variables, and a failing test should not flood the screen.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=50, help="How often the crash test kills the gateway.")
    parser.addoption("--seed", type=int, help="Repeats the random choices of a crash test that printed this.")
