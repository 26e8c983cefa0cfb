"""Addresses of pages that only those can open who were given them, and only for a time.

A token is what it opens, the second until which it does, and a signature over both. Nothing is stored for it, and any
process that has the database can read it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from typing import Literal

Page = Literal["a", "h"]
"""One answer, or the history of its conversation."""

_FORM = struct.Struct(">QI")
_MAC = 16
"""Bytes of the signature: 2^128 guesses."""


class Expired(Exception):
    """The token was good once."""


class Links:
    """Makes and reads the addresses. `base` is where people reach us; None where nobody has said so yet."""

    def __init__(self, key: bytes, ttl: float, base: str | None) -> None:
        self._key = key
        self._ttl = ttl
        self.base = base

    def answer(self, turn: int, now: float) -> str | None:
        """The page of a turn's answer; None where we don't know how people reach us."""
        return self._address("a", turn, now)

    def history(self, turn: int, now: float) -> str | None:
        """The page of the conversation that a turn belongs to."""
        return self._address("h", turn, now)

    def read(self, page: Page, token: str, now: float) -> int | None:
        """The turn that a token opens; None where it is none of ours. Raises Expired."""
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        told, mac = raw[: _FORM.size], raw[_FORM.size :]
        # Only the one spelling that we gave: base64 has several for the same bytes.
        if len(told) != _FORM.size or not hmac.compare_digest(mac, self._sign(page, told)) or token != _spelled(raw):
            return None
        turn, until = _FORM.unpack(told)
        if until <= now:
            raise Expired
        return int(turn)

    def _address(self, page: Page, turn: int, now: float) -> str | None:
        return f"{self.base}/{page}/{self.token(page, turn, now)}" if self.base else None

    def token(self, page: Page, turn: int, now: float) -> str:
        """What opens a page from now on, for `pages.ttl`."""
        told = _FORM.pack(turn, int(now + self._ttl))
        return _spelled(told + self._sign(page, told))

    def _sign(self, page: Page, told: bytes) -> bytes:
        return hmac.digest(self._key, page.encode() + told, hashlib.sha256)[:_MAC]


def _spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
