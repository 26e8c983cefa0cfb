"""`check` for any engine: one request of one token, and what mends a failure."""

from __future__ import annotations

from chatferry.clock import Clock
from chatferry.engines.base import Engine, Prompt
from chatferry.engines.faults import mend
from chatferry.errors import Fault
from chatferry.model import Finding, Options, says

PROBE = Prompt(system="", messages=(says("user", "Say: ok"),), options=Options(max_tokens=1))


async def try_out(engine: Engine, model: str, clock: Clock) -> Finding:
    """Ask for one token by the same way that answers take."""
    subject, began = f"model {engine.name}", clock.now()
    try:
        async for _ in engine.run(PROBE):
            pass
    except Fault as fault:
        return Finding(False, subject, str(fault), mend(fault))
    return Finding(True, subject, f"{model} answered in {clock.now() - began:.1f} s")
