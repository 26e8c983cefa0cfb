"""What the core relies on in every dispatcher. A test module makes a `make` fixture and inherits `Contract`."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from structlog.testing import capture_logs

from chatferry.dispatch.base import Dispatcher, Handle, Look
from chatferry.errors import Unavailable
from chatferry.testing import ManualClock


class Make(Protocol):
    """A dispatcher over a `due` that lists what the ledger would list."""

    def __call__(
        self, due: Look, clock: ManualClock, *, concurrency: int, channels: Mapping[str, int] | None = None
    ) -> Dispatcher: ...


class Work:
    """Conversations and how many turns each of them owes, done one at a time as the worker does them."""

    def __init__(self) -> None:
        self.owed: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.most_of_one = 0
        self.most = 0
        self.looks = 0
        """How often `handle` was called."""
        self.go = asyncio.Event()
        """Turns end only while this is set."""
        self.go.set()
        self.nudges = 0

    async def due(self, limit: int) -> list[tuple[str, bool]]:
        return [(conversation, False) for conversation, turns in self.owed.items() if turns][:limit]

    async def handle(self, conversation: str, nudged: asyncio.Event) -> bool:
        self.looks += 1
        if not self.owed[conversation]:
            return False
        self.at_once[conversation] += 1
        self.most_of_one = max(self.most_of_one, self.at_once[conversation])
        self.most = max(self.most, sum(self.at_once.values()))
        try:
            await asyncio.sleep(0)
            await self.go.wait()
            self.nudges += nudged.is_set()
            self.owed[conversation] -= 1
            self.done[conversation] += 1
        finally:
            self.at_once[conversation] -= 1
        return True


@contextlib.asynccontextmanager
async def dispatching(dispatcher: Dispatcher, handle: Handle) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(dispatcher.run(handle))
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        dispatcher.stop()
        async with asyncio.timeout(60):
            await task


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not met():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


class Contract:
    """Never two at a time for one conversation, nothing lost, no more than there is room for."""

    async def test_one_conversation_is_never_handled_twice_at_the_same_time(self, make: Make) -> None:
        work = Work()
        dispatcher = make(work.due, ManualClock(), concurrency=100)
        async with dispatching(dispatcher, work.handle):
            for _ in range(20):
                for conversation in "abc":
                    work.owed[conversation] += 1
                    await dispatcher.wake(conversation)
                await asyncio.sleep(0)
            await until(lambda: sum(work.done.values()) == 60)
        assert work.most_of_one == 1
        assert work.most == 3

    async def test_a_wake_during_a_look_that_finds_nothing_is_not_lost(self, make: Make) -> None:
        looking, found = asyncio.Event(), asyncio.Event()
        owed: list[str] = []
        looks = 0

        async def handle(conversation: str, nudged: asyncio.Event) -> bool:
            nonlocal looks
            looks += 1
            seen = bool(owed)
            if looks == 1:
                looking.set()
                await found.wait()  # the claim is under way, and will come back with nothing
            return bool(seen and owed.pop())

        async def nothing_due(limit: int) -> list[tuple[str, bool]]:
            return []

        dispatcher = make(nothing_due, ManualClock(), concurrency=10)
        async with dispatching(dispatcher, handle):
            await dispatcher.wake("a")
            await looking.wait()
            owed.append("turn")
            await dispatcher.wake("a")
            found.set()
            await until(lambda: not owed)

    async def test_a_wake_while_a_turn_is_done_sets_its_event_and_brings_the_next(self, make: Make) -> None:
        work = Work()
        dispatcher = make(work.due, ManualClock(), concurrency=10)
        async with dispatching(dispatcher, work.handle):
            work.go.clear()
            work.owed["a"] = 1
            await dispatcher.wake("a")
            await until(lambda: work.at_once["a"])
            work.owed["a"] += 1
            await dispatcher.wake("a")
            work.go.set()
            await until(lambda: work.done["a"] == 2)
        assert work.nudges == 1  # the first turn's, not the second's

    async def test_no_more_conversations_are_worked_on_than_there_is_room_for(self, make: Make) -> None:
        work = Work()
        dispatcher = make(work.due, ManualClock(), concurrency=3)
        async with dispatching(dispatcher, work.handle):
            work.go.clear()
            for n in range(10):
                work.owed[f"c{n}"] = 1
                await dispatcher.wake(f"c{n}")
            await until(lambda: work.most == 3)
            for _ in range(20):
                await asyncio.sleep(0)
            assert work.most == 3
            work.go.set()
            await until(lambda: sum(work.done.values()) == 10)
        assert work.most == 3

    async def test_no_more_conversations_of_a_channel_are_worked_on_than_it_allows(self, make: Make) -> None:
        work = Work()
        dispatcher = make(work.due, ManualClock(), concurrency=10, channels={"narrow": 2})
        async with dispatching(dispatcher, work.handle):
            work.go.clear()
            for conversation in [f"narrow:{n}" for n in range(5)] + [f"wide:{n}" for n in range(5)]:
                work.owed[conversation] = 1
                await dispatcher.wake(conversation)
            await until(lambda: work.most == 7)
            for _ in range(20):
                await asyncio.sleep(0)
            assert sum(count for name, count in work.at_once.items() if name.startswith("narrow")) == 2
            work.go.set()
            await until(lambda: sum(work.done.values()) == 10)

    async def test_what_nobody_waits_for_comes_behind_what_people_wait_for(self, make: Make) -> None:
        work = Work()
        dispatcher = make(work.due, ManualClock(), concurrency=20)
        async with dispatching(dispatcher, work.handle):
            work.go.clear()
            for n in range(50):
                work.owed[f"line:{n}"] = 1
                await dispatcher.wake(f"line:{n}", bulk=True)
            await until(lambda: work.most == 2)
            work.owed["line:ann"] = 1
            await dispatcher.wake("line:ann")
            # Somebody who is to get a push writes: it is bulk no longer.
            waiting = next(name for name, owed in work.owed.items() if owed and not work.at_once[name])
            work.owed[waiting] += 1
            await dispatcher.wake(waiting)
            await until(lambda: work.at_once["line:ann"] and work.at_once[waiting])
            assert work.most == 4
            work.go.set()
            await until(lambda: sum(work.done.values()) == 52)

    async def test_what_is_due_at_the_start_is_found_without_a_wake(self, make: Make) -> None:
        work = Work()
        work.owed["a"] = 2
        async with dispatching(make(work.due, ManualClock(), concurrency=10), work.handle):
            await until(lambda: work.done["a"] == 2)

    async def test_what_falls_due_later_is_found_without_a_wake(self, make: Make) -> None:
        work, clock = Work(), ManualClock()
        async with dispatching(make(work.due, clock, concurrency=10), work.handle):
            for _ in range(5):
                await asyncio.sleep(0)
            work.owed["a"] = 1

            def later() -> int:
                clock.advance(0.1)
                return work.done["a"]

            await until(later)

    async def test_a_wake_without_work_does_no_harm(self, make: Make) -> None:
        work = Work()
        dispatcher = make(work.due, ManualClock(), concurrency=10)
        async with dispatching(dispatcher, work.handle):
            await dispatcher.wake("a")
            await until(lambda: work.looks)
            work.owed["a"] = 1
            await dispatcher.wake("a")
            await until(lambda: work.done["a"])

    async def test_stop_lets_the_running_turn_end_and_starts_no_other(self, make: Make) -> None:
        work = Work()
        dispatcher = make(work.due, ManualClock(), concurrency=1)
        async with dispatching(dispatcher, work.handle) as task:
            work.go.clear()
            work.owed["a"], work.owed["b"] = 2, 1
            await dispatcher.wake("a")
            await until(lambda: work.at_once["a"])
            await dispatcher.wake("b")
            dispatcher.stop()
            await dispatcher.wake("c")
            assert not task.done()
            work.go.set()
        assert work.done == {"a": 1}

    async def test_cancelling_it_cancels_what_runs(self, make: Make) -> None:
        work = Work()
        dispatcher = make(work.due, ManualClock(), concurrency=10)
        task = asyncio.create_task(dispatcher.run(work.handle))
        await asyncio.sleep(0)
        work.go.clear()
        work.owed["a"] = 1
        await dispatcher.wake("a")
        await until(lambda: work.at_once["a"])
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not work.at_once["a"]
        assert not work.done["a"]

    async def test_a_ledger_that_fails_does_not_end_the_sweep_and_is_told_of_once(self, make: Make) -> None:
        work, clock, fails = Work(), ManualClock(), [True, True, True]

        async def due(limit: int) -> list[tuple[str, bool]]:
            if fails:
                fails.pop()
                raise Unavailable("the database does not answer")
            return await work.due(limit)

        dispatcher = make(due, clock, concurrency=10)
        with capture_logs() as lines:
            async with dispatching(dispatcher, work.handle):
                work.owed["a"] = 1

                def later() -> int:
                    clock.advance(0.1)
                    return work.done["a"]

                await until(later)
        assert [line["event"] for line in lines] == ["sweep failed"]
