"""What a collector of OpenTelemetry gets of turns: each stage once, in the right place, and nothing that people say."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.clock import SystemClock
from chatferry.config import Settings, TelemetrySettings
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_people import address
from chatferry.simulator.model import ModelSimulator, Refuse
from chatferry.simulator.model_calls import acts
from chatferry.simulator.serving import serving
from chatferry.watching.otel import linked
from tests.scenarios.harbour import Gate
from tests.stack import KEY, process_on, settings_for

CALLER = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
QUESTION = "where-is-my-order"


@dataclass
class Collector:
    """Takes OTLP over HTTP, or refuses it."""

    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    requests: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        assert request.url.path == "/v1/traces"
        assert request.headers["authorization"] == "let-me-in"
        self.requests += 1
        if self.status == 200:
            self.bodies.append(await request.body())
        await Response(status_code=self.status)(scope, receive, send)

    def spans(self) -> list[tuple[str, Span]]:
        """All spans, each with the role of the process that made it."""
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                told = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
                assert told["service.name"] == "chatferry"
                found += [(told["chatferry.role"], span) for scope in resource.scope_spans for span in scope.spans]
        return found


def facts(span: Span) -> dict[str, Any]:
    return {fact.key: getattr(fact.value, fact.value.WhichOneof("value") or "") for fact in span.attributes}


@contextlib.asynccontextmanager
async def traced(
    folder: Path, collector: Collector, *, sample: float = 1.0, **tables: dict[str, Any]
) -> AsyncIterator[tuple[Settings, LineSimulator, ModelSimulator]]:
    """Settings by which turns are traced, and both other sides."""
    line, model = LineSimulator(), ModelSimulator()
    async with line, serving(line) as line_url, serving(model.app) as model_url, serving(collector) as url:
        given = {"otlp": url, "headers": {"Authorization": "let-me-in"}, "sample": sample}
        settings = settings_for(folder, line, line_url, model_url, **tables)
        yield settings.model_copy(update={"telemetry": TelemetrySettings.model_validate(given)}), line, model


async def test_a_trace_for_each_turn_over_two_processes_without_a_word_of_people(
    tmp_path: Path, postgres_clean: str
) -> None:
    clock, collector = SystemClock(), Collector()
    tables: dict[str, Any] = {"server": {"database": postgres_clean}, "assistant": {"instructions": "mind the gap"}}
    async with (
        traced(tmp_path, collector, **tables) as (settings, line, model),
        process_on(settings, clock, "worker"),
        process_on(settings, clock, "web") as (_, base, _),
    ):
        line.webhook = f"{base}/hooks/line"
        model.plans.append(Refuse(503, {"message": f"no room for {QUESTION}"}))
        await line.say("ann", QUESTION)
        await line.seen("ann", 1)
        heads = {"Authorization": f"Bearer {KEY}", "traceparent": f"00-{CALLER[0]}-{CALLER[1]}-01"}
        asked = {"model": "default", "messages": [{"role": "user", "content": QUESTION}]}
        async with aiohttp.ClientSession(headers=heads) as http:
            answer = await http.post(f"{base}/v1/chat/completions", json=asked)
            assert answer.status == 200
    traces: dict[bytes, list[tuple[str, Span]]] = {}
    for role, span in collector.spans():
        traces.setdefault(span.trace_id, []).append((role, span))
    by_channel = {}
    for spans in traces.values():
        (root,) = [span for role, span in spans if not span.parent_span_id]
        assert {span.parent_span_id for _, span in spans if span is not root} == {root.span_id}
        assert len({span.span_id for _, span in spans}) == len(spans)
        assert all(span.start_time_unix_nano <= span.end_time_unix_nano for _, span in spans)
        by_channel[facts(root)["chatferry.channel"]] = spans
    assert set(by_channel) == {"line", "api"}
    stages = {channel: sorted((span.name, role) for role, span in spans) for channel, spans in by_channel.items()}
    common = [("accepted", "web"), *((name, "worker") for name in ("material", "model", "prompt", "turn", "waited"))]
    assert stages["api"] == common
    assert stages["line"] == sorted([*common, ("delivery", "worker"), ("model", "worker")])

    calls = sorted((facts(span) for _, span in by_channel["line"] if span.name == "model"), key=str)
    assert [call["chatferry.outcome"] for call in calls] == ["busy", "ok"]
    assert calls[1]["gen_ai.usage.input_tokens"] > 0
    statuses = {span.name: span.status.code for _, span in by_channel["api"]}
    assert set(statuses.values()) == {Status.STATUS_CODE_UNSET}
    links = {channel: [link for _, span in spans for link in span.links] for channel, spans in by_channel.items()}
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in links["api"]] == [CALLER]
    assert links["line"] == []
    (root,) = [span for _, span in by_channel["line"] if span.name == "turn"]
    names = {"chatferry.channel": "line", "chatferry.assistant": "default", "chatferry.model": "default"}
    assert facts(root) == names | {
        "chatferry.turn": 1, "chatferry.state": "done", "chatferry.kind": "message", "chatferry.tries": 1,
    }  # fmt: skip
    said = b"".join(collector.bodies)
    for words in (QUESTION, "echo", "mind the gap", address("U", "ann"), KEY, line.token):
        assert words.encode() not in said


async def test_a_collector_that_takes_nothing_costs_a_line_in_the_log_and_nothing_else(tmp_path: Path) -> None:
    clock, collector = SystemClock(), Collector(status=400)
    async with traced(tmp_path, collector) as (settings, line, _):
        with structlog.testing.capture_logs() as logs:
            for round_ in (1, 2):
                async with process_on(settings, clock) as (_, base, _):
                    line.webhook = f"{base}/hooks/line"
                    await line.say("ann", "hello")
                    await line.seen("ann", round_)
    assert collector.requests >= 2
    lost = [one for one in logs if "collector" in one["event"]]
    assert [one["log_level"] for one in lost] == ["warning"] * 2, "one for each process"


async def test_a_share_of_turns_is_traced_whole(tmp_path: Path) -> None:
    clock, collector = SystemClock(), Collector()
    async with (
        traced(tmp_path, collector, sample=0.5) as (settings, line, _),
        process_on(settings, clock) as (_, base, _),
    ):
        line.webhook = f"{base}/hooks/line"
        for number in range(40):
            await line.say(f"person {number}", "hello")
        for number in range(40):
            await line.seen(f"person {number}", 1)
    per_trace: dict[bytes, int] = {}
    for _, span in collector.spans():
        per_trace[span.trace_id] = per_trace.get(span.trace_id, 0) + 1
    assert 4 <= len(per_trace) <= 36
    assert set(per_trace.values()) == {7}


async def test_each_call_of_a_tool_is_a_stage_without_its_arguments_and_its_result(tmp_path: Path) -> None:
    clock, collector = SystemClock(), Collector()
    Gate.open, Gate.called = asyncio.Event(), asyncio.Event()
    Gate.open.set()
    tools = {"tools": ("tests.scenarios.harbour:ferry",)}
    async with traced(tmp_path, collector, assistant=tools) as (settings, line, model):
        model.act = lambda talk, _: acts(("ferry", {"name": "Mei"})) if talk[-1]["role"] == "user" else None
        async with process_on(settings, clock) as (_, base, _):
            line.webhook = f"{base}/hooks/line"
            await line.say("ann", "where is she?")
            await line.seen("ann", 1)
    spans = [span for _, span in collector.spans()]
    (tool,) = [span for span in spans if span.name == "tool"]
    assert facts(tool) == {"chatferry.turn": 1, "chatferry.tool": "ferry", "chatferry.failed": False}
    calls = sorted(span.start_time_unix_nano for span in spans if span.name == "model")
    assert len(calls) == 2
    assert calls[0] < tool.start_time_unix_nano < calls[1]
    assert not any(b"Mei" in body or b"at sea" in body for body in collector.bodies)


_WITHOUT = """
import asyncio, sys
from chatferry.config import load
from chatferry.gateway import open_gateway
from chatferry.web.app import build

async def main():
    keys = {"OPENAI_API_KEY": "a-key-of-openai", "CHATFERRY_API_KEY": "a-key-of-ours"}
    async with open_gateway(load(environ=keys)) as gateway:
        build(gateway)
        print([name for name in sys.modules if name.split(".")[0] in ("opentelemetry", "requests")])

asyncio.run(main())
"""


def test_who_wants_no_traces_pays_for_none(tmp_path: Path) -> None:
    told = subprocess.check_output([sys.executable, "-c", _WITHOUT], text=True, cwd=tmp_path)  # noqa: S603
    assert told == "[]\n"


def test_what_is_not_installed_is_said_with_its_mend(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; "
        "from chatferry.cli.main import main; sys.argv = ['chatferry', 'serve', '--port', '0']; main()"
    )
    (tmp_path / "chatferry.toml").write_text(
        '[models.default]\nprovider = "demo"\n[api]\nkeys = ["k"]\n[telemetry]\notlp = "http://127.0.0.1:9"\n'
    )
    ended = subprocess.run([sys.executable, "-c", program], text=True, cwd=tmp_path, capture_output=True)  # noqa: S603
    assert ended.returncode == 2
    assert ended.stderr.endswith(
        "telemetry.otlp: needs what is not installed: opentelemetry.sdk\n    mend: pip install 'chatferry[otel]'\n"
    )


def test_a_caller_that_names_no_trace_is_linked_to_none() -> None:
    trace, span = CALLER
    for told in ("", "garbage", "00-0-0-01", f"00-{'0' * 32}-{span}-01", f"ff-{trace}-{span}-01"):
        assert linked(told) == []
    assert len(linked(f"00-{trace}-{span}-00")) == 1
