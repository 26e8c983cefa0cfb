"""How much may be asked and spent: [limits], [channels.NAME.limits], [money], and what assistants may cost."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from chatferry.config.types import Duration, Table, wrong
from chatferry.rate import Rate, read


def _limit(value: object) -> object:
    """`"30/m"` as a rate; 0 is none."""
    if isinstance(value, str) and (limit := read(value)):
        return limit
    if value in (0, "0"):
        return None
    raise wrong("must be a number per s, m, h or d", '"30/m": thirty in a minute; 0: no limit')


Limit = Annotated[Rate | None, BeforeValidator(_limit)]


class LimitSettings(Table):
    user: Limit = None
    """What one person may ask over all conversations of a channel. None, written 0 in TOML: no limit."""
    conversation: Limit = None
    """What may be asked in one conversation."""
    channel: Limit = None
    """What may be asked on a whole channel, whoever asks."""
    message: Annotated[int | None, Field(ge=1), BeforeValidator(lambda given: given or None)] = None
    """Characters of one message. None, written 0 in TOML: no limit."""

    def over(self, usual: LimitSettings) -> LimitSettings:
        """What is said here, and for the rest the usual."""
        return usual.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


class PriceSettings(Table):
    """What a million tokens cost, in the currency of [money]."""

    prompt: float = Field(default=0.0, ge=0)
    completion: float = Field(default=0.0, ge=0)


class BudgetSettings(Table):
    messages: int | None = Field(default=None, ge=1)
    """What one person may ask in a day. None: as much as they like."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens that a person's questions and answers may cost in a day."""
    money: float | None = Field(default=None, gt=0)
    """What the assistant may cost in a month, by the prices of its models."""


class CacheSettings(Table):
    """An answer is given again to the same question, where nothing else was said."""

    ttl: Duration = 3600.0
    size: int = Field(default=10_000, ge=1, le=100_000)
    """Answers that are kept; those that were not asked for longest go first."""


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise wrong("is no time zone", "one such as Asia/Taipei or UTC") from None
    return value


class MoneySettings(Table):
    currency: str = Field(default="USD", pattern=r"^\S{1,8}$")
    """What prices and budgets are in. It is only shown."""
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Where days and months begin."""
