"""Traces by OpenTelemetry: a trace for each turn, a span for each stage of it, sent in the background.

Which trace a turn has follows from its number and from a key of the database, so the process that takes a message in
and the one that answers it tell of the same trace and need not tell each other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import threading
from collections.abc import Sequence
from hashlib import blake2b

import structlog
from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from chatferry import __version__
from chatferry.clock import Clock
from chatferry.config import TelemetrySettings
from chatferry.watching.occasion import Facts

log = structlog.get_logger(__name__)

_QUEUE = 8192
"""Spans that wait for the collector; what is beyond is dropped."""
_PATIENCE = 5.0
"""Seconds that the collector has to take a batch."""
_END = 2.0
"""Seconds that it has for the last ones, when we end."""
_CALLER = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}.*")
_KINDS = {"accepted": SpanKind.SERVER, "model": SpanKind.CLIENT, "tool": SpanKind.CLIENT, "delivery": SpanKind.CLIENT}
_NAMES = {"prompt_tokens": "gen_ai.usage.input_tokens", "completion_tokens": "gen_ai.usage.output_tokens"}
"""Facts that OpenTelemetry has names for. The others are ours: `chatferry.NAME`."""
_FAULTS = ("busy", "unreached", "refused", "error")
"""What may come of a call to a model and is somebody's fault."""


class _Ids(IdGenerator):
    """Gives out the ids of the turn whose span begins next, and else random ones."""

    def __init__(self) -> None:
        self.given: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        return self.given[0] if self.given else random.getrandbits(128) or 1

    def generate_span_id(self) -> int:
        return self.given[1] if self.given else random.getrandbits(64) or 1


class Otel:
    """A `Tracer`. `key`: of the database, so that turns of two installations never share a trace."""

    def __init__(self, settings: TelemetrySettings, key: bytes, role: str, clock: Clock) -> None:
        self.now = clock.now
        # What it has to say of a collector that is away is said once, by `_Quiet`.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        base = (settings.otlp or "").removesuffix("/v1/traces")
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        exporter = _Quiet(OTLPSpanExporter(f"{base}/v1/traces", headers=headers, timeout=_PATIENCE))
        told = {"service.name": "chatferry", "service.version": __version__, "chatferry.role": role}
        self._ids = _Ids()
        self._provider = TracerProvider(
            ALWAYS_ON, Resource.create(told), shutdown_on_exit=False, id_generator=self._ids
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, _QUEUE, 1000.0, 512))
        self._tracer = self._provider.get_tracer("chatferry", __version__)
        self._key = key[:64]
        self._sampled = int(settings.sample * 2**64)

    def accepted(self, turn: int, began: float, ended: float, caller: str, facts: Facts) -> None:
        self._span(turn, "accepted", began, ended, facts, linked(caller))

    def stage(self, turn: int, name: str, began: float, ended: float, facts: Facts) -> None:
        self._span(turn, name, began, ended, facts)

    def closed(self, turn: int, began: float, ended: float, facts: Facts) -> None:
        self._span(turn, "turn", began, ended, facts, top=True)

    def _span(
        self,
        turn: int,
        name: str,
        began: float,
        ended: float,
        facts: Facts,
        links: Sequence[Link] = (),
        *,
        top: bool = False,
    ) -> None:
        told = blake2b(str(turn).encode(), key=self._key, digest_size=24).digest()
        trace, root = int.from_bytes(told[:16], "big"), int.from_bytes(told[16:], "big")
        if trace % 2**64 >= self._sampled:
            return
        self._ids.given = (trace, root) if top else None
        parent = NonRecordingSpan(SpanContext(trace, root, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
        span = self._tracer.start_span(
            name,
            context=None if top else api.set_span_in_context(parent),
            kind=_KINDS.get(name, SpanKind.INTERNAL),
            attributes={_NAMES.get(fact, f"chatferry.{fact}"): value for fact, value in facts.items()},
            links=links,
            start_time=int(began * 1e9),
        )
        span.set_attribute("chatferry.turn", turn)
        if "error" in facts or facts.get("state") == "failed" or facts.get("outcome") in _FAULTS:
            span.set_status(StatusCode.ERROR)
        span.end(int(max(began, ended) * 1e9))

    async def aclose(self) -> None:
        """Send what waits, as far as that can be done soon."""
        # A pool's thread would hold up the end of the process.
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        end = asyncio.get_running_loop().time() + _END
        while sending.is_alive() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - threads know no event
            await asyncio.sleep(0.02)


def linked(caller: str) -> list[Link]:
    """The trace that a request belongs to, by its `traceparent`."""
    known = _CALLER.fullmatch(caller)
    trace, span = (int(part, 16) for part in known.groups()) if known else (0, 0)
    return [Link(SpanContext(trace, span, is_remote=True))] if trace and span else []


class _Quiet(SpanExporter):
    """Says once that the collector takes nothing, and once that it does again. What it did not take is lost."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - the top of the thread: traces are a courtesy
            result = SpanExportResult.FAILURE
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            log.warning("traces are lost: the collector takes none")
        elif self._away and not away:
            log.info("the collector takes traces again")
        self._away = away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
