"""Text of which nobody says how it is encoded. Pure.

Nearly any bytes are some text in each of the encodings of Chinese and Japanese. But each has the signs that are used
most in one region: what falls there most often is right.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class _Guess(NamedTuple):
    codec: str
    language: str
    usual: re.Pattern[bytes]
    """Its common signs."""
    pair: re.Pattern[bytes]
    """Any sign of two bytes."""


_TAIL, _ANY = rb"[\x40-\x7e\xa1-\xfe]", rb"[\x40-\x7e\x80-\xfc]"
_GUESSES = (
    _Guess(
        "cp950",
        "zh-TW",
        re.compile(rb"[\xa4-\xc6]" + _TAIL + rb"|\xa1[\x40-\x5f]"),
        re.compile(rb"[\x81-\xfe]" + _TAIL),
    ),
    _Guess(
        "gb18030",
        "zh-CN",
        re.compile(rb"[\xb0-\xd7][\xa1-\xfe]|[\xa1\xa3][\xa1-\xfe]"),
        re.compile(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]"),
    ),
    _Guess(
        "cp932",
        "ja",
        re.compile(rb"\x82[\x9f-\xf1]|\x83[\x40-\x96]|\x81[\x41-\x5b\x69-\x76]|[\x88-\x97]" + _ANY),
        re.compile(rb"[\x81-\x9f\xe0-\xfc]" + _ANY),
    ),
)
_SAMPLE = 64 * 1024


def decoded(data: bytes, language: str = "") -> str:
    """The text. `language` decides where bytes leave it open; what cannot be read becomes a sign for that."""
    if data[:3] == b"\xef\xbb\xbf":
        return data[3:].decode("utf-8", "replace")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:_SAMPLE]:
        head = data[:_SAMPLE]
        little = head[1::2].count(0) >= head[::2].count(0)
        return data.decode("utf-16-le" if little else "utf-16-be", "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as fault:
        if fault.reason == "unexpected end of data":
            return data.decode("utf-8", "ignore")
    return data.decode(_codec(data[:_SAMPLE], language), "replace")


def _codec(sample: bytes, language: str) -> str:
    best, codec = 0.0, "cp1252"
    for guess in _GUESSES:
        text = sample.decode(guess.codec, "replace")
        strange = text.count("\ufffd") + sum("\ue000" <= sign <= "\uf8ff" for sign in text)
        pairs = guess.pair.findall(sample)
        usual = sum(guess.usual.fullmatch(pair) is not None for pair in pairs)
        score = (usual - 4 * strange) / (len(pairs) or 1) + 0.1 * (guess.language == language)
        # Letters with accents stand alone between plain ones, and would make a few odd pairs.
        if score > best and score > 0.5 and len(pairs) * 2 > _high(sample) * 0.8:
            best, codec = score, guess.codec
    return codec


def _high(sample: bytes) -> int:
    return sum(byte > 0x7F for byte in sample)
