"""What can go wrong, by what is to be done about it.

ChatferryError
├── ConfigError          the operator mends the configuration; says where and how
│   └── InUse            another process answers from this database
├── Rejected             the caller gets this status and this sentence, and nothing is kept
├── Unavailable          the ledger cannot take it now: 503, the platform delivers again
│   ├── Unsure           or has it, and could not tell: the same write must not simply be made again
│   └── Closed           nor later: this process ends
├── LeaseLost            another worker has this turn: stop, write nothing more
└── Fault                a call to a platform or a provider failed
    ├── TryLater         the same call may work `after` some seconds
    ├── Ambiguous        the call may have been done, and there is no key to ask again with
    └── Final            the same call will not work
        ├── NoLeave      this way of answering is closed (token spent, quota used); another may be open
        ├── Gone         nobody is there any more: blocked, left, closed
        └── Vanished     the message that was to be changed is not there any more
"""

from __future__ import annotations


class ChatferryError(Exception):
    """Base of all errors that this program raises on purpose."""


class ConfigError(ChatferryError):
    """The configuration cannot be used. The message names every fault, its place and its mend."""


class InUse(ConfigError):
    """Another process answers from this database."""


class Rejected(ChatferryError):
    """A request that we do not take. `reason` is shown to the caller: no secret, no echo of its input."""

    def __init__(self, status: int, reason: str, *, code: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.code = code
        self.headers = headers or {}


class Unavailable(ChatferryError):
    """Nothing can be kept just now, so nothing may be accepted."""


class Unsure(Unavailable):
    """The connection broke while a transaction was committed. `Database.committed` tells, later, whether it was."""

    def __init__(self, reason: str, transaction: str, result: object) -> None:
        """result: what the write has come to if it was committed; an exception is to be raised then."""
        super().__init__(reason)
        self.transaction = transaction
        self.result = result


class Closed(Unavailable):
    """This process takes nothing more: it ends."""


class LeaseLost(ChatferryError):
    """The turn has a newer holder. The old one must not send and cannot write."""


class Fault(ChatferryError):
    """A call to a platform or a provider failed. The message is for the log, never for the person who chats."""


class TryLater(Fault):
    """A passing fault: 429, 5xx, a broken connection. `after`: seconds the other side asked for, if it did."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Ambiguous(Fault):
    """The request went out and no answer came back: it may have been carried out."""


class Final(Fault):
    """The same call would fail again."""


class TooLarge(Final):
    """A file has more bytes than we take."""


class NoLeave(Final):
    """The platform no longer lets us answer this way."""


class Gone(Final):
    """The person cannot be reached any more."""


class Vanished(Final):
    """Somebody removed the message that we were to change."""
