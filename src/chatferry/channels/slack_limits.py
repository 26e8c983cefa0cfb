"""How much of Slack's rate limits is left, so that we keep within them instead of running into them.

Slack counts calls per method and workspace; all threads of a workspace share them. What must be said, such as the last
edit of an answer, waits for its turn. What is shown meanwhile takes only what is left above a reserve: as many calls as
there are messages growing, so that all of them could end in the same moment. The reserve is three quarters of a limit
at most, for with more messages than that they would else all stand still until they end.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from chatferry.channels.slack_api import SlackApi, Told
from chatferry.clock import Clock
from chatferry.errors import TryLater

MINUTE = 61.0
"""Seconds. A little more than Slack's, for a call comes there later than it leaves us, and not always as much later."""
TIERS: dict[int, tuple[int, float]] = {1: (1, MINUTE), 2: (20, MINUTE), 3: (50, MINUTE), 4: (100, MINUTE)}
"""Calls in so many seconds: "Rate limits". Slack grants these at least."""
METHODS = {
    "chat.startStream": TIERS[2],
    "chat.appendStream": TIERS[4],
    "chat.stopStream": TIERS[2],
    "chat.postEphemeral": TIERS[4],
    "users.info": TIERS[4],
    "views.open": TIERS[4],
    "chat.postMessage": (4, 4.4),  # one a second and a short burst, for each channel
}
"""Where it is not tier 3."""
PER_CHANNEL = {"chat.postMessage"}

PATIENCE = 60.0
"""Seconds for which a call waits for its turn before it is put off."""
GROWS = 600.0
"""Seconds after which a message that was not edited is not taken to be growing any more."""
RESERVE = 0.75
"""The largest part of a limit that is kept for last edits."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")
_Shape = TypeVar("_Shape", bound=Told)


class Kept(Generic[_Key, _Value]):
    """What is remembered for some seconds. Where it is too much, the oldest goes first."""

    def __init__(self, clock: Clock, seconds: float, most: int = 10_000) -> None:
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._kept: OrderedDict[_Key, tuple[float, _Value]] = OrderedDict()

    def put(self, key: _Key, value: _Value) -> None:
        self._kept[key] = (self._clock.now() + self._seconds, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def get(self, key: _Key) -> _Value | None:
        self._forget()
        kept = self._kept.get(key)
        return kept[1] if kept else None

    def drop(self, key: _Key) -> _Value | None:
        """Forget it at once; returns what it was."""
        self._forget()
        kept = self._kept.pop(key, None)
        return kept[1] if kept else None

    def __contains__(self, key: _Key) -> bool:
        self._forget()
        return key in self._kept

    def __len__(self) -> int:
        self._forget()
        return len(self._kept)

    def _forget(self) -> None:
        now = self._clock.now()
        while self._kept and next(iter(self._kept.values()))[0] <= now:
            self._kept.popitem(last=False)


class Budget:
    """One limit: so many calls in so many seconds."""

    def __init__(self, clock: Clock, calls: int, seconds: float) -> None:
        self._clock = clock
        self._calls = calls
        self._seconds = seconds
        self._times: deque[float] = deque()
        """When calls were made, or will be by those who wait; in order."""
        self._grew = 0.0
        self._closed_until = 0.0
        self.growing: Kept[Hashable, None] = Kept(clock, GROWS)
        """The messages whose last edit will take a call from here."""

    def grow(self) -> bool:
        """Take a call for an edit that may as well be left out, if one is left above the reserve.

        The more are used, the longer the pause between two: a single message starts swiftly and slows down, and what
        is left is used up just when the first ones are given back.
        """
        free = self._calls - min(len(self.growing), int(RESERVE * self._calls))
        now, used = self._clock.now(), self._used()
        if not self._open(now) or used >= free or now - self._grew < 2 * used * self._seconds / free**2:
            return False
        self._grew = now
        self._times.append(now)
        return True

    def take(self) -> bool:
        """Take a call, if one is left above the reserve."""
        now = self._clock.now()
        if not self._open(now) or self._used() + len(self.growing) >= self._calls:
            return False
        self._times.append(now)
        return True

    def promise(self, message: Hashable) -> bool:
        """Keep a call for the last edit of one message more, if all that grow could still end at once."""
        if not self._open(self._clock.now()) or self._used() + len(self.growing) >= self._calls:
            return False
        self.growing.put(message, None)
        return True

    async def turn(self, name: str, until: float) -> None:
        """Wait for our turn, in order. Raises TryLater where it would not come `until` then."""
        while True:
            now, used = self._clock.now(), self._used()
            at = max(now, self._closed_until, self._times[-1] if used else 0.0)
            if used >= self._calls:
                at = max(at, self._times[-self._calls] + self._seconds)
            if at > until:
                raise TryLater(f"{name}: its limit leaves no room", after=at - now)
            self._times.append(at)
            if at <= now:
                return
            try:
                await self._clock.sleep(at - now)
                if self._closed_until <= self._clock.now():
                    return
            except BaseException:
                self._give_back(at)
                raise
            self._give_back(at)

    def close(self, seconds: float) -> None:
        """Slack has told us to wait."""
        self._closed_until = max(self._closed_until, self._clock.now() + seconds)

    def _give_back(self, at: float) -> None:
        with contextlib.suppress(ValueError):  # it is so long ago that it counts no more
            self._times.remove(at)

    def _open(self, now: float) -> bool:
        """Nothing holds us up, and nobody waits who goes first."""
        return self._closed_until <= now and not (self._times and self._times[-1] > now)

    def _used(self) -> int:
        now = self._clock.now()
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        return len(self._times)


class Paced:
    """The Web API within its limits."""

    def __init__(self, api: SlackApi, clock: Clock) -> None:
        self.api = api
        self._clock = clock
        self._budgets: Kept[tuple[str, str, str], Budget] = Kept(clock, 3600.0)

    def budget(self, method: str, account: str, channel: str = "") -> Budget:
        key = (method, account, channel if method in PER_CHANNEL else "")
        budget = self._budgets.get(key) or Budget(self._clock, *METHODS.get(method, TIERS[3]))
        self._budgets.put(key, budget)
        return budget

    async def call(
        self,
        method: str,
        account: str,
        shape: type[_Shape],
        *,
        once: bool = False,
        patience: float = PATIENCE,
        **fields: Any,
    ) -> _Shape:
        """Make the call in its turn, for which we wait `patience` seconds. Raises as `SlackApi.call` does."""
        until = self._clock.now() + patience
        while True:
            await self.budget(method, account, fields.get("channel", "")).turn(f"Slack {method}", until)
            try:
                return await self.send(method, account, shape, once=once, **fields)
            except TryLater as fault:
                if fault.after is None:
                    raise

    async def spare(self, method: str, account: str, *, once: bool = False, **fields: Any) -> bool:
        """Make a call that may be left out. False: there is no room for it now."""
        if not self.budget(method, account, fields.get("channel", "")).grow():
            return False
        try:
            await self.send(method, account, Told, once=once, **fields)
        except TryLater as fault:
            if fault.after is None:
                raise
            return False
        return True

    async def send(
        self,
        method: str,
        account: str,
        shape: type[_Shape],
        *,
        once: bool = False,
        **fields: Any,
    ) -> _Shape:
        """Make a call that was taken from its budget already. TryLater with `after`: Slack saw too many."""
        try:
            return await self.api.call(method, account, shape, once=once, **fields)
        except TryLater as fault:
            if fault.after is not None:
                self.budget(method, account, fields.get("channel", "")).close(fault.after)
            raise
