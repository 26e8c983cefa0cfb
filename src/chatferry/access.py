"""Who asks by the API, and what they may."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

import msgspec

CHAT = "chat"
"""Ask every assistant."""
READ = "read"
"""See the names of all assistants, and ask none."""
ALL = frozenset((CHAT, READ))

PREFIX = "cf_"
"""What keys of ours begin with, for scanners that look for lost ones."""


def asking(assistant: str) -> str:
    """The scope of a single assistant."""
    return f"{CHAT}:{assistant}"


def strangers(scopes: Iterable[str], assistants: Collection[str]) -> list[str]:
    """Those that are no scopes here."""
    known = {*ALL, *map(asking, assistants)}
    return [scope for scope in scopes if scope not in known]


class Caller(msgspec.Struct, frozen=True):
    """Who asks: conversations, rates and idempotency keys are a caller's own.

    `name` is fit for logs. Nothing in it is a `/`, so no session of one caller can be named like another one's.
    """

    name: str
    scopes: frozenset[str] = ALL

    def asks(self, assistant: str) -> bool:
        return CHAT in self.scopes or asking(assistant) in self.scopes

    def sees(self, assistant: str) -> bool:
        return READ in self.scopes or self.asks(assistant)


class Keys(Protocol):
    """The keys that were made for callers at run time."""

    def find(self, key: str) -> Caller | None:
        """Whose it is; None where it is none of ours. Raises Rejected(401) where it was. Waits for nothing."""
        ...
