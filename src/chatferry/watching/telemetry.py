"""Who makes traces of turns: nobody, unless the configuration names a collector; then nothing of it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatferry.clock import Clock
from chatferry.config import TelemetrySettings

if TYPE_CHECKING:
    from chatferry.watching.otel import Otel


def tracer_of(settings: TelemetrySettings, key: bytes, role: str, clock: Clock) -> Otel | None:
    """What makes traces. `key` is the database's."""
    if settings.otlp is None:
        return None
    from chatferry.watching.otel import Otel

    return Otel(settings, key, role, clock)
