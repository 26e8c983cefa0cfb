"""What the ledger's single writer does, in bulk: each operation a value, each batch a handful of statements.

All functions are synchronous and run inside one transaction; nothing here waits for anything but the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from chatferry import (
    answers,
    apikeys,
    budgets,
    consent,
    fetching,
    forgetting,
    guests,
    incidents,
    memories,
    peers,
    profiles,
    retention,
    statements,
    steps,
)
from chatferry.accepting import Accept, accept
from chatferry.errors import LeaseLost
from chatferry.fetching import complete
from chatferry.knowledge import shelves
from chatferry.model import APOLOGY, Turn
from chatferry.operations import Adopt, Change, Claim, Renew, Renewed, Reopen, Watch
from chatferry.rows import BEFORE, INBOUND, dump, padded, turn_of
from chatferry.sessions import heard
from chatferry.tables import messages, outbox, state_is, turns

_ENDS = ("done", "failed", "parked")


def apply(connection: sa.Connection, operations: Sequence[Any]) -> list[Any]:
    """Write a batch: operations of one kind together, so that a hundred turns cost about as much as one."""
    results: list[Any] = [None] * len(operations)
    several = connection.dialect.name == "postgresql"  # SQLite has one writer
    if several:
        peers.lock(connection, operations)
    for kind, write in _WRITES.items():
        places = [i for i, operation in enumerate(operations) if isinstance(operation, kind)]
        if places:
            for i, result in zip(places, write(connection, [operations[i] for i in places]), strict=True):
                results[i] = result
    if several:
        peers.tell(connection, operations, results)
    return results


# ── claiming and holding ─────────────────────────────────────────────────────────────────────────────────────────


def _claim(connection: sa.Connection, operations: Sequence[Claim]) -> list[Turn | None]:
    last = operations[-1]
    lanes = padded({op.conversation for op in operations})
    given = {"lanes": lanes, "now": last.now, "until": last.until, "expired": last.expired}
    found = [turn_of(row, taken_over=row.taken_over) for row in connection.execute(statements.CLAIM, given)]
    claimed = {turn.conversation: turn for turn in found}
    return [claimed.pop(op.conversation, None) for op in operations]


def _held(connection: sa.Connection, ids: set[int]) -> dict[int, Any]:
    """How these turns are held, where they are running; locked in the order of their ids."""
    return {row.id: row for row in connection.execute(statements.HELD, {"ids": padded(ids)})}


def _ours(held: Mapping[int, Any], turn: Turn) -> bool:
    return turn.id in held and bool(held[turn.id].lease == turn.lease)


def _renew(connection: sa.Connection, operations: Sequence[Renew]) -> list[Renewed]:
    held = _held(connection, {turn.id for op in operations for turn in op.held})
    results = []
    for op in operations:
        ours = [turn for turn in op.held if _ours(held, turn)]
        connection.execute(statements.RENEW, {"ids": padded([turn.id for turn in ours]), "until": op.until})
        lost = [turn for turn in op.held if not _ours(held, turn)]
        results.append(Renewed(lost, [turn for turn in ours if held[turn.id].stopped]))
    return results


def _watch(connection: sa.Connection, operations: Sequence[Watch]) -> list[None]:
    return [None] * len(operations)  # it is only told


# ── changing a turn that we hold ─────────────────────────────────────────────────────────────────────────────────


def _change(connection: sa.Connection, operations: Sequence[Change]) -> list[LeaseLost | None]:
    held = _held(connection, {op.turn.id for op in operations})
    ours = [op for op in operations if _ours(held, op.turn) and _absorb(connection, op)]
    _rewrite(connection, ours)
    _gather(connection, ours)
    _say(connection, ours)
    _begun(connection, ours)
    _attempt(connection, ours)
    _sent(connection, ours)
    _keep(connection, ours)
    _remember(connection, ours)
    steps.note(connection, [(op.turn.id, op.now, step) for op in ours for step in op.calls])
    consent.keep(connection, [(op.turn.conversation, op.turn.id, op.ask) for op in ours if op.ask])
    steps.end(connection, [(op.turn.id, op.now, its) for op in ours for its in op.returned])
    budgets.charge(connection, [charge for op in ours for charge in op.charge])
    for op in ours:
        asked = op.turn.inbound.kind == "message" and op.turn.inbound.context is None
        if asked and op.columns.get("state") in _ENDS and not any(said.role == "assistant" for said in op.remember):
            heard(connection, op.turn.conversation, op.turn.id, op.now)
        if op.abandon[0]:
            parked = sa.and_(turns.c.id.in_(op.abandon[0]), state_is("parked"))
            connection.execute(sa.update(turns).where(parked).values(state="failed", error=op.abandon[1]))
        if op.attempts:
            counted = sa.update(turns).where(turns.c.id == op.turn.id)
            connection.execute(counted.values(attempts=turns.c.attempts + op.attempts))
    by_shape: dict[tuple[str, ...], list[dict[str, object]]] = {}
    for op in ours:
        if op.columns:
            by_shape.setdefault(tuple(op.columns), []).append({"_id": op.turn.id, **op.columns})
    for shape, rows in by_shape.items():
        connection.execute(statements.changing(shape), rows)
    fine = {id(op) for op in ours}
    return [None if id(op) in fine else LeaseLost(f"turn {op.turn.id} has another holder") for op in operations]


def _absorb(connection: sa.Connection, op: Change) -> bool:
    """Take waiting turns over. Where one of them was changed or taken back meanwhile, none is, and ours starts anew."""
    if not op.absorb:
        return True
    due = sa.and_(turns.c.id.in_([turn.id for turn in op.absorb]), state_is("due"))
    found = connection.execute(sa.select(turns.c.id, turns.c.inbound).where(due).order_by(turns.c.id).with_for_update())
    inbounds = {row.id: INBOUND.decode(row.inbound) for row in found}
    if any(inbounds.get(turn.id) != turn.inbound for turn in op.absorb):
        connection.execute(sa.update(turns).where(turns.c.id == op.turn.id).values(state="due"))
        return False
    connection.execute(sa.update(turns).where(due).values(state="merged", merged_into=op.turn.id))
    return True


def _say(connection: sa.Connection, changes: Sequence[Change]) -> None:
    rows = [
        {
            "turn": op.turn.id,
            "conversation": op.turn.conversation,
            "message": dump(message),
            "notice": op.notice is not None,
            "attempt": dump(attempt) if (attempt := op.notice or op.draft) else None,
            "receipt": "",
        }
        for op in changes
        for message in op.say
    ]
    if rows:
        connection.execute(statements.SAY, rows)


def _rewrite(connection: sa.Connection, changes: Sequence[Change]) -> None:
    rows = [{"_id": piece, "_message": dump(message)} for op in changes for piece, message in op.rewrite]
    if rows:
        connection.execute(statements.REWRITE, rows)


def _gather(connection: sa.Connection, changes: Sequence[Change]) -> None:
    """Let one piece stand for several, if none of them went out meanwhile; a parked turn that has none left is done."""
    for op in changes:
        pieces, message = op.gather
        if message is None:
            continue
        waits = sa.select(outbox.c.turn).where(outbox.c.id.in_(pieces), outbox.c.sent_at.is_(None))
        concerned = connection.execute(waits.with_for_update()).scalars().all()
        if len(concerned) == len(pieces):
            first, *others = pieces
            connection.execute(sa.update(outbox).where(outbox.c.id == first).values(message=dump(message)))
            connection.execute(sa.delete(outbox).where(outbox.c.id.in_(others)))
            complete(connection, set(concerned) - {op.turn.id}, op.now)


def _begun(connection: sa.Connection, changes: Sequence[Change]) -> None:
    rows = [{"_id": piece, "_receipt": receipt} for op in changes for piece, receipt in op.begun]
    if rows:
        connection.execute(statements.BEGUN, rows)


def _attempt(connection: sa.Connection, changes: Sequence[Change]) -> None:
    rows = [
        {"_id": piece, "_attempt": dump(op.attempt[1]) if op.attempt[1] else None}
        for op in changes
        for piece in op.attempt[0]
    ]
    if rows:
        connection.execute(statements.ATTEMPT, rows)
    if void := [piece for op in changes if op.attempt[1] is None for piece in op.attempt[0]]:
        connection.execute(sa.delete(outbox).where(outbox.c.id.in_(void), outbox.c.notice))


def _sent(connection: sa.Connection, changes: Sequence[Change]) -> None:
    sent = [(op, piece, receipt) for op in changes for piece, receipt in op.sent]
    if not sent:
        return
    connection.execute(
        statements.SENT,
        [{"_id": piece.id, "_at": op.now, "_receipt": receipt.id} for op, piece, receipt in sent],
    )
    parked = {piece.turn for op, piece, _ in sent if piece.turn != op.turn.id}
    complete(connection, parked, max(op.now for op, _, _ in sent))


def _keep(connection: sa.Connection, changes: Sequence[Change]) -> None:
    rows = [
        {"id": kept.id, "turn": op.turn.id, "media_type": kept.media_type, "data": kept.data}
        for op in changes
        for kept in op.keep
    ]
    if rows:
        connection.execute(statements.KEEP, rows)


def _remember(connection: sa.Connection, changes: Sequence[Change]) -> None:
    rows = [
        {
            "conversation": op.turn.conversation,
            "turn": op.turn.id,
            "role": message.role,
            "body": dump(message),
            "said_at": op.now,
        }
        for op in changes
        for message in op.remember
    ]
    # What was said before we came is one row: however much it is, it is remembered with this turn, once.
    for op in changes:
        if op.recall:  # and so is what we had heard of it
            mine = messages.c.conversation == op.turn.conversation
            connection.execute(sa.delete(messages).where(mine, messages.c.turn < op.turn.id))
            memories.drop(connection, op.turn.conversation, 0)
    rows += [
        {
            "conversation": op.turn.conversation,
            "turn": op.turn.id,
            "role": BEFORE,
            "body": dump(op.recall),
            "said_at": op.now,
        }
        for op in changes
        if op.recall
    ]
    if unsaid := [op.unsay for op in changes if op.unsay]:
        connection.execute(sa.delete(messages).where(messages.c.turn.in_(unsaid), messages.c.role == "assistant"))
        for op in changes:
            if op.unsay:
                memories.drop(connection, op.turn.conversation, op.unsay)
        connection.execute(sa.delete(outbox).where(outbox.c.turn.in_(unsaid), outbox.c.sent_at.is_(None)))
        parked = sa.and_(turns.c.id.in_(unsaid), state_is("parked"))
        connection.execute(sa.update(turns).where(parked).values(state="done"))
    if rows:
        connection.execute(statements.remembering(connection.dialect.name), rows)


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _adopt(connection: sa.Connection, operations: Sequence[Adopt]) -> list[int]:
    # To be cut off is no failed try; and what was freed before and not claimed since was cut off once.
    tries = sa.case((turns.c.leased_until > 0.0, turns.c.attempts - 1), else_=turns.c.attempts)
    freed = connection.execute(sa.update(turns).where(state_is("doing")).values(leased_until=0.0, attempts=tries))
    return [freed.rowcount] * len(operations)


def _reopen(connection: sa.Connection, operations: Sequence[Reopen]) -> list[bool]:
    results = []
    for op in operations:
        again = {"state": "due", "due_at": op.now, "attempts": 0, "finished_at": None, "stopped": False}
        mine = sa.update(turns).where(turns.c.id == op.turn)
        asked = mine.where(state_is("failed"), turns.c.finish == APOLOGY)
        sent = mine.where(state_is("failed", "parked", "gone"))
        anew = connection.execute(asked.values(again | {"answer": None, "finish": "", "error": ""})).rowcount
        if anew:
            # One that has begun to grow on the platform becomes the answer.
            apologies = outbox.c.turn == op.turn, outbox.c.sent_at.is_(None), outbox.c.receipt == ""
            connection.execute(sa.delete(outbox).where(*apologies))
        results.append(bool(anew or connection.execute(sent.values(again)).rowcount))
    return results


_WRITES: dict[type, Any] = {
    Accept: accept,
    Change: _change,
    Renew: _renew,
    Adopt: _adopt,
    Reopen: _reopen,
    Watch: _watch,
    **fetching.WRITES,
    **memories.WRITES,
    **profiles.WRITES,
    **apikeys.WRITES,
    Claim: _claim,
    **answers.WRITES,
    **budgets.WRITES,
    **retention.WRITES,
    **forgetting.WRITES,
    **guests.WRITES,
    **shelves.WRITES,
    **incidents.WRITES,
}
"""In this order: what ends a turn comes before what looks for the next one; behind what removes turns nobody waits."""
