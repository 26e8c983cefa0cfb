"""The ledger's writes beside the turns: what is remembered, counted, cached, known and watched."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from chatferry.clock import Clock
from chatferry.knowledge.shelves import Shelving
from chatferry.ledger import answers, apikeys, forgetting, guests, incidents, memories, profiles
from chatferry.ledger.budgets import Besides, Warned
from chatferry.ledger.commit import GroupCommit
from chatferry.ledger.database import Database
from chatferry.ledger.forgetting import Forgot
from chatferry.ledger.people import Person, Talk
from chatferry.ledger.profiles import Fact
from chatferry.ledger.recalling import Line, Memory, Recalling
from chatferry.model import Turn
from chatferry.text.cutting import clean


class Keeping(Recalling):
    """Each of these is one write, in the same group commit as those about turns. All raise Unavailable."""

    def __init__(self, database: Database, clock: Clock, commit: GroupCommit, lease: float) -> None:
        super().__init__(database, clock, lease)
        self._commit = commit
        self._key = b""
        """By which it is known again what was forgotten."""

    # ── what assistants remember ─────────────────────────────────────────────────────────────────────────────

    async def folded(self, conversation: str, was: Memory | None, now: Memory, lines: Sequence[Line]) -> bool:
        """Put a summary in the place of another. False, and nothing is written, where either is not made of what
        there is any more.
        """
        done: bool = await self._commit.submit(memories.Fold(conversation, was, now, tuple(lines)))
        return done

    async def noted(self, person: str, turn: int, fact: str, replaces: str = "") -> tuple[Fact, ...] | profiles.Refused:
        """Note a fact about somebody, or with no `fact` forget the one that it `replaces`; returns what is known."""
        note = profiles.Note(person, turn, self._clock.now(), clean(fact), clean(replaces))
        noted: tuple[Fact, ...] | profiles.Refused = await self._commit.submit(note)
        return noted

    # ── money ──────────────────────────────────────────────────────────────────────────────────────────

    async def warned(self, key: str, told: int) -> bool:
        """Somebody is told how much of a budget is used up, in hundredths. False: somebody else has told it."""
        first: bool = await self._commit.submit(Warned(key, told))
        return first

    async def besides(self, besides: Besides) -> None:
        """Something else was spent for a turn, than its answer."""
        await self._commit.submit(besides)

    # ── answers that are given again ─────────────────────────────────────────────────────────────────────────────

    async def keep_answer(self, keep: answers.Keep) -> None:
        """Keep an answer to be given again."""
        await self._commit.submit(keep)

    async def begin_answer(self, key: str, assistant: str, turn: Turn, ttl: float) -> bool:
        """Keep the place of an answer for who asks now. False where there is one, or another asks (`kept_answer`)."""
        now = self._clock.now()
        begin = answers.Begin(key, assistant, turn.id, turn.lease, now, now - ttl, self._expired(now))
        begun: bool = await self._commit.submit(begin)
        return begun

    async def drop_answer(self, key: str, turn: Turn) -> None:
        """Nothing comes of the answer whose place was kept: whoever waits for it waits no longer."""
        await self._commit.submit(answers.Drop(key, turn.id, turn.lease))

    async def touch_answer(self, key: str) -> None:
        """An answer was given again: it stays longer than those that were not."""
        await self._commit.submit(answers.Touch(key, self._clock.now()))

    # ── callers of the API ───────────────────────────────────────────────────────────────────────────────────────

    async def used(self, uses: Mapping[str, float]) -> None:
        """These keys, by their ids, were last used at these times."""
        await self._commit.submit(apikeys.Used(uses))

    # ── knowledge ────────────────────────────────────────────────────────────────────────────────────────────

    async def shelve(self, step: Shelving) -> int:
        """Do a step of what keeps the index of knowledge up to date, beside the turns; see `knowledge.shelves`."""
        came_of_it: int = await self._commit.submit(step)
        return came_of_it

    # ── what is watched ──────────────────────────────────────────────────────────────────────────────────────

    async def watch_over(self, alerts: Sequence[str], holder: str, seconds: float) -> list[incidents.Incident]:
        """Watch these alerts for so long; gives those that nobody else watches."""
        held: list[incidents.Incident] = await self._commit.submit(
            incidents.Hold(tuple(alerts), holder, self._clock.now(), self._clock.now() + seconds)
        )
        return held

    async def raise_alerts(self, alerts: Sequence[str]) -> None:
        """These alerts are bad now, as this process sees it; whoever watches them decides."""
        await self._commit.submit(incidents.Raise(tuple(alerts), self._clock.now()))

    async def judged(self, verdicts: Sequence[incidents.Verdict], holder: str) -> None:
        """Note how alerts stand that we watch; where an incident begins or ends, its alarms are kept with that."""
        await self._commit.submit(incidents.Judge(tuple(verdicts), holder, self._clock.now()))

    async def alarms(self, targets: Collection[str], seconds: float) -> list[incidents.Alarm]:
        """What these are to be told now, the oldest of each; nobody else gets it for so long."""
        now = self._clock.now()
        due: list[incidents.Alarm] = await self._commit.submit(incidents.Take(tuple(targets), now, now + seconds))
        return due

    async def alarmed(self, alarm: incidents.Alarm, again: float | None = None) -> None:
        """Whom the alarm is for has heard it, and it is forgotten; or else it is due again after so many seconds."""
        due = None if again is None else self._clock.now() + again
        await self._commit.submit(incidents.Rung(alarm.id, due))

    # ── people ──────────────────────────────────────────────────────────────────────────────────────────

    async def withdraw(self, person: Person, upto: int) -> Forgot:
        """Let nobody work any more on what this person has asked up to a turn."""
        forgot: Forgot = await self._commit.submit(forgetting.Withdraw(person, upto, self._clock.now()))
        return forgot

    async def forget(self, talk: Talk, upto: int) -> Forgot:
        """Remove the next turns of a person in a talk, up to a turn; with the last, what else is kept of the talk."""
        forgot: Forgot = await self._commit.submit(forgetting.Forget(talk, upto, self._clock.now(), self._key))
        return forgot

    async def forget_rest(self, person: Person, addresses: Sequence[str]) -> Forgot:
        """Remove what is kept about a person by their id, or by the addresses of their own talks."""
        forgot: Forgot = await self._commit.submit(forgetting.ForgetRest(person, tuple(addresses)))
        return forgot

    async def stand(self, guest: str, standing: str) -> None:
        """Let somebody in, or keep them out."""
        await self._commit.submit(guests.Stand(guest, standing, self._clock.now()))

    async def lapse(self) -> None:
        """Take away what has had its time: marks of forgotten events, and what strangers were told."""
        await self._commit.submit(forgetting.Lapse(self._clock.now()))
