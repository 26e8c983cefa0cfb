"""A worker without HTTP: the real ledger and the real dispatch, and nothing else.

    python -m bench.hands URL      prints a line when it is there; at the end of its input what it did, turn by turn

What a turn costs here is the ledger's and the dispatcher's part of it: claim, history, answer, pieces, send, close.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from functools import partial

import msgspec
import uvloop

from chatferry.clock import SharedClock
from chatferry.dispatch.inprocess import InProcess
from chatferry.dispatch.pgqueuer import PgQueuer
from chatferry.gateway import _AMONG_OTHERS
from chatferry.ledger.database import migrate
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.postgres import Postgres
from chatferry.model import Attempt, Grant, Inbound, Receipt, says
from chatferry.parts import HEARSAY
from chatferry.serve import _settle

CHANNEL = "bench"
ANSWER = says("assistant", "token " * 20)
HISTORY = 20
"""Messages of the past that a prompt takes in."""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """One turn, by the clock that all processes of the machine share (`time.perf_counter`)."""

    turn: int
    conversation: str
    claimed: float
    closing: float
    closed: float
    accepted: float
    """By the ledger's clock, as the next one."""
    begun: float


def asks(number: int, user: int) -> Inbound:
    """One question."""
    grant = Grant(f"token-{number}", time.time() + 50)
    words = says("user", "What is the weather like in Taipei today?")
    return Inbound(f"event-{number}", f"U{user:032x}", "message", words, ref=str(number), grant=grant)


class Hands:
    """What one process has: a ledger and a dispatcher, with room for turns or without."""

    def __init__(self, ledger: Ledger, clock: SharedClock, database: Postgres, *, works: bool) -> None:
        self._ledger = ledger
        self._clock = clock
        due = partial(ledger.due, late=HEARSAY)
        local = InProcess(due, clock, concurrency=2000) if works else None
        self.dispatcher = PgQueuer(database.connect, local=local)
        self.spans: list[Span] = []

    async def run(self) -> None:
        await self.dispatcher.run(self._handle)

    async def accept(self, event: Inbound) -> None:
        """What a webhook does, but for HTTP."""
        await self._ledger.accept(CHANNEL, [event])
        await self.dispatcher.wake(f"{CHANNEL}:{event.conversation}")

    async def _handle(self, conversation: str, _: asyncio.Event) -> bool:
        ledger, begun = self._ledger, self._clock.now()
        turn = await ledger.claim(conversation)
        if turn is None:
            return False
        claimed = time.perf_counter()
        said = []
        async for message in ledger.history(conversation, turn.id):
            said.append(message)
            if len(said) == HISTORY:
                break
        turn = await ledger.answered(turn, ANSWER, [ANSWER])
        pieces = await ledger.pending(conversation)
        turn = await ledger.sending(turn, pieces, Attempt(turn.grant))
        question = turn.inbound.said
        assert question is not None
        closing = time.perf_counter()
        await ledger.finish(turn, [question, ANSWER], sent=[(piece, Receipt("1")) for piece in pieces])
        span = Span(turn.id, conversation, claimed, closing, time.perf_counter(), turn.accepted_at, begun)
        self.spans.append(span)
        return True


@contextlib.asynccontextmanager
async def hands(url: str, *, works: bool) -> AsyncIterator[Hands]:
    """Up and dispatching while the context is open."""
    import sqlalchemy as sa

    database = Postgres(sa.make_url(url))
    try:
        await migrate(database)
        clock = await database.clock()
        ledger = Ledger(database, clock, lease=_AMONG_OTHERS)
        async with ledger.open(), asyncio.TaskGroup() as group:
            one = Hands(ledger, clock, database, works=works)
            tasks = [group.create_task(work) for work in (one.run(), database.listen(lambda _: None), clock.keep())]
            yield one
            one.dispatcher.stop()
            await asyncio.wait(tasks[:1])
            for task in tasks:
                task.cancel()
    finally:
        await database.aclose()


async def main(url: str) -> None:
    async with hands(url, works=True) as one:
        _settle()
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.stdout.buffer.write(msgspec.json.encode(one.spans))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
