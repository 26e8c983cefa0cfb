"""Slack: how soon something is to be seen, how often an answer is edited, and CPU for each token of one that grows."""

from __future__ import annotations

import hmac
import itertools
import time
import urllib.request

import msgspec
import uvloop

from bench import rig
from bench.load import Load, percentile
from bench.slack_side import Report

RATE = 50
TOKENS = 200
FIRST = 1.5
"""Seconds until the model's first token: the placeholder stands by then, and may be edited."""
WORKSPACES = 200
"""So many that no workspace's limits decide."""
ARRIVALS = 20
"""Questions a second, where latency is measured."""
STREAMS = 200
SECONDS = 15

_numbers = itertools.count(int(time.time() * 1e6))


def question(workspace: int) -> tuple[str, bytes]:
    """A direct message that begins a thread: its `ts`, and the whole signed HTTP request."""
    number = next(_numbers)
    ts = f"{number // 10**6}.{number % 10**6:06d}"
    body = (
        f'{{"type":"event_callback","team_id":"T{workspace}","api_app_id":"A0","event_id":"Ev{number}",'
        f'"event_time":{number // 10**6},"authorizations":[{{"team_id":"T{workspace}","user_id":"U0BOT"}}],'
        f'"event":{{"type":"message","channel":"D{number}","channel_type":"im","user":"U{number}",'
        f'"ts":"{ts}","text":"What is the weather like in Taipei today?"}}}}'
    ).encode()
    at = str(int(time.time()))
    digest = hmac.digest(rig.SECRET.encode(), f"v0:{at}:".encode() + body, "sha256").hex()
    return ts, (
        b"POST /hooks/slack HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"x-slack-request-timestamp: %b\r\nx-slack-signature: v0=%b\r\nContent-Length: %d\r\n\r\n%b"
        % (at.encode(), digest.encode(), len(body), body)
    )


async def _ask(port: int, workspaces: int, rate: float) -> dict[str, float]:
    """One question for each; when each was due to be sent, by its thread."""
    load = Load(port)
    await load.connect()
    asked = [question(number % workspaces) for number in range(WORKSPACES)]
    begin = time.perf_counter() + 0.05
    await load.run([request for _, request in asked], rate)
    if load.refused:
        raise RuntimeError(f"{load.refused} were not answered with 200")
    return {ts: begin + number / rate for number, (ts, _) in enumerate(asked)}


def _report(slack: str) -> Report:
    with urllib.request.urlopen(f"{slack}/report") as answer:
        return msgspec.json.decode(answer.read(), type=Report)


def _latency(slack: str, channel: str, sign: str, name: str) -> str:
    """A row of the table. The first round is for every workspace to be known."""
    arguments = ("--rate", str(RATE), "--tokens", str(TOKENS), "--first", str(FIRST))
    with rig.helper("bench.provider", *arguments) as model, rig.gateway(slack, model, channel=channel) as gateway:
        uvloop.run(_ask(gateway.port, WORKSPACES, 2 * ARRIVALS))
        gateway.wait("chatferry_turns_total", WORKSPACES)
        _report(slack)
        due = uvloop.run(_ask(gateway.port, WORKSPACES, ARRIVALS))
        gateway.wait("chatferry_turns_total", 2 * WORKSPACES)
    report = _report(slack)
    began = [report.began[ts] - sent for ts, sent in due.items()]
    spoke = list(report.spoke.values())
    edits = sum(report.calls.get(f"chat.{method}", 0) for method in ("update", "appendStream", "stopStream"))
    shown = (f"{1000 * percentile(values, share):.0f}" for values in (began, spoke) for share in (0.5, 0.99))
    return f"| {name} | {sign} | {' | '.join(shown)} | {edits / len(due):.1f} |"


def _cpu(slack: str, channel: str, workspaces: int) -> str:
    """Microseconds a token, with all answers under way."""
    arguments = ("--rate", str(RATE), "--tokens", str(RATE * 60))
    with rig.helper("bench.provider", *arguments) as model, rig.gateway(slack, model, channel=channel) as gateway:
        uvloop.run(_ask(gateway.port, workspaces, 100))
        time.sleep(3)
        _report(slack)
        cpu = gateway.cpu()
        time.sleep(SECONDS)
        spent = gateway.cpu() - cpu
        report = _report(slack)
    each = spent / (STREAMS * RATE * SECONDS) * 1e6
    return (
        f"{each:.1f} µs a token ({spent / SECONDS:.0%} of a core, {sum(report.calls.values()) / SECONDS:.0f} calls/s)"
    )


def main() -> list[str]:
    rows = [
        "| answer | first sign | webhook to it p50 ms | p99 ms | first token to first words p50 ms | p99 ms | edits |",
        "|---|---|---|---|---|---|---|",
    ]
    more = []
    modes = (("edited", "placeholder", 'stream = "edit"'), ("Slack's stream", "status", 'stream = "auto"'))
    with rig.helper("bench.slack_side") as slack:
        for name, sign, option in modes:
            channel = f"{rig.SLACK}{option}"
            rows.append(_latency(slack, channel, sign, name))
            for workspaces in (WORKSPACES, 1):
                cpu = _cpu(slack, channel, workspaces)
                more.append(f"{name}, {STREAMS} at {RATE} tokens/s in {workspaces} workspace(s): {cpu}")
    return [*rows, "", *more]
