"""What the ledger's single writer does, in bulk: each operation a value, each batch a handful of statements.

All functions are synchronous and run inside one transaction; nothing here waits for anything but the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from chatferry.errors import LeaseLost
from chatferry.model import APOLOGY, Attempt, Grant, Inbound, Message, Piece, Receipt, Turn, conversation_key
from chatferry.tables import OPEN, messages, outbox, state_is, turns

INBOUND = msgspec.json.Decoder(Inbound)
MESSAGE = msgspec.json.Decoder(Message)
GRANT = msgspec.json.Decoder(Grant)
ATTEMPT = msgspec.json.Decoder(Attempt)
_encoder = msgspec.json.Encoder()

TURN = (turns.c.id, turns.c.lease, turns.c.channel, turns.c.inbound, turns.c.grant, turns.c.accepted_at,
        turns.c.attempts, turns.c.answer, turns.c.finish, turns.c.error)  # fmt: skip


def dump(value: msgspec.Struct) -> str:
    """A value as the JSON text that the tables hold."""
    return _encoder.encode(value).decode()


def turn_of(row: Any) -> Turn:
    """A row of `TURN` as the value."""
    return Turn(
        id=row.id,
        lease=row.lease,
        channel=row.channel,
        inbound=INBOUND.decode(row.inbound),
        accepted_at=row.accepted_at,
        attempts=row.attempts,
        grant=GRANT.decode(row.grant) if row.grant else None,
        answer=MESSAGE.decode(row.answer) if row.answer else None,
        finish=row.finish,
        # A fault of an earlier try to deliver is no word about the answer.
        error=row.error if row.finish == APOLOGY else "",
    )


class Accepted(msgspec.Struct, frozen=True):
    """The turn that an event owes, and whether this delivery made it."""

    turn: int
    new: bool


class Accept(msgspec.Struct, frozen=True):
    """Keep what a channel took in."""

    channel: str
    events: tuple[Inbound, ...]
    now: float


class Claim(msgspec.Struct, frozen=True):
    """Take the oldest open turn of a conversation."""

    conversation: str
    now: float
    until: float


class Renew(msgspec.Struct, frozen=True):
    """Hold turns for longer."""

    held: tuple[Turn, ...]
    until: float


class Change(msgspec.Struct, frozen=True):
    """A fenced write about a running turn: any of its columns, and what follows from it in one transaction."""

    turn: Turn
    now: float
    columns: Mapping[str, object]
    say: tuple[Message, ...]
    notice: Attempt | None
    attempt: tuple[tuple[int, ...], Attempt | None]
    sent: tuple[tuple[Piece, Receipt], ...]
    remember: tuple[Message, ...]
    absorb: tuple[int, ...]
    attempts: int
    abandon: tuple[tuple[int, ...], str]


class Adopt(msgspec.Struct, frozen=True):
    """End every lease."""


class Reopen(msgspec.Struct, frozen=True):
    """Do a closed turn again."""

    turn: int
    now: float


def apply(connection: sa.Connection, operations: Sequence[Any]) -> list[Any]:
    """Write a batch: operations of one kind together, so that a hundred turns cost about as much as one."""
    results: list[Any] = [None] * len(operations)
    for kind, write in _WRITES.items():
        places = [i for i, operation in enumerate(operations) if isinstance(operation, kind)]
        if places:
            for i, result in zip(places, write(connection, [operations[i] for i in places]), strict=True):
                results[i] = result
    return results


# ── accepting ────────────────────────────────────────────────────────────────────────────────────────────────────


def _accept(connection: sa.Connection, operations: Sequence[Accept]) -> list[list[Accepted]]:
    rows = [_row(op.channel, event, op.now) for op in operations for event in op.events if event.kind != "retract"]
    made: dict[tuple[str, str], int] = {}
    if rows:
        insert = _insert(connection, turns).on_conflict_do_nothing()
        found = connection.execute(insert.returning(turns.c.id, turns.c.channel, turns.c.event), rows)
        made = {(row.channel, row.event): row.id for row in found}
    known: dict[tuple[str, str], int] = {}
    missing = [(row["channel"], row["event"]) for row in rows if (row["channel"], row["event"]) not in made]
    if missing:
        pair = sa.tuple_(turns.c.channel, turns.c.event)
        found = connection.execute(sa.select(turns.c.id, turns.c.channel, turns.c.event).where(pair.in_(missing)))
        known = {(row.channel, row.event): row.id for row in found}
    known |= made

    def accepted(channel: str, event: Inbound) -> Accepted:
        if event.kind == "retract":
            return Accepted(_retract(connection, conversation_key(channel, event.conversation), event.ref), False)
        key = (channel, event.event)
        # Two copies in one batch are one new turn: the first takes it.
        return Accepted(known[key], made.pop(key, None) is not None)

    return [[accepted(op.channel, event) for event in op.events] for op in operations]


def _row(channel: str, event: Inbound, now: float) -> dict[str, object]:
    return {
        "channel": channel,
        "event": event.event,
        "conversation": conversation_key(channel, event.conversation),
        "kind": event.kind,
        "state": "due",
        "due_at": now,
        "inbound": dump(event),
        "ref": event.ref,
        "grant": dump(event.grant) if event.grant else None,
        "lease": 0,
        "leased_until": 0.0,
        "attempts": 0,
        "accepted_at": now,
        "finish": "",
        "model": "",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "error": "",
    }


def _retract(connection: sa.Connection, conversation: str, ref: str) -> int:
    """Forget a message that its writer took back, in its turn, in the turn that answers for it, and in the history.

    A turn that has nothing left to answer is withdrawn; one that has, and is not answered yet, is asked anew.
    """
    if not ref:
        return 0
    query = sa.select(turns.c.id, turns.c.state, turns.c.inbound, turns.c.answer, turns.c.merged_into)
    mine = connection.execute(query.where(turns.c.conversation == conversation, turns.c.ref == ref)).first()
    if mine is None:
        return 0
    _forget(connection, mine, ref)
    if mine.merged_into is None:
        return int(mine.id)
    answering = connection.execute(query.where(turns.c.id == mine.merged_into)).one()
    _forget(connection, answering, ref)
    return int(answering.id)


def _forget(connection: sa.Connection, turn: Any, ref: str) -> None:
    inbound = INBOUND.decode(turn.inbound).without(ref)
    columns: dict[str, object] = {"inbound": dump(inbound)}
    if turn.state in ("due", "doing"):
        if inbound.said is None:
            columns["state"] = "withdrawn"
        elif turn.answer is None:
            # Whoever is asking the model with the old words has thereby lost the turn.
            columns["state"] = "due"
    connection.execute(sa.update(turns).where(turns.c.id == turn.id).values(columns))
    said = sa.and_(messages.c.turn == turn.id, messages.c.role == "user")
    if inbound.said is None:
        connection.execute(sa.delete(messages).where(said))
    else:
        connection.execute(sa.update(messages).where(said).values(body=dump(inbound.said)))


# ── claiming and holding ─────────────────────────────────────────────────────────────────────────────────────────


def _claim(connection: sa.Connection, operations: Sequence[Claim]) -> list[Turn | None]:
    now, until = operations[-1].now, operations[-1].until
    # The one that is running comes first, even where an older turn was made due again behind it.
    running = sa.func.min(sa.case((state_is("doing"), turns.c.id)))
    oldest = (
        sa.select(sa.func.coalesce(running, sa.func.min(turns.c.id)))
        .where(turns.c.conversation.in_({op.conversation for op in operations}), OPEN)
        .group_by(turns.c.conversation)
    )
    ready = sa.or_(
        sa.and_(state_is("due"), turns.c.due_at <= now),
        sa.and_(state_is("doing"), turns.c.leased_until < now),
    )
    update = (
        sa.update(turns)
        .where(turns.c.id.in_(oldest.scalar_subquery()), ready)
        .values(
            state="doing",
            lease=turns.c.lease + 1,
            leased_until=until,
            attempts=turns.c.attempts + 1,
            started_at=sa.func.coalesce(turns.c.started_at, now),
        )
        .returning(*TURN)
    )
    claimed = {turn.conversation: turn for turn in map(turn_of, connection.execute(update))}
    return [claimed.pop(op.conversation, None) for op in operations]


def _held(connection: sa.Connection, ids: set[int]) -> dict[int, int]:
    """The leases under which these turns are running, locked in the order of their ids."""
    query = sa.select(turns.c.id, turns.c.lease).where(turns.c.id.in_(ids), state_is("doing"))
    found = connection.execute(query.order_by(turns.c.id).with_for_update())
    return {row.id: row.lease for row in found}


def _renew(connection: sa.Connection, operations: Sequence[Renew]) -> list[list[Turn]]:
    held = _held(connection, {turn.id for op in operations for turn in op.held})
    results = []
    for op in operations:
        ours = [turn.id for turn in op.held if held.get(turn.id) == turn.lease]
        connection.execute(sa.update(turns).where(turns.c.id.in_(ours)).values(leased_until=op.until))
        results.append([turn for turn in op.held if held.get(turn.id) != turn.lease])
    return results


# ── changing a turn that we hold ─────────────────────────────────────────────────────────────────────────────────


def _change(connection: sa.Connection, operations: Sequence[Change]) -> list[LeaseLost | None]:
    held = _held(connection, {op.turn.id for op in operations})
    ours = [op for op in operations if held.get(op.turn.id) == op.turn.lease and _absorb(connection, op)]
    _say(connection, ours)
    _attempt(connection, ours)
    _sent(connection, ours)
    _remember(connection, ours)
    for op in ours:
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
        update = sa.update(turns).where(turns.c.id == sa.bindparam("_id"))
        connection.execute(update.values({name: sa.bindparam(name) for name in shape}), rows)
    fine = {id(op) for op in ours}
    return [None if id(op) in fine else LeaseLost(f"turn {op.turn.id} has another holder") for op in operations]


def _absorb(connection: sa.Connection, op: Change) -> bool:
    """Take waiting turns over. Where one of them was taken back meanwhile, nothing is, and our turn starts anew."""
    if not op.absorb:
        return True
    due = sa.and_(turns.c.id.in_(op.absorb), state_is("due"))
    if len(connection.execute(sa.select(turns.c.id).where(due)).all()) < len(op.absorb):
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
            "attempt": dump(op.notice) if op.notice else None,
            "receipt": "",
        }
        for op in changes
        for message in op.say
    ]
    if rows:
        connection.execute(sa.insert(outbox), rows)


def _attempt(connection: sa.Connection, changes: Sequence[Change]) -> None:
    rows = [
        {"_id": piece, "_attempt": dump(op.attempt[1]) if op.attempt[1] else None}
        for op in changes
        for piece in op.attempt[0]
    ]
    if rows:
        update = sa.update(outbox).where(outbox.c.id == sa.bindparam("_id"))
        connection.execute(update.values(attempt=sa.bindparam("_attempt")), rows)
    if void := [piece for op in changes if op.attempt[1] is None for piece in op.attempt[0]]:
        connection.execute(sa.delete(outbox).where(outbox.c.id.in_(void), outbox.c.notice))


def _sent(connection: sa.Connection, changes: Sequence[Change]) -> None:
    sent = [(op, piece, receipt) for op in changes for piece, receipt in op.sent]
    if not sent:
        return
    update = sa.update(outbox).where(outbox.c.id == sa.bindparam("_id"))
    connection.execute(
        update.values(sent_at=sa.bindparam("_at"), receipt=sa.bindparam("_receipt")),
        [{"_id": piece.id, "_at": op.now, "_receipt": receipt.id} for op, piece, receipt in sent],
    )
    if parked := {piece.turn for op, piece, _ in sent if piece.turn != op.turn.id}:
        unsent = sa.exists().where(outbox.c.turn == turns.c.id, outbox.c.sent_at.is_(None))
        complete = sa.update(turns).where(turns.c.id.in_(parked), state_is("parked"), ~unsent)
        ended = sa.case((turns.c.finish == APOLOGY, "failed"), else_="done")
        connection.execute(complete.values(state=ended, finished_at=max(op.now for op, _, _ in sent)))


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
    if rows:
        connection.execute(_insert(connection, messages).on_conflict_do_nothing(), rows)


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _adopt(connection: sa.Connection, operations: Sequence[Adopt]) -> list[int]:
    # To be cut off is no failed try; and what was freed before and not claimed since was cut off once.
    tries = sa.case((turns.c.leased_until > 0.0, turns.c.attempts - 1), else_=turns.c.attempts)
    freed = connection.execute(sa.update(turns).where(state_is("doing")).values(leased_until=0.0, attempts=tries))
    return [freed.rowcount] * len(operations)


def _reopen(connection: sa.Connection, operations: Sequence[Reopen]) -> list[bool]:
    results = []
    for op in operations:
        again = {"state": "due", "due_at": op.now, "attempts": 0, "finished_at": None}
        mine = sa.update(turns).where(turns.c.id == op.turn)
        asked = mine.where(state_is("failed"), turns.c.finish == APOLOGY)
        sent = mine.where(state_is("failed", "parked", "gone"))
        anew = connection.execute(asked.values(again | {"answer": None, "finish": "", "error": ""})).rowcount
        if anew:
            apologies = outbox.c.turn == op.turn, outbox.c.sent_at.is_(None)
            connection.execute(sa.delete(outbox).where(*apologies))
        results.append(bool(anew or connection.execute(sent.values(again)).rowcount))
    return results


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT in this database's dialect."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


_WRITES: dict[type, Any] = {
    Accept: _accept,
    Change: _change,
    Renew: _renew,
    Adopt: _adopt,
    Reopen: _reopen,
    Claim: _claim,
}
"""In this order: what ends a turn comes before what looks for the next one."""
