"""What `/metrics` shows: a registry for each gateway, and what the ledger tells when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from chatferry.ledger.census import Census
from chatferry.model import Turn, Usage
from chatferry.watching.occasion import current

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120, 300)
_WHO = ["channel", "assistant", "model"]
"""Of a turn the model is the one that its assistant asks; tokens are of the one that was asked, a fallback perhaps."""
_SOON = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The gateway's own counters. Labels are names from the configuration, never anything that a person sent."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.accepted = Counter("chatferry_accepted", "Events kept.", ["channel"], registry=registry)
        self.repeated = Counter(
            "chatferry_repeated", "Events that were delivered again.", ["channel"], registry=registry
        )
        self.rejected = Counter("chatferry_rejected", "Requests refused.", ["channel", "status"], registry=registry)
        self.limited = Counter("chatferry_limited", "Messages beyond a limit.", ["channel"], registry=registry)
        self.spent = Counter(
            "chatferry_spent", "Messages for which a budget had nothing left.", ["channel"], registry=registry
        )
        self.budget = Gauge(
            "chatferry_budget_used", "Share of an assistant's money of this month that is spent.", ["assistant"],
            registry=registry,
        )  # fmt: skip
        self.turns = Counter("chatferry_turns", "Turns closed.", ["state", *_WHO], registry=registry)
        self.starts = Histogram(
            "chatferry_start_seconds", "From accepted to taken up for the first time.", ["channel"],
            buckets=_SOON, registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "chatferry_turn_seconds", "From accepted to closed.", _WHO, buckets=_SECONDS, registry=registry
        )
        self.answers = Histogram(
            "chatferry_answer_seconds", "From accepted to answered: the answer is kept.", _WHO,
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.first_words = Histogram(
            "chatferry_first_words_seconds", "From accepted to the first words of an answer.", _WHO,
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.retries = Counter("chatferry_retries", "Turns given back for another try.", registry=registry)
        self.leases_lost = Counter(
            "chatferry_leases_lost", "Turns in the making here that were taken over by another process, or that "
            "the person changed or took back.", registry=registry,
        )  # fmt: skip
        self.takeovers = Counter(
            "chatferry_takeovers", "Turns taken up here whose holder had died or fallen silent.", registry=registry
        )
        self.running = Gauge("chatferry_running", "Turns in the making in this process.", registry=registry)
        self.model_calls = Counter(
            "chatferry_model_calls", "Calls to models: ok, filter (withheld by the provider), stopped (by us), busy, "
            "unreached, refused, or error (a fault of ours).", ["model", "outcome"], registry=registry,
        )  # fmt: skip
        self.model_seconds = Histogram(
            "chatferry_model_seconds", "From a call to a model to the end of its answer.", ["model"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.first_tokens = Histogram(
            "chatferry_first_token_seconds", "From a call to a model to its first words, as we read them.", ["model"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.tokens = Counter(
            "chatferry_tokens", "Tokens as providers counted them, or as we guess where they did not: prompt, "
            "completion.", ["kind", *_WHO], registry=registry,
        )  # fmt: skip
        self.grounding = Counter(
            "chatferry_grounding", "Answers of assistants with knowledge: unknown (nothing was found, and no model "
            "asked), passed, rejected or unchecked, by the model that checks.", ["assistant", "outcome"],
            registry=registry,
        )  # fmt: skip
        self.given = Counter(
            "chatferry_answers", "Answers of assistants with a cache, where others may get the same: kept (it was "
            "there), joined (somebody asked the same just then), asked (the model was).", ["assistant", "outcome"],
            registry=registry,
        )  # fmt: skip
        self.removed = Counter(
            "chatferry_removed", "Rows removed because they were older than server.keep.", ["table"], registry=registry
        )

    def claimed(self, turn: Turn, now: float) -> None:
        """A turn was taken up."""
        if turn.taken_over:
            self.takeovers.inc()
        if turn.lease == 1:
            self.starts.labels(turn.channel).observe(max(0.0, now - turn.accepted_at))

    def closed(self, turn: Turn, state: str, now: float) -> None:
        """A turn ended."""
        who = turn.channel, current().assistant, current().model
        self.turns.labels(state, *who).inc()
        self.seconds.labels(*who).observe(max(0.0, now - turn.accepted_at))

    def answered(self, turn: Turn, first_token_at: float | None, now: float) -> None:
        """A message got its answer."""
        who = turn.channel, current().assistant, current().model
        self.answers.labels(*who).observe(max(0.0, now - turn.accepted_at))
        if first_token_at is not None:
            self.first_words.labels(*who).observe(max(0.0, first_token_at - turn.accepted_at))

    def spoke(self, model: str, seconds: float) -> None:
        """A model began to answer."""
        self.first_tokens.labels(model).observe(seconds)

    def called(self, model: str, outcome: str, seconds: float, usage: Usage | None) -> None:
        """A call to a model ended."""
        self.model_calls.labels(model, outcome).inc()
        if outcome in ("ok", "filter"):
            self.model_seconds.labels(model).observe(seconds)
        if usage is not None:
            who = current().channel, current().assistant, model
            self.tokens.labels("prompt", *who).inc(usage.prompt)
            self.tokens.labels("completion", *who).inc(usage.completion)

    def pruned(self, removed: Mapping[str, int]) -> None:
        """Old rows were removed."""
        for table, rows in removed.items():
            self.removed.labels(table).inc(rows)

    def shown(self, census: Census | None) -> bytes:
        """All of it in Prometheus' text format; what the ledger alone knows only where it could be asked."""
        ledger = CollectorRegistry()
        ledger.register(_Ledger(census))
        return generate_latest(self.registry) + generate_latest(ledger)


class _Ledger(Collector):
    """What the ledger told."""

    def __init__(self, census: Census | None) -> None:
        self._census = census

    def collect(self) -> Iterator[GaugeMetricFamily]:
        census = self._census
        yield GaugeMetricFamily("chatferry_database_up", "The database answers.", value=census is not None)
        if census is None:
            return
        depth = GaugeMetricFamily(
            "chatferry_queue_depth",
            "Turns to be done: now (waiting), or after a pause (later).",
            labels=["when"],
        )
        depth.add_metric(["waiting"], census.waiting)
        depth.add_metric(["later"], census.later)
        yield depth
        yield GaugeMetricFamily(
            "chatferry_oldest_waiting_seconds", "How long the oldest turn that is due has been due.", census.oldest
        )
        yield GaugeMetricFamily(
            "chatferry_running_everywhere", "Turns in the making in all processes, dead ones included.", census.running
        )
        rows = GaugeMetricFamily(
            "chatferry_rows",
            "About how many rows a table has: an estimate, not a count.",
            labels=["table"],
        )
        for table, number in census.rows.items():
            rows.add_metric([table], number)
        yield rows
        yield GaugeMetricFamily("chatferry_database_bytes", "Size of the database.", census.bytes)
