"""Turns a claimed turn into an answered one: ask, store, settle, close; and go on from wherever another stopped."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping

import structlog

from chatferry import spending
from chatferry.accounts import Accounts
from chatferry.answering.asking import Asking
from chatferry.answering.outcomes import Asked, outcome_of, pieces_of, said_of
from chatferry.assistant import Staff
from chatferry.channels.base import Channel, editing
from chatferry.clock import Clock
from chatferry.delivering.delivery import Delivery
from chatferry.delivering.growth import Growth, unstepped
from chatferry.delivering.relay import LOOK
from chatferry.desk import Desk
from chatferry.errors import Ambiguous, Final, Gone, LeaseLost, TryLater, Unavailable
from chatferry.feed import Feed, Outcome, Tail
from chatferry.held import Held
from chatferry.ledger.consent import Ask
from chatferry.ledger.ledger import Ledger
from chatferry.model import APOLOGY, Message, Receipt, Turn, Usage, says
from chatferry.retry import next_try
from chatferry.signals import first_of
from chatferry.watching import occasion
from chatferry.watching.metrics import Metrics
from chatferry.watching.occasion import Tracer, stage

log = structlog.get_logger(__name__)

_TELLING = 0.25
"""Seconds between two times that other processes are told how far an answer is that somebody reads there."""
_WATCHED = 3 * LOOK
"""Seconds for which an answer counts as being read after that was last said."""


class Worker:
    """Handles conversations for a dispatcher. One worker for a process, any number of turns at a time."""

    def __init__(
        self,
        ledger: Ledger,
        delivery: Delivery,
        growth: Growth,
        feed: Feed,
        clock: Clock,
        metrics: Metrics,
        asking: Asking,
        accounts: Accounts,
        *,
        channels: Mapping[str, Channel],
        staff: Staff,
        desk: Desk,
        alone: bool = True,
        tracer: Tracer | None = None,
    ) -> None:
        """alone: nobody reads along in another process."""
        self._ledger = ledger
        self._delivery = delivery
        self._growth = growth
        self._feed = feed
        self._clock = clock
        self._metrics = metrics
        self._asking = asking
        self._accounts = accounts
        self._channels = channels
        self._staff = staff
        self._desk = desk
        self._alone = alone
        self._tracer = tracer
        self._held: dict[int, Held] = {}
        self._readers: dict[int, float] = {}
        """Until when answers count as being read that are not made here, or not yet."""
        self._doubt = asyncio.Event()
        """Set when we may have missed what was told about a turn of ours."""

    @property
    def running(self) -> int:
        """Turns in the making."""
        return len(self._held)

    async def handle(self, conversation: str, nudged: asyncio.Event) -> bool:
        """Do the conversation's next turn. False where nothing is due."""
        until = self._clock.now() + self._ledger.lease
        try:
            turn = await self._ledger.claim(conversation)
        except Unavailable as fault:
            log.error("claim failed", conversation=conversation, error=str(fault))
            return False
        if turn is None:
            return False
        self._metrics.claimed(turn, self._clock.now())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._guard(turn, nudged, until), name=f"turn {turn.id}")
        return True

    async def keep_leases(self) -> None:
        """Renew the leases of all running turns, until cancelled; a turn whose lease is lost is dropped at once.

        That also tells what is to stop, if the news of it did not reach us.
        """
        while True:
            await first_of(self._clock.sleep(self._ledger.lease / 3.5), self._doubt.wait())
            self._doubt.clear()
            holding = list(self._held.values())
            if not holding:
                continue
            now = self._clock.now()
            try:
                renewed = await self._ledger.renew([held.turn for held in holding])
            except Unavailable as fault:
                log.error("leases not renewed", turns=len(holding), error=str(fault))
                continue
            for held in holding:
                held.until = now + self._ledger.lease
            # Whoever closed its turn in the same moment goes on first, and is not holding it any more.
            await asyncio.sleep(0)
            for turn in renewed.lost:
                if turn.id in self._held:
                    log.warning("lease lost", turn=turn.id)
                    self._held[turn.id].drop()
            for turn in renewed.stopped:
                self.stop(turn.id)

    def holds(self, turn: int) -> bool:
        """Is the turn worked on here?"""
        return turn in self._held

    def stop(self, turn: int) -> None:
        """Stop the model of a turn that runs here; what it had said stands."""
        if turn in self._held:
            self._held[turn].interrupt()

    def nudge(self, turn: int) -> None:
        """Something came behind a turn, by another process."""
        if turn in self._held:
            self._held[turn].nudged.set()

    def watched(self, turn: int) -> None:
        """Somebody reads the answer of a turn along in another process; he may do so before it is begun here."""
        now = self._clock.now()
        if turn in self._held:
            self._held[turn].watch(now + _WATCHED)
            return
        self._readers[turn] = now + _WATCHED
        for early, until in list(self._readers.items()):  # in the order in which they were told
            if until > now:
                break
            del self._readers[early]

    def missed(self) -> None:
        """We may not have been told of something: look at all that is worked on here."""
        self._doubt.set()
        for turn in self._held:
            self.nudge(turn)

    async def _guard(self, turn: Turn, nudged: asyncio.Event, until: float) -> None:
        """The top of a turn: whatever goes wrong ends here, logged with the turn, and leaves the turn to be done."""
        occasion.begin(turn, self._tracer)
        channel, assistant = self._channels.get(turn.channel), self._staff.of(turn.channel, turn.inbound)
        if channel is None or assistant is None:
            # They are gone from the configuration; if they come back, `chatferry turns retry` sends it.
            await self._give_up(turn, f"channel {turn.channel!r} or its assistant is not configured any more")
            return
        occasion.by(assistant.name, assistant.settings.model if turn.inbound.kind == "message" else "")
        held = Held(turn, channel, assistant, nudged, until)
        self._held[turn.id] = held
        held.watch(self._readers.pop(turn.id, 0.0))
        spending.begin(held.spending)
        try:
            await self._run(held)
        except asyncio.CancelledError:
            await self._let_go(held.turn)
            raise
        except LeaseLost:
            log.warning("turn taken over or withdrawn", turn=turn.id)
            self._metrics.leases_lost.inc()
            await self._forgotten(turn)
        except Unavailable as fault:
            # Its lease runs out, and the sweep finds it again.
            log.error("ledger unavailable", turn=turn.id, error=str(fault))
        except Gone as fault:
            log.info("nobody there", turn=turn.id, error=str(fault))
            await self._close(held, "gone", str(fault))
        except Final as fault:
            log.error("cannot be delivered", turn=turn.id, error=str(fault))
            await self._close(held, "failed", str(fault))
        except (TryLater, Ambiguous) as fault:
            await self._later(held.turn, fault)
        except Exception as bug:  # the top of the task: one turn's bug must not stop the others
            log.exception("bug", turn=turn.id)
            await self._later(held.turn, TryLater(f"{type(bug).__name__}: {bug}"))
        finally:
            del self._held[turn.id]
            await self._pay(held)
        await self._delivery.rest(held)

    async def _run(self, held: Held) -> None:
        tail = self._feed.tail(held.turn.id)
        turn = held.turn
        if turn.answer is None:
            outcome = await self._answer(held, tail)
        else:
            outcome = Outcome(turn.answer, turn.finish, error=turn.error)
        said = said_of(held.turn, outcome)
        if held.channel.caps.batch:
            with stage("delivery"):
                state = await self._delivery.settle(held, said)
        else:
            state = await self._ledger.finish(held.turn, said)
        tail.end(outcome)
        self._closed(held.turn, state)
        self._asking.closed(held)
        why = {"error": outcome.error} if outcome.error else {}
        if state == "parked":
            log.info("answer waits to be fetched", turn=turn.id, channel=turn.channel, **why)
        else:
            log.info("turn closed", turn=turn.id, channel=turn.channel, state=state, **why)

    # ── the answer ───────────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, held: Held, tail: Tail) -> Outcome:
        """The answer, stored with the pieces in which it goes out; a tap, or who wants an answer removed, gets none."""
        inbound, assistant = held.turn.inbound, held.assistant
        if inbound.kind == "erase" and editing(held.channel):
            await self._delivery.erase(held, held.channel)
        if inbound.kind in ("collect", "erase"):
            return Outcome(None)
        asked = Asked()
        if editing(held.channel) and held.turn.lease > 1:
            begun = await self._ledger.pending(held.turn.conversation)
            held.drafts = [piece for piece in begun if piece.turn == held.turn.id and not piece.notice]
        outcome = await self._outcome(held, tail, asked)
        with held.spending.paying() as due:
            held.turn = await self._ledger.answered(
                held.turn,
                outcome.answer or says("assistant", ""),
                pieces_of(held, outcome, self._desk.notice(held.turn, held.assistant)),
                drafts=held.drafts,
                finish=outcome.finish,
                model=outcome.model,
                usage=due,
                charges=self._accounts.bill(held.turn, assistant, due),
                first_token_at=asked.first_token_at,
                error=outcome.error,
                assistant=assistant.name,
                ask=self._asks(held) if asked.asks and not outcome.error else None,
            )
        if outcome.answer is not None and inbound.kind == "message":
            self._metrics.answered(held.turn, asked.first_token_at, self._clock.now())
        return outcome

    async def _outcome(self, held: Held, tail: Tail, asked: Asked) -> Outcome:
        """Our own words, or the model's; what came of asking it is noted in `asked`."""
        inbound = held.turn.inbound
        match inbound.kind:
            case "greeting":
                return Outcome(says("assistant", held.assistant.greeting))
            case "push":
                return Outcome(inbound.said)
            case "command":
                return await self._command(held)
        if inbound.said is None or held.stopped:
            return Outcome(await self._shown(held), "stopped", await self._ledger.spent(held.turn.id))
        await self._merge(held)
        return await self._ask(held, tail, asked)

    def _asks(self, held: Held) -> Ask:
        """Whom the answer asks, and for how long."""
        return Ask(held.turn.inbound.sender, self._clock.now() + held.assistant.settings.confirm_timeout)

    async def _command(self, held: Held) -> Outcome:
        try:
            said = await self._desk.answer(held.turn, held.assistant)
        except Final as fault:
            log.error("no answer to a command", turn=held.turn.id, error=str(fault), exc_info=fault.__cause__)
            return Outcome(says("assistant", held.assistant.words.sorry_failed), APOLOGY, error=str(fault))
        return Outcome(says("assistant", said) if said else None)

    async def _shown(self, held: Held) -> Message | None:
        """What was shown of an answer that somebody stopped, and whose words went with a process that died."""
        channel = held.channel
        if not editing(channel) or held.turn.inbound.said is None:
            return None
        receipts = [Receipt(draft.receipt) for draft in held.drafts if draft.receipt]
        words = held.assistant.words
        shown = [unstepped(await channel.reads(held.turn.inbound, receipt), words) for receipt in receipts]
        text = "\n\n".join(filter(None, (said.strip() for said in shown)))
        return says("assistant", text) if text and text != words.answering else None

    async def _merge(self, held: Held) -> None:
        """Take the messages that wait behind this one along, where the assistant is told to."""
        if held.assistant.settings.busy == "queue" or not held.channel.caps.batch:
            return
        # One that has its answer already, because it is only sent again, keeps it; one that was stopped gets none.
        waiting = await self._ledger.waiting(held.turn, "message")
        others = [turn for turn in waiting if turn.answer is None and not turn.stopped]
        if others:
            # What was said in a later session is not answered in this one.
            sections = await self._ledger.sections(held.turn.conversation, held.turn.id, others[-1].id)
            later = min((section.turn for section in sections if section.turn > held.turn.id), default=None)
            others = [turn for turn in others if later is None or turn.id < later]
        if others:
            held.turn = await self._ledger.absorb(held.turn, others)

    async def _ask(self, held: Held, tail: Tail, asked: Asked) -> Outcome:
        """Ask the model, and keep the person company meanwhile."""
        caps = held.channel.caps
        try:
            async with asyncio.TaskGroup() as group:
                attended = caps.waiting or caps.notice or held.assistant.settings.busy == "interrupt"
                company = group.create_task(self._delivery.attend(held)) if caps.batch and attended else None
                typing = group.create_task(self._delivery.type(held)) if caps.typing else None
                shown = (
                    group.create_task(self._growth.show(held, held.channel, tail)) if editing(held.channel) else None
                )
                told = not self._alone and (caps.pages or caps.live)
                telling = group.create_task(self._tell(held, tail)) if told else None
                if editing(held.channel) and (consenting := held.turn.inbound.consenting):
                    group.create_task(self._delivery.disarm(held, held.channel, consenting.confirms))
                held.asking = group.create_task(self._asking.ask(held, tail, asked))
                if held.stopped:  # while we were preparing
                    held.asking.cancel()
                await asyncio.wait([held.asking])
                held.made.set()
                for courtesy in filter(None, (typing, telling)):
                    courtesy.cancel()
                for task in (company, shown):
                    if task is not None:
                        await task  # not cut off: an edit on its way must not arrive after the last one
        except BaseExceptionGroup as faults:
            # One of ours (the lease, the ledger): the guard knows what to do with each.
            raise faults.exceptions[0] from None
        finally:
            held.asking = None
        return outcome_of(asked, tail.text, held)

    async def _tell(self, held: Held, tail: Tail) -> None:
        """Keep what is said, as it grows, where other processes can read it, while somebody there does."""
        told = ""
        while True:
            await tail.grown(told)
            await held.reading(self._clock)
            told = tail.text
            await self._ledger.saying(held.turn, told)
            await self._clock.sleep(_TELLING)

    # ── endings ──────────────────────────────────────────────────────────────────────────────────────────────

    def _closed(self, turn: Turn, state: str) -> None:
        self._metrics.closed(turn, state, self._clock.now())
        occasion.closed(turn, state)

    async def _close(self, held: Held, state: str, error: str) -> None:
        turn = held.turn
        # Where the answer is an apology, the model's fault is as much of the story as the platform's.
        error = "; ".join(filter(None, (turn.error, error)))
        outcome = Outcome(turn.answer, turn.finish, error=error)
        try:
            await self._ledger.finish(turn, said_of(turn, outcome), state=state, error=error)
        except (LeaseLost, Unavailable) as fault:
            log.error("turn not closed", turn=turn.id, error=str(fault))
        self._feed.tail(turn.id).end(outcome)
        self._closed(turn, state)

    async def _forgotten(self, turn: Turn) -> None:
        """Where there is no such turn any more, whoever waits for its answer here waits no longer."""
        with contextlib.suppress(Unavailable):
            if await self._ledger.shown(turn.id) is None:
                self._feed.tail(turn.id).end(Outcome(None, APOLOGY, error="forgotten"))

    async def _pay(self, held: Held) -> None:
        """What the model said is paid for, also where the turn was taken back, changed or cut off meanwhile."""
        if held.spending.owed == Usage():
            return
        try:
            with held.spending.paying() as due:
                await self._ledger.besides(self._accounts.owed(held.turn, held.assistant, due))
        except Unavailable as fault:
            log.error("tokens not charged", turn=held.turn.id, error=str(fault))

    async def _give_up(self, turn: Turn, error: str) -> None:
        log.error("turn failed", turn=turn.id, error=error)
        try:
            await self._ledger.finish(turn, state="failed", error=error)
            self._closed(turn, "failed")
        except (LeaseLost, Unavailable) as fault:
            log.error("turn not closed", turn=turn.id, error=str(fault))
        self._feed.tail(turn.id).end(Outcome(None, APOLOGY, error=error))

    async def _later(self, turn: Turn, fault: TryLater | Ambiguous) -> None:
        again = fault if isinstance(fault, TryLater) else TryLater(str(fault))
        wait = next_try(again, turn.attempts, random=random.random, tries=12, base=1.0, cap=300.0, patience=3600.0)
        try:
            if wait is None and turn.answer is not None and turn.finish != APOLOGY:
                # The answer is kept: it comes with the person's next message.
                said = said_of(turn, Outcome(turn.answer, turn.finish))
                await self._ledger.finish(turn, said, state="parked", error=str(fault))
                self._closed(turn, "parked")
                self._feed.tail(turn.id).end(Outcome(turn.answer, turn.finish))
            elif wait is None:
                await self._give_up(turn, str(fault))
            else:
                log.warning("turn tried again later", turn=turn.id, error=str(fault), seconds=round(wait, 1))
                await self._ledger.retry(turn, wait, str(fault))
                self._metrics.retries.inc()
        except (LeaseLost, Unavailable) as lost:
            log.error("turn not given back", turn=turn.id, error=str(lost))

    async def _let_go(self, turn: Turn) -> None:
        try:
            await self._ledger.release(turn)
        except (LeaseLost, Unavailable) as fault:
            self._metrics.leases_lost.inc(isinstance(fault, LeaseLost))
            log.warning("turn not released", turn=turn.id, error=str(fault))
