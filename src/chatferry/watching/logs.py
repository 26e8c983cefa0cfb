"""Logging: lines for people on a terminal, JSON for machines. Messages of people and secrets are never logged.

No line of ours quotes a person, but an exception of a library or a database may: what looks like personal data is
hidden in every line, whatever the settings say.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from chatferry.masking.lines import hide as hide_personal

Style = Literal["auto", "json", "console"]


def for_people(style: Style) -> bool:
    """Does a person read what we write to standard error?"""
    return style == "console" or (style == "auto" and sys.stderr.isatty())


def configure(style: Style = "auto", *, level: int = logging.INFO, hide: Iterable[str] = ()) -> None:
    """Send our logs, and the warnings of libraries, to standard error; what is to be hidden shows as `***`."""
    people = for_people(style)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
        structlog.processors.StackInfoRenderer(),
    ]
    if people:
        end: list[Processor] = [
            _one_line,
            # Never the pretty tracebacks: they print the local variables, which are secrets and people's messages.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    else:
        end = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    end.append(_Curtain(hide))
    structlog.configure(
        processors=[*shared, *end],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        # A line costs some 45 µs, 3 of them because this is off; on, who has logged once is deaf to the next setting.
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _last_words
    libraries = logging.StreamHandler(sys.stderr)
    form = structlog.stdlib.ProcessorFormatter
    libraries.setFormatter(form(foreign_pre_chain=shared, processors=[form.remove_processors_meta, *end]))
    # What they tell at length when a connection breaks is told by `dispatch` and by `tools`, in a line.
    for library in ("pgqueuer", "mcp"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.basicConfig(handlers=[libraries], level=max(level, logging.WARNING), force=True)


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends the process is told like all else, and not by Python, which hides nothing."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        structlog.get_logger().critical("ended by a bug", exc_info=(kind, error, trace))


def _one_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What mends an error stands on a line of its own, which the log would show as "\\n"."""
    if isinstance(error := event.get("error"), str):
        event["error"] = error.replace("\n  mend:", "; mend:")
    return event


class _Curtain:
    """The last step before a line is written: an exception's text may quote anything."""

    def __init__(self, hide: Iterable[str]) -> None:
        self._hide = tuple(hide)

    def __call__(self, _: WrappedLogger, __: str, line: EventDict | str) -> str:
        text = str(line)
        for secret in self._hide:
            text = text.replace(secret, "***")
        return hide_personal(text)
