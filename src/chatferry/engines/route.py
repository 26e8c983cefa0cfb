"""One engine made of several: tries again, goes on to the next, leaves out what is down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from chatferry.clock import Clock
from chatferry.engines.base import Delta, Done, Engine, Event, Prompt, Restart
from chatferry.engines.faults import Unreached
from chatferry.errors import Fault, Final, TryLater
from chatferry.model import Finding, Usage
from chatferry.retry import Circuit, next_try
from chatferry.spending import spend

_READ = ("ok", "filter", "stopped")
"""Outcomes of calls whose prompt was read, whatever was said."""


class Tally(Protocol):
    """Who counts what models do, by their names in the configuration."""

    def spoke(self, model: str, seconds: float) -> None:
        """It began to answer."""
        ...

    def called(self, model: str, outcome: str, seconds: float, usage: Usage | None) -> None:
        """A call ended: `ok`, `filter`, `stopped`, `busy`, `unreached`, `refused` or `error`."""
        ...


class Route:
    """A model and its fallbacks, in order.

    Circuits come in by argument because they belong to the model: all assistants that use it share one.
    """

    def __init__(
        self,
        engines: Sequence[tuple[Engine, Circuit]],
        clock: Clock,
        random: Callable[[], float],
        tally: Tally,
        price: Callable[[str, Usage], int] = lambda model, usage: 0,
        guess: Callable[[str, Prompt, str], Usage] = lambda model, prompt, said: Usage(),
    ) -> None:
        """price: what a call of a model costs, in millionths.

        guess: the tokens of a prompt and of what was said to it, where the provider does not tell.
        """
        self.name = engines[0][0].name
        self._engines = engines
        self._clock = clock
        self._random = random
        self._tally = tally
        self._price = price
        self._guess = guess

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        """See `Engine.run`. Text of a try that failed is voided by a `Restart` once there is something new to show."""
        last: Fault | None = None
        shown = False
        for engine, circuit in self._engines:
            attempts = 0
            while circuit.admits():
                void = shown
                began, outcome = self._clock.now(), ""
                said: list[str] = []
                usage: Usage | None = None
                try:
                    async with aclosing(engine.run(prompt, pace=pace)) as events:
                        async for event in events:
                            if void:
                                yield Restart()
                                void = False
                            if isinstance(event, Delta):
                                if not said:
                                    self._tally.spoke(engine.name, self._clock.now() - began)
                                said.append(event.text)
                            elif isinstance(event, Done):
                                circuit.answered()
                                outcome = "filter" if event.finish == "filter" else "ok"
                                usage = self._priced(engine.name, event.usage) if event.usage is not None else None
                            yield event
                    return
                except TryLater as fault:
                    circuit.failed()
                    last, outcome = fault, "unreached" if isinstance(fault, Unreached) else "busy"
                except Final as fault:
                    circuit.answered()
                    last, outcome = fault, "refused"
                except (GeneratorExit, asyncio.CancelledError):
                    outcome = outcome or "stopped"
                    raise
                finally:
                    # Providers bill what they have read and said, whether somebody stayed to be told how much that is.
                    if usage is None and (said or outcome in _READ):
                        usage = self._priced(engine.name, self._guess(engine.name, prompt, "".join(said)))
                    if usage is not None:
                        spend(usage)
                    self._tally.called(engine.name, outcome or "error", self._clock.now() - began, usage)
                shown = bool(said) or void
                attempts += 1
                wait = next_try(last, attempts, random=self._random)
                if wait is None or circuit.closed_for() > 0:
                    break
                await self._clock.sleep(wait)
        raise last or self._all_down()

    def _priced(self, model: str, usage: Usage) -> Usage:
        return msgspec.structs.replace(usage, cost=self._price(model, usage))

    async def check(self) -> AsyncIterator[Finding]:
        for engine, _ in self._engines:
            async for finding in engine.check():
                yield finding

    def _all_down(self) -> TryLater:
        after = min(circuit.closed_for() for _, circuit in self._engines)
        return TryLater(f"{self.name}: this model and its fallbacks failed too often just now", after=after)
