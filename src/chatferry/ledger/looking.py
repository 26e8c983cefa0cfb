"""What the ledger tells: whoever asks looks at what is committed. Nothing here reads more than it is asked for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from chatferry.clock import Clock
from chatferry.engines.base import Picture
from chatferry.errors import Unavailable
from chatferry.ledger import answers, incidents, measures, rows, statements
from chatferry.ledger.answers import Kept
from chatferry.ledger.census import Census, take
from chatferry.ledger.database import Database
from chatferry.ledger.grouplook import GroupLook
from chatferry.ledger.patience import patiently
from chatferry.ledger.steps import STEPS, Step, step_of
from chatferry.ledger.tables import OPEN, OPEN_STATES, OUT, budgets, messages, outbox, sessions, state_is, turns
from chatferry.ledger.usage import Used, used
from chatferry.model import Inbound, Message, Piece, Turn, Usage, conversation_key, express_key

T = TypeVar("T")

_AHEAD = 100
"""Waiting turns that one look takes in."""
_AT_ONCE = 500
"""Turns whose standing is looked at together."""


class Entry(msgspec.Struct, frozen=True):
    """A turn as people look at it: `chatferry turns`, and whoever waits for an answer."""

    id: int
    channel: str
    event: str
    """The platform's id of what happened."""
    conversation: str
    kind: str
    state: str
    attempts: int
    accepted_at: float
    started_at: float | None
    first_token_at: float | None
    answered_at: float | None
    finished_at: float | None
    due_at: float
    ref: str
    model: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    error: str
    answer: Message | None


class Standing(msgspec.Struct, frozen=True):
    """How far a turn has come, for the request that waits for it."""

    turn: int
    open: bool
    """There is no answer yet."""
    reply: str | None
    """What an earlier request of the same event was answered with."""


class Progress(msgspec.Struct, frozen=True):
    """How far a turn is, for those who follow it from another process than the one that works on it."""

    id: int
    open: bool
    """It is not closed; a turn that another one answers for is."""
    partial: str
    """What has been said of an answer that is not kept yet, where that is told."""
    answer: Message | None
    finish: str
    usage: Usage
    model: str
    error: str


class Shown(msgspec.Struct, frozen=True):
    """A turn as its page shows it."""

    turn: int
    channel: str
    conversation: str
    """The key of the talk, never of the queue of its commands."""
    kind: str
    state: str
    accepted_at: float
    inbound: Inbound
    answer: Message | None
    finish: str
    stopped: bool
    partial: str
    """What has been said of an answer that is not kept yet, where the process that makes it tells the others."""


class Said(msgspec.Struct, frozen=True):
    """One line of a talk."""

    turn: int
    role: str
    message: Message
    at: float


class Section(msgspec.Struct, frozen=True):
    """A session, or what was said between two: from its first turn to that of the next one."""

    turn: int
    open: bool
    began_at: float


class Due(NamedTuple):
    """A conversation that has something to do."""

    conversation: str
    bulk: bool
    """Nobody waits for it: it is a push."""


class Delivered(msgspec.Struct, frozen=True):
    """A message that is on the platform."""

    receipt: str
    at: float
    message: Message


class Looking:
    """The reading half of the ledger."""

    def __init__(self, database: Database, clock: Clock, lease: float = 60.0) -> None:
        self._database = database
        self._clock = clock
        self._look = GroupLook(database).look
        self.lease = lease
        self._wary = 0.0
        """Until then (unix seconds) no turn is taken over."""
        self._wanted: dict[int, asyncio.Future[sa.Row[Any] | None]] = {}
        """Turns that somebody asks about, until the next look takes them all."""
        self._watching: asyncio.Task[None] | None = None

    async def waiting(self, turn: Turn, *kinds: str) -> list[Turn]:
        """The turns of these kinds that wait behind this one in its conversation, oldest first, a hundred at most.

        For whoever holds the turn: waits while the database is away.
        """
        query = (
            sa.select(*statements.TURN)
            .where(turns.c.conversation == turn.conversation, OPEN, turns.c.id > turn.id)
            .where(turns.c.kind.in_(kinds))
            .order_by(turns.c.id)
            .limit(_AHEAD)
        )
        return [rows.turn_of(row) for row in await self._patiently(query)]

    async def pending(self, conversation: str) -> list[Piece]:
        """The pieces of a conversation that must still go out, in their order: of its running and its parked turns.

        For whoever holds one of them: waits while the database is away.
        """
        return [
            Piece(
                row.id,
                row.turn,
                rows.MESSAGE.decode(row.message),
                row.notice,
                rows.ATTEMPT.decode(row.attempt) if row.attempt else None,
                row.receipt,
            )
            for row in await self._patiently(statements.PENDING, {"talk": conversation})
        ]

    async def history(self, conversation: str, turn: int) -> AsyncIterator[Message]:
        """What was said in a turn's session, newest first, read a page at a time: whoever has enough stops asking.

        In the order of the questions: what is heard while an answer is made is remembered before it, and came after.
        """
        given: dict[str, Any] = {"talk": conversation, "turn": turn}
        paged = False
        while True:
            page = await self._rows(statements.history(paged=paged), given)
            for row in page:
                if row.role == rows.BEFORE:
                    for message in reversed(rows.MESSAGES.decode(row.body)):
                        yield message
                else:
                    yield rows.MESSAGE.decode(row.body)
            if len(page) < statements.PAGE:
                return
            given |= {"turn_before": page[-1].turn, "id_before": page[-1].id}
            paged = True

    async def pictures(self, ids: Collection[int]) -> dict[int, Picture]:
        """Pictures by the numbers under which they are kept; those that are not any more are left out."""
        if not ids:
            return {}
        found = await self._rows(statements.PICTURES, {"ids": rows.padded(ids)})
        return {row.id: Picture(row.media_type, row.data) for row in found}

    async def picture(self, conversation: str, id: int) -> Picture | None:
        """A picture that was sent in this conversation."""
        for row in await self._rows(statements.PICTURE, {"talk": conversation, "id": id}):
            return Picture(row.media_type, row.data)
        return None

    async def acquainted(self, conversation: str) -> bool:
        """Have we ever answered here, or read what was said before we came?"""
        said = sa.select(messages.c.id).where(messages.c.conversation == conversation, messages.c.role != "user")
        return bool(await self._rows(said.limit(1)))

    async def answer_of(self, conversation: str, receipt: str) -> tuple[int, Inbound, list[str]] | None:
        """Whose answer the message is: its turn, what was asked, and the receipts of all its messages."""
        mine = sa.select(outbox.c.turn).where(outbox.c.conversation == conversation, outbox.c.receipt == receipt, OUT)
        query = sa.select(turns.c.id, turns.c.inbound, outbox.c.receipt).join(outbox, outbox.c.turn == turns.c.id)
        found = await self._rows(query.where(turns.c.id.in_(mine), OUT).order_by(outbox.c.id))
        if not receipt or not found:
            return None
        return found[0].id, rows.INBOUND.decode(found[0].inbound), [row.receipt for row in found]

    # ── for requests that wait, and for pages ────────────────────────────────────────────────────────────────

    async def standing(self, turn: int) -> Standing:
        """How far a turn is, or the one that answers for it. Thousands of requests may ask this all the time."""
        if turn not in self._wanted:
            self._wanted[turn] = asyncio.get_running_loop().create_future()
        looked = asyncio.shield(self._wanted[turn])
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="how far turns are")
        row = await looked
        if row is None:  # it was removed, with what it answered
            return Standing(turn, False, None)
        if row.state == "merged" and row.merged_into:
            after = await self.standing(row.merged_into)
            return Standing(after.turn, after.open, row.reply)
        return Standing(row.id, row.state in ("due", "doing"), row.reply)

    async def _watch(self) -> None:
        """Look at all that is asked about at once: whoever asks meanwhile is in the next look."""
        fields = turns.c.id, turns.c.state, turns.c.reply, turns.c.merged_into
        while self._wanted:
            wanted = {turn: self._wanted.pop(turn) for turn in list(self._wanted)[:_AT_ONCE]}
            try:
                found = await self._rows(sa.select(*fields).where(turns.c.id.in_(rows.padded(wanted))))
            except Unavailable as fault:
                for looked in wanted.values():
                    looked.set_exception(fault)
                    looked.exception()  # perhaps nobody waits any more
            else:
                seen = {row.id: row for row in found}
                for turn, looked in wanted.items():
                    looked.set_result(seen.get(turn))
            finally:
                for looked in wanted.values():
                    looked.cancel()  # those who got nothing, if the look was cut off

    async def progress(self, among: Sequence[int]) -> list[Progress]:
        """How far these turns are."""
        found: list[Progress] = []
        fields = (turns.c.id, turns.c.state, turns.c.partial, turns.c.answer, turns.c.finish, turns.c.model,
                  turns.c.prompt_tokens, turns.c.completion_tokens, turns.c.error)  # fmt: skip
        for first in range(0, len(among), _AT_ONCE):
            query = sa.select(*fields).where(turns.c.id.in_(rows.padded(among[first : first + _AT_ONCE])))
            for row in await self._rows(query):
                open_ = row.state in ("due", "doing")
                answer = rows.MESSAGE.decode(row.answer) if row.answer and not open_ else None
                usage = Usage(row.prompt_tokens, row.completion_tokens)
                found.append(
                    Progress(row.id, open_, row.partial or "", answer, row.finish, usage, row.model, row.error)
                )
        return found

    async def parked(self, conversation: str) -> list[Piece]:
        """What was answered in a conversation, to its commands too, could not be sent, and is not just being sent."""
        query = (
            sa.select(outbox.c.id, outbox.c.turn, outbox.c.message, turns.c.kind)
            .join(turns, turns.c.id == outbox.c.turn)
            .where(outbox.c.conversation.in_((conversation, express_key(conversation))))
            .where(outbox.c.sent_at.is_(None), outbox.c.attempt.is_(None), state_is("parked"))
            .order_by(outbox.c.id)
        )
        found = await self._rows(query)
        return [Piece(row.id, row.turn, rows.MESSAGE.decode(row.message), kind=row.kind) for row in found]

    async def shown(self, turn: int) -> Shown | None:
        """A turn as its page shows it; None where there is none."""
        fields = (turns.c.id, turns.c.channel, turns.c.kind, turns.c.state, turns.c.accepted_at, turns.c.inbound,
                  turns.c.answer, turns.c.finish, turns.c.stopped, turns.c.partial)  # fmt: skip
        for row in await self._rows(sa.select(*fields).where(turns.c.id == turn)):
            inbound, answer = rows.INBOUND.decode(row.inbound), rows.MESSAGE.decode(row.answer) if row.answer else None
            talk = conversation_key(row.channel, inbound.conversation)
            return Shown(row.id, row.channel, talk, row.kind, row.state, row.accepted_at, inbound, answer, row.finish,
                         row.stopped, row.partial or "")  # fmt: skip
        return None

    async def said(self, conversation: str, before: int | None = None, limit: int = statements.PAGE) -> list[Said]:
        """The latest lines of a conversation, newest first; only those of turns older than `before`."""
        fields = messages.c.turn, messages.c.role, messages.c.body, messages.c.said_at
        query = sa.select(*fields).where(messages.c.conversation == conversation, messages.c.role != rows.BEFORE)
        if before is not None:
            query = query.where(messages.c.turn < before)
        query = query.order_by(messages.c.turn.desc(), messages.c.id.desc()).limit(limit)
        return [
            Said(row.turn, row.role, rows.MESSAGE.decode(row.body), row.said_at) for row in await self._rows(query)
        ]  # fmt: skip

    async def sections(self, conversation: str, since: int, until: int) -> list[Section]:
        """The sessions that the turns from `since` to `until` fall in, and what lies between them, newest first."""
        query = (
            sa.select(sessions.c.turn, sessions.c.open, sessions.c.began_at)
            .where(sessions.c.conversation == conversation, sessions.c.turn <= until)
            .where(sessions.c.turn >= statements.began(conversation, since))
            .order_by(sessions.c.turn.desc())
        )
        return [Section(row.turn, row.open, row.began_at) for row in await self._rows(query)]

    def beware(self) -> None:
        """Take no turn over for one lease: whoever holds it could not renew it either, and shall have time to."""
        self._wary = self._clock.now() + self.lease

    def _expired(self, now: float) -> float:
        """A turn whose lease ended before this may be taken over; one that `Ledger.adopt` freed, always."""
        return now if now >= self._wary else sys.float_info.min

    async def due(self, limit: int = 1000, *, late: float = 0.0) -> list[Due]:
        """Conversations that have something to do now and nobody who does it; those that ask come before pushes.

        late: only what has waited for so many seconds, for who hears of what is new in another way.
        """
        now = self._clock.now()
        other = turns.alias()
        before = sa.or_(other.c.state == sa.literal_column("'doing'"), other.c.id < turns.c.id)
        waits = sa.exists().where(
            other.c.conversation == turns.c.conversation, other.c.state.in_(OPEN_STATES), before
        )  # fmt: skip
        ready = sa.or_(
            sa.and_(state_is("due"), turns.c.due_at <= now - late, ~waits),
            sa.and_(state_is("doing"), turns.c.leased_until < self._expired(now)),
        )
        query = sa.select(turns.c.conversation, turns.c.kind).where(ready)
        try:
            found = await self._rows(query.where(turns.c.kind != "push").limit(limit))
            if len(found) < limit:
                found = [*found, *await self._rows(query.where(turns.c.kind == "push").limit(limit - len(found)))]
        except Unavailable:
            self.beware()
            raise
        return [Due(row.conversation, row.kind == "push") for row in found]

    async def entries(self, *, limit: int = 20, after: int = 0, turn: int | None = None) -> list[Entry]:
        """The latest turns, newest first; only those past turn `after`, or only `turn`."""
        fields = [turns.c[name] for name in Entry.__struct_fields__]
        query = (
            sa.select(*fields)
            .where(turns.c.id > after, turns.c.kind.not_in(("heard", "retract")))
            .order_by(turns.c.id.desc())
            .limit(limit)
        )
        if turn is not None:
            query = query.where(turns.c.id == turn)
        return [
            Entry(**{**row._mapping, "answer": rows.MESSAGE.decode(row.answer) if row.answer else None})
            for row in await self._rows(query)
        ]

    async def steps(self, turn: int) -> list[Step]:
        """What was called for the answer of a turn, in its order."""
        return [step_of(row) for row in await self._rows(STEPS, {"turn": turn})]

    async def spent(self, turn: int) -> Usage:
        """What the rounds of a turn that is not answered yet have cost."""
        query = sa.select(turns.c.prompt_tokens, turns.c.completion_tokens, turns.c.cost).where(turns.c.id == turn)
        return next(
            (Usage(row.prompt_tokens, row.completion_tokens, row.cost) for row in await self._rows(query)), Usage()
        )

    async def delivered(self, turns: Collection[int]) -> dict[int, list[Delivered]]:
        """What has gone out for each of these turns, in its order."""
        query = (
            sa.select(outbox.c.turn, outbox.c.receipt, outbox.c.sent_at, outbox.c.message)
            .where(outbox.c.turn.in_(turns), outbox.c.sent_at.is_not(None))
            .order_by(outbox.c.id)
        )
        found: dict[int, list[Delivered]] = {}
        for row in await self._rows(query):
            delivered = Delivered(row.receipt, row.sent_at, rows.MESSAGE.decode(row.message))
            found.setdefault(row.turn, []).append(delivered)
        return found

    async def backlog(self) -> dict[str, int]:
        """How many turns are `due` and `doing`."""
        query = sa.select(turns.c.state, sa.func.count().label("turns")).where(OPEN).group_by(turns.c.state)
        found = {row.state: row.turns for row in await self._rows(query)}
        return {state: found.get(state, 0) for state in ("due", "doing")}

    async def census(self) -> Census:
        """What there is to do in all processes, and how much there is of the past."""
        now = self._clock.now()
        return await self._look(lambda connection: take(connection, now))

    async def kept_answer(self, key: str, ttl: float) -> Kept | int | None:
        """What was answered to the same question, not longer ago than that; or the turn that asks it just now."""
        now = self._clock.now()
        return await self._look(lambda connection: answers.find(connection, key, now - ttl, self._expired(now)))

    async def usage(self, since: float, until: float, zone: ZoneInfo, *, people: bool = False) -> list[Used]:
        """What was asked and what it cost (`usage.used`)."""
        return await self._look(lambda connection: used(connection, since, until, zone, people=people))

    async def purses(self, keys: Collection[str]) -> dict[str, int]:
        """What of these budgets is spent, in millionths."""
        query = sa.select(budgets.c.key, budgets.c.cost).where(budgets.c.key.in_(keys))
        return {row.key: row.cost for row in await self._rows(query)}

    async def outcomes(self, since: float, until: float) -> list[measures.Count]:
        """What became of the messages that were closed between these times, in all processes."""
        return await self._look(lambda connection: measures.count(connection, since, until))

    async def waited(self, channel: str | None = None) -> float:
        """Seconds for which a message has been waiting for somebody to begin with it, at most."""
        now = self._clock.now()
        return await self._look(lambda connection: measures.oldest(connection, channel, now))

    async def incidents(self) -> list[incidents.Incident]:
        """How every alert stands that was ever looked at."""
        return await self._look(incidents.all_of)

    async def look(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` finds in what is committed. Raises Unavailable."""
        return await self._look(work)

    async def _patiently(self, query: sa.Select[Any], given: Mapping[str, Any] | None = None) -> Sequence[sa.Row[Any]]:
        """The rows of a query, for whoever holds a turn: waits while the database is away (`patience`)."""
        return await patiently(self._clock, lambda: self._rows(query, given))

    async def _rows(self, query: sa.Select[Any], given: Mapping[str, Any] | None = None) -> Sequence[sa.Row[Any]]:
        return await self._look(lambda connection: connection.execute(query, given).all())
