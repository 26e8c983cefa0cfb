"""What refusals mean."""

from __future__ import annotations

import pytest

from chatferry.engines.faults import Refused, fault, mend, read, retry_after, said, scrub
from chatferry.errors import TryLater

NOW = 1_760_000_000.0  # Thu, 09 Oct 2025 08:53:20 GMT


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 09 Oct 2025 08:53:50 GMT"}, 30.0),
        ({"retry-after": "Thu, 09 Oct 2025 08:53:10 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
    ],
)
def test_a_wait_is_read_from_whatever_form_it_has(headers: dict[str, str], after: float | None) -> None:
    assert retry_after(headers, NOW) == after


@pytest.mark.parametrize(
    ("body", "message", "word"),
    [
        (b'{"error":{"message":"m","type":"t","code":"c"}}', "m", "c"),
        (b'{"error":{"message":"m","type":"t","code":null}}', "m", "t"),
        (b'{"error":{"message":"m","code":429,"status":"S"}}', "m", "S"),
        (b'[{"error":{"message":"m","status":"S"}}]', "m", "S"),
        (b'{"error":"m"}', "m", ""),
        (b'{"message":"m","type":"t"}', "m", "t"),
        (b'{"detail":"m"}', "m", ""),
        (b'{"detail":[{"msg":"m"}]}', "", ""),
        (b'"m"', "m", ""),
        (b"<html>no</html>", "", ""),
        (b'{"error":{"message":7,"code":[],"details":[1,{"retryDelay":3}]}}', "", ""),
        (b"[]", "", ""),
        (b"\xff", "", ""),
        (b"", "", ""),
    ],
)
def test_an_error_body_is_read_whoever_wrote_it(body: bytes, message: str, word: str) -> None:
    error = said(read(body))
    assert (error.message, error.word) == (message, word)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk-abcdefghijklmnop is bad", "key *** is bad"),
        ("key 'sk-abcde****mnop' is bad", "key '***' is bad"),
        ("key sk-a...mnop", "key ***"),
        ("no key here", "no key here"),
    ],
)
def test_a_key_is_taken_out_as_a_whole_and_as_providers_quote_it(text: str, clean: str) -> None:
    assert scrub(text, "sk-abcdefghijklmnop") == clean


def test_a_short_key_is_taken_out_as_it_is_and_no_key_at_all_harms_nothing() -> None:
    assert scrub("key ollama, model ollamax", "ollama") == "key ***, model ***x"
    assert scrub("nothing to hide", "") == "nothing to hide"


def test_a_reason_is_short_and_one_line() -> None:
    reason = str(fault("smart", 400, said({"message": "too\nlong " * 100})))
    assert reason.startswith("smart: 400 too long too long")
    assert len(reason) <= 212


def test_a_wait_in_the_headers_goes_before_one_in_the_body() -> None:
    error = said({"message": "m", "details": [{"retryDelay": "9s"}]})
    for after, expected in ((4.0, 4.0), (0.0, 0.0), (None, 9.0)):
        caught = fault("smart", 429, error, after=after)
        assert isinstance(caught, TryLater)
        assert caught.after == expected


def test_every_refusal_has_a_mend() -> None:
    assert all(mend(Refused("no", status=status)) for status in range(300, 500))
