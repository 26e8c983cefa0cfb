"""What a message is charged to and what an answer cost, by the prices and budgets of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import structlog

from chatferry.assistant import Assistant, Staff
from chatferry.channels.base import Channel
from chatferry.clock import Clock
from chatferry.config import ModelSettings, MoneySettings, PriceSettings
from chatferry.errors import Unavailable
from chatferry.ledger.budgets import NEAR, Besides, Budget, Charge
from chatferry.ledger.ledger import Ledger
from chatferry.model import ASKING, Inbound, Turn, Usage
from chatferry.watching.metrics import Metrics

log = structlog.get_logger(__name__)

MILLION = 1_000_000
_LOOK = 60.0
"""Seconds between two looks at what is spent."""
_UNLIMITED = 4096
"""Tokens that the answer of a model may have whose `max_tokens` is not set, as a guess."""


class Period(NamedTuple):
    """A day or a month of the time zone of [money]."""

    name: str
    ends_at: float


class Accounts:
    """The prices and budgets of all assistants."""

    def __init__(self, models: Mapping[str, ModelSettings], money: MoneySettings, staff: Staff) -> None:
        self._zone = ZoneInfo(money.timezone)
        self._models = models
        self._staff = staff

    def day(self, at: float) -> Period:
        """The day that a time is in."""
        begins = self._local(at).replace(hour=0, minute=0, second=0, microsecond=0)
        # Noon of the next day, lest a day of 23 or 25 hours be taken for two.
        after = (begins + timedelta(hours=36)).replace(hour=0)
        return Period(begins.strftime("%Y-%m-%d"), after.timestamp())

    def month(self, at: float) -> Period:
        """The month that a time is in."""
        begins = self._local(at).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        after = (begins + timedelta(days=32)).replace(day=1)
        return Period(begins.strftime("%Y-%m"), after.timestamp())

    def budget(self, channel: Channel, event: Inbound, at: float, *, held: bool = False) -> Budget | None:
        """What an event is charged to, if it asks somebody who may not be asked without end."""
        assistant = self._staff.of(channel.name, event)
        if assistant is None or not (event.kind in ASKING or event.consent):
            return None
        its = assistant.settings.budget
        personal = event.sender and (its.messages or its.tokens)
        if not personal and its.money is None:
            return None
        day, month = self.day(at), self.month(at)
        return Budget(
            channel=channel.name,
            sender=event.sender,
            day=_day(day, assistant, channel.name, event.sender),
            day_ends=day.ends_at,
            messages=its.messages if personal else None,
            tokens=its.tokens if personal else None,
            worst=assistant.settings.context_tokens + (self._models[assistant.settings.model].max_tokens or _UNLIMITED),
            month=_month(month, assistant.name),
            month_ends=month.ends_at,
            money=round(its.money * MILLION) if its.money else None,
            told="person" if channel.caps.batch or held else "caller",
        )

    def bill(self, turn: Turn, assistant: Assistant, usage: Usage) -> tuple[Charge, ...]:
        """Who pays for what was spent for a turn, by the time at which it was asked."""
        its, inbound, charges = assistant.settings.budget, turn.inbound, []
        if usage == Usage():
            return ()
        if inbound.sender and (its.messages or its.tokens):
            day = self.day(turn.accepted_at)
            key = _day(day, assistant, turn.channel, inbound.sender)
            charges.append(Charge(key, day.ends_at, usage.prompt + usage.completion, usage.cost, personal=True))
        return (*charges, *self._monthly(assistant, usage, turn.accepted_at))

    def besides(self, turn: int, assistant: Assistant, usage: Usage, at: float) -> Besides:
        """What was spent for a turn that is closed, such as for a summary: no person pays for it."""
        return Besides(turn, assistant.name, usage, self._monthly(assistant, usage, at))

    def owed(self, turn: Turn, assistant: Assistant, usage: Usage) -> Besides:
        """What was spent for a turn of which no answer came, or none yet: they pay who would for one."""
        return Besides(turn.id, assistant.name, usage, self.bill(turn, assistant, usage))

    def _monthly(self, assistant: Assistant, usage: Usage, at: float) -> tuple[Charge, ...]:
        if assistant.settings.budget.money is None:
            return ()
        month = self.month(at)
        key = _month(month, assistant.name)
        return (Charge(key, month.ends_at, usage.prompt + usage.completion, usage.cost),)

    def purses(self, at: float) -> Mapping[str, tuple[str, int]]:
        """The assistants that have a budget of money: the key of this month's, and how much there is in it."""
        month = self.month(at)
        return {
            name: (_month(month, name), round(money * MILLION))
            for name, assistant in self._staff.items()
            if (money := assistant.settings.budget.money) is not None
        }

    async def watch(self, ledger: Ledger, clock: Clock, metrics: Metrics) -> None:
        """Show what of each month is spent, and warn when most of it is and when all is; until cancelled."""
        told: set[tuple[str, int]] = set()
        while True:
            purses = self.purses(clock.now())
            try:
                spent = await ledger.purses([key for key, _ in purses.values()]) if purses else {}
                for name, (key, money) in purses.items():
                    share = 100 * spent.get(key, 0) / money
                    metrics.budget.labels(name).set(share / 100)
                    for level in (NEAR, 100):
                        # One process says it, once a month, however many there are.
                        if share >= level and (key, level) not in told:
                            if await ledger.warned(key, level):
                                how = {"reached": f"{level} %", "used": f"{share:.0f} %"}
                                log.warning("budget", assistant=name, month=key.split(" ")[0], **how)
                            told.add((key, level))
            except Unavailable as fault:
                log.error("budgets not looked at", error=str(fault))
            await clock.sleep(_LOOK)

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, self._zone)


def price(its: PriceSettings | None, usage: Usage) -> int:
    """What these tokens cost, in millionths of the currency, rounded up: a price of 1 for a million is one for each."""
    if its is None:
        return 0
    return -int(-(usage.prompt * its.prompt + usage.completion * its.completion) // 1)


def _day(day: Period, assistant: Assistant, channel: str, sender: str) -> str:
    """The key of a person's day. It begins with the channel and the person: by these it is found to be forgotten."""
    return msgspec.json.encode((channel, sender, assistant.name, day.name)).decode()


def _month(month: Period, assistant: str) -> str:
    return f"{month.name} {assistant}"
