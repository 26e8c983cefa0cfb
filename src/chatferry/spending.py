"""What models cost: known to whoever has them asked, also where an answer is broken off, or nothing comes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from chatferry.errors import Unsure
from chatferry.model import Usage


class Spending:
    """What was spent on one thing."""

    def __init__(self) -> None:
        self.all: Usage | None = None
        """None: no model was asked."""
        self.owed = Usage()
        """What of it is not in the ledger yet."""

    def add(self, usage: Usage) -> None:
        """A model was asked, which has cost so much."""
        self.recall(usage)
        self.owed += usage

    def recall(self, usage: Usage) -> None:
        """So much was spent before, and is in the ledger."""
        self.all = (self.all or Usage()) + usage

    @contextlib.contextmanager
    def paying(self) -> Iterator[Usage]:
        """What is owed, for who writes it into the ledger in this context; where that fails, it still is.

        Where nobody knows whether it failed it is not: rather charged too little once than twice.
        """
        due, self.owed = self.owed, Usage()
        try:
            yield due
        except Unsure:
            raise
        except Exception:  # whatever it is, it is raised on: nothing was written, so this is still owed
            self.owed += due
            raise


_current: ContextVar[Spending | None] = ContextVar("spending", default=None)


def begin(spending: Spending) -> None:
    """From here on, in this task and in those that it begins, what is spent is noted there."""
    _current.set(spending)


def spend(usage: Usage) -> None:
    """A call to a model has cost so much."""
    if (spending := _current.get()) is not None:
        spending.add(usage)
