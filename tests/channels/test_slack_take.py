"""What the Slack channel takes: requests that are Slack's, and nothing else whatever the bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.channels.base import Hook, Taken
from chatferry.channels.slack_events import Uninstalled
from chatferry.errors import Rejected
from tests.channels.slack_payloads import (
    ANN,
    APP,
    BOT,
    DIRECT,
    FORM,
    NOW,
    ROOM,
    TEAM,
    TS,
    channel,
    delivered,
    direct,
    envelope,
    inner,
    message,
    signed,
)
from tests.channels.test_line_take import JsonValue
from tests.contracts import channel as contract

ME = f"<@{BOT}>"


def reason(hook: Hook, **options: Any) -> str:
    with pytest.raises(Rejected) as rejected:
        channel(**options).take(hook)
    return str(rejected.value)


# Verifying.


def test_the_signature_of_slacks_own_example_is_accepted() -> None:
    body = (  # "Verifying requests from Slack"
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "content-type": FORM,
    }
    assert channel().take(Hook(body, headers, at=1531420618.0)).status == 200


@pytest.mark.parametrize("signature", ["", "v0=", "ü\udcff漢", "v1=a2114d57"])
@pytest.mark.parametrize("body", [b"not even JSON", b'{"type":"url_verification","challenge":"x"}'])
def test_a_wrong_signature_is_refused_before_anything_is_read(signature: str, body: bytes) -> None:
    headers = {"x-slack-request-timestamp": str(int(NOW)), "x-slack-signature": signature}
    assert reason(Hook(body, headers, at=NOW)) == "401 the signature is not Slack's for this app: is `secret` right?"
    assert reason(signed(body, "application/json", secret="another")).startswith("401")


@pytest.mark.parametrize("stamp", ["", "soon", "-1", "1e9", "１７００００００００", "9" * 5000, "ü\udcff"])
def test_a_time_that_is_none_is_refused(stamp: str) -> None:
    assert reason(Hook(b"{}", {"x-slack-request-timestamp": stamp}, at=NOW)).startswith("401")
    assert reason(Hook(b"{}", {}, at=NOW)).startswith("401")


def test_a_request_is_good_for_five_minutes_either_way() -> None:
    hooks = [signed(b"{}", "application/json", sent=NOW + late) for late in (-301, -300, 300, 301)]
    assert reason(hooks[0]) == reason(hooks[3]) == "401 the request is not of the last five minutes"
    assert channel().take(hooks[1]) == channel().take(hooks[2]) == Taken()


def test_one_changed_byte_breaks_the_signature() -> None:
    good = delivered(envelope(direct("pay 10")))
    assert "signature" in reason(Hook(good.body.replace(b"pay 10", b"pay 99"), good.headers, at=NOW))


def test_without_a_signing_secret_nothing_is_taken_over_http() -> None:
    assert "Socket Mode" in reason(delivered({}), secret=None, app_token="xapp-1")


def test_the_token_in_the_address_is_asked_for_where_one_is_set() -> None:
    hook = delivered(envelope(direct("hi")))
    at = [Hook(hook.body, hook.headers, {"token": token}, NOW) for token in ("open-sesame", "open", "漢")]
    assert channel(url_token="open-sesame").take(at[0]).events
    for wrong in (hook, *at[1:]):
        assert reason(wrong, url_token="open-sesame") == "403 the address lacks its ?token=, which is url_token"


def test_slack_may_see_that_somebody_is_there() -> None:
    challenge = {"token": "legacy", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}
    answer = channel().take(delivered(challenge | {"type": "url_verification"}))
    assert (answer.body.decode(), answer.media_type) == (challenge["challenge"], "text/plain")
    assert channel().take(Hook(b"token=legacy&ssl_check=1", {"content-type": FORM}, at=NOW)) == Taken()


# Reading.


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"type":5}', b'{"event":' + b"[" * 200_000, b'{"challenge":{}}']
)
def test_what_is_not_an_envelope_is_refused_even_if_signed(body: bytes) -> None:
    assert reason(signed(body, "application/json")) == "400 the body is not of a form that Slack sends"


@pytest.mark.parametrize("body", [b"", b"\xff", b"a=b", b"payload=", b"payload=%FF", b"payload=[]", b"&&=&"])
def test_what_is_not_a_form_of_slacks_is_refused_even_if_signed(body: bytes) -> None:
    assert reason(signed(body, FORM)).startswith("400")


@given(st.binary(max_size=200), st.sampled_from([FORM, "application/json", ""]))
def test_no_bytes_make_take_raise_anything_else(body: bytes, media_type: str) -> None:
    contract.take_raises_only_rejected(channel(), signed(body, media_type))


@given(
    st.sampled_from(["message", "app_mention", "assistant_thread_started", "agent_session_stopped", "tokens_revoked"]),
    st.sampled_from([None, "message_changed", "message_deleted", "file_share", "hologram"]),
    st.dictionaries(
        st.sampled_from([*message(""), "thread_ts", "files", "message", "previous_message", "tokens", "deleted_ts"]),
        JsonValue | st.sampled_from([inner(message("hi")), {"ts": "x"}, [{"size": 1}], "nan", "inf", ""]),
    ),
)
def test_no_event_whatever_its_fields_makes_take_raise_anything_else(
    kind: str, subtype: str | None, fields: dict[str, Any]
) -> None:
    hook = delivered(envelope(message("hi") | fields | {"type": kind, "subtype": subtype}))
    contract.take_raises_only_rejected(channel(), hook)
    try:
        channel().take(hook)
    except Rejected:
        return
    contract.take_is_pure(channel(), hook)


@given(st.dictionaries(st.sampled_from([*envelope({}), "enterprise_id", "challenge"]), JsonValue))
def test_no_envelope_whatever_its_fields_makes_take_raise_anything_else(fields: dict[str, Any]) -> None:
    contract.take_raises_only_rejected(channel(), delivered(envelope(direct("hi")) | fields))


@pytest.mark.parametrize(
    "event",
    [
        {"type": "app_home_opened", "user": ANN, "channel": DIRECT, "tab": "messages"},
        {"type": "app_context_changed", "channel": DIRECT, "user": ANN, "context": {"entities": []}},
        {"type": "member_joined_channel", "user": BOT, "channel": ROOM, "channel_type": "C"},
        {"type": "channel_rename", "channel": {"id": ROOM, "name": "x"}, "user": {"id": ANN}},
        {"type": "assistant_thread_context_changed", "assistant_thread": {"user_id": ANN}},
        message("", subtype="channel_join", user={"odd": 1}),
        message("", subtype="message_replied", message={"thread_ts": TS}),
        direct("a title", subtype="assistant_app_thread"),
        {"type": "tokens_revoked", "tokens": {"oauth": ["U1"], "bot": []}},
        {"type": "brand_new", "user": 5, "ts": []},
        {},
    ],
)
def test_kinds_that_ask_nothing_of_us_are_passed_over(event: dict[str, Any]) -> None:
    assert channel().take(delivered(envelope(event))) == Taken()


def test_an_envelope_that_holds_no_event_is_passed_over() -> None:
    limited = {"type": "app_rate_limited", "team_id": TEAM, "minute_rate_limited": 1_518_467_820, "api_app_id": APP}
    assert channel().take(delivered(limited)) == Taken()


def test_the_end_of_an_installation_is_told_besides() -> None:
    def aside(event: dict[str, Any]) -> object:
        gone = envelope(event)
        del gone["authorizations"]
        return channel().take(delivered(gone)).aside

    assert aside({"type": "app_uninstalled"}) == Uninstalled(TEAM, 1_700_000_050)
    assert aside({"type": "tokens_revoked", "tokens": {"oauth": ["U1"], "bot": [BOT]}}) == Uninstalled(
        TEAM, 1_700_000_050
    )
