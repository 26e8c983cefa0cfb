"""What is asked of the reading process, and what it found."""

from __future__ import annotations

from typing import Literal

import msgspec

Trouble = Literal["unknown", "broken", "heavy", "locked", "macros", "silent", "missing"]
"""Why a file cannot be read; `silent`: there is no text in it; `missing`: what reads it is not installed."""


class Job(msgspec.Struct, frozen=True):
    """One file."""

    media_type: str
    picture: bool = False
    """Make a picture of it that a model can be shown."""
    text: int = 0
    """Take so many characters of text out of it, at most."""
    pages: int = 0
    """It is a scan: read the letters on so many of its first pages, at most."""
    language: str = ""
    """What it is probably written in, where its bytes leave that open."""


class Found(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it."""

    text: str = ""
    cut: bool = False
    """There is more text than that."""
    pages: int = 0
    """Only so many pages of a scan were read; 0: all."""
    made: str = ""
    """The media type of the picture or the sound that follows, if one does."""
    trouble: Trouble | None = None


class Unreadable(Exception):
    """It cannot be read."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble)
        self.trouble = trouble
