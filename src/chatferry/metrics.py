"""What `/metrics` shows, in one registry for each gateway."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from chatferry.model import Turn

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120, 300)


class Metrics:
    """The gateway's own counters. Labels are names from the configuration, never anything that a person sent."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter(
            "chatferry_accepted", "Events kept.", ["channel"], registry=self.registry
        )  # fmt: skip
        self.repeated = Counter(
            "chatferry_repeated", "Events that were delivered again.", ["channel"], registry=self.registry
        )
        self.rejected = Counter(
            "chatferry_rejected", "Requests refused.", ["channel", "status"], registry=self.registry
        )
        self.limited = Counter(
            "chatferry_limited", "Messages beyond a limit.", ["channel"], registry=self.registry
        )  # fmt: skip
        self.turns = Counter("chatferry_turns", "Turns closed.", ["channel", "state"], registry=self.registry)
        self.seconds = Histogram(
            "chatferry_turn_seconds", "From accepted to closed.", ["channel"], buckets=_SECONDS, registry=self.registry
        )
        self.retries = Counter("chatferry_retries", "Turns given back for another try.", registry=self.registry)
        self.running = Gauge("chatferry_running", "Turns in the making.", registry=self.registry)

    def closed(self, turn: Turn, state: str, now: float) -> None:
        """A turn ended."""
        self.turns.labels(turn.channel, state).inc()
        self.seconds.labels(turn.channel).observe(max(0.0, now - turn.accepted_at))
