"""What a file is, by what is in it, and text of which nobody says how it is encoded."""

from __future__ import annotations

import pytest

from chatferry.reading.encodings import decoded
from chatferry.sniffing import AIFF, AMR, CAF, DOCX, HEIC, MACROS, PDF, TEXT, UNKNOWN, XLSX, kind_of, sniff
from tests import media

FILES = {
    "image/jpeg": media.picture("JPEG"),
    "image/png": media.picture("PNG"),
    "image/gif": media.picture("GIF"),
    "image/webp": media.picture("WEBP"),
    "image/avif": media.picture("AVIF"),
    HEIC: media.picture("HEIF"),
    "audio/mp4": b"\0\0\0\x20ftypM4A \0\0",
    "video/mp4": b"\0\0\0\x20ftypisom\0\0",
    "audio/ogg": b"OggS\0",
    "audio/mpeg": b"\xff\xfb\x90\x00\0\0",
    "audio/wav": b"RIFF\0\0\0\0WAVEfmt ",
    AMR: media.AMR,
    CAF: media.hum("caf", "alac"),
    AIFF: media.hum("aiff", "pcm_s16be"),
    "video/3gpp": media.hum("3gp", "aac"),
    PDF: media.pdf("x"),
    DOCX: media.docx("x"),
    XLSX: media.xlsx((1,)),
    MACROS: media.docx("x", word__vbaProject_bin=b"x"),
    "application/zip": media.zipped(word_txt="document.xml"),
    TEXT: "茶".encode("big5"),
    UNKNOWN: b"\x7fELF\x02\x01\x01\0\0\0",
}


@pytest.mark.parametrize("media_type", FILES)
def test_a_file_is_what_is_in_it(media_type: str) -> None:
    assert sniff(FILES[media_type]) == media_type


def test_nothing_breaks_on_any_beginning() -> None:
    for data in FILES.values():
        for end in range(min(len(data), 40)):
            assert kind_of(sniff(data[:end])) in ("image", "audio", "video", "file")
    assert sniff(b"") == sniff(b"  ") == UNKNOWN


@pytest.mark.parametrize(
    "data",
    [
        b"MZ\x90\0" + b"\0\1" * 5000,
        b"\xff\xfe" + b"\1\0" * 5000,
        b"\xff\xfe" + bytes(range(256)) * 20,
        b"".join(level.to_bytes(2, "little") for level in range(250)) * 20,
        b"\xb0\0" * 5000,
    ],
)
def test_numbers_in_two_bytes_are_no_text(data: bytes) -> None:
    assert sniff(data) == UNKNOWN


@pytest.mark.parametrize("text", ["name,price\r\n", "1,2\r\n", "- x -\n", "héllo", "訂單編號1234的杯子破了\r\n"])
@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_text_in_two_bytes_a_sign_is_text(text: str, codec: str) -> None:
    # Without a mark at its beginning it is known by its zeros, of which Chinese has none.
    known = codec == "utf-16" or not text.startswith("訂")
    assert sniff((text * 3).encode(codec)) == (TEXT if known else UNKNOWN)


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        ("訂單編號1234的杯子破了，請問要怎麼退貨？", ("utf-8", "utf-8-sig", "utf-16", "big5", "cp950")),
        ("订单编号1234的杯子破了，请问怎么退货？", ("utf-8", "utf-16", "gbk", "gb18030")),
        ("ご注文のカップが割れていました。返品の手続きは？", ("utf-8", "utf-16", "shift_jis", "cp932")),
        ("name,price\r\ncafé au lait,5\r\n", ("utf-8", "utf-16-le", "utf-16-be", "cp1252")),
    ],
)
def test_text_is_read_in_the_encoding_that_makes_sense_of_it(text: str, encodings: tuple[str, ...]) -> None:
    assert {name: decoded(text.encode(name)) for name in encodings} == dict.fromkeys(encodings, text)
