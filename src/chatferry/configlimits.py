"""The tables [limits] and [channels.NAME.limits]: how much may be asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from chatferry.rate import Rate, read


def _limit(value: object) -> object:
    """`"30/m"` as a rate; 0 is none."""
    if isinstance(value, str) and (limit := read(value)):
        return limit
    if value in (0, "0"):
        return None
    told = {"problem": "must be a number per s, m, h or d", "mend": '"30/m": thirty in a minute; 0: no limit'}
    raise PydanticCustomError("wrong", "{problem}", told)


Limit = Annotated[Rate | None, BeforeValidator(_limit)]


class LimitSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

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
