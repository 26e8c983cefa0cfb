"""What is logged: nothing that is somebody's, whoever writes the line."""

from __future__ import annotations

import logging
import random
import re
import subprocess
import sys
import time

import pytest
import structlog
from structlog.testing import capture_logs

from chatferry.masking.lines import hide
from chatferry.watching import logs
from tests.masking.people import cases
from tests.masking.things import things

PROGRAM = """
import logging, sys, warnings
import structlog
from chatferry.watching import logs
logs.configure(sys.argv[1], hide=["s3cret-key"])
said = "bob@example.com rang from 0912-345-678 with s3cret-key, "
said += "卡號４１１１ １１１１ １１１１ １１１１，身分證A123456789"
log = structlog.get_logger()
log.info("said", what=said, turn=990000000001)
try:
    raise ValueError("row:\\n0912345678\\n" + said)
except ValueError:
    log.exception("bug")
    logging.getLogger("uvicorn.error").exception("ASGI: %s", said)
logging.getLogger("asyncio").error(said)
logging.captureWarnings(True)
warnings.warn(said)
raise ValueError(said)
"""


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_line_tells_what_is_somebodys_nor_a_secret(style: str) -> None:
    logged = subprocess.run([sys.executable, "-c", PROGRAM, style], capture_output=True, text=True, check=False).stderr  # noqa: S603
    assert logged.count("rang from") >= 7
    logged = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "", logged)  # which may have 345 in it
    for personal in ("bob@", "345", "s3cret", "１１１１", "A1234"):
        assert personal not in logged
    assert "ended by a bug" in logged
    assert "990000000001" in logged, "a turn is found by its number"


def test_who_has_logged_once_heeds_a_later_setting() -> None:
    log = structlog.get_logger()
    logs.configure(level=logging.CRITICAL)
    log.warning("unheard")
    logs.configure()
    with capture_logs() as lines:
        log.warning("heard")
    assert [line["event"] for line in lines] == ["heard"]


def test_whatever_is_masked_for_models_is_hidden_in_lines() -> None:
    chance = random.Random(8)  # noqa: S311
    seen = [case for case in cases(chance, 20) if case.value in hide(case.text.replace(case.value, f" {case.value} "))]
    assert [case for case in seen if case.kind != "url_credentials"] == []


@pytest.mark.parametrize("beside", ["x={}", "https://x.y/?q={}&x", "No.{}", "Bob/{}", "({})", "k: {}", "{}/x", "+{}"])
def test_and_so_it_is_behind_whatever_stands_in_a_line(beside: str) -> None:
    some = [case for case in cases(random.Random(8), 5) if case.kind != "url_credentials"]  # noqa: S311
    assert [line for case in some if case.value in (line := hide(beside.format(case.value)))] == []


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("GET /x?phone=0912345678&y=1", "GET /x?phone=***&y=1"),
        ("id=A123456789 card=4111111111111111", "id=*** card=***"),
        ("https://x/?a=1&token=abcdef123456 gone", "https://x/?a=1&token=*** gone"),
        ("https://x/cb?code=4/0Ab-cd&state=12", "https://x/cb?code=***&state=12"),
        ("Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2ln", "Authorization: Bearer ***"),
        ("{'Authorization': 'Basic Ym9iOnNlY3JldA=='}", "{'Authorization': 'Basic ***'}"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl here", "got *** here"),
        ("key cf_1a2b3c4d_Zm9vYmFyYmF6cXV4Zm9vYmFy is old", "key *** is old"),
        ("Incorrect API key provided: sk-proj-abcDEF123456ghiJKL", "Incorrect API key provided: ***"),
        ("xoxb-123456789012-abcdefABCDEF", "***"),
        ("client_secret=abcdef123456, password='hunter2!'", "client_secret=***, password='***'"),
        ("to bob@例え.jp", "to ***"),
        ("to bob@公司.台灣", "to ***"),
    ],
)
def test_secrets_and_values_behind_an_equals_sign_are_hidden(line: str, hidden: str) -> None:
    assert hide(line) == hidden


def test_times_addresses_versions_and_prices_stay_readable() -> None:
    for thing in things(random.Random(8), 20):  # noqa: S311
        if thing.kind in ("version", "ip") and "api" not in thing.text:
            assert hide(thing.text) == thing.text
    line = '{"turn": 1234567890, "at": "2026-11-28T09:30:00.123456Z", "address": "http://127.0.0.1:8080", "s": 0.12345}'
    assert hide(line) == line
    for line in (
        "turn=1234567890 at=2026-11-28T09:30:00.123456Z address=http://127.0.0.1:8080 seconds=0.12345678",
        "version=1.26.20241103 tokens=12345678 bytes=123456789 key=api days=90",
        "chatferry-1.2.3-py3.11 sk-1 Bearer token refused; token expired",
        "POST https://api.line.me/v2/bot/message/reply 200",
    ):
        assert hide(line) == line


def test_a_line_costs_little(capsys: pytest.CaptureFixture[str]) -> None:
    line = '{"turn": 1234567, "error": "openai: 503 Service Unavailable", "event": "model failed", "level": "warning", '
    line += '"timestamp": "2026-11-28T09:30:00.123456Z", "assistant": "default"}'
    began = time.process_time()
    for _ in range(2000):
        hide(line)
    spent = (time.process_time() - began) / 2000
    with capsys.disabled():
        sys.stdout.write(f"\na line of the log: {spent * 1e6:.0f} µs\n")
    assert spent < 0.0005
