"""Shows an answer while it is made, where messages that are out can be changed.

A message is begun with a placeholder, or with the first words where the platform itself shows that we are at work;
then it is edited, at the pace that the platform allows. That it is begun is noted before the call and what the platform
calls it after, so that whoever goes on with the turn goes on with the same message. The last edit is not made here:
it belongs to the stored answer, and `Delivery.settle` makes it.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence

import msgspec
import structlog

from chatferry.channels.base import STOP, Capabilities, Editing
from chatferry.clock import Clock
from chatferry.errors import Ambiguous, Fault, Final, Gone, TryLater, Vanished
from chatferry.feed import Tail
from chatferry.held import Held
from chatferry.ledger.ledger import Ledger
from chatferry.model import Attempt, Button, Message, Piece, Receipt, says
from chatferry.signals import Signal, first_of
from chatferry.text.cutting import length
from chatferry.words import Words

log = structlog.get_logger(__name__)


class Growth:
    """Grows the answers of all channels that can."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def show(self, held: Held, channel: Editing, tail: Tail) -> None:
        """Show what the model says until `held.made`. Raises Final where the answer could not be sent either."""
        patience = channel.patience(held.turn.inbound)
        if patience is None:
            return
        if not await self._find(held, channel):
            return
        if patience and not held.drafts:
            await self._wait(held, patience, tail.moved("", ()))
        while not held.made.is_set():
            seen, tasks, appends = tail.text, tail.tasks, channel.appends(held.turn.inbound)
            words = held.assistant.words
            pieces = held.layout.pieces(seen) or [says("assistant", words.answering)]
            shown = pieces[-1].text
            if tail.doing and not appends:
                shown = stepped(shown if seen.strip() else "", tail.doing, words, channel.caps)
            pieces[-1] = says("assistant", shown, Button(words.stop, STOP))
            if appends:
                held.places = {task.id: held.places.get(task.id, len(pieces) - 1) for task in tasks}
                pieces = [held.shown(place, message) for place, message in enumerate(pieces)]
            whole = False
            try:
                whole = await self._show(held, channel, pieces)
            except Vanished as fault:
                log.info("the answer was removed", turn=held.turn.id)
                held.note = str(fault)
                held.removed.add(held.turn.id)
                held.interrupt()
                return
            except Ambiguous as fault:
                # It may be out; `settle` finds out before anything else is sent.
                log.warning("not known whether a message began", turn=held.turn.id, error=str(fault))
                return
            except TryLater as fault:
                log.warning("not shown", turn=held.turn.id, error=str(fault))
                await self._wait(held, min(fault.after or 0.0, 60.0))
            await self._wait(held, channel.caps.edits)
            if whole:
                await self._wait(held, math.inf, tail.moved(seen, tasks))

    async def _show(self, held: Held, channel: Editing, pieces: list[Message]) -> bool:
        """Begin and edit what does not read as it should; what is full is ended.

        False where the platform leaves no room for all of it now.
        """
        for place, message in enumerate(pieces):
            full = place < len(pieces) - 1
            if place >= len(held.drafts) or not held.drafts[place].receipt:
                await self._begin(held, channel, place, message)
            draft = held.drafts[place]
            if not draft.receipt or held.final.get(draft.receipt) == message.text:
                continue
            if full or draft.message != message:
                held.final.pop(draft.receipt, None)
                await held.secure(self._ledger, self._clock)
                try:
                    shown = await channel.edit(held.turn.inbound, Receipt(draft.receipt), message, last=full)
                except (Vanished, Gone):
                    raise
                except Final as fault:
                    # The stored answer is sent in another way; until then this stays as it is.
                    log.warning("cannot be edited", turn=held.turn.id, error=str(fault))
                    return True
                if not shown:
                    return False
            held.drafts[place] = _reads(draft, message)
            if full:
                held.final[draft.receipt] = message.text
        return True

    async def _begin(self, held: Held, channel: Editing, place: int, message: Message) -> None:
        attempt = Attempt(key=str(uuid.uuid4()))
        if place < len(held.drafts):
            # Begun before, in vain.
            await self._ledger.sending(held.turn, held.drafts[place : place + 1], attempt)
        else:
            held.drafts.append(await self._ledger.draft(held.turn, message, attempt))
        await held.secure(self._ledger, self._clock)
        try:
            receipt = await channel.begin(held.turn.inbound, message, key=attempt.key)
        except TryLater:
            await self._ledger.unsent(held.turn, held.drafts[place : place + 1])
            raise
        except Vanished as fault:  # not our message, for there is none yet, but what it was to hang on
            raise Final(str(fault)) from fault
        held.drafts[place] = _reads(await self._ledger.begun(held.turn, held.drafts[place], receipt), message)

    async def _find(self, held: Held, channel: Editing) -> bool:
        """Messages that an earlier holder began and did not come to note. False where that cannot be known now."""
        for place, draft in enumerate(held.drafts):
            if draft.attempt is None or draft.attempt.grant is not None:
                continue
            try:
                receipt = await channel.find(held.turn.inbound, draft.attempt.key)
            except Fault as fault:
                log.warning("not known whether a message began", turn=held.turn.id, error=str(fault))
                return False
            if receipt is not None:
                held.drafts[place] = await self._ledger.begun(held.turn, draft, receipt)
            else:
                await self._ledger.unsent(held.turn, [draft])
        return True

    async def _wait(self, held: Held, seconds: float, *signals: Signal) -> None:
        """Wait for so long, for the end of the model, or for one of the signals."""
        clock = [self._clock.sleep(seconds)] if seconds < math.inf else []
        await first_of(held.made.wait(), *clock, *signals)


def stepped(text: str, doing: Sequence[str], words: Words, caps: Capabilities) -> str:
    """The text with what is being called behind it, where there is room: it goes as soon as the model goes on."""
    step = words.calling.replace("{tools}", ", ".join(doing))
    longer = f"{text.rstrip()}\n\n{step}" if text else step
    return longer if length(longer, caps.measure) <= caps.limit else text or words.answering


def unstepped(text: str, words: Words) -> str:
    """The text without the line that `stepped` puts behind it while something is called."""
    before, _, last = text.rpartition("\n\n")
    return before if last.startswith(words.calling.partition("{tools}")[0]) else text


def _reads(draft: Piece, message: Message) -> Piece:
    """The draft as the platform shows it now."""
    return msgspec.structs.replace(draft, message=message)
