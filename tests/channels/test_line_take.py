"""What the LINE channel takes: payloads in, events out, and nothing else whatever the bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.channels.base import COLLECT, Hook, Surroundings
from chatferry.channels.line import Line
from chatferry.clock import SystemClock
from chatferry.config import LineSettings
from chatferry.errors import Rejected
from chatferry.model import File, Grant, Inbound, Message, Text
from chatferry.words import words as sentences
from tests.contracts import channel as contract

ANN = "U" + "a" * 32
GROUP = "C" + "b" * 32
SECRET = "channel_secret"
JsonValue: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def channel(**more: Any) -> Line:
    """One that only reads: it is given no way to call anybody."""
    read = LineSettings.model_validate({"secret": SECRET, "token": "t"} | more)
    return Line("line", read, Surroundings(None, SystemClock(), sentences("en")))  # type: ignore[arg-type]  # `take` makes no call


def hook(body: bytes, *, secret: str = SECRET, query: dict[str, str] | None = None, at: float = 100.0) -> Hook:
    signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    return Hook(body, {"x-line-signature": signature}, query or {}, at)


def told(*events: dict[str, Any]) -> bytes:
    return json.dumps({"destination": "U" + "0" * 32, "events": events}).encode()


def event(kind: str = "message", **more: Any) -> dict[str, Any]:
    usual = {"type": kind, "mode": "active", "timestamp": 1_700_000_000_123, "webhookEventId": "01HEVENT"}
    place = {
        "source": {"type": "user", "userId": ANN},
        "replyToken": "token1",
        "deliveryContext": {"isRedelivery": False},
    }
    return usual | place | more


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "id": "777", "text": words} | more


def in_group(**more: Any) -> dict[str, Any]:
    return event(source={"type": "group", "groupId": GROUP, "userId": ANN}, **more)


def taken(*events: dict[str, Any], **more: Any) -> list[Inbound]:
    return list(channel(**more).take(hook(told(*events))).events)


def words(*events: dict[str, Any], **more: Any) -> list[str]:
    return [inbound.message.text for inbound in taken(*events, **more) if inbound.message]


# Verifying.


@pytest.mark.parametrize(
    ("secret", "body", "signature"),
    [  # as line-bot-sdk-python and line-bot-sdk-nodejs test them
        ("channel_secret", b"bodybodybodybody", "/gg9a+LvFevTH1sd7XCQycD7tsWclCsInj7MhBHxN7k="),
        ("test_secret", b'{"hello":"world"}', "t7Hn4ZDHqs6e+wdvI5TyQIvzie0DmMUmuXEBqyyE/tM="),
    ],
)
def test_the_signatures_of_lines_own_vectors_are_accepted(secret: str, body: bytes, signature: str) -> None:
    with pytest.raises(Rejected) as rejected:
        channel(secret=secret).take(Hook(body, {"x-line-signature": signature}))
    assert rejected.value.reason == "the body is not a LINE webhook"  # and not: the signature is wrong


@pytest.mark.parametrize("signature", [{}, {"x-line-signature": ""}, {"x-line-signature": "ü\udcff漢"}])
def test_a_wrong_signature_is_refused_before_anything_is_read(signature: dict[str, str]) -> None:
    with pytest.raises(Rejected, match="400 the signature") as rejected:
        channel().take(Hook(b"not even JSON", signature))
    assert rejected.value.status == 400


def test_one_changed_byte_breaks_the_signature() -> None:
    good = hook(told(event(message=text("pay 10"))))
    with pytest.raises(Rejected, match="signature"):
        channel().take(Hook(good.body.replace(b"10", b"99"), good.headers))


def test_the_token_in_the_address_is_asked_for_where_one_is_set() -> None:
    line = channel(url_token="open-sesame")
    assert line.take(hook(told(), query={"token": "open-sesame"})).status == 200
    for query in ({}, {"token": "open"}, {"token": "漢"}):
        with pytest.raises(Rejected) as rejected:
            line.take(hook(told(), query=query))
        assert rejected.value.status == 403


# Reading.


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"events":5}', b'{"events":[5]}', b"\xff", b'{"events":[' + b"[" * 200_000]
)
def test_what_is_not_a_webhook_is_refused_even_if_signed(body: bytes) -> None:
    with pytest.raises(Rejected, match="400"):
        channel().take(hook(body))


@given(st.binary(max_size=200))
def test_no_bytes_make_take_raise_anything_else(body: bytes) -> None:
    contract.take_raises_only_rejected(channel(), hook(body))


@given(
    st.sampled_from(["message", "postback", "unsend", "follow", "join", "messageEdited", "hologram"]),
    st.dictionaries(st.sampled_from([*event(), "message", "postback", "unsend"]), JsonValue),
)
def test_no_event_whatever_its_fields_makes_take_raise_anything_else(kind: str, fields: dict[str, Any]) -> None:
    contract.take_raises_only_rejected(channel(), hook(told(event(kind) | fields | {"type": kind})))


@given(
    st.sampled_from(["text", "sticker", "location", "image", "file", "hologram"]),
    st.dictionaries(st.sampled_from(["id", "text", "mention", "emojis", "keywords", "contentProvider"]), JsonValue),
)
def test_no_content_whatever_its_fields_makes_take_raise_anything_else(kind: str, fields: dict[str, Any]) -> None:
    contract.take_raises_only_rejected(channel(), hook(told(event(message=fields | {"type": kind}))))


@given(st.text(max_size=30), st.integers(-40, 40), st.integers(-40, 40))
def test_a_mention_that_points_anywhere_leaves_a_text(words: str, index: int, length: int) -> None:
    mention = {"mentionees": [{"type": "user", "index": index, "length": length, "isSelf": True}]}
    contract.take_raises_only_rejected(channel(), hook(told(event(message=text(words, mention=mention)))))


def test_no_events_is_lines_own_check_and_fine() -> None:
    assert taken() == []


def test_a_text_brings_everything_that_is_needed_to_answer() -> None:
    assert taken(event(message=text("hello"))) == [
        Inbound(
            event="01HEVENT",
            conversation=ANN,
            message=Message("user", (Text("hello"),)),
            sender=ANN,
            ref="777",
            grant=Grant("token1", 150.0),
            at=1_700_000_000.123,
        )
    ]


def test_a_webhook_is_read_the_same_way_twice() -> None:
    bare = event(message=text("a"), replyToken="t1")
    del bare["webhookEventId"]
    events = (bare, bare | {"message": text("b", id="778")}, bare | {"type": "follow"}, event(message=text("c")))
    contract.take_is_pure(channel(), hook(told(*events)))


def test_an_event_without_id_has_the_same_one_when_it_comes_again() -> None:
    bare = event(message=text("hi"))
    del bare["webhookEventId"]
    again = bare | {"deliveryContext": {"isRedelivery": True}, "replyToken": "another"}
    first, second = taken(bare), taken(again)
    assert first[0].event == second[0].event


def test_a_redelivered_event_is_taken_with_its_token() -> None:
    [inbound] = taken(event(message=text("hi"), deliveryContext={"isRedelivery": True}))
    assert inbound.grant == Grant("token1", 150.0)


def test_what_another_module_answers_is_left_to_it() -> None:
    assert taken(event(message=text("hi"), mode="standby")) == []


@pytest.mark.parametrize(
    "kind", ["unfollow", "leave", "memberJoined", "beacon", "videoPlayComplete", "messageEdited", "brandNew"]
)
def test_kinds_that_ask_nothing_of_us_are_passed_over(kind: str) -> None:
    odd = event(kind, message="not an object", postback=5)
    assert words(odd, event(message=text("still here"))) == ["still here"]


def test_an_unknown_kind_of_message_is_passed_over() -> None:
    assert taken(event(message={"type": "hologram", "id": 5, "text": []})) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"type": "sticker", "id": "1", "keywords": ["happy", "wave"]}, "[sticker: happy, wave]"),
        ({"type": "sticker", "id": "1", "text": "thanks", "keywords": ["x"]}, "[sticker: thanks]"),
        ({"type": "sticker", "id": "1"}, "[sticker]"),
        (
            {"type": "location", "id": "1", "title": "LINE", "address": "Tokyo", "latitude": 35.5, "longitude": 139.0},
            "[location: LINE, Tokyo, 35.5, 139.0]",
        ),
        ({"type": "location", "id": "1", "latitude": 0, "longitude": 0}, "[location: 0.0, 0.0]"),
        (text("()hi ()", emojis=[{"index": 0, "length": 2}, {"index": 5, "length": 2}]), "[emoji]hi [emoji]"),
        (text("call()"), "call()"),
    ],
)
def test_what_is_not_words_is_told_in_words(content: dict[str, Any], expected: str) -> None:
    assert words(event(message=content)) == [expected]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"type": "image", "id": "9", "contentProvider": {"type": "line"}}, File("image", "9")),
        ({"type": "video", "id": "9", "duration": 5}, File("video", "9")),
        ({"type": "audio", "id": "9"}, File("audio", "9")),
        ({"type": "file", "id": "9", "fileName": "a.pdf", "fileSize": 12}, File("file", "9", name="a.pdf", size=12)),
        (
            {
                "type": "image",
                "id": "9",
                "contentProvider": {"type": "external", "originalContentUrl": "http://10.0.0.1"},
            },
            File("image", ""),
        ),
    ],
)
def test_files_stay_with_line_and_foreign_addresses_are_not_kept(content: dict[str, Any], part: File) -> None:
    [inbound] = taken(event(message=content))
    assert inbound.message == Message("user", (part,))


def test_taps_and_arrivals_and_regrets_have_their_kinds() -> None:
    tap = event("postback", postback={"data": COLLECT})
    events = (tap, event("follow"), event("join"), event("unsend", unsend={"messageId": "777"}, replyToken=None))
    read = taken(*events)
    assert [inbound.kind for inbound in read] == ["collect", "greeting", "greeting", "retract"]
    assert (read[3].ref, read[3].grant) == ("777", None)
    picked = event("postback", postback={"data": "day", "params": {"date": "2026-12-01"}})
    assert words(picked) == ["day\ndate: 2026-12-01"]


# Groups.


def mention(index: int, length: int, *, me: bool) -> dict[str, Any]:
    return {"type": "user", "index": index, "length": length, "isSelf": me}


def test_in_a_group_only_who_names_us_is_heard_and_the_name_goes() -> None:
    others = {"mentionees": [mention(6, 4, me=False), {"type": "all", "index": 0, "length": 4}]}
    assert taken(in_group(message=text("hello all"))) == []
    assert taken(in_group(message=text("@All, @Bob", mention=others))) == []
    assert taken(in_group(message={"type": "image", "id": "9"})) == []
    both = {"mentionees": [mention(3, 6, me=True), mention(10, 4, me=False)]}
    [inbound] = taken(in_group(message=text("🍎 @Ferry @Bob?", mention=both)))
    assert inbound.message == Message("user", (Text("🍎  @Bob?"),), author=ANN)
    assert (inbound.conversation, inbound.sender) == (GROUP, ANN)


def test_a_mention_alone_addresses_us_with_no_words() -> None:
    alone = in_group(message=text("@Ferry", mention={"mentionees": [mention(0, 6, me=True)]}))
    assert words(alone) == [""]


def test_a_room_is_a_group_without_a_name() -> None:
    room = event(source={"type": "room", "roomId": "R1", "userId": ANN}, message=text("hi"))
    assert [inbound.conversation for inbound in taken(room, groups="all")] == ["R1"]


def test_groups_can_be_heard_all_or_not_at_all() -> None:
    events = (in_group(message=text("hi")), in_group(type="join"), in_group(type="unsend", unsend={"messageId": "1"}))
    assert [inbound.kind for inbound in taken(*events, groups="all")] == ["message", "greeting", "retract"]
    assert taken(*events, groups="off") == []
