"""From an answer to what the person sees: exactly the answer, once, by the cheapest leave that is still open.

While the model works, `attend` keeps the person company (typing, "please wait", "fetch it here"). When the answer
is stored, `settle` sends it. What differs between platforms is asked of `channel.caps` and of nothing else.

Every send is noted before the call, and if we don't know how the call ended (a broken connection, a crash) the same
call is made again before anything else is sent. A send without a grant carries a key, by which the platform knows it
again, or by which the channel finds it (`Editing.find`). A send by a grant carries none, but most grants are good for
one call only, and so are their own keys: if the platform takes it, it had not been sent; if it says that the grant is
spent while the grant is young enough to be alive, it had.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence

import msgspec
import structlog

from chatferry.channels.base import COLLECT, Channel, Editing, editing, resting
from chatferry.clock import Clock
from chatferry.delivering.composing import compose
from chatferry.errors import Ambiguous, Fault, Final, Gone, NoLeave, TryLater, Unavailable, Vanished
from chatferry.held import Held
from chatferry.ledger.ledger import Ledger
from chatferry.links import Links
from chatferry.model import Attempt, Button, Grant, Message, Piece, Receipt, Turn, says
from chatferry.signals import Signal, first_of

log = structlog.get_logger(__name__)

_ASK_AGAIN = (0.5, 2.0)
"""Seconds before a call that may have been done is made again in the same breath."""


class Delivery:
    """Shows and settles the answers of all channels."""

    def __init__(self, ledger: Ledger, links: Links, clock: Clock) -> None:
        self._ledger = ledger
        self._links = links
        self._clock = clock

    # ── while the answer is being made ───────────────────────────────────────────────────────────────────────

    async def attend(self, held: Held) -> None:
        """Look after the leave to answer until `held.made`: "please wait", a notice before the grant ends, taps."""
        if held.channel.caps.waiting:
            await self._wait_message(held)
        while not held.made.is_set():
            await self._watch(held)

    async def type(self, held: Held) -> None:
        """Show that an answer is being made, until cancelled. Faults are logged: this is a courtesy."""
        while True:
            try:
                await held.channel.typing(held.turn.inbound.conversation)
            except Fault as fault:
                log.info("typing failed", turn=held.turn.id, error=str(fault))
            # Renewed a little before it ends, so that it does not flicker.
            await self._clock.sleep(held.channel.caps.typing * 0.9)

    async def disarm(self, held: Held, channel: Editing, asked: int) -> None:
        """Take the buttons off the question of another turn, which this one answers. Faults are logged."""
        try:
            question = (await self._ledger.delivered([asked])).get(asked, ())
        except Unavailable as fault:
            log.info("buttons stay on a question", turn=asked, error=str(fault))
            return
        for sent in question:
            if not sent.receipt or not sent.message.buttons:
                continue
            bare = msgspec.structs.replace(sent.message, buttons=())
            try:
                await channel.edit(held.turn.inbound, Receipt(sent.receipt), bare, last=True)
            except Fault as fault:
                log.info("buttons stay on a question", turn=asked, error=str(fault))

    async def rest(self, held: Held) -> None:
        """The turn is over or put off, and nothing shows any more that it is worked on. Faults are logged."""
        try:
            if resting(held.channel):
                await held.channel.rest(held.turn.inbound.conversation, inherited=held.turn.lease > 1)
        except Fault as fault:
            log.info("still typing, it seems", turn=held.turn.id, error=str(fault))

    async def _watch(self, held: Held) -> None:
        """One look: the answer is made, something else came, or the grant is about to end."""
        caps, grant = held.channel.caps, held.turn.grant
        signals: list[Signal] = [held.made.wait(), held.nudged.wait()]
        if caps.notice and grant is not None and grant != held.passed:
            signals.append(self._clock.sleep(grant.until - caps.notice - self._clock.now()))
        await first_of(*signals)
        if held.made.is_set():
            return
        if held.nudged.is_set():
            held.nudged.clear()
            await self._take_news(held)
        elif grant is not None and await self._may_push(held.channel):
            held.passed = grant
        elif grant is not None:
            words = held.assistant.words
            await self._notice(held, grant, says("assistant", words.on_its_way, Button(words.fetch, COLLECT)))

    async def _take_news(self, held: Held) -> None:
        """Something came while the answer is being made: a tap brings a fresh grant, a message may interrupt."""
        waiting = await self._ledger.waiting(held.turn, "message", "collect")
        taps = [turn for turn in waiting if turn.inbound.kind == "collect"]
        if taps:
            held.grant(await self._ledger.absorb(held.turn, taps))
        if held.assistant.settings.busy == "interrupt" and any(turn.inbound.kind == "message" for turn in waiting):
            held.interrupt()

    async def _wait_message(self, held: Held) -> None:
        words, grant = held.assistant.words, self._open(held.turn.grant)
        if grant is None:
            return
        # Where the answer cannot be pushed afterwards, the same message carries the button that fetches it.
        buttons = () if await self._may_push(held.channel) else (Button(words.fetch, COLLECT),)
        await self._notice(held, grant, says("assistant", words.waiting, *buttons))

    async def _notice(self, held: Held, grant: Grant, message: Message) -> None:
        attempt = Attempt(grant)
        held.grant(await self._ledger.notice(held.turn, message, attempt))
        unsent = await self._ledger.pending(held.turn.conversation)
        notices = [piece for piece in unsent if piece.attempt == attempt]
        try:
            receipts = await self._call(held, notices, grant)
        except TryLater as fault:
            # It did not happen, so the grant is still there for the answer.
            log.warning("notice not sent", turn=held.turn.id, error=str(fault))
            held.grant(await self._ledger.unsent(held.turn, notices, grant))
            held.passed = grant
            return
        except Fault as fault:
            # Tried once and then done with: a late "please wait" helps nobody.
            log.warning("notice not sent", turn=held.turn.id, error=str(fault))
            receipts = [Receipt()] * len(notices)
        await self._ledger.sent(held.turn, list(zip(notices, receipts, strict=True)))

    # ── when the answer is stored ────────────────────────────────────────────────────────────────────────────

    async def settle(self, held: Held, said: Sequence[Message]) -> str:
        """Send all that the conversation waits for, then close the turn; returns its state.

        `said` goes into the history with the same write that closes the turn.
        Raises TryLater to go on later, Final (Gone among them) when the platform refuses, LeaseLost.
        """
        while True:
            held.turn = await self._fresh(held.turn)
            pieces = await self._ledger.pending(held.turn.conversation)
            if not pieces:
                if held.turn.inbound.kind == "collect" and not said:
                    await self._nothing_waits(held)
                return await self._finish(held, said)
            attempt = next((piece.attempt for piece in pieces if piece.attempt is not None), None)
            grant = self._open(held.turn.grant)
            try:
                if attempt is not None:
                    await self._resolve(held, [piece for piece in pieces if piece.attempt == attempt], attempt)
                    continue
                sent = await self._send(held, pieces, grant)
            except Final as fault:
                if isinstance(fault, Gone) or not await self._abandon(held, pieces, attempt, fault):
                    raise
                continue
            if sent is None:
                continue
            if len(sent) >= len(pieces):
                return await self._finish(held, said, sent=sent)
            if sent:
                await self._ledger.sent(held.turn, sent)
            elif grant is None:
                # No leave is open. What is ours waits to be collected; a tap itself owes nothing more.
                state = "parked" if any(piece.turn == held.turn.id for piece in pieces) else "done"
                return await self._finish(held, said, state=state)

    async def _send(
        self, held: Held, pieces: Sequence[Piece], grant: Grant | None
    ) -> list[tuple[Piece, Receipt]] | None:
        """Send what there is leave for. None: it has changed what there is to be sent."""
        if editing(held.channel) and (out := [piece for piece in pieces if piece.receipt or not piece.message.parts]):
            sent = await self._complete(held, held.channel, out)
            rest = [piece for piece in pieces if piece.turn in held.removed and piece not in out]
            return [*sent, *((piece, Receipt()) for piece in rest)] or None
        if grant is not None:
            return None if await self._gather(held, pieces, grant) else await self._by_grant(held, pieces, grant)
        if await self._may_push(held.channel):
            return await self._by_push(held, pieces[: held.channel.caps.batch])
        return []

    async def _abandon(self, held: Held, pieces: Sequence[Piece], attempt: Attempt | None, fault: Final) -> bool:
        """Give up what an earlier turn left behind, and the platform refuses. False: all that it refused is ours.

        It must take along neither this turn nor those that were not in the call.
        """
        called = pieces if editing(held.channel) else pieces[: held.channel.caps.batch]
        if attempt is not None:
            called = [piece for piece in pieces if piece.attempt == attempt]
        others = [piece for piece in called if piece.turn != held.turn.id]
        if not others:
            return False
        log.error("what waited is refused", turn=held.turn.id, error=str(fault))
        own = [piece for piece in pieces if piece.turn == held.turn.id]
        held.turn = await self._ledger.unsent(held.turn, own)
        await self._ledger.abandon(held.turn, others, str(fault))
        return True

    async def _finish(
        self,
        held: Held,
        said: Sequence[Message],
        *,
        state: str = "done",
        sent: Sequence[tuple[Piece, Receipt]] = (),
    ) -> str:
        inbound = held.turn.inbound
        if state == "done" and inbound.kind == "message" and inbound.said is None:
            state = "withdrawn"
        return await self._ledger.finish(held.turn, said, state=state, sent=sent, error=held.note)

    async def _complete(self, held: Held, channel: Editing, pieces: Sequence[Piece]) -> list[tuple[Piece, Receipt]]:
        """Let messages that grew say what they say in the end, and remove those that are not needed after all."""
        done: list[tuple[Piece, Receipt]] = []
        for piece in pieces:
            inbound, receipt = held.turn.inbound, Receipt(piece.receipt)
            try:
                if not piece.message.parts:
                    if piece.receipt:
                        await held.secure(self._ledger, self._clock)
                        await channel.remove(inbound, receipt)
                elif held.final.get(piece.receipt) != piece.message.text:
                    await held.secure(self._ledger, self._clock)
                    await channel.edit(inbound, receipt, held.last(piece), last=True)
            except Vanished as fault:
                # Whoever removed it does not want to read it, nor how it goes on.
                log.info("the answer was removed", turn=piece.turn)
                held.removed.add(piece.turn)
                if piece.turn == held.turn.id:
                    held.note = str(fault)
            except Gone:
                raise
            except Final as fault:
                if not piece.message.parts:
                    log.warning("cannot be removed", turn=held.turn.id, error=str(fault))
                    held.note = str(fault)
                    done.append((piece, receipt))
                    continue
                log.warning("cannot be edited, so it is sent", turn=held.turn.id, error=str(fault))
                # With what stands behind it, the last one first, so that the order is kept wherever this is cut off.
                for behind in reversed(pieces[pieces.index(piece) :]):
                    if behind.turn == piece.turn and behind.message.parts:
                        await self._ledger.begun(held.turn, behind, Receipt())
                        with contextlib.suppress(Fault):  # else the beginning of the answer stands there twice
                            await channel.remove(inbound, Receipt(behind.receipt))
                return done
            done.append((piece, receipt))
        return done

    async def erase(self, held: Held, channel: Editing) -> None:
        """Take an answer off the platform and out of the history, if whoever wants that may."""
        turn, inbound = held.turn, held.turn.inbound
        found = await self._ledger.answer_of(turn.conversation, inbound.ref)
        answered, asker, receipts = (found[0], found[1].sender, found[2]) if found else (0, "", [inbound.ref])
        if not await channel.may_remove(inbound, asker):
            held.note = "refused: only whoever asked, or an admin, may have an answer removed"
            return
        for receipt in receipts:
            await held.secure(self._ledger, self._clock)
            await channel.remove(inbound, Receipt(receipt))
        if answered:
            await self._ledger.erased(turn, answered)

    async def _fresh(self, turn: Turn) -> Turn:
        """The turn with the grant of a tap that came in the meantime, where its own is gone."""
        if self._open(turn.grant) is not None:
            return turn
        taps = await self._ledger.waiting(turn, "collect")
        return await self._ledger.absorb(turn, taps) if taps else turn

    async def _gather(self, held: Held, pieces: Sequence[Piece], grant: Grant) -> bool:
        """Where the last use of the grant would leave something unsaid, let it tell where that can be read."""
        caps, now = held.channel.caps, self._clock.now()
        if not caps.pages or grant.uses > 1 or len(pieces) <= caps.batch or self._links.base is None:
            return False
        words = held.assistant.words
        said, ids = compose(pieces, 0, caps, words, lambda turn: self._links.answer(turn, now) or "")
        gathered = [piece for piece in pieces if piece.id in ids]
        if len(gathered) < 2:
            return False
        await self._ledger.gather(held.turn, gathered, said)
        return True

    async def _by_grant(self, held: Held, pieces: Sequence[Piece], grant: Grant) -> list[tuple[Piece, Receipt]]:
        caps, words = held.channel.caps, held.assistant.words
        batch, attempt = list(pieces[: caps.batch]), Attempt(grant)
        if len(pieces) > caps.batch and caps.collect and not await self._may_push(held.channel):
            # The last place goes to a button that fetches the rest.
            more = says("assistant", words.more, Button(words.more_label, COLLECT))
            held.turn = await self._ledger.notice(held.turn, more, attempt, pieces=batch[:-1])
            unsent = await self._ledger.pending(held.turn.conversation)
            batch = [piece for piece in unsent if piece.attempt == attempt]
        else:
            held.turn = await self._ledger.sending(held.turn, batch, attempt)
        if caps.pages and not (batch := await self._still(held, batch)):
            held.turn = await self._ledger.unsent(held.turn, (), grant)
            return []
        try:
            receipts = await self._call(held, batch, grant)
        except TryLater:
            held.turn = await self._ledger.unsent(held.turn, batch, grant)
            raise
        except NoLeave as fault:
            log.info("grant refused", turn=held.turn.id, error=str(fault))
            held.turn = await self._ledger.unsent(held.turn, batch, void=True)
            return []
        return list(zip(batch, receipts, strict=True))

    async def _still(self, held: Held, batch: Sequence[Piece]) -> list[Piece]:
        """Those of these pieces that did not go out in the response to a request since we looked."""
        unsent = {piece.id for piece in await self._ledger.pending(held.turn.conversation)}
        return [piece for piece in batch if piece.id in unsent]

    async def _by_push(self, held: Held, pieces: Sequence[Piece]) -> list[tuple[Piece, Receipt]]:
        key = str(uuid.uuid4())  # kept with the pieces, so that every try of theirs has the same
        held.turn = await self._ledger.sending(held.turn, pieces, Attempt(key=key))
        return await self._push(held, pieces, key)

    async def _push(self, held: Held, pieces: Sequence[Piece], key: str) -> list[tuple[Piece, Receipt]]:
        messages = [piece.message for piece in pieces]
        await held.secure(self._ledger, self._clock)
        try:
            receipts = await held.channel.send(held.turn.inbound.conversation, messages, key=key, grant=None)
        except NoLeave as fault:
            log.info("push refused", turn=held.turn.id, error=str(fault))
            held.turn = await self._ledger.unsent(held.turn, pieces)
            return []
        return list(zip(pieces, receipts, strict=True))

    async def _call(self, held: Held, pieces: Sequence[Piece], grant: Grant) -> Sequence[Receipt]:
        """Send by a grant, asking again while we don't know whether it worked. NoLeave after that means that it did."""
        messages = [piece.message for piece in pieces]
        unsure = False
        for pause in (*_ASK_AGAIN, None):
            await held.secure(self._ledger, self._clock)
            try:
                return await held.channel.send(held.turn.inbound.conversation, messages, key="", grant=grant)
            except Ambiguous:
                if pause is None:
                    raise
                unsure = True
                if not _once(held.channel, grant):
                    _perhaps_twice(held, pieces)
                await self._clock.sleep(pause)
            except TryLater as fault:
                if unsure:
                    # This call was refused; an earlier one may have been carried out all the same.
                    raise Ambiguous(str(fault)) from fault
                raise
            except NoLeave as fault:
                if unsure and grant.uses == 1 and self._open(grant) is not None:
                    return [Receipt()] * len(pieces)
                if unsure:
                    raise Ambiguous(str(fault)) from fault
                raise
        raise AssertionError("unreachable")

    async def _resolve(self, held: Held, pieces: Sequence[Piece], attempt: Attempt) -> None:
        """A send was begun and cut off: find out whether it went through, by making the same call again."""
        if all(piece.notice for piece in pieces):
            # Now that the answer is there the notice is void; if it did not go out, its grant is still good.
            held.turn = await self._ledger.unsent(held.turn, pieces, self._open(attempt.grant))
            return
        if attempt.grant is None and editing(held.channel):
            for piece in pieces:
                found = await held.channel.find(held.turn.inbound, attempt.key)
                if found is None:
                    held.turn = await self._ledger.unsent(held.turn, [piece])
                else:
                    await self._ledger.begun(held.turn, piece, found)
            return
        if attempt.grant is None:
            if sent := await self._push(held, pieces, attempt.key):
                await self._ledger.sent(held.turn, sent)
            return
        if not (once := _once(held.channel, attempt.grant)):
            _perhaps_twice(held, pieces)
        try:
            receipts = await self._call(held, pieces, attempt.grant)
        except NoLeave:
            if attempt.grant.uses == 1 and self._open(attempt.grant) is not None:
                # Young enough to be alive, yet spent: by us, then, and the pieces are out.
                receipts = [Receipt()] * len(pieces)
            else:
                # The one honest exception: too late to know. Rather twice than never.
                if once:
                    _perhaps_twice(held, pieces)
                held.turn = await self._ledger.unsent(held.turn, pieces)
                return
        await self._ledger.sent(held.turn, list(zip(pieces, receipts, strict=True)))

    async def _nothing_waits(self, held: Held) -> None:
        """A tap on a button whose answer has come already."""
        grant = self._open(held.turn.grant)
        if grant is not None:
            await self._notice(held, grant, says("assistant", held.assistant.words.nothing_waiting))

    # ── leave ────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, grant: Grant | None) -> Grant | None:
        return grant if grant is not None and grant.until > self._clock.now() else None

    async def _may_push(self, channel: Channel) -> bool:
        match channel.caps.unprompted:
            case "always":
                return True
            case "never":
                return False
            case "ask":
                return await channel.may_push()


def _once(channel: Channel, grant: Grant) -> bool:
    """Does a call by this grant that is made again count once, as the first has used it up?"""
    return grant.uses == 1 and not channel.caps.keyless


def _perhaps_twice(held: Held, pieces: Sequence[Piece]) -> None:
    log.warning("sent twice, perhaps", turn=held.turn.id, pieces=[piece.id for piece in pieces])
