"""What processes tell each other: that something is new about a turn. The number only; the rest is in the ledger.

On PostgreSQL it travels by NOTIFY, in the transaction that made it so: whoever hears of it can read it. What is missed
while a connection is away is caught up by a look at the ledger. On SQLite there is nobody else to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import sqlalchemy as sa

CHANNEL = "chatferry"

Kind = Literal["changed", "stop", "nudge", "watch", "address"]
"""
`changed` it has ended, or more of its answer can be read;
`stop`    whoever works on it is to look whether it may go on: stopped, changed or taken back;
`nudge`   something came behind it in its conversation;
`watch`   somebody reads its answer along, in another process;
`address` about no turn: it is known now how people reach us.
"""

_MOST = 300
"""Turns in one payload: PostgreSQL takes less than 8,000 bytes."""
_NOTIFY = sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("payload", type_=sa.Text)))


def tell(connection: sa.Connection, told: Mapping[Kind, Iterable[int]]) -> None:
    """Have it told to all processes, this one too, when the transaction is committed."""
    for kind, turns in told.items():
        ids = sorted({turn for turn in turns if turn})
        for first in range(0, len(ids), _MOST):
            payload = " ".join((kind, *map(str, ids[first : first + _MOST])))
            connection.execute(_NOTIFY, {"payload": payload})


def read(payload: str) -> tuple[Kind, list[int]] | None:
    """What was told; None where it is nothing that we know: a newer version may say more."""
    kind, *turns = payload.split(" ")
    for known in get_args(Kind):
        if kind == known:
            return known, [int(turn) for turn in turns if turn.isdecimal()]
    return None
