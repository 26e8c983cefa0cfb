"""Which way answers go: in the response to WeChat's call, or by customer-service messages.

The settings say so, or it is found out: who may not send is told so at the first try.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import structlog

from chatferry.channels.wechat_memory import Memory
from chatferry.clock import Clock

if TYPE_CHECKING:
    from chatferry.config import WeChatSettings

log = structlog.get_logger(__name__)

BELIEF_SECONDS = 86400.0
"""How long a refusal is believed: an account may be verified later, and one try a day costs nothing."""

Mode = Literal["passive", "service"]


class _Found(msgspec.Struct, frozen=True):
    mode: Mode
    at: float
    """Unix seconds."""


class Way:
    """What is known of it, at once; and what other processes found out, when `load` looks."""

    def __init__(self, channel: str, settings: WeChatSettings, clock: Clock, memory: Memory) -> None:
        self.fixed: Mode | None = None
        """What the settings say."""
        if settings.mode == "passive" or settings.app_secret is None:
            self.fixed = "passive"
        elif settings.mode == "service":
            self.fixed = "service"
        self._channel = channel
        self._clock = clock
        self._memory = memory
        self._found: _Found | None = None

    @property
    def known(self) -> Mode | None:
        if self.fixed or self._found is None:
            return self.fixed
        old = self._found.mode == "passive" and self._clock.now() - self._found.at > BELIEF_SECONDS
        return None if old else self._found.mode

    async def load(self) -> None:
        """Learn what was found out before, or by others. The newest counts."""
        if self.fixed:
            return
        kept = await self._memory.recall("mode", _Found)
        if kept and (self._found is None or kept.at > self._found.at):
            self._found = kept

    async def learn(self, mode: Mode) -> None:
        """Remember what a try has shown."""
        if self.fixed == "service" and mode == "passive":
            log.error("this account may not send", channel=self._channel, mend='mode = "auto", or have it verified')
        if self.fixed or self.known == mode:
            return
        log.info("the way of answers is found", channel=self._channel, mode=mode)
        self._found = _Found(mode, self._clock.now())
        await self._memory.keep("mode", self._found)
