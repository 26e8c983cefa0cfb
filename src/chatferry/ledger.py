"""The ledger: what was accepted, what was answered, what went out. It is the truth; everything else is a hint.

Every write goes through one group commit. Writes about a running turn are fenced: they name the turn's lease, and
raise LeaseLost when a newer holder has it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from chatferry import rows, writes
from chatferry.accepting import Accept, Accepted
from chatferry.clock import Clock
from chatferry.commit import GroupCommit, unavailable
from chatferry.database import Database
from chatferry.errors import Closed, LeaseLost, Unavailable
from chatferry.model import APOLOGY, Attempt, Grant, Inbound, Message, Piece, Receipt, Turn, Usage
from chatferry.tables import OPEN, OPEN_STATES, OUT, messages, outbox, state_is, turns
from chatferry.writes import Change

_PAGE = 50
_AHEAD = 100
"""Waiting turns that one look takes in."""
_AGAIN = 0.5
"""Seconds between two tries to write about a turn that we hold."""


class Entry(msgspec.Struct, frozen=True):
    """A turn as people look at it: `chatferry turns`, and whoever waits for an answer."""

    id: int
    channel: str
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


class Ledger:
    """The store of turns, pieces and messages."""

    def __init__(self, database: Database, clock: Clock, *, lease: float = 60.0) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease
        self._commit = GroupCommit(database, writes.apply)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Ledger]:
        """Write while the context is open. The schema must be there (`database.migrate`)."""
        async with self._commit.running():
            yield self

    # ── accepting ────────────────────────────────────────────────────────────────────────────────────────────

    async def accept(self, channel: str, events: Sequence[Inbound]) -> list[Accepted]:
        """Keep events; when this returns they are on the disk. One result for each: the turn, and whether it is new.

        An event that is there already gives its turn again. `retract` gives the turn that it withdrew, or turn 0.
        Raises Unavailable, and then nothing was kept.
        """
        accepted: list[Accepted] = await self._commit.submit(Accept(channel, tuple(events), self._clock.now()))
        return accepted

    # ── working on a turn ────────────────────────────────────────────────────────────────────────────────────

    async def claim(self, conversation: str) -> Turn | None:
        """The conversation's oldest open turn, now ours until its lease ends; None where nothing is due.

        A turn whose holder let its lease run out is taken over, under the next lease number.
        """
        now = self._clock.now()
        turn: Turn | None = await self._commit.submit(writes.Claim(conversation, now, now + self._lease))
        return turn

    async def renew(self, held: Sequence[Turn]) -> list[Turn]:
        """Hold these turns for another lease; returns those that are no longer ours."""
        until = self._clock.now() + self._lease
        lost: list[Turn] = await self._commit.submit(writes.Renew(tuple(held), until))
        return lost

    async def answered(
        self,
        turn: Turn,
        answer: Message,
        pieces: Sequence[Message],
        *,
        drafts: Sequence[Piece] = (),
        finish: str = "",
        model: str = "",
        usage: Usage | None = None,
        first_token_at: float | None = None,
        error: str = "",
    ) -> Turn:
        """Store the answer and the pieces it goes out in: from here on the model is not asked again.

        The first pieces take the places of the `drafts` that have begun to grow; drafts left over are to be removed.
        """
        usage = usage or Usage()
        await self._change(
            turn,
            columns={
                "answer": rows.dump(answer),
                "answered_at": self._clock.now(),
                "first_token_at": first_token_at,
                "finish": finish,
                "model": model,
                "prompt_tokens": usage.prompt,
                "completion_tokens": usage.completion,
                "error": error,
            },
            say=tuple(pieces[len(drafts) :]),
            rewrite=tuple(
                (draft.id, pieces[i] if i < len(pieces) else Message("assistant", ())) for i, draft in enumerate(drafts)
            ),
        )
        return msgspec.structs.replace(turn, answer=answer, finish=finish, error=error)

    async def briefed(self, turn: Turn, inbound: Inbound, before: Sequence[Message]) -> None:
        """Keep what the platform told beside the event: the inbound with it, and what was said before we came."""
        await self._change(turn, columns={"inbound": rows.dump(inbound)}, recall=tuple(before))

    async def draft(self, turn: Turn, message: Message, attempt: Attempt) -> Piece:
        """Note, before the call, that a message begins that will grow into a piece of the answer."""
        await self._change(turn, say=(message,), draft=attempt)
        for piece in await self.pending(turn.conversation):
            if piece.attempt == attempt:
                return piece
        raise LeaseLost(f"turn {turn.id} was taken back or changed")

    async def begun(self, turn: Turn, piece: Piece, receipt: Receipt) -> Piece:
        """The message that was begun is out: whoever goes on with the turn finds it by this."""
        await self._change(turn, begun=((piece.id, receipt.id),))
        return msgspec.structs.replace(piece, attempt=None, receipt=receipt.id)

    async def erased(self, turn: Turn, answered: int) -> None:
        """Another turn's answer is off the platform: the history forgets it, and what was left of it is not sent."""
        await self._change(turn, unsay=answered)

    async def notice(self, turn: Turn, message: Message, attempt: Attempt, *, pieces: Sequence[Piece] = ()) -> Turn:
        """Note, before the call, that a notice is sent, after `pieces` in the same call; see `sending`."""
        ids = tuple(piece.id for piece in pieces)
        grant = attempt.grant.spent if attempt.grant else turn.grant
        columns = {"grant": rows.dump(grant) if grant else None}
        await self._change(turn, columns=columns, say=(message,), notice=attempt, attempt=(ids, attempt))
        return msgspec.structs.replace(turn, grant=grant)

    async def sending(self, turn: Turn, pieces: Sequence[Piece], attempt: Attempt) -> Turn:
        """Note, before the call, that these pieces are sent; if by the turn's grant, one use of it is spent."""
        grant = attempt.grant.spent if attempt.grant else turn.grant
        columns = {"grant": rows.dump(grant) if grant else None}
        await self._change(turn, columns=columns, attempt=(tuple(piece.id for piece in pieces), attempt))
        return msgspec.structs.replace(turn, grant=grant)

    async def sent(self, turn: Turn, sent: Sequence[tuple[Piece, Receipt]]) -> None:
        """These pieces are out. A parked turn of the conversation that has none left is done."""
        await self._change(turn, sent=tuple(sent))

    async def unsent(
        self, turn: Turn, pieces: Sequence[Piece], grant: Grant | None = None, *, void: bool = False
    ) -> Turn:
        """The send that was begun did not happen: its notices are dropped, and `grant` is good for another try.

        void: no use of the turn's grant is good for anything any more.
        """
        left = None if void else grant or turn.grant
        columns = {"grant": rows.dump(left) if left else None} if void or grant else {}
        await self._change(turn, columns=columns, attempt=(tuple(p.id for p in pieces), None))
        return msgspec.structs.replace(turn, grant=left)

    async def abandon(self, turn: Turn, pieces: Sequence[Piece], error: str) -> None:
        """The platform refuses these pieces of parked turns: those turns have failed, and hold up nobody else."""
        await self._change(turn, abandon=(tuple({piece.turn for piece in pieces}), error))

    async def finish(
        self,
        turn: Turn,
        said: Sequence[Message] = (),
        *,
        state: str = "done",
        error: str = "",
        sent: Sequence[tuple[Piece, Receipt]] = (),
    ) -> str:
        """Close the turn with what was said and the last receipts, at once; returns its state.

        `state` is `done`, `failed`, `parked`, `gone` or `withdrawn`; a turn that is done with an apology has failed.
        """
        if state == "done" and turn.finish == APOLOGY:
            state = "failed"
        columns = {"state": state, "finished_at": self._clock.now(), "error": error or turn.error}
        await self._change(turn, columns=columns, remember=tuple(said), sent=tuple(sent))
        return state

    async def retry(self, turn: Turn, after: float, error: str) -> None:
        """Give the turn back, due again `after` seconds from now."""
        await self._change(turn, columns={"state": "due", "due_at": self._clock.now() + after, "error": error})

    async def release(self, turn: Turn) -> None:
        """Give the turn back as it is, for the next holder to go on with."""
        await self._change(turn, columns={"state": "due", "due_at": self._clock.now()}, attempts=-1)

    async def absorb(self, turn: Turn, others: Sequence[Turn]) -> Turn:
        """Let this turn answer for later ones of its conversation that are still due: their words and newest grant."""
        merged = turn
        for other in others:
            merged = _merge(merged, other)
        grant = rows.dump(merged.grant) if merged.grant else None
        await self._change(
            turn,
            columns={"inbound": rows.dump(merged.inbound), "grant": grant},
            absorb=tuple(others),
        )
        return merged

    async def _change(
        self,
        turn: Turn,
        *,
        columns: Mapping[str, object] | None = None,
        say: tuple[Message, ...] = (),
        rewrite: tuple[tuple[int, Message], ...] = (),
        notice: Attempt | None = None,
        draft: Attempt | None = None,
        begun: tuple[tuple[int, str], ...] = (),
        attempt: tuple[tuple[int, ...], Attempt | None] = ((), None),
        sent: tuple[tuple[Piece, Receipt], ...] = (),
        remember: tuple[Message, ...] = (),
        recall: tuple[Message, ...] = (),
        unsay: int = 0,
        absorb: tuple[Turn, ...] = (),
        attempts: int = 0,
        abandon: tuple[tuple[int, ...], str] = ((), ""),
    ) -> None:
        change = Change(
            turn, self._clock.now(), columns or {}, say, rewrite, notice, draft, begun, attempt, sent, remember, recall,
            unsay, absorb, attempts, abandon,
        )  # fmt: skip
        # What was answered or sent is not forgotten because the database is away for a moment.
        patience = self._clock.now() + self._lease
        while True:
            try:
                await self._commit.submit(change)
                return
            except Closed:
                raise
            except Unavailable:
                if self._clock.now() >= patience:
                    raise
                await self._clock.sleep(_AGAIN)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────

    async def waiting(self, turn: Turn, *kinds: str) -> list[Turn]:
        """The turns of these kinds that wait behind this one in its conversation, oldest first, a hundred at most."""
        query = (
            sa.select(*rows.TURN)
            .where(turns.c.conversation == turn.conversation, OPEN, turns.c.id > turn.id)
            .where(turns.c.kind.in_(kinds))
            .order_by(turns.c.id)
            .limit(_AHEAD)
        )
        return [rows.turn_of(row) for row in await self._rows(query)]

    async def pending(self, conversation: str) -> list[Piece]:
        """The pieces of a conversation that must still go out, in their order: of its running and its parked turns."""
        query = (
            sa.select(outbox.c.id, outbox.c.turn, outbox.c.message, outbox.c.notice, outbox.c.attempt, outbox.c.receipt)
            .join(turns, turns.c.id == outbox.c.turn)
            .where(outbox.c.conversation == conversation, outbox.c.sent_at.is_(None))
            .where(state_is("doing", "parked"))
            .order_by(outbox.c.id)
        )
        return [
            Piece(
                row.id,
                row.turn,
                rows.MESSAGE.decode(row.message),
                row.notice,
                rows.ATTEMPT.decode(row.attempt) if row.attempt else None,
                row.receipt,
            )
            for row in await self._rows(query)
        ]

    async def history(self, conversation: str) -> AsyncIterator[Message]:
        """What was said, newest first, read a page at a time: whoever has enough stops asking.

        In the order of the questions: what is heard while an answer is made is remembered before it, and came after.
        """
        place = sa.tuple_(messages.c.turn, messages.c.id)
        before: tuple[int, int] | None = None
        while True:
            query = sa.select(messages.c.turn, messages.c.id, messages.c.role, messages.c.body)
            query = query.where(messages.c.conversation == conversation)
            if before is not None:
                query = query.where(place < before)
            page = await self._rows(query.order_by(messages.c.turn.desc(), messages.c.id.desc()).limit(_PAGE))
            for row in page:
                if row.role == rows.BEFORE:
                    for message in reversed(rows.MESSAGES.decode(row.body)):
                        yield message
                else:
                    yield rows.MESSAGE.decode(row.body)
            if len(page) < _PAGE:
                return
            before = page[-1].turn, page[-1].id

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

    async def due(self, limit: int = 1000) -> list[str]:
        """Conversations that have something to do now and nobody who does it."""
        now = self._clock.now()
        other = turns.alias()
        before = sa.or_(other.c.state == sa.literal_column("'doing'"), other.c.id < turns.c.id)
        waits = sa.exists().where(
            other.c.conversation == turns.c.conversation, other.c.state.in_(OPEN_STATES), before
        )  # fmt: skip
        ready = sa.or_(
            sa.and_(state_is("due"), turns.c.due_at <= now, ~waits),
            sa.and_(state_is("doing"), turns.c.leased_until < now),
        )
        query = sa.select(turns.c.conversation).where(ready).limit(limit)
        return [row.conversation for row in await self._rows(query)]

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

    async def backlog(self) -> dict[str, int]:
        """How many turns are `due` and `doing`."""
        query = sa.select(turns.c.state, sa.func.count().label("turns")).where(OPEN).group_by(turns.c.state)
        found = {row.state: row.turns for row in await self._rows(query)}
        return {state: found.get(state, 0) for state in ("due", "doing")}

    async def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """What a query finds. A database that fails is Unavailable, as it is for writes."""
        try:
            return await self._database.read(lambda connection: connection.execute(query).all())
        except (SQLAlchemyError, OSError) as fault:
            raise unavailable(fault) from fault

    # ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────

    async def adopt(self) -> int:
        """End all leases, for a process that knows itself alone: whoever held them is dead. Returns how many."""
        released: int = await self._commit.submit(writes.Adopt())
        return released

    async def reopen(self, turn: int) -> bool:
        """Do a turn again that failed, waits to be collected or found nobody there. False where it did none of these.

        The model is asked again only where it had not answered.
        """
        reopened: bool = await self._commit.submit(writes.Reopen(turn, self._clock.now()))
        return reopened


def _merge(turn: Turn, other: Turn) -> Turn:
    """One turn with the words of both, in order, and the later grant. A tap brings its grant alone."""
    inbound, added = turn.inbound, other.inbound
    if added.kind == "message":
        alone = msgspec.structs.replace(added, also=(), grant=None)
        inbound = msgspec.structs.replace(inbound, also=(*inbound.also, alone, *added.also))
    return msgspec.structs.replace(turn, inbound=inbound, grant=other.grant or turn.grant)
