"""What the gateway adds to a model's own time, at 100 requests a second for a minute, as Locust sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import rig
from bench.load import percentile

RATE = 100
SECONDS = 60
MODEL = 0.5
"""Seconds that the model takes, always."""


def _locust(host: str, user: str, seconds: int, model: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="chatferry-bench-") as folder:
        report = Path(folder) / "report.json"
        environ = os.environ | {
            "CHATFERRY_API_KEY": rig.KEY,
            "LINE_CHANNEL_SECRET": rig.SECRET,
            "MODEL_SECONDS": str(model),
            "REPORT": str(report),
        }
        command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
        command += ["--host", host, "-u", str(RATE), "-r", str(RATE // 4), "-t", f"{seconds}s", "--reset-stats", user]
        subprocess.run(command, env=environ, check=False, capture_output=True)
        told: dict[str, float] = json.loads(report.read_text())
        return told


def _machine() -> str:
    """How busy it is, with what others do: the load, and how long the disk takes to keep a page."""
    took = []
    with tempfile.NamedTemporaryFile(dir=".") as file:
        for _ in range(100):
            begin = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - begin) * 1000)
    disk = ", ".join(f"p{share} {percentile(took, share / 100):.1f}" for share in (50, 99))
    return f"the machine: load {os.getloadavg()[0]:.1f}; an fsync takes {disk} ms"


def _row(what: str, told: dict[str, float], cpu: float | None = None) -> str:
    times = ", ".join(f"{name} {told[name]:.1f}" for name in ("p50", "p95", "p99"))
    spent = "" if cpu is None else f"; gateway {cpu:.0%} of a core"
    return (
        f"{what}: {times} ms; {told['answered']:.0f} answered, {told['failed']:.0f} failed, {told['rate']:.0f}/s{spent}"
    )


def main() -> list[str]:
    """The API and a LINE webhook; and the model without us, for what Locust and the model add themselves."""
    with (
        rig.helper("bench.line") as line,
        rig.helper("bench.provider", "--rate", "0", "--tokens", "20", "--first", str(MODEL)) as model,
        rig.gateway(line, model) as gateway,
    ):
        rows = [_machine()]
        rows.append(_row("the model alone, beyond its own time", _locust(model.removesuffix("/v1"), "Api", 20, MODEL)))
        for what, user, spent in (
            ("API, beyond the model's time", "Api", MODEL),
            ("LINE webhook, to its 200", "Line", 0.0),
        ):
            cpu = gateway.cpu()
            told = _locust(gateway.url, user, SECONDS, spent)
            rows.append(_row(what, told, (gateway.cpu() - cpu) / SECONDS))
        return [*rows, _machine()]
