"""The dispatcher of one process, by the contract of all dispatchers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from chatferry.dispatch.inprocess import InProcess
from chatferry.testing import ManualClock
from tests.contracts.dispatcher import Contract, Make, Work, dispatching, until


@pytest.fixture
def make() -> Make:
    def in_process(due: Callable[[], Awaitable[list[str]]], clock: ManualClock, *, concurrency: int) -> InProcess:
        return InProcess(due, clock, concurrency=concurrency)

    return in_process


class TestInProcess(Contract):
    async def test_a_lane_goes_when_its_conversation_has_no_more_work(self) -> None:
        work = Work()
        dispatcher = InProcess(work.due, ManualClock())
        async with dispatching(dispatcher, work.handle):
            work.owed["a"] = 3
            await dispatcher.wake("a")
            await until(lambda: work.done["a"] == 3 and not dispatcher.lanes)
            assert dispatcher.dispatching
        assert not dispatcher.dispatching

    async def test_stopped_before_it_runs_it_runs_nothing(self) -> None:
        work = Work()
        work.owed["a"] = 1
        dispatcher = InProcess(work.due, ManualClock())
        dispatcher.stop()
        async with dispatching(dispatcher, work.handle):
            pass
        assert not work.done
