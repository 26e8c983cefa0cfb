"""Messages that people put in other words: which of them still may, and what costs them something.

All functions are synchronous and run inside the ledger's one transaction (`writes`).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from chatferry.ledger import steps
from chatferry.ledger.rows import INBOUND
from chatferry.ledger.sessions import Admitted
from chatferry.ledger.tables import turns
from chatferry.model import Inbound

TURN = sa.select(turns.c.id, turns.c.kind, turns.c.state, turns.c.inbound, turns.c.answer, turns.c.merged_into)
# What is decided by the turn's state holds until it is written, whatever other processes do.
TURN = TURN.with_for_update()


def said(connection: sa.Connection, conversation: str, ref: str) -> list[Any]:
    """The turn of a message, and the one that answers for it."""
    query = TURN.where(turns.c.conversation == conversation, turns.c.ref == ref, turns.c.kind.in_(("message", "heard")))
    mine = connection.execute(query).first() if ref else None
    if mine is None:
        return []
    answering = mine.merged_into and connection.execute(TURN.where(turns.c.id == mine.merged_into)).first()
    return [mine, answering] if answering else [mine]


def open_(turn: Any) -> bool:
    """May the message of this turn still change?"""
    return turn.kind == "heard" or (turn.state in ("due", "doing") and turn.answer is None)


def weigh(connection: sa.Connection, conversation: str, event: Inbound) -> Admitted | None:
    """A change that counts like a message, for the model is asked again, or that is too long; None: any other."""
    concerned = said(connection, conversation, event.ref)
    if not concerned or concerned[-1].kind != "message" or not open_(concerned[-1]):
        return None
    if all(before.changed(event) == before for before in (INBOUND.decode(turn.inbound) for turn in concerned)):
        return None
    if event.reply:
        return Admitted(replace(event, kind="command", command="reply", message=None))
    return Admitted(event) if concerned[-1].state == "doing" else None


def settled(connection: sa.Connection, turn: int, before: Inbound, after: Inbound) -> tuple[Inbound, int]:
    """How a message counts that was put in other words, or taken back; and the round from which on its calls are void.

    What a yes has begun is done, whatever becomes of the yes: it is not begun once more, nor told as not done.
    """
    asked = before.consenting
    if asked is None or not steps.begun(connection, turn):
        return after, 0
    also = tuple(replace(one, consent=asked.consent) if one.confirms else one for one in after.also)
    return replace(after, also=also, consent=asked.consent if after.confirms else after.consent), 1


def told(conversation: str, event: Inbound, admitted: Admitted) -> Admitted:
    """What came of a change: that it does not count is told once for a message, however often that is changed."""
    its = admitted.event
    if its is None or its.kind != "command":
        return admitted
    return replace(admitted, event=replace(its, event=f"{conversation}/{event.ref}/{its.command}"))
