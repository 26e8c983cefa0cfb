"""Texts as people mean them: small and large, narrow and wide letters are one."""

from __future__ import annotations

import unicodedata

REACH = 2000
"""What lies further behind in a text is not compared: it may be anybody's, and sorting accents takes time."""


def narrow(text: str) -> str:
    """The same letters in their usual width (NFKC), as far as they are compared."""
    return unicodedata.normalize("NFKC", text[:REACH])


def folded(text: str) -> str:
    """What is equal for all texts that look the same but for the size and the width of their letters."""
    # The size first tells other letters apart, and may leave marks to be put together.
    return narrow(narrow(text).casefold()).strip()
