"""Looks at the database that are asked for together are made together: the way there costs more than a look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from chatferry.ledger.commit import tell, unavailable
from chatferry.ledger.database import Database

T = TypeVar("T")
Asked = tuple[Callable[[sa.Connection], Any], asyncio.Future[Any]]

_MOST = 100
"""Looks that are made one after the other, on one connection."""
_AT_ONCE = 2
"""Connections that look at the same time."""


class GroupLook:
    """Looks for all who ask; who asks while others look is in the next one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: list[Asked] = []
        self._at_once = 0
        self._looking: set[asyncio.Task[None]] = set()

    async def look(self, work: Callable[[sa.Connection], T]) -> T:
        """What is found. A database that fails is Unavailable, as it is for writes."""
        found: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append((work, found))
        if self._at_once < _AT_ONCE:
            self._at_once += 1
            task = asyncio.create_task(self._look(), name="looks")
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        return await found

    async def _look(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked[:_MOST], self._asked[_MOST:]
                await self._answer([one for one in asked if not one[1].done()])
        finally:
            # Here and not when the task is noticed to be done: whoever asks in between would wait for nobody.
            self._at_once -= 1

    async def _answer(self, asked: Sequence[Asked]) -> None:
        try:
            results = await self._database.read(lambda connection: [work(connection) for work, _ in asked])
        except (SQLAlchemyError, OSError) as fault:
            if len(asked) > 1:
                # What the database refuses must not fail its neighbours.
                for one in asked:
                    await self._answer([one])
            else:
                tell(asked, [unavailable(fault)])
        except BaseException:
            for _, found in asked:
                found.cancel()
            raise
        else:
            tell(asked, results)
