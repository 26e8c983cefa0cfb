"""Watches what the alerts are about, and has people told when an incident begins and when it is over.

Every process looks, and one at a time decides on each alert: see `incidents`. What is measured is of all processes, as
it comes from the ledger; what only a process itself knows, such as a model that it leaves alone, each of them raises.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Mapping

import structlog

from chatferry.clock import Clock
from chatferry.config import AlertSettings
from chatferry.errors import TryLater, Unavailable
from chatferry.ledger.incidents import Alarm, Incident, Verdict
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.measures import Count, Outcomes, slowest, succeeded
from chatferry.retry import Circuit, next_try
from chatferry.watching.alarms import Bell, key_of

log = structlog.get_logger(__name__)

LOOK = 10.0
"""Seconds between two looks."""
_HELD = 3.5 * LOOK
"""Seconds after which another process looks in the place of one that died."""
_RECENT = 2.5 * LOOK
"""Seconds for which what a process raised counts as so: each raises it with every look."""
_RINGING = 60.0
"""Seconds that one try to tell somebody may take, before another process may try."""
_DAY = 86_400.0
"""Seconds after which nobody is told any more of what could not be told until then."""

Sign = Callable[[AlertSettings], bool]
"""Is what the alert is about bad, as far as this process knows?"""


def left_alone(circuits: Mapping[str, Circuit]) -> Sign:
    """Does the model that the alert is about fail so often that it is not asked? circuits: by the models' names."""
    return lambda alert: alert.model is not None and circuits[alert.model].open


class Watch:
    """The alerts of one process."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        alerts: Mapping[str, AlertSettings],
        bell: Bell,
        *,
        signs: Mapping[str, Sign],
        models: Mapping[str, str],
        purses: Callable[[float], Mapping[str, tuple[str, int]]],
    ) -> None:
        """alerts: by the keys of their incidents, see `watched`. signs: by `when`, what only a process itself knows.

        models: which one each assistant asks. purses: at a time, by assistant, the key of the budget that its money is
        in, and how much that is.
        """
        self._ledger = ledger
        self._clock = clock
        self._alerts = alerts
        self._bell = bell
        self._signs = signs
        self._models = models
        self._purses = purses
        self._me = uuid.uuid4().hex
        self._outcomes = Outcomes(
            ledger.outcomes, longest=max((alert.window for alert in alerts.values()), default=0.0)
        )
        self._targets = {key_of(target) for alert in alerts.values() for target in alert.to}
        self._ringing: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled. Whoever cannot be told now holds up nobody else."""
        try:
            while True:
                # What waits at a start is just being begun with.
                await self._clock.sleep(LOOK)
                try:
                    await self.look()
                    await self.ring()
                except Unavailable as fault:
                    log.error("alerts not looked at", error=str(fault))
                except Exception:  # the top of the task: what is wrong with an alert must not stop answers
                    log.exception("bug")
        finally:
            for task in self._ringing.values():
                task.cancel()
            await asyncio.gather(*self._ringing.values(), return_exceptions=True)

    async def look(self) -> None:
        """Look once: raise what this process knows, and decide on what it watches."""
        held = await self._ledger.watch_over(list(self._alerts), self._me, _HELD)
        signs = [(key, alert, self._signs.get(alert.when)) for key, alert in self._alerts.items()]
        if bad := [key for key, alert, sign in signs if sign is not None and sign(alert)]:
            await self._ledger.raise_alerts(bad)
            held = await self._ledger.watch_over([stands.alert for stands in held], self._me, _HELD) if held else held
        verdicts = [verdict for stands in held if (verdict := await self._verdict(stands)) is not None]
        if verdicts:
            await self._ledger.judged(verdicts, self._me)

    async def _verdict(self, stands: Incident) -> Verdict | None:
        """How the alert is now; None as long as that is not known."""
        alert = self._alerts[stands.alert]
        now = self._clock.now()
        value: float | None = None
        turns, bad_at = 0, now
        if alert.when in self._signs:
            bad, bad_at = now - stands.bad_at < _RECENT, stands.bad_at
        elif alert.when == "queue":
            value = await self._ledger.waited(alert.channel)
            bad = value > alert.threshold
        elif alert.when == "budget":
            value = await self._spent(alert.assistant, now)
            bad = value >= alert.threshold
        else:
            counts = await self._outcomes.during(alert.window, now)
            if counts is None:
                return None
            concerned = (count for count in counts if self._concerns(alert, count))
            turns, value = (succeeded if alert.when == "success" else slowest)(concerned)
            beyond = value < alert.threshold if alert.when == "success" else value > alert.threshold
            # An incident is not over because hardly anybody asks any more.
            bad = beyond and turns >= (1 if stands.open else alert.least)
        targets = tuple(dict.fromkeys(map(key_of, alert.to)))
        return Verdict(stands.alert, bad_at if bad else None, value, turns, alert.window, targets)

    async def _spent(self, assistant: str | None, now: float) -> float:
        """The share of its month's money that an assistant has spent."""
        key, money = self._purses(now)[assistant or ""]
        return (await self._ledger.purses([key])).get(key, 0) / money

    def _concerns(self, alert: AlertSettings, count: Count) -> bool:
        return (
            alert.channel in (None, count.channel)
            and alert.assistant in (None, count.assistant)
            and alert.model in (None, self._models.get(count.assistant, ""))
        )

    async def ring(self) -> None:
        """Begin to tell everybody who is to be told something now, each on their own."""
        free = [key for key in self._targets if key not in self._ringing]
        for alarm in await self._ledger.alarms(free, _RINGING) if free else []:
            task = asyncio.create_task(self._ring(alarm), name=f"alarm {alarm.id}")
            self._ringing[alarm.target] = task
            task.add_done_callback(lambda _, target=alarm.target: self._ringing.pop(target, None))  # type: ignore[misc]

    async def _ring(self, alarm: Alarm) -> None:
        alert = self._alerts.get(alarm.told.alert)
        target = next((one for one in alert.to if key_of(one) == alarm.target), None) if alert else None
        told = {"alert": alarm.told.alert.replace("\n", ": "), "state": alarm.told.state, "to": alarm.target}
        try:
            if self._clock.now() - alarm.made_at > _DAY:
                log.error("nobody is told of an incident any more", **told)
                await self._ledger.alarmed(alarm)
                return
            try:
                if alert is None or target is None:  # by another configuration: a process that has it may be there
                    raise TryLater("it is not configured here")
                await self._bell.ring(target, alert, alarm.told, alarm.id)
            except TryLater as fault:
                wait = next_try(fault, alarm.attempts, random=random.random, tries=10_000, base=LOOK, cap=600.0)
                log.warning("alarm not heard", **told, error=str(fault), seconds=round(wait or 0.0))
                await self._ledger.alarmed(alarm, again=wait)
            else:
                log.info("alarm", **told)
                await self._ledger.alarmed(alarm)
        except Unavailable as fault:
            log.error("alarm not noted", **told, error=str(fault))  # it is due again after a while
        except Exception:  # the top of the task
            log.exception("bug")
