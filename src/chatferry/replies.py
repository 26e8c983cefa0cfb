"""Messages that are answered without the model: by a text of the operator's, or by a function of theirs."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import structlog

from chatferry.config import ReplySettings, Settings
from chatferry.errors import Final, TryLater
from chatferry.functions import find, reach, threaded, told
from chatferry.model import Finding, Message
from chatferry.text.cutting import clean
from chatferry.text.likeness import REACH, folded, narrow

log = structlog.get_logger(__name__)

_PATIENCE = 0.05
"""Seconds that a regex has: some take for ever on a text that was made for it, and everybody waits meanwhile."""


class Replies:
    """The rules, in their order."""

    def __init__(self, settings: Sequence[ReplySettings]) -> None:
        self._rules = [(_test(rule), rule) for rule in settings]

    def find(self, text: str, channel: str) -> tuple[str, str] | None:
        """What answers a text: `("reply", text)` or `("python", place)`; None: nothing but the assistant."""
        said = text.strip()
        if not said or not self._rules:
            return None
        same = folded(said)
        for fits, rule in self._rules:
            if (not rule.channels or channel in rule.channels) and fits(said, same):
                return ("python", rule.python) if rule.python is not None else ("reply", rule.reply or "")
        return None


def _test(rule: ReplySettings) -> Callable[[str, str], bool]:
    """Does the rule fit a text, which is given as it was said and folded?"""
    match = folded(rule.match)
    if rule.by == "exact":
        return lambda said, same: same == match and len(said) <= REACH
    if rule.by == "prefix":
        return lambda said, same: same.startswith(match)
    import regex  # which, unlike `re`, can be told to stop

    pattern = regex.compile(rule.match, regex.IGNORECASE)

    def fits(said: str, _: str) -> bool:
        try:
            # Narrow letters alone would not do: the pattern may name a wide one, and narrowed 「？」 would be a sign.
            return any(pattern.search(text, timeout=_PATIENCE) for text in (narrow(said), said[:REACH]))
        except TimeoutError:
            log.warning("a regex takes too long, and counts as not fitting", regex=rule.match)
            return False

    return fits


# The operator's functions


def findings(settings: Settings) -> Iterator[Finding]:
    """Imports the modules of all rules, which may be files beside the configuration, and looks for the functions."""
    places = dict.fromkeys(rule.python for rule in settings.replies if rule.python is not None)
    if places:
        reach(settings.source)
    for place in places:
        yield _look(place, settings.source)


def _look(place: str, source: str) -> Finding:
    function = find(place, source, "(text)")
    if isinstance(function, Finding):
        return function
    subject, name = f"python {place}", place.split(":")[1]
    if not _takes(function):
        return Finding(False, subject, "cannot be called with a text", f"define it as {name}(text)")
    return Finding(True, subject, "is there")


def _takes(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind("", **_more(function, ""))
    except TypeError:
        return False
    except ValueError:
        return True  # written in C: nobody knows
    return True


def _more(function: Callable[..., Any], conversation: str) -> dict[str, str]:
    """What a function is given beside the text, if it asks for it by name."""
    try:
        return {"conversation": conversation} if "conversation" in inspect.signature(function).parameters else {}
    except ValueError:
        return {}


async def call(place: str, message: Message, conversation: str, *, limit: float = 30.0) -> str:
    """What a function, plain or async, says to a message; empty: nothing. It has `limit` seconds.

    Raises Final where it fails, from what it raised; TryLater where too many run already.
    """
    module, name = place.split(":")
    scope = asyncio.timeout(limit)
    try:
        function = getattr(importlib.import_module(module), name)
        work = partial(function, message.text, **_more(function, conversation))
        async with scope:
            said = work() if inspect.iscoroutinefunction(function) else await threaded(work, place)
            if inspect.isawaitable(said):
                said = await said
    except TryLater:
        raise
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Final(f"{place}: cancelled itself") from cancelled
    except GeneratorExit:
        raise
    except BaseException as bug:  # it is not ours, and must not stop others: a panic of Rust's is no Exception
        reason = f"took longer than {limit:g} s" if scope.expired() else told(bug)
        raise Final(f"{place}: {reason}") from bug
    if said is not None and not isinstance(said, str):
        raise Final(f"{place}: returned {type(said).__name__}, not a text")
    said = clean(said or "")  # half a character could not even be kept
    return said if said.strip() else ""
