"""Forgetting a person: all that is theirs goes, in batches so small that nobody waits for one, and nothing comes back.

What is being answered is withdrawn first: whoever works on it finds at its next write that it is not theirs any more.
In a talk that others share, these keep what they said: what stands in one row with words of theirs is written anew.
All functions are synchronous and run inside the ledger's one transaction (`writes`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.ledger import guests, people, statements, tombstones
from chatferry.ledger import memories as summaries
from chatferry.ledger.people import Person, Talk
from chatferry.ledger.retention import OF_A_TURN
from chatferry.ledger.rows import INBOUND, MESSAGES, dump, padded
from chatferry.ledger.tables import OPEN, asks, files, memories, messages, outbox, sessions, state_is, steps, turns
from chatferry.model import File, Inbound, express_key

BATCH = 100
"""Turns that one batch removes."""


class Withdraw(msgspec.Struct, frozen=True):
    """Let nobody work any more on what a person has asked up to a turn."""

    person: Person
    upto: int
    now: float


class Forget(msgspec.Struct, frozen=True):
    """Remove the next turns of a person in a talk, up to a turn; with the last of them, what else is kept of it."""

    talk: Talk
    upto: int
    now: float
    key: bytes
    """By which tombstones are hashed."""


class ForgetRest(msgspec.Struct, frozen=True):
    """Remove what is kept about a person by their id, or by the addresses of their own talks."""

    person: Person
    addresses: tuple[str, ...]


class Forgot(msgspec.Struct, frozen=True):
    """What a step did, by table."""

    removed: Mapping[str, int] = {}
    rewritten: Mapping[str, int] = {}
    """Rows that others' words are in, and from which this person's were taken."""
    digests: Mapping[str, bytes] = {}
    """SHA-256 over the rows that were removed."""
    more: bool = False
    ended: tuple[int, ...] = ()
    """Turns whose holders lost them."""


# ── turns in flight ──────────────────────────────────────────────────────────────────────────────────────────────


def _withdraw(connection: sa.Connection, operations: Sequence[Withdraw]) -> list[Forgot]:
    results = []
    for op in operations:
        theirs = turns.c.channel == op.person.channel, turns.c.sender == op.person.id
        addressed = turns.c.conversation.in_((op.person.key, express_key(op.person.key)))
        mine = sa.select(turns.c.id).where(OPEN, sa.and_(*theirs) | addressed, turns.c.id <= op.upto)
        found = list(connection.execute(mine.order_by(turns.c.id).with_for_update()).scalars())
        if found:
            gone = {"state": "withdrawn", "stopped": True, "finished_at": op.now}
            connection.execute(sa.update(turns).where(turns.c.id.in_(padded(found))).values(gone))
        results.append(Forgot(ended=tuple(found)))
    return results


# ── a talk ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _Count:
    """Removes rows, and keeps for the proof how many they were and a hash of what was in them."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._hashes: dict[str, Any] = {}
        self.removed: Counter[str] = Counter()
        self.rewritten: Counter[str] = Counter()

    def remove(self, table: sa.Table, which: sa.ColumnElement[bool]) -> None:
        # The bytes of files count by their number: they may be more than fits into memory.
        columns = [
            sa.func.length(column).label(column.name) if isinstance(column.type, sa.LargeBinary) else column
            for column in table.columns
        ]
        found = people.in_order(table, self._connection.execute(sa.select(*columns).where(which)).mappings().all())
        if not found:
            return
        self._connection.execute(sa.delete(table).where(which))
        self.removed[table.name] += len(found)
        hash_ = self._hashes.setdefault(table.name, hashlib.sha256())
        for row in found:
            hash_.update(msgspec.json.encode(tuple(row.values())) + b"\n")

    def forgot(self, *, more: bool = False, ended: Iterable[int] = ()) -> Forgot:
        digests = {name: hash_.digest() for name, hash_ in self._hashes.items()}
        return Forgot(self.removed, self.rewritten, digests, more, tuple(ended))


def _forget(connection: sa.Connection, operations: Sequence[Forget]) -> list[Forgot]:
    return [_batch(connection, op) for op in operations]


def _batch(connection: sa.Connection, op: Forget) -> Forgot:
    ids = people.turn_ids(connection, op.talk, 0, op.upto, BATCH)
    more, count, ended = len(ids) == BATCH, _Count(connection), set[int]()
    if ids:
        answering = [row["id"] for row in people.merged(connection, ids)] if op.talk.shared else []
        # In one order with all who write about these: nobody waits for us in a circle.
        connection.execute(statements.LOCK, {"ids": padded([*ids, *answering])})
        mine = people.whole(connection, turns, turns.c.id, ids)
        recent = [row["event"] for row in mine if row["accepted_at"] > op.now - tombstones.REDELIVERED]
        tombstones.lay(connection, [tombstones.mark(op.key, op.talk.channel, event) for event in recent], op.now)
        stay = _share(connection, op, mine, answering, count, ended) if op.talk.shared else set()
        going = padded([id for id in ids if id not in stay])
        for table, column in OF_A_TURN if going else ():
            count.remove(table, column.in_(going))
    if not more:
        _close(connection, op, count, ended)
    return count.forgot(more=more, ended=ended)


def _close(connection: sa.Connection, op: Forget, count: _Count, ended: set[int]) -> None:
    """Remove what is kept of the talk as a whole.

    Where others go on, its summary goes, and an answer in the making is begun anew: both may hold the person's words.
    """
    count.remove(asks, sa.and_(asks.c.conversation == op.talk.key, asks.c.person.in_(op.talk.senders)))
    if not op.talk.shared:
        count.remove(sessions, sa.and_(sessions.c.conversation == op.talk.key, sessions.c.turn <= op.upto))
        count.remove(memories, memories.c.conversation == op.talk.key)
        if connection.dialect.name == "postgresql":
            lanes = [lane.encode() for lane in op.talk.lanes]
            gone = connection.execute(sa.delete(_JOBS).where(_JOBS.c.payload.in_(lanes))).rowcount
            count.removed[_JOBS.name] += gone
        return
    _before(connection, op, count)
    summary = memories.c.conversation == op.talk.key, memories.c.summary != ""
    if connection.execute(sa.select(memories.c.since).where(*summary)).first():
        summaries.drop(connection, op.talk.key, 0)
        count.rewritten[memories.name] += 1
    asking = turns.c.conversation == op.talk.key, state_is("doing"), turns.c.answer.is_(None)
    again = sa.update(turns).where(*asking).values(state="due", partial=None).returning(turns.c.id)
    ended.update(connection.execute(again).scalars())


_JOBS = sa.table("chatferry_pgqueuer", sa.column("payload", sa.LargeBinary))
"""PgQueuer's: a job names the conversation that is to be looked at."""

# ── among others ─────────────────────────────────────────────────────────────────────────────────────────────────


def _share(
    connection: sa.Connection,
    op: Forget,
    mine: Sequence[Any],
    answering: Sequence[int],
    count: _Count,
    ended: set[int],
) -> set[int]:
    """Take a person's words out of what stays, and return those of their turns that do: others' words are in them."""
    before = people.before_row(connection, op.talk.key)
    stay: set[int] = set()
    for row in mine:
        rest = people.without(INBOUND.decode(row["inbound"]), op.talk.sender)
        holds = before is not None and before.turn == row["id"] and _others(before, op.talk.sender)
        if rest is None and not holds:
            continue
        stay.add(row["id"])
        # Nothing of the person's is in it any more but its place.
        inbound = rest or Inbound("", op.talk.address, "heard")
        blank = {"event": f"forgotten/{row['id']}", "ref": "", "sender": inbound.sender, "kind": inbound.kind}
        _strip(connection, row, inbound, blank, op.now, count, ended)
    for row in people.whole(connection, turns, turns.c.id, answering):
        rest = people.without(INBOUND.decode(row["inbound"]), op.talk.sender)
        _strip(connection, row, rest or Inbound("", op.talk.address, "heard"), {}, op.now, count, ended)
    return stay


def _strip(
    connection: sa.Connection,
    row: Any,
    rest: Inbound,
    columns: Mapping[str, Any],
    now: float,
    count: _Count,
    ended: set[int],
) -> None:
    """Let a turn be about the rest of its words. The answer was to all of them: it goes, or is made anew."""
    turn = row["id"]
    open_, anew = row["state"] in ("due", "doing"), row["answer"] is None and rest.said is not None
    if open_:
        ended.add(turn)
    state = "due" if open_ and anew else "done" if open_ else row["state"]
    told = {"inbound": dump(msgspec.structs.replace(rest, grant=None)), "answer": None, "partial": None, "error": ""}
    closed = {"state": state, "finished_at": row["finished_at"] if state != "done" or not open_ else now}
    connection.execute(sa.update(turns).where(turns.c.id == turn).values({**told, **closed, "reply": None, **columns}))
    count.rewritten[turns.name] += 1
    parts = [part for one in (rest, *rest.also) if one.message is not None for part in one.message.parts]
    kept = [part.kept for part in parts if isinstance(part, File)]
    count.remove(steps, steps.c.turn == turn)
    count.remove(files, sa.and_(files.c.turn == turn, files.c.id.not_in(kept)))
    if state != "due":
        count.remove(outbox, outbox.c.turn == turn)
    count.remove(messages, sa.and_(messages.c.turn == turn, messages.c.role == "assistant"))
    said = sa.and_(messages.c.turn == turn, messages.c.role == "user")
    if rest.said is None:
        count.remove(messages, said)
    else:
        changed = connection.execute(sa.update(messages).where(said).values(body=dump(rest.said)))
        count.rewritten[messages.name] += changed.rowcount


def _others(before: Any, sender: str) -> bool:
    """Does what was said before we came hold anybody else's words?"""
    return any(message.author != sender for message in MESSAGES.decode(before.body))


def _before(connection: sa.Connection, op: Forget, count: _Count) -> None:
    """Take the person's words out of what was said before we came."""
    row = people.before_row(connection, op.talk.key)
    if row is None:
        return
    said = MESSAGES.decode(row.body)
    rest = tuple(message for message in said if message.author != op.talk.sender)
    if len(rest) == len(said):
        return
    this = messages.c.id == row.id
    if rest:
        connection.execute(sa.update(messages).where(this).values(body=dump(rest)))
        count.rewritten[messages.name] += 1
    else:
        count.remove(messages, this)


# ── and the rest ─────────────────────────────────────────────────────────────────────────────────────────────────


def _rest(connection: sa.Connection, operations: Sequence[ForgetRest]) -> list[Forgot]:
    results = []
    for op in operations:
        count = _Count(connection)
        for table, which in people.elsewhere(op.person, op.addresses, connection.dialect.name):
            count.remove(table, which)
        results.append(count.forgot())
    return results


class Lapse(msgspec.Struct, frozen=True):
    """Take away the tombstones that keep nothing out any more, and what strangers were told long ago."""

    now: float


def _lapse(connection: sa.Connection, operations: Collection[Lapse]) -> list[int]:
    guests.lapse(connection, max(op.now for op in operations))
    return [tombstones.lapse(connection, op.now) for op in operations]


WRITES: dict[type, Any] = {Withdraw: _withdraw, Forget: _forget, ForgetRest: _rest, Lapse: _lapse}
