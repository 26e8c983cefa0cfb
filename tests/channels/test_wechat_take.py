"""What the WeChat channel takes: bytes in, events out, and nothing else whatever the bytes."""

from __future__ import annotations

import time
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.channels.base import Hook, Taken
from chatferry.channels.wechat import WeChat
from chatferry.channels.wechat_safe import Safe
from chatferry.errors import Rejected
from chatferry.model import File, Grant, Inbound, Message, Text
from chatferry.simulator import wechat_crypto
from chatferry.simulator.wechat_people import xml
from chatferry.simulator.wechat_records import Fields
from chatferry.text.cutting import clean
from tests.channels.wechat_world import ACCOUNT, AES, ANN, APP, TOKEN, body, message, reader
from tests.contracts import channel as contract

NOW = 1_700_000_001.5
SAFE = {"app_id": APP, "aes_key": AES}
SERVICE = {"app_id": APP, "app_secret": "s3cret", "mode": "service"}


def query(shut: str = "", *, token: str = TOKEN, **more: str) -> dict[str, str]:
    asked = {"timestamp": "1700000001", "nonce": "437374425"}
    asked["signature"] = wechat_crypto.signature(token, *asked.values())
    if shut:
        asked["msg_signature"] = wechat_crypto.signature(token, asked["timestamp"], asked["nonce"], shut)
    return asked | more


def plain(fields: Fields) -> Hook:
    return Hook(body(fields), {}, query(), NOW)


def shut(fields: Fields, *, aes_key: str = AES, app_id: str = APP, clear: Fields | None = None) -> Hook:
    """A call of an account in safe mode; with `clear`, in compatible mode."""
    encrypted = wechat_crypto.Safe(aes_key, app_id).shut(body(fields))
    outer = body((clear or {"ToUserName": ACCOUNT}) | {"Encrypt": encrypted})
    return Hook(outer, {}, query(encrypted), NOW)


def taken(fields: Fields, **more: Any) -> Inbound | None:
    events = reader(**more).take(plain(fields)).events
    assert len(events) <= 1
    return events[0] if events else None


def part(fields: Fields) -> object:
    inbound = taken(fields)
    assert inbound is not None
    assert inbound.kind == "message"
    assert inbound.message is not None
    [said] = inbound.message.parts
    return said


def refusal(channel: WeChat, hook: Hook) -> tuple[int, str]:
    with pytest.raises(Rejected) as rejected:
        channel.take(hook)
    return rejected.value.status, rejected.value.reason


def reply(taken: Taken, text: str) -> dict[str, str]:
    """What WeChat reads in our response."""
    assert taken.hold is not None
    return {one.tag: one.text or "" for one in ElementTree.fromstring(taken.hold.enclose(text))}  # noqa: S314 - ours


# Verifying.


def test_the_check_of_the_address_gets_its_word_back() -> None:
    given = Hook(b"", {}, query(echostr="5927782489442352469"), NOW)
    assert reader().take(given) == Taken(body=b"5927782489442352469")
    assert reader(**SAFE).take(given).body == b"5927782489442352469"
    assert refusal(reader(token="another"), given)[0] == 403


def test_the_published_vectors_hold() -> None:
    published = {"token": "test", "signature": "f21891de399b4e33a1a93c9a7b8a8fffb5a443ff"}
    asked = {"signature": published["signature"], "timestamp": "1410685589", "nonce": "test", "echostr": "x"}
    assert reader(token="test").take(Hook(b"", {}, asked)).body == b"x"
    theirs = reader(token="123456", app_id="wx49f0ab532d5d035a", aes_key="kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR")
    echo = {
        "msg_signature": "dd6b9c95b495b3f7e2901bfbc76c664930ffdb96",
        "timestamp": "1411443780",
        "nonce": "437374425",
        "echostr": "4ByGGj+sVCYcvGeQYhaKIk1o0pQRNbRjxybjTGblXrBaXlTXeOo1+bXFXDQQb1o6co6Yh9Bv41n7hOchLF6p+Q==",
    }
    assert theirs.take(Hook(b"", {}, echo)).body == b"5927782489442352469"
    assert refusal(theirs, Hook(b"", {}, echo | {"nonce": "437374424"}))[0] == 403
    encrypted = (
        "RgqEoJj5A4EMYlLvWO1F86ioRjZfaex/gePD0gOXTxpsq5Yj4GNglrBb8I2BAJVODGajiFnXBu7mCPatfjsu6IHCrsTyeDXzF6Bv283dGymz"
        "xh6ydJRvZsryDyZbLTE7rhnus50qGPMfp2wASFlzEgMW9z1ef/RD8XzaFYgm7iTdaXpXaG4+BiYyolBug/gYNx410cvkKR2/nPwBiT+P4hIi"
        "OAQqGp/TywZBtDh1yCF2KOd0gpiMZ5jSw3e29mTvmUHzkVQiMS6td7vXUaWOMZnYZlF3So2SjHnwh4jYFxdgpkHHqIrH/54SNdshoQgWYEvc"
        "cTKe7FS709/5t6NMxuGhcUGAPOQipvWTT4dShyqio7mlsl5noTrb++x6En749zCpQVhDpbV6GDnTbcX2e8K9QaNWHp91eBdCRxthuL0="
    )
    called = {
        "msg_signature": "74d92dfeb87ba7c714f89d98870ae5eb62dff26d",
        "timestamp": "1411525903",
        "nonce": "461056294",
    }
    [inbound] = theirs.take(Hook(xml({"Encrypt": encrypted, "AgentID": "1"}).encode(), {}, called)).events
    assert inbound.message == Message("user", (Text("test"),))
    assert (inbound.event, inbound.ref, inbound.sender) == ("4363689963896700987",) * 2 + ("messense",)


def test_our_encryption_is_the_published_one() -> None:
    told = (
        "<xml>\n<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[test]]></Content>\n"
        "<FromUserName><![CDATA[wx49f0ab532d5d035a]]></FromUserName>\n<ToUserName><![CDATA[messense]]></ToUserName>\n"
        "<AgentID>1</AgentID>\n<CreateTime>1411525903</CreateTime>\n</xml>"
    )
    safe = Safe(
        "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR", "wx49f0ab532d5d035a", random=lambda count: b"1234567890123456"
    )
    encrypted = safe.shut(told.encode())
    signed = wechat_crypto.signature("123456", "1411525903", "461056294", encrypted)
    assert signed == "407518b7649e86ef23978113f92d27afa9296533"
    assert safe.open(encrypted) == told.encode()


@pytest.mark.parametrize(
    "wrong", [{"signature": ""}, {"signature": "ü\udcff漢"}, {"nonce": "1"}, {"timestamp": ""}, {"signature": "0" * 40}]
)
def test_a_wrong_signature_is_refused_before_anything_is_read(wrong: dict[str, str]) -> None:
    for channel in (reader(), reader(**SAFE)):
        assert refusal(channel, Hook(b"not even XML", {}, query() | wrong))[0] == 403
    assert refusal(reader(), Hook(b"", {}, {}))[0] == 403


def test_the_token_in_the_address_is_asked_for_where_one_is_set() -> None:
    wechat, hook = reader(url_token="open-sesame"), plain(message(Content="hi"))
    assert refusal(wechat, hook)[0] == 403
    assert wechat.take(Hook(hook.body, {}, {**hook.query, "token": "open-sesame"}, NOW)).events


def test_what_is_encrypted_is_read_in_safe_and_in_compatible_mode() -> None:
    for clear in (None, message(Content="in clear, which counts for nothing")):
        [inbound] = reader(**SAFE).take(shut(message(Content="secret"), clear=clear)).events
        assert inbound.message == Message("user", (Text("secret"),))
    # Without the key a compatible account is read in clear.
    [inbound] = reader().take(shut(message(Content="secret"), clear=message(Content="clear"))).events
    assert inbound.message == Message("user", (Text("clear"),))


def test_what_is_encrypted_and_forged_is_refused() -> None:
    wechat, good = reader(**SAFE), shut(message(Content="pay 10"))
    assert (
        refusal(wechat, Hook(good.body.replace(b"<Encrypt><![CDATA[", b"<Encrypt><![CDATA[AAAA"), {}, good.query))[0]
        == 403
    )
    unsigned = {name: value for name, value in good.query.items() if name != "msg_signature"}
    assert refusal(wechat, Hook(good.body, {}, unsigned))[0] == 403
    assert refusal(wechat, Hook(good.body, {}, query("another", token="another")))[0] == 403
    assert refusal(wechat, Hook(body(message(Content="in clear")), {}, query("x", token="another")))[0] == 403


@pytest.mark.parametrize(("aes_key", "app_id"), [(AES[::-1], APP), (AES, "wxffffffffffffffff")])
def test_what_was_encrypted_by_another_key_or_for_another_account_cannot_be_read(aes_key: str, app_id: str) -> None:
    status, reason = refusal(reader(**SAFE), shut(message(Content="x"), aes_key=aes_key, app_id=app_id))
    assert status == 400
    assert "aes_key and app_id" in reason


@pytest.mark.parametrize("encrypted", ["", "YQ==", "漢", "A" * 43 + "=", "A" * 64, "A" * 128])
def test_what_is_no_cipher_is_refused(encrypted: str) -> None:
    hook = Hook(body({"Encrypt": encrypted}), {}, query(encrypted or "x"), NOW)
    assert refusal(reader(**SAFE), hook)[0] == 400


def test_a_mode_that_is_another_than_ours_says_what_to_set() -> None:
    status, reason = refusal(reader(), shut(message(Content="x")))
    assert (status, "aes_key" in reason) == (400, True)
    status, reason = refusal(reader(**SAFE), plain(message(Content="forged by who saw one signature")))
    assert (status, "plain mode" in reason) == (400, True)


# Reading.

BOMB = (
    b'<!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><xml><Content>&b;</Content></xml>'
)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{}",
        b"<xml>",
        b"<html/>",
        b"<xml/>",
        b"<xml><MsgType>text</MsgType></xml>",
        BOMB,
        b'<!DOCTYPE xml SYSTEM "file:///etc/passwd"><xml/>',
        b"<xml><Content>&undefined;</Content></xml>",
        b"<xml><Content>\xff\xfe</Content></xml>",
        b"<xml><Content>\x00\x08</Content></xml>",
        b"<xml><a:Content>x</a:Content></xml>",
        "<?xml version='1.0' encoding='utf-16'?><xml/>".encode("utf-16"),
        body(message(Content="x") | {"FromUserName": "a b\n"}),
        body(message(Content="x") | {"ToUserName": ""}),
        b"<xml>" + b"<a>" * 80_000,
    ],
)
def test_what_is_no_message_is_refused_even_if_signed(wrong: bytes) -> None:
    assert refusal(reader(), Hook(wrong, {}, query()))[0] == 400


@pytest.mark.parametrize("encoding", ["gbk", "no-such-thing", "utf-7"])
def test_whatever_encoding_is_claimed_the_bytes_are_utf_8(encoding: str) -> None:
    claimed = f"<?xml version='1.0' encoding='{encoding}'?>".encode() + body(message(Content="漢字🍎"))
    [inbound] = reader().take(Hook(claimed, {}, query())).events
    assert inbound.message == Message("user", (Text("漢字🍎"),))


def test_large_and_nested_bodies_take_no_time() -> None:
    many = b"".join(b"<a%d>x</a%d>" % (n, n) for n in range(10_000))
    deep = b"<a>" * 30_000 + b"<Content>no</Content>" + b"</a>" * 30_000
    began = time.process_time()
    for inner in (many, deep):
        inside = body(message(Content="hi")).replace(b"</xml>", inner + b"</xml>")
        [inbound] = reader().take(Hook(inside, {}, query())).events
        assert inbound.message == Message("user", (Text("hi"),))
    assert time.process_time() - began < 2


def test_the_first_of_two_parts_with_one_name_counts() -> None:
    twice = body(message(Content="one")).replace(b"</xml>", b"<Content>two</Content></xml>")
    [inbound] = reader().take(Hook(twice, {}, query())).events
    assert inbound.message == Message("user", (Text("one"),))


@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_no_bytes_make_take_raise_anything_else(some: bytes, safe: bool, signed: bool) -> None:
    asked = query("x") if signed else {}
    contract.take_raises_only_rejected(reader(**(SAFE if safe else {})), Hook(some, {}, asked))


@given(st.dictionaries(st.sampled_from(["signature", "msg_signature", "timestamp", "nonce", "echostr"]), st.text()))
def test_no_query_makes_take_raise_anything_else(asked: dict[str, str]) -> None:
    for channel in (reader(), reader(**SAFE)):
        for some in (b"", b"<xml><Encrypt>x</Encrypt></xml>"):
            contract.take_raises_only_rejected(channel, Hook(some, {}, asked))
            contract.take_raises_only_rejected(channel, Hook(some, {}, asked | query()))


WRITTEN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(
    st.sampled_from(["text", "image", "voice", "video", "location", "link", "event", "hologram"]),
    st.dictionaries(
        st.sampled_from(
            ["Content", "MediaId", "PicUrl", "Format", "Label", "Event", "EventKey", "MsgId", "CreateTime"]
        ),
        WRITTEN,
    ),
)
def test_no_parts_make_take_raise_anything_else_or_read_them_twice_in_two_ways(
    kind: str, parts: dict[str, str]
) -> None:
    for name in ("subscribe", "CLICK", parts.get("Event", "")):
        hook = plain(message(kind) | parts | {"Event": name})
        contract.take_raises_only_rejected(reader(menu={"": "x"}), hook)
        contract.take_is_pure(reader(menu={"": "x"}), hook)


def test_a_text_brings_everything_that_is_needed_to_answer() -> None:
    fields = message(Content="漢字 🍎 ]]> <b>")
    inbound = Inbound(
        event="24000000000000001",
        conversation=ANN,
        message=Message("user", (Text("漢字 🍎 ]]> <b>"),)),
        sender=ANN,
        ref="24000000000000001",
        at=1_700_000_000.0,
    )
    assert taken(fields) == inbound
    grant = Grant("24000000000000001", NOW + 48 * 3600, 5)
    assert taken(fields, **SERVICE) == Inbound(
        **{name: getattr(inbound, name) for name in ("event", "conversation", "message", "sender", "ref", "at")},
        grant=grant,
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            message("image", MediaId="m_1", PicUrl="http://mmbiz.qpic.cn/x/0"),
            File("image", "m_1 http://mmbiz.qpic.cn/x/0"),
        ),
        (message("image", MediaId="m_1"), File("image", "m_1")),
        (message("voice", MediaId="m_1", Format="amr", Recognition="你好"), Text("你好")),
        (
            message("voice", MediaId="m_1", Format="AMR", Recognition=""),
            File("audio", "m_1", "voice.amr", "audio/amr"),
        ),
        (message("voice", MediaId="m_1", Format="../x"), File("audio", "m_1")),
        (message("video", MediaId="m_1", ThumbMediaId="m_2"), File("video", "m_1")),
        (message("shortvideo", MediaId="m_1"), File("video", "m_1")),
        (
            message("location", Location_X="25.03", Location_Y="121.56", Scale=20, Label="台北 {x}"),
            Text("[location: 台北 {x}, 25.03, 121.56]"),
        ),
        (message("location", Location_X="25.03", Location_Y="121.56"), Text("[location: 25.03, 121.56]")),
        (message("link", Title="t", Description="d", Url="https://a.example/"), Text("t\nd\nhttps://a.example/")),
    ],
)
def test_each_kind_of_message_becomes_something_for_the_model(fields: Fields, expected: object) -> None:
    assert part(fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        message("hologram", Content="x"),
        message("text", Content=" \n"),
        message("event", Event="unsubscribe"),
        message("event", Event="SCAN", EventKey="7"),
        message("event", Event="VIEW", EventKey="https://a.example/"),
        message("event", Event="TEMPLATESENDJOBFINISH"),
        message("event", Event="CLICK", EventKey="UNKNOWN"),
        message("event", Event="brand_new"),
    ],
)
def test_what_asks_nothing_of_us_is_taken_and_passed_over(fields: Fields) -> None:
    assert reader(menu={"NEW": "/new"}).take(plain(fields)) == Taken(body=b"success")


def test_a_subscription_is_a_greeting_and_a_tap_says_its_words() -> None:
    greeting = taken(message("event", Event="subscribe", EventKey="qrscene_7"), **SERVICE)
    assert greeting is not None
    assert (greeting.kind, greeting.message, greeting.grant) == ("greeting", None, Grant(greeting.event, NOW + 60, 3))
    assert greeting.event == f"{ANN}:1700000000:subscribe:qrscene_7"
    tap = taken(message("event", Event="CLICK", EventKey="NEW"), **SERVICE, menu={"NEW": "/new"})
    assert tap is not None
    assert (tap.kind, tap.message) == ("message", Message("user", (Text("/new"),)))
    assert (tap.event, tap.grant) == (f"{ANN}:1700000000:CLICK:NEW", Grant(tap.event, NOW + 60, 3))


def test_ids_that_are_long_or_lacking_are_made_short_and_stay_the_same() -> None:
    odd = message("event", Event="subscribe", EventKey="x" * 5000)
    nameless = {name: value for name, value in message(Content="hi").items() if name != "MsgId"}
    for fields in (odd, nameless):
        first, again = taken(fields), taken(fields)
        assert first is not None
        assert again is not None
        assert first.event == again.event
        assert len(first.event) <= 128
    other = taken(nameless | {"Content": "ho"})
    first = taken(nameless)
    assert first is not None
    assert other is not None
    assert other.event != first.event


# Answering in the response.


def test_how_long_the_request_is_held_is_said_in_the_settings() -> None:
    hold = reader(hold=0.5, limit=1.0).take(plain(message(Content="hi"))).hold
    assert hold is not None
    assert (hold.seconds, hold.limit, hold.calls, hold.media_type) == (0.5, 1.0, 3, "application/xml")
    assert TOKEN not in repr(hold)


@pytest.mark.parametrize(
    ("more", "granted", "held"),
    [
        ({}, False, True),
        ({"app_id": APP, "app_secret": "s"}, True, True),
        ({"app_id": APP, "app_secret": "s", "mode": "passive"}, False, True),
        (SERVICE, True, False),
    ],
)
def test_the_mode_says_which_ways_are_open(more: dict[str, str], granted: bool, held: bool) -> None:
    for fields in (message(Content="hi"), message("event", Event="subscribe")):
        came = reader(**more).take(plain(fields))
        assert (came.events[0].grant is not None, came.hold is not None) == (granted, held)
        assert (came.status, came.body) == (200, b"success")
    assert reader(**more).caps.typing == (17.0 if granted else 0.0)


@pytest.mark.parametrize("text", ["你好 🍎\n<a href='x'>y</a> & z", "]]>", "]]]]>>]]>]]>", "<![CDATA[x]]>", "&amp;"])
def test_a_reply_says_exactly_the_text_to_whoever_asked(text: str) -> None:
    told = reply(reader().take(plain(message(Content="hi"))), text)
    assert told == {
        "ToUserName": ANN,
        "FromUserName": ACCOUNT,
        "CreateTime": "1700000001",
        "MsgType": "text",
        "Content": text,
    }


def test_what_xml_cannot_hold_is_left_out_of_a_reply() -> None:
    told = reply(reader().take(plain(message(Content="hi"))), "a\x00b\x1bc\ud800d\uffffe\tf\ng")
    assert told["Content"] == "abcde\tf\ng"


@given(st.text(max_size=50))
def test_no_text_breaks_a_reply(text: str) -> None:
    told = reply(reader().take(plain(message(Content="hi"))), text)
    assert told["Content"].replace("\n", "") == clean(text).replace("\r", "").replace("\n", "")


def test_who_is_asked_in_secret_answers_in_secret() -> None:
    came = reader(**SAFE).take(shut(message(Content="hi")))
    told = reply(came, "漢字 ]]> 🍎")
    assert set(told) == {"Encrypt", "MsgSignature", "TimeStamp", "Nonce"}
    right = wechat_crypto.signature(TOKEN, told["TimeStamp"], told["Nonce"], told["Encrypt"])
    assert told["MsgSignature"] == right
    inner = ElementTree.fromstring(wechat_crypto.Safe(AES, APP).open(told["Encrypt"]))  # noqa: S314 - ours
    assert (inner.findtext("Content"), inner.findtext("ToUserName")) == ("漢字 ]]> 🍎", ANN)
    assert reply(came, "again")["Encrypt"] != reply(came, "again")["Encrypt"]
