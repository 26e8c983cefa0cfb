"""For which turn something is done: known to whatever is called in its course, without being handed on everywhere.

That is how tokens are counted for the channel that asked, and how a call to a model finds its place in a trace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol

from chatferry.engines.route import Tally
from chatferry.model import Turn, Usage

Facts = Mapping[str, str | int | float | bool]
"""What a trace tells beside times: names from the configuration, numbers and our own words, never what people say."""

caller: ContextVar[str] = ContextVar("caller", default="")
"""The `traceparent` of the request that is being answered, where traces are made."""


class Tracer(Protocol):
    """Who is told how long the stages of turns took. Sync and quick: nobody waits for a collector."""

    def now(self) -> float:
        """Unix seconds, by the clock that all processes share."""
        ...

    def accepted(self, turn: int, began: float, ended: float, caller: str, facts: Facts) -> None:
        """A turn was made. caller: the `traceparent` of the request that brought it, if any."""
        ...

    def stage(self, turn: int, name: str, began: float, ended: float, facts: Facts) -> None:
        """A part of a turn has ended."""
        ...

    def closed(self, turn: int, began: float, ended: float, facts: Facts) -> None:
        """A turn has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Occasion:
    """A turn that is worked on here. Names are empty where they are not known."""

    turn: int = 0
    channel: str = ""
    assistant: str = ""
    model: str = ""
    """Which one the assistant asks, where it is asked at all."""
    tracer: Tracer | None = None


_NO_TURN = Occasion()
_current: ContextVar[Occasion] = ContextVar("occasion", default=_NO_TURN)
current = _current.get


def begin(turn: Turn, tracer: Tracer | None) -> None:
    """From here on, in this task and in those that it begins, everything is done for this turn."""
    _current.set(Occasion(turn.id, turn.channel, tracer=tracer))
    if tracer is not None and turn.lease == 1:
        tracer.stage(turn.id, "waited", turn.accepted_at, tracer.now(), {})


def by(assistant: str, model: str) -> None:
    """It is known who answers."""
    _current.set(replace(current(), assistant=assistant, model=model))


def stage(name: str, **facts: str | int) -> contextlib.AbstractContextManager[dict[str, str | int]]:
    """What is done in this context is a stage of the turn. More facts may be put into what it gives."""
    tracer = current().tracer
    return contextlib.nullcontext(facts) if tracer is None else _stage(current().turn, tracer, name, facts)


@contextlib.contextmanager
def _stage(turn: int, tracer: Tracer, name: str, facts: dict[str, str | int]) -> Iterator[dict[str, str | int]]:
    began = tracer.now()
    try:
        yield facts
    except Exception as fault:
        facts["error"] = type(fault).__name__  # its words may be somebody's
        raise
    finally:
        tracer.stage(turn, name, began, tracer.now(), facts)


def closed(turn: Turn, state: str) -> None:
    """The turn has ended."""
    occasion = current()
    if occasion.tracer is not None:
        facts: Facts = {
            "state": state,
            "kind": turn.inbound.kind,
            "tries": turn.attempts,
            "channel": turn.channel,
            "assistant": occasion.assistant,
            "model": occasion.model,
        }
        occasion.tracer.closed(turn.id, turn.accepted_at, occasion.tracer.now(), facts)


class Traced:
    """Counts what models do, and makes a stage of each call."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._first: ContextVar[float | None] = ContextVar("first token", default=None)

    def spoke(self, model: str, seconds: float) -> None:
        self._tally.spoke(model, seconds)
        self._first.set(seconds)

    def called(self, model: str, outcome: str, seconds: float, usage: Usage | None) -> None:
        self._tally.called(model, outcome, seconds, usage)
        occasion, first = current(), self._first.get()
        self._first.set(None)
        if occasion.tracer is None:
            return
        facts: dict[str, str | int | float] = {"model": model, "outcome": outcome}
        if first is not None:
            facts["first_token_seconds"] = first
        if usage is not None:
            facts |= {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion}
        now = occasion.tracer.now()
        occasion.tracer.stage(occasion.turn, "model", now - seconds, now, facts)
