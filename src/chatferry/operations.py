"""What is asked of the ledger's single writer: each a value. `writes` does them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chatferry.budgets import Charge
from chatferry.consent import Ask
from chatferry.model import Attempt, Message, Piece, Receipt, Turn
from chatferry.steps import Returned, Step


class Claim(msgspec.Struct, frozen=True):
    """Take the oldest open turn of a conversation."""

    conversation: str
    now: float
    until: float
    expired: float
    """Leases that ended before this may be taken over."""


class Renewed(msgspec.Struct, frozen=True):
    """What came of holding turns for longer: those that are no longer ours, and those that are to stop."""

    lost: list[Turn]
    stopped: list[Turn]


class Watch(msgspec.Struct, frozen=True):
    """Let whoever works on these turns know that their answers are read along elsewhere."""

    turns: tuple[int, ...]


class Renew(msgspec.Struct, frozen=True):
    """Hold turns for longer."""

    held: tuple[Turn, ...]
    until: float


class Kept(msgspec.Struct, frozen=True):
    """A picture that is kept with a turn, under the number by which its `File` names it."""

    id: int
    media_type: str
    data: bytes


class Change(msgspec.Struct, frozen=True):
    """A fenced write about a running turn: any of its columns, and what follows from it in one transaction."""

    turn: Turn
    now: float
    columns: Mapping[str, object]
    say: tuple[Message, ...]
    rewrite: tuple[tuple[int, Message], ...]
    notice: Attempt | None
    draft: Attempt | None
    begun: tuple[tuple[int, str], ...]
    attempt: tuple[tuple[int, ...], Attempt | None]
    sent: tuple[tuple[Piece, Receipt], ...]
    remember: tuple[Message, ...]
    recall: tuple[Message, ...]
    unsay: int
    absorb: tuple[Turn, ...]
    attempts: int
    abandon: tuple[tuple[int, ...], str]
    gather: tuple[tuple[int, ...], Message | None]
    calls: tuple[Step, ...]
    returned: tuple[Returned, ...]
    keep: tuple[Kept, ...]
    charge: tuple[Charge, ...]
    ask: Ask | None


class Adopt(msgspec.Struct, frozen=True):
    """End every lease."""


class Reopen(msgspec.Struct, frozen=True):
    """Do a closed turn again."""

    turn: int
    now: float
