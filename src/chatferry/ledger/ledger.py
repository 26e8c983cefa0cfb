"""The ledger: what was accepted, what was answered, what went out. It is the truth; everything else is a hint.

Every write goes through one group commit. Writes about a running turn are fenced: they name the turn's lease, and
raise LeaseLost when a newer holder has it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from chatferry.clock import Clock
from chatferry.errors import LeaseLost, Unavailable, Unsure
from chatferry.ledger import fetching, operations, retention, rows, tombstones, writes
from chatferry.ledger.accepting import Accept, Accepted
from chatferry.ledger.budgets import Budget, Charge, given_back
from chatferry.ledger.commit import GroupCommit, unavailable
from chatferry.ledger.consent import Ask
from chatferry.ledger.database import Database
from chatferry.ledger.guests import Knock
from chatferry.ledger.keeping import Keeping
from chatferry.ledger.operations import Change, Kept, Renewed
from chatferry.ledger.pacing import Pace
from chatferry.ledger.patience import PATIENCE, patiently
from chatferry.ledger.sessions import Gate
from chatferry.ledger.shared import signing_key
from chatferry.ledger.steps import Returned, Step
from chatferry.model import APOLOGY, Attempt, Grant, Inbound, Message, Piece, Receipt, Turn, Usage, says
from chatferry.text.cutting import clean


class Ledger(Keeping):
    """The store of turns, pieces and messages.

    lease: seconds for which a claimed turn is ours without a word from us.
    """

    def __init__(self, database: Database, clock: Clock, *, lease: float = 60.0) -> None:
        super().__init__(database, clock, GroupCommit(database, writes.apply), lease)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Ledger]:
        """Write while the context is open. The schema must be there (`database.migrate`)."""
        self._key = await signing_key(self._database)
        async with self._commit.running():
            yield self

    # ── accepting ────────────────────────────────────────────────────────────────────────────────────────────

    async def accept(
        self,
        channel: str,
        events: Sequence[Inbound],
        gates: Sequence[Gate | None] = (),
        paces: Sequence[Pace | None] = (),
        knocks: Sequence[Knock | None] = (),
        budgets: Sequence[Budget | None] = (),
    ) -> list[Accepted]:
        """Keep events; when this returns they are on the disk. One result for each: the turn, and whether it is new.

        An event that is there already gives its turn again. `retract` gives the turn that it withdrew, or turn 0,
        and so does a message that nobody lets in, or that is one too many.
        Raises Unavailable, and then nothing was kept.
        """
        none = (None,) * len(events)
        marks = tuple(tombstones.mark(self._key, channel, event.event) for event in events)
        operation = Accept(
            channel,
            tuple(events),
            self._clock.now(),
            tuple(gates) or none,
            tuple(paces) or none,
            tuple(budgets) or none,
            tuple(knocks),
            marks,
        )
        accepted: list[Accepted] = await self._commit.submit(operation)
        return accepted

    # ── answers that are fetched ─────────────────────────────────────────────────────────────────────────────

    async def replied(self, turn: int, text: str, pieces: Sequence[int]) -> str | None:
        """Answer the open request of a turn's event with this text, in which these pieces go out.

        Returns the text that counts: another one where an earlier request was answered. None where one of the pieces
        went out in another way meanwhile, and nothing was written.
        """
        said: str | None = await self._commit.submit(fetching.Reply(turn, text, tuple(pieces), self._clock.now()))
        return said

    async def unreplied(self, turn: int, conversation: str) -> None:
        """The response of `replied` came too late for anybody to hear: what went out in it waits again."""
        await self._commit.submit(fetching.Unreply(turn, conversation))

    async def opened(self, turn: int) -> None:
        """The answer was read on its page: where it waits to be delivered, it does not any more."""
        await self._commit.submit(fetching.Opened(turn, self._clock.now()))

    async def halt(self, turn: int) -> bool:
        """Let this turn's answer end here; it is noted, for whoever works on it. False where there is none to end."""
        halted: bool = await self._commit.submit(fetching.Halt(turn))
        return halted

    async def gather(self, turn: Turn, pieces: Sequence[Piece], text: str) -> None:
        """Let the first of these pieces say this, and the others go: the text tells where to read them.

        Where one of them went out meanwhile, nothing is changed.
        """
        await self._change(turn, gather=(tuple(piece.id for piece in pieces), says("assistant", text)))

    # ── working on a turn ────────────────────────────────────────────────────────────────────────────────────

    async def claim(self, conversation: str) -> Turn | None:
        """The conversation's oldest open turn, now ours until its lease ends; None where nothing is due.

        A turn whose holder let its lease run out is taken over, under the next lease number.
        """
        now = self._clock.now()
        claim = operations.Claim(conversation, now, now + self.lease, self._expired(now))
        turn: Turn | None = await self._commit.submit(claim)
        return turn

    async def renew(self, held: Sequence[Turn]) -> Renewed:
        """Hold these turns for another lease; tells those that are no longer ours, and those that are to stop."""
        until = self._clock.now() + self.lease
        renewed: Renewed = await self._commit.submit(operations.Renew(tuple(held), until))
        return renewed

    async def watch(self, turns: Sequence[int]) -> None:
        """Somebody reads the answers of these turns along, here: whoever makes them shall tell how far they are."""
        await self._commit.submit(operations.Watch(tuple(turns)))

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
        charges: Sequence[Charge] = (),
        first_token_at: float | None = None,
        error: str = "",
        assistant: str = "",
        ask: Ask | None = None,
    ) -> Turn:
        """Store the answer and the pieces it goes out in: from here on the model is not asked again.

        usage: what it cost beyond what the ledger knows of the turn. charges: who pays for that.
        The first pieces take the places of the `drafts` that have begun to grow; drafts left over are to be removed.
        """
        usage = usage or Usage()
        await self._change(
            turn,
            columns={
                "answer": rows.dump(answer),
                "partial": None,
                "answered_at": self._clock.now(),
                "first_token_at": first_token_at,
                "finish": finish,
                "model": clean(model),
                "prompt_tokens": usage.prompt,
                "completion_tokens": usage.completion,
                "cost": usage.cost,
                "error": clean(error),
                "assistant": assistant,
            },
            charge=tuple(charges),
            ask=ask,
            say=tuple(pieces[len(drafts) :]),
            rewrite=tuple(
                (draft.id, pieces[i] if i < len(pieces) else Message("assistant", ())) for i, draft in enumerate(drafts)
            ),
        )
        return msgspec.structs.replace(turn, answer=answer, finish=finish, error=error)

    async def saying(self, turn: Turn, text: str) -> None:
        """So much has been said of the answer: for those who read along in other processes."""
        await self._change(turn, columns={"partial": clean(text)})

    async def calling(self, turn: Turn, calls: Sequence[Step], usage: Usage, charges: Sequence[Charge] = ()) -> None:
        """Note, before they are made, the calls of a round, and what the turn has cost since then; see `answered`."""
        columns = {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion, "cost": usage.cost}
        await self._change(turn, columns=columns, calls=tuple(calls), charge=tuple(charges))

    async def returned(self, turn: Turn, returned: Returned) -> None:
        """A call has returned: whoever goes on with the turn does not make it again."""
        await self._change(turn, returned=(returned,))

    async def briefed(self, turn: Turn, inbound: Inbound, before: Sequence[Message]) -> None:
        """Keep what the platform told beside the event: the inbound with it, and what was said before we came."""
        await self._change(turn, columns={"inbound": rows.dump(inbound)}, recall=tuple(before))

    async def looked(self, turn: Turn, inbound: Inbound, pictures: Sequence[Kept]) -> None:
        """Keep what was found in a turn's files: the inbound that says it, and its pictures, at once."""
        await self._change(turn, columns={"inbound": rows.dump(inbound)}, keep=tuple(pictures))

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
        await self._change(turn, abandon=(tuple({piece.turn for piece in pieces}), clean(error)))

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
        What has failed gives the messages back that were charged for it.
        """
        if state == "done" and turn.finish == APOLOGY:
            state = "failed"
        columns = {"state": state, "finished_at": self._clock.now(), "error": clean(error or turn.error)}
        paid = turn.inbound.paid if state == "failed" or turn.finish == APOLOGY else ()
        if paid:  # it does not count, and will not again, however often it is tried
            columns["inbound"] = rows.dump(turn.inbound.unpaid())
        await self._change(turn, columns=columns, remember=tuple(said), sent=tuple(sent), charge=given_back(paid))
        return state

    async def retry(self, turn: Turn, after: float, error: str) -> None:
        """Give the turn back, due again `after` seconds from now."""
        columns = {"state": "due", "due_at": self._clock.now() + after, "error": clean(error)}
        await self._change(turn, columns=columns)

    async def release(self, turn: Turn) -> None:
        """Give the turn back as it is, for the next holder to go on with. Tried once: else its lease runs out."""
        await self._change(turn, columns={"state": "due", "due_at": self._clock.now()}, attempts=-1, patience=0.0)

    async def absorb(self, turn: Turn, others: Sequence[Turn]) -> Turn:
        """Let this turn answer for later ones of its conversation that are still due: their words and newest grant."""
        merged = turn
        for other in others:
            merged = _merge(merged, other)
        columns = {"grant": rows.dump(merged.grant) if merged.grant else None}
        if merged.inbound != turn.inbound:  # a tap says nothing, and what was said may just be looked into
            columns["inbound"] = rows.dump(merged.inbound)
        await self._change(turn, columns=columns, absorb=tuple(others))
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
        gather: tuple[tuple[int, ...], Message | None] = ((), None),
        calls: tuple[Step, ...] = (),
        returned: tuple[Returned, ...] = (),
        keep: tuple[Kept, ...] = (),
        charge: tuple[Charge, ...] = (),
        ask: Ask | None = None,
        patience: float = PATIENCE,
    ) -> None:
        change = Change(
            turn, self._clock.now(), columns or {}, say, rewrite, notice, draft, begun, attempt, sent, remember, recall,
            unsay, absorb, attempts, abandon, gather, calls, returned, keep, charge, ask,
        )  # fmt: skip
        unsure: Unsure | None = None

        async def write() -> None:
            nonlocal unsure
            try:
                if unsure is None or not await self._committed(unsure):
                    unsure = None
                    await self._commit.submit(change)
            except Unavailable as fault:
                unsure = fault if isinstance(fault, Unsure) else unsure
                raise (unsure or fault) from None

        # What was answered or sent is not forgotten because the database is away for a moment.
        await patiently(self._clock, write, patience)

    async def _committed(self, unsure: Unsure) -> bool:
        """Was the write done after all? Raises what it came to, and Unavailable while that cannot be known."""
        try:
            done = await self._database.committed(unsure.transaction)
        except (SQLAlchemyError, OSError) as fault:
            raise unavailable(fault) from fault
        if done is None:
            raise unsure
        if done and isinstance(unsure.result, Exception):
            raise unsure.result
        return done

    # ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────

    async def adopt(self) -> int:
        """End all leases, for a process that knows itself alone: whoever held them is dead. Returns how many."""
        released: int = await self._commit.submit(operations.Adopt())
        return released

    async def reopen(self, turn: int) -> bool:
        """Do a turn again that failed, waits to be collected or found nobody there. False where it did none of these.

        The model is asked again only where it had not answered.
        """
        reopened: bool = await self._commit.submit(operations.Reopen(turn, self._clock.now()))
        return reopened

    async def prune(
        self, before: float, place: retention.Place, *, limit: int = retention.BATCH, zone: str = "UTC"
    ) -> retention.Pruned:
        """Remove what was closed before this time, among the next turns of a pass that has come to `place`.

        What they cost stays, by the days of this time zone.
        """
        prune = retention.Prune(before, place, limit, self._clock.now(), zone)
        pruned: retention.Pruned = await self._commit.submit(prune)
        return pruned


def _merge(turn: Turn, other: Turn) -> Turn:
    """One turn with the words of both, in order, and the later grant. A tap brings its grant alone."""
    inbound, added = turn.inbound, other.inbound
    if added.kind == "message":
        alone = msgspec.structs.replace(added, also=(), grant=None)
        inbound = msgspec.structs.replace(inbound, also=(*inbound.also, alone, *added.also))
    return msgspec.structs.replace(turn, inbound=inbound, grant=other.grant or turn.grant)
