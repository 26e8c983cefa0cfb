"""Keeping what a channel took in: a row for each event that is owed something, an effect for each that is not.

All functions are synchronous and run inside the ledger's one transaction (`writes`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.ledger import consent, edits, memories, profiles, statements, steps, tombstones
from chatferry.ledger.budgets import Budget, Budgets
from chatferry.ledger.guests import Guests, Knock
from chatferry.ledger.pacing import Pace, Paces
from chatferry.ledger.rows import INBOUND, dump, recorded
from chatferry.ledger.sessions import NO_BUDGET, Admitted, Doors, Gate, Left
from chatferry.ledger.tables import OUT, files, messages, outbox, state_is, turns
from chatferry.model import Inbound, conversation_key, express_key, lane_key


class Accepted(msgspec.Struct, frozen=True):
    """The turn that an event owes or concerns, 0 for none; whether this delivery made it; and which one is to end."""

    turn: int
    new: bool
    ends: int = 0
    delivery: int = 1
    """How often the platform has delivered the event by now."""
    lane: str = ""
    """The queue that it waits in, where the event alone does not tell."""
    wait: float = 0.0
    """Seconds until there is room for it, where it was one too many."""
    spent: bool = False
    """It was one too many because a budget is used up."""
    left: Left = NO_BUDGET
    stale: bool = False
    """It was a tap on a question that is settled, or that somebody else was asked; nothing is kept of it."""


class Accept(msgspec.Struct, frozen=True):
    """Keep what a channel took in."""

    channel: str
    events: tuple[Inbound, ...]
    now: float
    gates: tuple[Gate | None, ...] = ()
    """The session that each event has to be in, if any."""
    paces: tuple[Pace | None, ...] = ()
    """What each event is counted by, if by anything."""
    budgets: tuple[Budget | None, ...] = ()
    """What each event is charged to, if to anything."""
    knocks: tuple[Knock | None, ...] = ()
    """What each event shows at the door, if there is one."""
    marks: tuple[bytes, ...] = ()
    """What is kept of each event where it was forgotten (`tombstones`)."""


Key = tuple[str, str]

_STONES = sa.select(turns.c.conversation, turns.c.ref).where(
    turns.c.kind == sa.literal_column("'retract'"), turns.c.accepted_at > sa.bindparam("since")
)


def accept(connection: sa.Connection, operations: Sequence[Accept]) -> list[list[Accepted]]:
    """A result for each event of each operation, in their order."""
    doors, given = Doors(connection, operations[-1].now), operations
    operations = _answered(connection, _let_in(connection, _remembered(connection, operations)))
    operations, admitted = _admit(connection, doors, operations)
    rows = _owed(connection, operations)
    made: dict[Key, int] = {}
    if rows:
        found = connection.execute(
            statements.accepting(connection.dialect.name),
            rows,
        )
        made = {(row.channel, row.event): row.id for row in found}
    keys = [(row["channel"], row["event"]) for row in rows]
    withdrawn = {key for key, row in zip(keys, rows, strict=True) if row["state"] == "withdrawn"}
    again = [key for key in keys if key not in made]
    known, deliveries = _again(connection, again) if again else ({}, {})
    known |= made

    def accepted(op: Accept, event: Inbound) -> Accepted:
        key = (op.channel, event.event)
        if event.kind in EFFECTS:
            return EFFECTS[event.kind](connection, op, event)
        # Two copies in one batch are one new turn: the first takes it.
        turn, new = known.get(key, 0), made.pop(key, None) is not None
        if new and event.kind == "heard" and key not in withdrawn:
            _hear(connection, turn, op, event)
        if new and event.kind == "erase":
            return Accepted(turn, True, _stop(connection, op, event).ends)
        if new and event.kind == "command" and event.command in ("clear", "start", "stop"):
            consent.drop(connection, conversation_key(op.channel, event.conversation))
        if new and event.kind == "message" and event.confirms and key not in withdrawn:
            consent.drop(connection, conversation_key(op.channel, event.conversation), event.confirms)
        its = admitted.get(key)
        if new and its is not None:
            ends = doors.record(op.channel, event.conversation, turn, its)
            lane = lane_key(op.channel, event)
            return Accepted(turn, True, ends, lane=lane, wait=its.wait, spent=its.spent, left=its.left)
        again = Accepted(turn, new, delivery=deliveries.get(key, 1))
        return msgspec.structs.replace(again, wait=its.wait, spent=its.spent) if its is not None else again

    def passed(op: Accept, event: Inbound) -> Accepted:
        its = admitted.get((op.channel, event.event))
        if its is None:
            return Accepted(0, False, stale=event.confirms > 0)
        return Accepted(0, False, wait=its.wait, spent=its.spent)

    results = [
        [
            accepted(op, event) if event is not _NOTHING else passed(op, was)
            for event, was in zip(op.events, before.events, strict=True)
        ]
        for op, before in zip(operations, given, strict=True)
    ]
    doors.slide()
    return results


_NOTHING = Inbound("", "")
"""In the place of an event that is not for us."""


def _remembered(connection: sa.Connection, operations: Sequence[Accept]) -> Sequence[Accept]:
    """The operations without the events that were forgotten since a platform first delivered them."""
    gone = tombstones.standing(connection, [mark for op in operations for mark in op.marks], operations[-1].now)
    if not gone:
        return operations

    def rest(op: Accept, values: tuple[Any, ...], instead: Any) -> tuple[Any, ...]:
        paired = zip(values, op.marks, strict=False)
        return tuple(instead if mark in gone else value for value, mark in paired) if op.marks else values

    return [
        msgspec.structs.replace(
            op,
            events=rest(op, op.events, _NOTHING),
            knocks=rest(op, op.knocks, None),
        )
        for op in operations
    ]


def _let_in(connection: sa.Connection, operations: Sequence[Accept]) -> Sequence[Accept]:
    """The operations with each event as it counts at the door. One that is known already stays as it is."""
    knocks = [knock for op in operations for knock in op.knocks if knock is not None]
    if not knocks:
        return operations
    keys = [(op.channel, event.event) for op in operations for event in op.events if event is not _NOTHING]
    there, seen = recorded(connection, keys) if keys else {}, set[Key]()
    guests = Guests(connection, knocks, operations[-1].now)

    def admit(op: Accept) -> Accept:
        changed = []
        for event, knock in zip(op.events, op.knocks, strict=True):
            key = op.channel, event.event
            counts = event if knock is None or key in there or key in seen else guests.admit(event, knock) or _NOTHING
            seen.add(key)
            changed.append(counts)
        same = [new is old for new, old in zip(changed, op.events, strict=True)]
        gates = tuple(gate if its else None for gate, its in zip(op.gates, same, strict=True))
        paces = tuple(pace if its else None for pace, its in zip(op.paces, same, strict=True))
        return msgspec.structs.replace(op, events=tuple(changed), gates=gates, paces=paces)

    operations = [admit(op) if op.knocks else op for op in operations]
    guests.write()
    return operations


def _answered(connection: sa.Connection, operations: Sequence[Accept]) -> Sequence[Accept]:
    """The operations with each event as it counts where something is asked. One that is known stays as it is."""
    said = [(op.channel, event) for op in operations for event in op.events if _may_answer(event)]
    if not said:
        return operations
    there = recorded(connection, [(channel, event.event) for channel, event in said])
    talks = [conversation_key(channel, event.conversation) for channel, event in said]
    open_ = consent.Open(connection, talks, operations[-1].now)
    seen = set(there)

    def counts(op: Accept, event: Inbound) -> Inbound:
        key = op.channel, event.event
        if not _may_answer(event) or key in seen:
            return event
        seen.add(key)
        return open_.answer(conversation_key(op.channel, event.conversation), event) or _NOTHING

    return [msgspec.structs.replace(op, events=tuple(counts(op, event) for event in op.events)) for op in operations]


def _may_answer(event: Inbound) -> bool:
    return event.consent != "" and event.kind not in EFFECTS


def _admit(
    connection: sa.Connection, doors: Doors, operations: Sequence[Accept]
) -> tuple[Sequence[Accept], dict[Key, Admitted]]:
    """The operations with each event as it counts: by the session that it is in, and by how many there were.

    One that is known already stays as it is.
    """
    ruled = [
        (op.channel, event, gate, pace, budget)
        for op in operations
        for event, gate, pace, budget in zip(op.events, op.gates, op.paces, op.budgets, strict=False)
        if event is not _NOTHING
        and event.kind != "heard"
        and (gate is not None or pace is not None or budget is not None or event.kind == "command" or event.reply)
    ]
    if not ruled:
        return operations, {}
    keys = [(channel, event.event) for channel, event, *_ in ruled]
    there = recorded(connection, keys)
    now = operations[-1].now
    paces = Paces(connection, [pace for *_, pace, _ in ruled], now)
    budgets = Budgets(connection, [budget for *_, budget in ruled], now)
    admitted: dict[Key, Admitted] = {}
    for channel, event, gate, pace, budget in ruled:
        key, talk = (channel, event.event), conversation_key(channel, event.conversation)
        if key in there or key in admitted:
            continue
        gated = gate is not None or event.kind == "command"
        its = doors.admit(talk, event, gate) if gated else Admitted(event)
        if event.kind == "change":
            weighed = edits.weigh(connection, talk, event)
            if weighed is None:
                continue
            its = weighed
        if pace is not None and (not event.joined or _known(connection, [talk])):
            its = paces.admit(its, pace)
        if budget is not None and (not event.joined or _known(connection, [talk])):
            its = budgets.admit(its, budget)
        if event.kind == "change":
            its = edits.told(talk, event, its)
        admitted[key] = admitted[channel, its.event.event if its.event else event.event] = its
    paces.write()
    budgets.write()

    def counts(op: Accept, event: Inbound) -> Inbound:
        is_ = admitted.get((op.channel, event.event))
        return event if is_ is None else is_.event or _NOTHING

    return [
        msgspec.structs.replace(op, events=tuple(counts(op, event) for event in op.events)) for op in operations
    ], admitted


def _again(connection: sa.Connection, keys: Collection[Key]) -> tuple[dict[Key, int], dict[Key, int]]:
    """The turns of events that are there already, and how often each was delivered, this time included."""
    mine = turns.c.id.in_(recorded(connection, keys).values())
    count = sa.update(turns).where(mine).values(deliveries=turns.c.deliveries + 1)
    found = connection.execute(count.returning(turns.c.id, turns.c.channel, turns.c.event, turns.c.deliveries)).all()
    return (
        {(row.channel, row.event): row.id for row in found},
        {(row.channel, row.event): row.deliveries for row in found},
    )


def _owed(connection: sa.Connection, operations: Sequence[Accept]) -> list[dict[str, Any]]:
    """The rows of all events that make one: not those which have their effect at once, nor those of talks of others."""
    owed = [
        (op, event) for op in operations for event in op.events if event is not _NOTHING and event.kind not in EFFECTS
    ]
    talks = [(event, conversation_key(op.channel, event.conversation)) for op, event in owed]
    rows = [(event, _row(op.channel, event, op.now)) for op, event in owed]
    # Whoever only wants something removed does not make us take part.
    ours = {talk for event, talk in talks if not event.joined and event.kind != "erase"}
    unsure = {talk for event, talk in talks if event.joined} - ours
    if unsure:
        ours |= _known(connection, unsure)
    gone = _taken_back(connection, operations[-1].now) if rows else set()
    for event, row in rows:
        if (row["conversation"], row["ref"]) in gone and event.kind in ("message", "heard"):
            # Nothing is kept of it but that.
            row |= {"state": "withdrawn", "inbound": dump(event.without(event.ref))}
    return [row for (event, row), (_, talk) in zip(rows, talks, strict=True) if not event.joined or talk in ours]


def _known(connection: sa.Connection, conversations: Collection[str]) -> set[str]:
    """The talks among these in which we take part, if only because somebody gave us a command there."""
    part = turns.c.kind.not_in(("erase", "retract"))
    lanes = turns.c.conversation.in_((sa.bindparam("talk"), sa.bindparam("express")))
    one = sa.select(turns.c.id).where(lanes, part).limit(1)
    names = {talk: {"talk": talk, "express": express_key(talk)} for talk in conversations}
    return {talk for talk, named in names.items() if connection.execute(one, named).first()}


def _taken_back(connection: sa.Connection, now: float) -> set[Key]:
    """Conversation and `ref` of the messages that were taken back before they came, as long as they may come yet."""
    return {(row.conversation, row.ref) for row in connection.execute(_STONES, {"since": now - tombstones.REDELIVERED})}


def _row(channel: str, event: Inbound, now: float) -> dict[str, Any]:
    heard = event.kind == "heard"
    return {
        "channel": channel,
        "event": event.event,
        "conversation": lane_key(channel, event),
        "sender": event.sender,
        "kind": event.kind,
        "state": "done" if heard else "due",
        "due_at": now,
        "inbound": dump(event),
        "ref": event.ref,
        "grant": dump(event.grant) if event.grant else None,
        "lease": 0,
        "leased_until": 0.0,
        "attempts": 0,
        "accepted_at": now,
        "finished_at": now if heard else None,
        "finish": "",
        "model": "",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "error": "",
    }


def _hear(connection: sa.Connection, turn: int, op: Accept, event: Inbound) -> None:
    if event.message is not None:
        talk = conversation_key(op.channel, event.conversation)
        row = {"conversation": talk, "turn": turn, "role": "user", "body": dump(event.message), "said_at": op.now}
        connection.execute(sa.insert(messages), row)


# ── what has its effect at once ──────────────────────────────────────────────────────────────────────────────────


def _retract(connection: sa.Connection, op: Accept, event: Inbound) -> Accepted:
    """Forget a message that its writer took back, in its turn, in the turn that answers for it, and in the history.

    One that has not come yet leaves a row that says so; where we do not take part (`joined`), nothing.

    A turn that has nothing left to answer is withdrawn; one that has, and is not answered yet, is asked anew.
    """
    conversation = conversation_key(op.channel, event.conversation)
    concerned = edits.said(connection, conversation, event.ref)
    if not concerned and event.ref and (not event.joined or _known(connection, [conversation])):
        stone = _row(op.channel, event, op.now) | {"state": "withdrawn", "finished_at": op.now}
        connection.execute(statements.accepting(connection.dialect.name), [stone])
    for turn in concerned:
        _forget(connection, conversation, turn, event.ref)
        profiles.untell(connection, op.channel, INBOUND.decode(turn.inbound), turn.id, op.now)
    last = concerned[-1].id if concerned else 0
    return Accepted(last, False, last)


def _forget(connection: sa.Connection, conversation: str, turn: Any, ref: str) -> None:
    before = INBOUND.decode(turn.inbound)
    inbound, void = edits.settled(connection, turn.id, before, before.without(ref))
    _drop(connection, before, inbound)
    columns: dict[str, object] = {"inbound": dump(inbound)}
    if turn.state in ("due", "doing"):
        if inbound.said is not None:
            # Whoever holds the turn has the old words, and thereby loses it.
            columns["state"] = "due"
        elif _grows(connection, turn):
            # To take off the platform what has begun to grow there.
            columns |= {"state": "due", "answer": None}
        else:
            columns["state"] = "withdrawn"
    connection.execute(sa.update(turns).where(turns.c.id == turn.id).values(columns))
    steps.forget(connection, turn.id, void if inbound.said is not None else 0)
    consent.drop(connection, conversation, turn.id)
    _tell_history(connection, conversation, turn.id, inbound)


def _drop(connection: sa.Connection, before: Inbound, after: Inbound) -> None:
    """Remove the pictures that nothing speaks of any more."""
    if gone := {file.kept for file in before.files if file.kept} - {file.kept for file in after.files}:
        connection.execute(sa.delete(files).where(files.c.id.in_(gone)))


def _grows(connection: sa.Connection, turn: Any) -> bool:
    """Is a message of the answer on the platform already, or may it be?"""
    open_ = sa.select(outbox.c.id).where(outbox.c.turn == turn.id, outbox.c.sent_at.is_(None), ~outbox.c.notice)
    begun = outbox.c.receipt != ""
    if turn.answer is None:
        begun |= outbox.c.attempt.is_not(None)
    return connection.execute(open_.where(begun)).first() is not None


def _tell_history(connection: sa.Connection, conversation: str, turn: int, inbound: Inbound) -> None:
    said = sa.and_(messages.c.turn == turn, messages.c.role == "user")
    if inbound.said is None:
        connection.execute(sa.delete(messages).where(said))
    else:
        connection.execute(sa.update(messages).where(said).values(body=dump(inbound.said)))
    memories.drop(connection, conversation, turn)


def _change(connection: sa.Connection, op: Accept, event: Inbound) -> Accepted:
    """Put new words in the place of a message that is not answered yet; who asks with the old ones loses the turn."""
    conversation, ends = conversation_key(op.channel, event.conversation), 0
    concerned = edits.said(connection, conversation, event.ref)
    if event.message is None or not concerned or not edits.open_(concerned[-1]):
        return Accepted(0, False)
    for turn in concerned:
        inbound = INBOUND.decode(turn.inbound)
        changed, void = edits.settled(connection, turn.id, inbound, inbound.changed(event))
        if changed == inbound:
            continue
        _drop(connection, inbound, changed)
        columns: dict[str, object] = {"inbound": dump(changed)}
        if turn.state == "doing":
            columns["state"], ends = "due", turn.id
        connection.execute(sa.update(turns).where(turns.c.id == turn.id).values(columns))
        steps.forget(connection, turn.id, void)
        profiles.untell(connection, op.channel, inbound, turn.id, op.now)
        _tell_history(connection, conversation, turn.id, changed)
    return Accepted(ends, False, ends)


def _stop(connection: sa.Connection, op: Accept, event: Inbound) -> Accepted:
    """End the answer that is being made, if it is the one that is meant. It is noted, for whoever goes on with it."""
    conversation = conversation_key(op.channel, event.conversation)
    query = sa.select(turns.c.id).where(turns.c.conversation == conversation, turns.c.answer.is_(None))
    if event.ref:
        here, waits = outbox.c.conversation == conversation, outbox.c.sent_at.is_(None)
        # A message that nobody knows yet is the one that has just begun, or of whose beginning we were not told.
        begun = sa.and_(outbox.c.receipt == "", outbox.c.attempt.is_not(None), ~outbox.c.notice)
        meant = sa.select(outbox.c.turn).where(here, waits, begun | (outbox.c.receipt == event.ref))
        past = sa.exists().where(here, ~waits, outbox.c.receipt == event.ref, OUT)
        query = query.where(turns.c.id.in_(meant), ~past, state_is("due", "doing"))
    else:
        query = query.where(state_is("doing"))
    turn = connection.execute(query).scalar()
    if turn is None:
        return Accepted(0, False)
    connection.execute(sa.update(turns).where(turns.c.id == turn).values(stopped=True))
    return Accepted(turn, False, turn)


EFFECTS = {"retract": _retract, "change": _change, "stop": _stop}
