"""Letters, digits, hyphens and blanks of all widths, as people type them beside Chinese and Japanese."""

from __future__ import annotations

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_HYPHENS = dict.fromkeys(map(ord, "‐‑‒–—―−ー－﹣"), "-")
_BLANKS = dict.fromkeys(map(ord, "\u00a0\u2002\u2003\u2007\u2009\u200b\u200c\u200d\u202f\u2060\u3000\ufeff\t"), " ")
_PLAIN = str.maketrans(_WIDE | _HYPHENS | _BLANKS)


def plain(text: str) -> str:
    """The text with letters, digits, hyphens and blanks of all widths as in ASCII, each still in its place."""
    return text if text.isascii() else text.translate(_PLAIN)
