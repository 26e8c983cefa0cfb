"""What a file is, by what is in it: its name and what its sender says of it count for nothing. Pure."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["image", "audio", "video", "file"]

HEIC = "image/heic"
PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", HEIC)
"""What can be shown to a model, or read."""
TEXT, PDF = "text/plain", "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
DOCUMENTS = (TEXT, PDF, DOCX, XLSX)
"""What has text that can be taken out."""
MACROS = "application/x-office-with-macros"
AMR, CAF, AIFF, THREE_GP = "audio/amr", "audio/x-caf", "audio/aiff", "audio/3gpp"
RARE_SOUNDS = (AMR, CAF, AIFF, THREE_GP)
"""What no service that listens takes as it is."""
UNKNOWN = "application/octet-stream"

_BEGINNINGS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"#!AMR", AMR),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"caff", CAF),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_BRANDS = {b"heic": HEIC, b"heix": HEIC, b"hevc": HEIC, b"heim": HEIC, b"mif1": HEIC, b"msf1": HEIC,
           b"avif": "image/avif", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4"}  # fmt: skip
"""Of a file in the form of QuickTime; all others are taken for videos."""
_NAMES = ((b"vbaProject.bin", MACROS), (b"word/document.xml", DOCX), (b"xl/workbook.xml", XLSX))
"""What the table of contents of a zip file names, if it is more than that."""
_HEAD = 64 * 1024
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def sniff(data: bytes) -> str:
    """The media type, `UNKNOWN` where it is nothing that is known."""
    for beginning, media_type in _BEGINNINGS:
        if data.startswith(beginning):
            return media_type
    if data[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(data[8:12], UNKNOWN)
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    if data[4:11] == b"ftyp3gp":
        return "video/3gpp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    if b"%PDF-" in data[:1024]:  # readers allow something before it
        return PDF
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zipped(data)
    if len(data) > 2 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2:  # a frame of MPEG audio, layer III
        return "audio/mpeg"
    return TEXT if _reads(data[:_HEAD]) else UNKNOWN


def kind_of(media_type: str) -> Kind:
    """What people call a file of this type."""
    match media_type.partition("/")[0]:
        case "image":
            return "image"
        case "audio":
            return "audio"
        case "video":
            return "video"
    return "file"


def _zipped(data: bytes) -> str:
    """What a zip file is, by the names in its table of contents, which is not unpacked for it."""
    end = data.rfind(b"PK\x05\x06")
    begin = int.from_bytes(data[end + 16 : end + 20], "little") if end >= 0 else 0
    contents = data[begin:end] if end >= 0 else data
    return next((media_type for name, media_type in _NAMES if name in contents), "application/zip")


def _reads(head: bytes) -> bool:
    """Is this text in some encoding? In UTF-16 every other byte of most texts is 0, in others none is."""
    if not head.strip():
        return False
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _wide(head, "utf-16")
    if head.count(0):
        big, little = head[::2].count(0), head[1::2].count(0)
        return max(big, little) > len(head) // 4 and _wide(head, "utf-16-be" if big > little else "utf-16-le")
    return len(_CONTROLS.findall(head)) <= len(head) // 1000


def _wide(head: bytes, codec: str) -> bool:
    """Is this, read two bytes a sign, something that people write? Numbers in two bytes read as signs as well."""
    signs = head.decode(codec, "ignore")
    written = sum(sign.isprintable() or sign.isspace() for sign in signs)
    telling = sum(sign.isalnum() or "!" <= sign <= "~" for sign in signs)
    return written > len(head) // 2 * 0.95 - 2 and telling * 4 > len(signs)
