"""Sessions: which talk a message belongs to, and whether it is for the assistant at all.

It is decided when a message is accepted, in the ledger's own transaction, so that what comes behind a command is
already under it, on whichever process either arrives. A row of `sessions` holds until the next one of the conversation.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from chatferry.ledger import memories, profiles
from chatferry.ledger.tables import OPEN, messages, sessions, state_is, turns
from chatferry.model import Inbound, conversation_key

Result = str
"""What came of a command; `commands.Commands.answer` says it."""


class Gate(msgspec.Struct, frozen=True):
    """How an assistant's sessions work, and what becomes of one event."""

    ttl: float | None
    """Seconds of silence that end a session."""
    always: bool
    """There is no outside: silence only begins a new session."""
    outside: Inbound | None
    """The event as it counts outside a session; None: it is not for us."""


class _Latest(msgspec.Struct):
    """The session that holds, or that which is outside of one."""

    open: bool
    seen_at: float
    turn: int | None
    """None: it begins in this very transaction, with a row that is not written yet."""


class Left(msgspec.Struct, frozen=True):
    """What a person may still ask on a day, behind this event; None: as much as they like."""

    messages: int | None = None
    tokens: int | None = None


NO_BUDGET = Left()


class Admitted(msgspec.Struct, frozen=True):
    """An event as it counts; None: not at all."""

    event: Inbound | None
    result: Result = ""
    begins: bool | None = None
    """A session begins with it (True), or ends with it (False)."""
    wait: float = 0.0
    """Seconds until there is room for it, where it was one too many (`pacing`, `budgets`)."""
    spent: bool = False
    """It was one too many because a budget is used up."""
    left: Left = NO_BUDGET


class Doors:
    """Lets the events of one transaction in, in their order; `record` then writes what changed."""

    def __init__(self, connection: sa.Connection, now: float) -> None:
        self._connection = connection
        self._now = now
        self._latest: dict[str, _Latest | None] = {}

    def admit(self, conversation: str, event: Inbound, gate: Gate | None) -> Admitted:
        """What an event is, by the session that holds; for a command, what comes of it as far as sessions go."""
        latest = self._look(conversation)
        gated = gate is not None and not gate.always
        running = latest.open if latest is not None else not gated
        expired = running and gate is not None and self._expired(conversation, latest, gate)
        inside = running and not expired
        if event.kind == "command":
            return self._command(conversation, event, gate, gated=gated, inside=inside)
        if gate is None:
            return Admitted(event)
        if inside and latest is None and gate.ttl is not None:
            return self._begin(conversation, event, True)  # for its silence to be counted
        if inside:
            return self._stay(conversation, event, gate)
        # A question behind the command; or the settings have changed, and who was outside is so no more.
        if event.command == "start" or (gate.always and not expired):
            return self._begin(conversation, event, True)
        if not expired:
            return Admitted(gate.outside)
        if gate.always:
            return self._begin(conversation, msgspec.structs.replace(event, expired=True), True)
        if gate.outside is None:
            return self._begin(conversation, msgspec.structs.replace(event, kind="command", command="expired"), False)
        return self._begin(conversation, msgspec.structs.replace(gate.outside, expired=True), False)

    def record(self, channel: str, address: str, turn: int, admitted: Admitted) -> int:
        """Write what a new turn begins, ends or lets us forget; returns the running turn that is to stop, or 0."""
        conversation = conversation_key(channel, address)
        if admitted.begins is not None:
            row = {"conversation": conversation, "turn": turn, "open": admitted.begins}
            times = {"began_at": self._now, "seen_at": self._now}
            self._connection.execute(sa.insert(sessions).values(**row, **times))
        event = admitted.event
        if event is None or event.kind != "command":
            return 0
        stopped, ends = self._stop(conversation, turn) if event.command == "stop" else ([], 0)
        result = admitted.result or ("stopped" if stopped else "nothing")
        if event.command in ("clear", "forget"):
            memories.forget(self._connection, conversation, turn)
        if event.command == "forget" and event.confidant:
            person = profiles.key(channel, event.confidant, event.assistant)
            profiles.forget(self._connection, person, turn, self._now)
        if event.command in ("start", "stop", "clear"):
            self._connection.execute(sa.update(turns).where(turns.c.id == turn).values(finish=result))
        return ends

    def slide(self) -> None:
        """Keep alive the sessions in which something was said."""
        for conversation, latest in self._latest.items():
            if latest is not None and latest.turn is not None and latest.seen_at == self._now:
                mine = sa.and_(sessions.c.conversation == conversation, sessions.c.turn == latest.turn)
                self._connection.execute(sa.update(sessions).where(mine).values(seen_at=self._now))

    def _command(self, conversation: str, event: Inbound, gate: Gate | None, *, gated: bool, inside: bool) -> Admitted:
        match event.command:
            case "start" if not gated:
                return Admitted(event, "open")
            case "start" if inside:
                return self._stay(conversation, event, gate, result="ongoing")
            case "start" | "clear":
                return self._begin(conversation, event, True)
            case "forget":
                return self._begin(conversation, event, inside)
            case "stop" if gated and inside:
                return self._begin(conversation, event, False)
        return Admitted(event)

    def _begin(self, conversation: str, event: Inbound, open_: bool) -> Admitted:
        self._latest[conversation] = _Latest(open_, self._now, None)
        return Admitted(event, "began" if open_ else "ended", open_)

    def _stay(self, conversation: str, event: Inbound, gate: Gate | None, *, result: Result = "") -> Admitted:
        latest = self._latest[conversation]
        if latest is not None and gate is not None and gate.ttl is not None:
            latest.seen_at = self._now
        return Admitted(event, result)

    def _look(self, conversation: str) -> _Latest | None:
        if conversation not in self._latest:
            row = self._connection.execute(_LATEST, {"talk": conversation}).first()
            self._latest[conversation] = _Latest(row.open, row.seen_at, row.turn) if row else None
        return self._latest[conversation]

    def _expired(self, conversation: str, latest: _Latest | None, gate: Gate) -> bool:
        """Silence counts from the last word of either side, and not while an answer is being made.

        The person's is what the session has seen; ours is the last answer, and not what people said to each other.
        """
        if latest is None or gate.ttl is None or self._now - latest.seen_at <= gate.ttl:
            return False
        said = self._connection.execute(_SAID, {"talk": conversation}).scalar()
        if said is not None and self._now - said <= gate.ttl:
            return False
        return self._connection.execute(_AT_WORK, {"talk": conversation}).first() is None

    def _stop(self, conversation: str, turn: int) -> tuple[list[int], int]:
        """Ask no model for what was asked before; returns these turns, and the one that is running."""
        before = turns.c.conversation == conversation, OPEN, turns.c.id < turn
        asked = (*before, turns.c.kind == "message", turns.c.answer.is_(None))
        found = self._connection.execute(sa.select(turns.c.id, turns.c.state).where(*asked).with_for_update()).all()
        ids = [row.id for row in found]
        self._connection.execute(sa.update(turns).where(turns.c.id.in_(ids)).values(stopped=True))
        return ids, next((row.id for row in found if row.state == "doing"), 0)


def heard(connection: sa.Connection, conversation: str, turn: int, now: float) -> None:
    """A turn ended without words that are remembered, such as an apology: silence counts from here all the same."""
    latest = sa.select(sa.func.max(sessions.c.turn)).where(
        sessions.c.conversation == conversation, sessions.c.turn <= turn
    )
    mine = sa.and_(sessions.c.conversation == conversation, sessions.c.turn == latest.scalar_subquery())
    connection.execute(sa.update(sessions).where(mine).values(seen_at=now))


_TALK: sa.BindParameter[str] = sa.bindparam("talk")
_LATEST = (
    sa.select(sessions.c.turn, sessions.c.open, sessions.c.seen_at)
    .where(sessions.c.conversation == _TALK)
    .order_by(sessions.c.turn.desc())
    .limit(1)
)
_SAID = (
    sa.select(messages.c.said_at)
    .where(messages.c.conversation == _TALK, messages.c.role == "assistant")
    .order_by(messages.c.turn.desc(), messages.c.id.desc())
    .limit(1)
)
_AT_WORK = sa.select(turns.c.id).where(turns.c.conversation == _TALK, state_is("due", "doing")).limit(1)
