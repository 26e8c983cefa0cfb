"""Who makes traces of turns: nobody, unless the configuration names a collector; then nothing of it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatferry.clock import Clock
from chatferry.config import TelemetrySettings
from chatferry.errors import ConfigError

if TYPE_CHECKING:
    from chatferry.otel import Otel


def tracer_of(settings: TelemetrySettings, key: bytes, role: str, clock: Clock) -> Otel | None:
    """What makes traces. `key` is the database's. Raises ConfigError where what it needs is not installed."""
    if settings.otlp is None:
        return None
    try:
        from chatferry.otel import Otel
    except ImportError:
        raise ConfigError(
            "telemetry.otlp: what OpenTelemetry needs is not installed\n  mend: pip install 'chatferry[otel]'"
        ) from None
    return Otel(settings, key, role, clock)
