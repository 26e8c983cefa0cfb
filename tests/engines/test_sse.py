"""Event streams, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.engines.sse import Decoder
from chatferry.errors import Final


def decode(*chunks: bytes) -> list[bytes]:
    decoder = Decoder()
    return [payload for chunk in chunks for payload in decoder.feed(chunk)] + decoder.close()


@pytest.mark.parametrize(
    ("stream", "payloads"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\ndata: b\n\n", [b"\nb"]),
        (b": comment\n\ndata: a\n\n", [b"a"]),
        (b"event: x\nid: 1\ndata: a\nretry: 5\n\n", [b"a"]),
        (b"database: no\n\n", []),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\n\r\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: \xef\xbb\xbf\n\n", [b"\xef\xbb\xbf"]),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"data:\n\n", []),
        (b"", []),
        (b"\xef\xbb", []),
    ],
)
def test_a_stream_decodes_to_its_payloads_whole_or_byte_by_byte(stream: bytes, payloads: list[bytes]) -> None:
    assert decode(stream) == payloads
    assert decode(*(stream[n : n + 1] for n in range(len(stream)))) == payloads


def reference(stream: bytes) -> list[bytes]:
    """The standard's algorithm, line by line."""
    text = stream.decode()
    payloads: list[bytes] = []
    data: list[str] = []
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line in [*lines, ""]:
        if line == "":
            if payload := "\n".join(data):
                payloads.append(payload.encode())
            data = []
        elif line == "data":
            data.append("")
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
    return payloads


pieces = st.lists(
    st.sampled_from(
        ["data: ", "data:", "data", '{"text":"好"}', "é", "\n", "\n\n", "\r\n", "\r\n\r\n", "\r", ": ", "x", " "]
    ),
    max_size=30,
).map(lambda parts: "".join(parts).encode())


@given(bom=st.sampled_from([b"", b"\xef\xbb\xbf"]), rest=pieces, data=st.data())
def test_any_chunking_decodes_to_what_the_standard_says(bom: bytes, rest: bytes, data: st.DataObject) -> None:
    stream = bom + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decode(*chunks) == reference(stream)


def test_a_payload_is_there_as_soon_as_its_blank_line_is() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\ndata: b") == [b"a"]
    assert decoder.feed(b"\r\n\r") == [b"b"]
    assert decoder.feed(b"\n") == []


def test_an_event_without_end_is_given_up() -> None:
    decoder = Decoder(limit=100)
    assert decoder.feed(b"data: " + b"x" * 60) == []
    with pytest.raises(Final, match="more than 100 bytes"):
        decoder.feed(b"x" * 60)
