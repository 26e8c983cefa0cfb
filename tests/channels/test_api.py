"""The API as a channel: what a body asks for, and that nothing but a refusal comes of a bad one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from chatferry.access import Caller
from chatferry.channels.api import Api
from chatferry.channels.base import Hook
from chatferry.config import ApiSettings
from chatferry.errors import Final, Rejected, TooLarge
from chatferry.model import File, Inbound, Message, Text, says
from tests.contracts import channel as contract

API = Api(ApiSettings(keys=(SecretStr("first"), SecretStr("second"))), frozenset({"default", "poet"}))
ANN = Caller("ann")


def read(once: str = "", **body: Any) -> Inbound:
    body.setdefault("messages", [{"role": "user", "content": "hello"}])
    return API.read(msgspec.json.encode(body), ANN, once).inbound


def roundtrip(inbound: Inbound) -> bool:
    """Can the ledger keep it?"""
    return msgspec.json.decode(msgspec.json.encode(inbound), type=Inbound) == inbound


# ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_key_is_a_caller_of_its_own_whose_name_does_not_tell_the_key() -> None:
    names = [(await API.caller({"authorization": f"Bearer {key}"})).name for key in ("first", "second", "first")]
    assert names[0] == names[2] != names[1]
    assert "first" not in names[0]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer firs", "Bearer first2", "Basic first", "first", "Bearer first second"]
)
async def test_what_is_not_exactly_a_key_is_refused(header: str) -> None:
    with pytest.raises(Rejected) as refusal:
        await API.caller({"authorization": header})
    assert refusal.value.status == 401
    assert "firs" not in refusal.value.reason


async def test_the_scheme_is_read_in_any_case_and_a_key_beside_the_header_counts_where_there_is_none() -> None:
    assert await API.caller({"authorization": "bearer first"}) == await API.caller({}, key="first")
    with pytest.raises(Rejected):
        await API.caller({"authorization": "Bearer wrong"}, key="first")


def test_a_request_that_is_made_again_with_its_key_is_read_the_same_way_again() -> None:
    body = b'{"messages": [{"role": "user", "content": "hello"}]}'
    contract.take_is_pure(API, Hook(body, {"authorization": "Bearer first", "idempotency-key": "1"}))


def test_take_verifies_before_it_reads() -> None:
    body = b'{"messages": [{"role": "user", "content": "hello"}]}'
    [event] = API.take(Hook(body, {"authorization": "Bearer first", "idempotency-key": "1"}, at=5.0)).events
    assert (event.message, event.at) == (says("user", "hello"), 5.0)
    with pytest.raises(Rejected, match="401"):
        API.take(Hook(b"{", {}))


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_session_is_a_conversation_of_its_caller() -> None:
    assert read(session_id="a").conversation == "ann/a"
    assert read(session_id="a").context is None


def test_without_a_session_each_request_is_a_conversation_that_knows_only_what_it_brings() -> None:
    first, second = read(), read()
    assert first.conversation != second.conversation
    assert first.context == ()
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert read(messages=talk).context == (says("user", "a"), says("assistant", "b"))


def test_no_session_has_the_conversation_of_a_request_without_one() -> None:
    lone = read(once="x").conversation
    assert all(read(session_id=name).conversation != lone for name in ("x", "once/ann/x", "ann/x", "../once/ann/x"))


def test_the_same_key_is_the_same_event_and_the_same_question_has_the_same_ref() -> None:
    first, second, other = read(once="1"), read(once="1", stream=True), read(once="1", temperature=0.5)
    assert first.event == second.event == other.event
    assert first.ref == second.ref != other.ref


def test_what_is_new_in_a_session_is_what_follows_the_last_answer() -> None:
    talk = [
        {"role": "user", "content": "old"},
        {"role": "assistant", "content": "older"},
        {"role": "user", "content": "one"},
        {"role": "user", "content": "two"},
    ]
    assert read(messages=talk, session_id="a").message == Message("user", (Text("one"), Text("two")))


def test_instructions_may_stand_anywhere_and_by_either_name() -> None:
    talk = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hello"},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
    ]
    asked = read(messages=talk)
    assert (asked.system, asked.message) == ("Be kind.\n\nBe brief.", says("user", "hello"))


def test_the_newer_name_of_the_token_limit_goes_before_the_older() -> None:
    assert read(max_tokens=5).options.max_tokens == 5
    assert read(max_tokens=5, max_completion_tokens=7).options.max_tokens == 7


def test_files_come_inline() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
        {"type": "file", "file": {"filename": "a\n.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
    ]
    message = read(messages=[{"role": "user", "content": parts}]).message
    assert message == Message(
        "user", (File("image", "iVBORw=="), File("audio", "SUQz"), File("file", "JVBERi0=", "a.pdf"))
    )


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/secret"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/secret"}},
        {"type": "image_url", "image_url": {"url": "data:image/png,secret"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,secret secret"}},
        {"type": "file", "file": {"file_id": "file-secret"}},
        {"type": "input_audio"},
    ],
)
def test_a_file_that_is_not_inline_is_refused(part: dict[str, object]) -> None:
    with pytest.raises(Rejected) as refusal:
        read(messages=[{"role": "user", "content": [part]}])
    assert refusal.value.status == 422
    assert "secret" not in refusal.value.reason


def test_what_the_caller_wrote_is_not_quoted_back() -> None:
    for body in ({"model": "secret"}, {"messages": [{"role": "secret", "content": "x"}]}, {"stop": {"secret": 1}}):
        with pytest.raises(Rejected) as refusal:
            read(**body)
        assert "secret" not in refusal.value.reason


async def test_nothing_is_sent_or_fetched_by_the_channel_itself() -> None:
    with pytest.raises(Final):
        await API.send("ann/a", [says("assistant", "x")], key="", grant=None)
    with pytest.raises(Final):
        await API.download(File("image", ""), 100)
    assert await API.download(File("image", "iVBORw=="), 4) == b"\x89PNG"
    with pytest.raises(TooLarge):
        await API.download(File("image", "QUJD" * 40), 100)
    assert not await API.may_push()
    assert [finding.ok async for finding in API.check(None)] == [True]


# ── anything at all ──────────────────────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
SAID = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "developer", "tool"]) | JSON},
    optional={
        "content": st.text()
        | st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url"]) | JSON, "text": st.text()}))
        | JSON
    },
)
REQUEST = st.fixed_dictionaries(
    {"messages": st.lists(SAID) | JSON},
    optional={
        "model": st.sampled_from(["", "poet"]) | JSON,
        "session_id": st.text() | JSON,
        "max_tokens": st.integers(1) | JSON,
        "temperature": st.floats(0, 2) | JSON,
        "stop": st.text() | st.lists(st.text()) | JSON,
        "stream": st.booleans() | JSON,
        "n": st.integers() | JSON,
    },
)


def tried(body: bytes, once: str = "") -> None:
    """Read it; what is taken can be kept, and what is refused is refused in the caller's terms."""
    try:
        asked = API.read(body, ANN, once).inbound
    except Rejected as told:
        refusal = told
    else:
        assert roundtrip(asked)
        assert asked.message is not None
        assert "\x00" not in asked.conversation + asked.event + asked.ref
        return
    assert refusal.status in (400, 404, 422)
    assert refusal.reason


@given(st.binary(), st.text())
def test_any_bytes_are_taken_or_refused(body: bytes, once: str) -> None:
    tried(body, once)
    contract.take_raises_only_rejected(API, Hook(body, {"authorization": "Bearer first", "idempotency-key": once}))


@given(REQUEST, st.text(max_size=5))
def test_any_request_is_taken_or_refused(request: dict[str, Any], once: str) -> None:
    tried(json.dumps(request).encode(), once)


@given(st.integers(0, 60), st.binary(min_size=1, max_size=4))
def test_a_damaged_request_is_taken_or_refused(place: int, damage: bytes) -> None:
    whole = b'{"messages":[{"role":"user","content":"\\u0041"}],"session_id":"a"}'
    tried(whole[:place] + damage + whole[place + len(damage) :])


def test_a_message_may_have_so_many_characters_and_what_was_said_before_any() -> None:
    short = Api(ApiSettings(message=5), frozenset({"default"}))
    said = [{"role": role, "content": text} for role, text in (("user", "long before"), ("user", "hello"))]
    assert short.read(msgspec.json.encode({"messages": said}), ANN).inbound.message == says("user", "hello")
    with pytest.raises(Rejected, match="longer than 5 characters") as refusal:
        short.read(msgspec.json.encode({"messages": [{"role": "user", "content": "hello!"}]}), ANN)
    assert (refusal.value.status, refusal.value.code) == (413, "message_too_long")
