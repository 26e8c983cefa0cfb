"""What is left of Slack's limits, and who gets it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest

from chatferry.channels.slack import Slack
from chatferry.channels.slack_limits import MINUTE, Budget, Kept
from chatferry.errors import TryLater
from chatferry.model import Button, Inbound, says
from chatferry.simulator.slack_records import Fault
from chatferry.testing import ManualClock
from tests.channels.slack_world import World, opened


class Crowd(ManualClock):
    """Turned on whenever everybody sleeps, so that a scenario takes as long as its calls do."""

    def __init__(self) -> None:
        super().__init__()
        self._awake = 0
        self._changed = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self._step(-1)
        await super().sleep(seconds)

    def advance(self, seconds: float) -> None:
        sleepers = len(self._alarms)
        super().advance(seconds)
        self._awake += sleepers - len(self._alarms)

    async def run(self, *people: Coroutine[Any, Any, None]) -> None:
        """Let them all live until they are done."""

        async def live(one: Coroutine[Any, Any, None]) -> None:
            try:
                await one
            finally:
                self._step(-1)

        self._awake = len(people)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(live(one)) for one in people]
            while not all(task.done() for task in tasks):
                while self._awake:
                    self._changed.clear()
                    await self._changed.wait()
                self.advance(0.1)
                await asyncio.sleep(0)

    def _step(self, by: int) -> None:
        self._awake += by
        self._changed.set()


# What is remembered.


def test_what_is_kept_goes_with_its_time_and_the_oldest_with_too_much() -> None:
    clock = ManualClock()
    kept: Kept[str, int] = Kept(clock, 10, most=2)
    kept.put("a", 1)
    clock.advance(6)
    kept.put("b", 2)
    assert (kept.get("a"), "b" in kept, len(kept)) == (1, True, 2)
    clock.advance(6)
    assert (kept.get("a"), kept.get("b"), len(kept)) == (None, 2, 1)
    kept.put("c", 3)
    kept.put("d", 4)
    assert (kept.get("b"), kept.drop("c"), kept.drop("c"), len(kept)) == (None, 3, None, 1)


# One limit.


def shown(budget: Budget, clock: ManualClock, seconds: float, step: float = 0.1) -> list[float]:
    """When a growing edit was let through, from now on."""
    start, times = clock.now(), []
    while clock.now() < start + seconds:
        if budget.grow():
            times.append(clock.now() - start)
        clock.advance(step)
    return times


def test_one_message_grows_swiftly_at_first_and_never_stands_still() -> None:
    clock = ManualClock()
    budget = Budget(clock, 50, MINUTE)
    budget.growing.put("one", None)
    times = shown(budget, clock, 300.0, step=0.8)
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert times[10] < 10
    assert max(pauses) < 5
    assert max(sum(start <= time < start + 60 for time in times) for start in range(240)) < 50


@pytest.mark.parametrize(("growing", "free"), [(0, 50), (1, 49), (20, 30), (37, 13), (50, 13), (500, 13)])
def test_a_call_is_kept_for_the_end_of_each_message_up_to_three_quarters(growing: int, free: int) -> None:
    clock = ManualClock()
    budget = Budget(clock, 50, MINUTE)
    for number in range(growing):
        budget.growing.put(number, None)
    assert free - 3 <= len(shown(budget, clock, 60.0)) <= free


async def test_last_edits_wait_in_the_order_in_which_they_came_and_growing_ones_do_not_pass() -> None:
    clock = ManualClock()
    budget, came = Budget(clock, 2, 10.0), list[int]()

    async def end(number: int) -> None:
        await budget.turn("end", clock.now() + 60)
        came.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(end(number))
        await asyncio.sleep(0)
        assert came == [0, 1]
        assert not budget.grow()
        assert not budget.take()
        for seen in ([0, 1, 2, 3], [0, 1, 2, 3, 4]):
            clock.advance(10)
            await turned()
            assert came == seen


async def turned() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_would_wait_too_long_is_told_for_how_long_and_takes_no_place() -> None:
    clock = ManualClock()
    budget = Budget(clock, 1, 10.0)
    await budget.turn("end", clock.now())
    for _ in range(2):
        with pytest.raises(TryLater) as raised:
            await budget.turn("end", clock.now() + 5)
        assert raised.value.after == 10.0
    clock.advance(10)
    await budget.turn("end", clock.now())


async def test_who_is_cut_off_while_waiting_gives_the_place_back() -> None:
    clock = ManualClock()
    budget = Budget(clock, 1, 10.0)
    assert budget.take()
    waiting = asyncio.create_task(budget.turn("end", clock.now() + 60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    clock.advance(10)
    assert budget.take()


async def test_what_slack_says_of_haste_holds_for_who_waits_already() -> None:
    clock = ManualClock()
    budget = Budget(clock, 1, 10.0)
    assert budget.take()
    waiting = asyncio.create_task(budget.turn("end", clock.now() + 60))
    await asyncio.sleep(0)
    budget.close(30)
    assert not budget.grow()
    clock.advance(10)
    await turned()
    assert not waiting.done()
    clock.advance(20)
    await waiting


def test_an_end_is_promised_only_as_long_as_all_could_end_at_once() -> None:
    clock = ManualClock()
    budget = Budget(clock, 3, MINUTE)
    assert [budget.promise(name) for name in "abcd"] == [True, True, True, False]
    budget.growing.drop("a")
    assert budget.promise("d")
    budget.growing.drop("b")
    budget.take()
    assert not budget.promise("e")


# Slack itself.


async def test_a_refusal_for_haste_closes_the_method_for_that_workspace_alone() -> None:
    async with opened() as world:
        world.sim.workspaces["T2"] = "xoxb-other"
        slack, asked = world.slack(stream="edit"), await world.asked()
        receipt = await slack.begin(asked, says("assistant", "a"), key="k")
        world.sim.budgets.spend("T0SIM", "chat.update", "", world.clock.now(), marketplace=False)
        for _ in range(49):
            world.sim.budgets.spend("T0SIM", "chat.update", "", world.clock.now(), marketplace=False)
        assert not await slack.edit(asked, receipt, says("assistant", "ab"), last=False)
        assert world.calls("chat.update")[-1].status == 429
        world.clock.advance(10)
        assert not await slack.edit(asked, receipt, says("assistant", "abc"), last=False)
        assert len(world.calls("chat.update")) == 1
        last = asyncio.create_task(slack.edit(asked, receipt, says("assistant", "abcd"), last=True))
        await turned()
        assert not last.done()
        world.clock.advance(50)
        assert await last
        assert world.answers(asked)[0].markdown == "abcd"


async def test_a_last_edit_that_slack_puts_off_for_long_is_for_the_core_to_try_again() -> None:
    async with opened() as world:
        slack, asked = world.slack(stream="edit"), await world.asked()
        receipt = await slack.begin(asked, says("assistant", "a"), key="k")
        world.sim.faults("chat.update", Fault(status=429, retry_after=120))
        with pytest.raises(TryLater) as raised:
            await slack.edit(asked, receipt, says("assistant", "all"), last=True)
        assert raised.value.after == 120


async def answered(world: World, slack: Slack, asked: Inbound, number: int, *, words: int, pace: float) -> None:
    """Show an answer as the core does: begun, edited as it grows, and ended; and if put off, ended later."""
    clock, text = world.clock, f"answer {number}:"
    stop = Button("Stop", "chatferry:stop")
    patience = slack.patience(asked)
    receipt = await slack.begin(asked, says("assistant", text if patience else "Answering …", stop), key=f"k{number}")
    for word in range(words):
        text += f" word{word}"
        await slack.edit(asked, receipt, says("assistant", text, stop), last=False)
        await clock.sleep(pace)
    while True:
        try:
            await slack.edit(asked, receipt, says("assistant", text + " end."), last=True)
        except TryLater as fault:
            await clock.sleep(fault.after or 1.0)
        else:
            return


@pytest.mark.parametrize("stream", ["auto", "edit"])
async def test_fifty_threads_in_one_workspace_stay_within_the_tiers_and_every_answer_is_whole(stream: str) -> None:
    async with opened() as world:
        clock = world.clock = Crowd()
        world.sim.clock = clock.now
        slack = world.slack(stream=stream)
        asked = [await world.asked(f"question {n}", who=f"p{n}", channel=f"c{n % 10}") for n in range(50)]
        began = clock.now()
        await clock.run(*(answered(world, slack, one, n, words=25, pace=0.8) for n, one in enumerate(asked)))
        seen = [world.answers(one) for one in asked]
        whole = " ".join(f"word{word}" for word in range(25))
        assert [len(posts) for posts in seen] == [1] * 50
        assert {posts[0].markdown for posts in seen} == {f"answer {n}: {whole} end." for n in range(50)}
        assert not any(posts[0].streaming or posts[0].buttons for posts in seen)
        assert Counter(call.status for call in world.calls()) == {200: len(world.calls())}
        assert clock.now() - began < 100
        grew = Counter(call.fields["ts"] for call in world.calls() if call.method[5:] in ("update", "appendStream"))
        assert len(grew) >= 40
