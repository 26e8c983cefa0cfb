"""The access tokens of one account, of both ways to get one: each way knows nothing of the other's."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from chatferry.simulator import wechat_rules as rules
from chatferry.simulator.wechat_rules import Json, Refused


class Tokens:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ends: dict[str, float] = {}
        self._plain = ""
        self._stable = ""
        self._forced: list[float] = []

    def plain(self) -> Json:
        """A new token. The one before ends."""
        self._ends.pop(self._plain, None)
        self._plain = self._new()
        return self._told(self._plain)

    def stable(self, *, force: bool) -> Json:
        """The same token as before while it lasts. By force a new one, which ends the one before."""
        if force:
            self._spend_force()
            self._ends.pop(self._stable, None)
        if self._ends.get(self._stable, 0.0) - self._now() <= rules.OVERLAP_SECONDS:
            self._stable = self._new()
        return self._told(self._stable)

    def check(self, token: str) -> None:
        if not token:
            raise Refused(41001)
        if token not in self._ends:
            raise Refused(40001)
        if self._now() >= self._ends[token]:
            raise Refused(42001)

    def revoke(self) -> None:
        """No token given so far is known any more."""
        self._ends.clear()

    def _new(self) -> str:
        token = secrets.token_urlsafe(96)
        self._ends[token] = self._now() + rules.TOKEN_SECONDS
        return token

    def _told(self, token: str) -> Json:
        return {"access_token": token, "expires_in": int(self._ends[token] - self._now())}

    def _spend_force(self) -> None:
        """The page gives the limits but not the codes; these two are the general ones."""
        now = self._now()
        self._forced = [at for at in self._forced if now - at < 24 * 3600]
        if len(self._forced) >= rules.FORCED_PER_DAY:
            raise Refused(45009)
        if self._forced and now - self._forced[-1] < rules.FORCED_APART:
            raise Refused(45011)
        self._forced.append(now)
