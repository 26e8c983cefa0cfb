"""Several models as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import aiohttp
import msgspec
import pytest

from chatferry.engines.base import Delta, Done, Engine, Event, Prompt, Restart, Result, Round
from chatferry.engines.gemini import Gemini
from chatferry.engines.openai import OpenAI
from chatferry.engines.route import Route
from chatferry.errors import Fault, Final, TryLater
from chatferry.model import Finding, Usage
from chatferry.retry import Circuit
from chatferry.simulator.model import Refuse
from chatferry.simulator.model_calls import acts
from chatferry.spending import Spending, begin
from chatferry.watching.metrics import Metrics
from tests.contracts.engine import NOTHING, EngineContract
from tests.engines.support import HastyClock, Provider, WatchedClock, asking, gather, settings, whole

BUSY = TryLater("busy")
Play = list[Event | Fault]


class Player:
    """An engine that plays one list of events for each try; a fault in it is raised."""

    def __init__(self, name: str, *plays: Play) -> None:
        self.name = name
        self.tries = 0
        self.closed = 0
        self._plays = iter(plays)

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        self.tries += 1
        try:
            for event in next(self._plays):
                if isinstance(event, Fault):
                    raise event
                yield event
        finally:
            self.closed += 1

    async def check(self) -> AsyncIterator[Finding]:
        yield Finding(True, f"model {self.name}", "plays")


def answers(text: str) -> Play:
    return [Delta(text), Done(model=text)]


def failing(times: int, fault: Fault = BUSY) -> list[Play]:
    return [[fault] for _ in range(times)]


def route(*engines: Player, clock: HastyClock | None = None) -> Route:
    clock = clock or HastyClock()
    return Route([(engine, Circuit(clock)) for engine in engines], clock, lambda: 1.0, Metrics())


async def played(of: Route) -> tuple[list[Event], Fault | None]:
    seen: list[Event] = []
    try:
        await gather(seen, of.run(asking("hello")))
    except Fault as fault:
        return seen, fault
    return seen, None


class TestRoute(EngineContract):
    @pytest.fixture
    def engine(self, provider: Provider, http: aiohttp.ClientSession) -> Engine:
        clock = HastyClock()
        return Route(
            [(OpenAI("m", settings("openai", f"{provider.url}/v1"), http), Circuit(clock))],
            clock,
            lambda: 0.5,
            Metrics(),
        )


class Broken(Player):
    """An engine with a bug."""

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        yield Delta("w")
        raise ZeroDivisionError


async def test_a_bug_of_ours_is_counted_as_one_and_whoever_leaves_after_the_end_has_the_answer() -> None:
    tally, clock = Metrics(), HastyClock()
    with pytest.raises(ZeroDivisionError):
        await gather([], Route([(Broken("a"), Circuit(clock))], clock, lambda: 1.0, tally).run(asking("hello")))
    asked = Route([(Player("b", answers("x")), Circuit(clock))], clock, lambda: 1.0, tally).run(asking("hello"))
    async for event in asked:
        if isinstance(event, Done):
            break
    await asked.aclose()
    for model, outcome in (("a", "error"), ("b", "ok")):
        assert tally.registry.get_sample_value("chatferry_model_calls_total", {"model": model, "outcome": outcome}) == 1


async def test_the_first_model_answers_if_it_can() -> None:
    first, second = Player("a", answers("one")), Player("b")
    assert await played(route(first, second)) == (answers("one"), None)
    assert second.tries == 0


async def test_a_passing_fault_is_tried_again_after_a_growing_wait() -> None:
    clock = HastyClock()
    engine = Player("a", [BUSY], [BUSY], answers("one"))
    assert await played(route(engine, clock=clock)) == (answers("one"), None)
    assert clock.slept == [0.5, 1.0]


async def test_after_three_tries_the_next_model_is_asked() -> None:
    first, second = Player("a", [BUSY], [BUSY], [BUSY]), Player("b", answers("two"))
    assert await played(route(first, second)) == (answers("two"), None)
    assert (first.tries, second.tries) == (3, 1)


async def test_a_final_fault_goes_to_the_next_model_at_once() -> None:
    clock = HastyClock()
    first, second = Player("a", [Final("no such model")]), Player("b", answers("two"))
    assert await played(route(first, second, clock=clock)) == (answers("two"), None)
    assert clock.slept == []


async def test_the_price_is_that_of_the_model_that_answered() -> None:
    begin(spending := Spending())
    clock = HastyClock()
    engines = Player("dear", [Final("no such model")]), Player("cheap", [Delta("yes"), Done(usage=Usage(3, 4))])
    prices = {"dear": 100, "cheap": 1}
    of = Route(
        [(engine, Circuit(clock)) for engine in engines], clock, lambda: 1.0, Metrics(),
        lambda model, usage: prices[model] * (usage.prompt + usage.completion),
    )  # fmt: skip
    await played(of)
    assert spending.all == Usage(3, 4, 7)


@pytest.mark.parametrize(
    ("script", "spent"),
    [
        ([Delta("yes"), Done(usage=Usage(3, 4))], Usage(3, 4, 7)),
        ([Delta("yes"), Done()], Usage(90, 3, 93)),
        ([Delta("yes"), Final("away")], Usage(90, 3, 93)),
        ([Final("refused")], None),
    ],
    ids=["counted", "not counted", "broken off", "refused"],
)
async def test_what_no_provider_counts_is_guessed_where_it_has_said_something(
    script: list[Event | Fault], spent: Usage | None
) -> None:
    begin(spending := Spending())
    clock = HastyClock()
    of = Route(
        [(Player("a", script), Circuit(clock))], clock, lambda: 1.0, Metrics(),
        lambda model, usage: usage.prompt + usage.completion,
        lambda model, prompt, said: Usage(90, len(said)),
    )  # fmt: skip
    await played(of)
    assert spending.all == spent


async def test_who_leaves_owes_what_was_said_until_then() -> None:
    begin(spending := Spending())
    clock = HastyClock()
    engine = Player("a", [Delta("yes"), Delta("no"), Done(usage=Usage(3, 4))])
    of = Route(
        [(engine, Circuit(clock))], clock, lambda: 1.0, Metrics(),
        guess=lambda model, prompt, said: Usage(90, len(said)),
    )  # fmt: skip
    asked = of.run(asking("hello"))
    assert await anext(asked) == Delta("yes")
    await asked.aclose()
    assert spending.owed == Usage(90, 3)


async def test_the_last_fault_is_the_one_that_is_raised() -> None:
    seen, fault = await played(route(Player("a", [BUSY], [BUSY], [BUSY]), Player("b", [Final("last")])))
    assert seen == []
    assert str(fault) == "last"


async def test_a_wait_beyond_patience_goes_to_the_next_model_at_once() -> None:
    clock = HastyClock()
    first = Player("a", [TryLater("quota", after=3600)])
    assert await played(route(first, Player("b", answers("two")), clock=clock)) == (answers("two"), None)
    assert clock.slept == []


async def test_text_of_a_broken_try_is_void_once_there_is_something_new() -> None:
    broken: Play = [Delta("on"), BUSY]
    first, second = Player("a", broken, [BUSY], broken), Player("b", answers("two"))
    seen, _ = await played(route(first, second))
    assert seen == [Delta("on"), Restart(), Delta("on"), Restart(), Delta("two"), Done(model="two")]


async def test_text_of_a_broken_try_is_void_too_if_the_next_answer_has_none() -> None:
    seen, _ = await played(route(Player("a", [Delta("on"), BUSY], [Done("filter")])))
    assert seen == [Delta("on"), Restart(), Done("filter")]


async def test_a_model_that_keeps_failing_is_left_out_until_it_had_its_rest() -> None:
    clock = HastyClock()
    first = Player("a", *failing(5), answers("one"))
    second = Player("b", *[answers("two")] * 3)
    both = route(first, second, clock=clock)
    await played(both)
    await played(both)
    assert first.tries == 5
    await played(both)
    assert first.tries == 5
    clock.advance(30)
    assert await played(both) == (answers("one"), None)


async def test_if_all_are_left_out_the_fault_says_when_to_come_back() -> None:
    clock = HastyClock()
    alone = route(Player("a", *failing(9)), clock=clock)
    await played(alone)
    await played(alone)
    clock.advance(10)
    _, fault = await played(alone)
    assert isinstance(fault, TryLater)
    assert fault.after == pytest.approx(20.0)


async def test_refusals_of_the_request_leave_the_circuit_closed() -> None:
    engine = Player("a", *failing(9, Final("400")), answers("one"))
    alone = route(engine)
    for _ in range(9):
        await played(alone)
    assert await played(alone) == (answers("one"), None)


async def test_closing_closes_the_engine_that_speaks() -> None:
    engine = Player("a", answers("one"))
    async with aclosing(route(engine).run(asking("hello"))) as events:
        assert await anext(events) == Delta("one")
        assert engine.closed == 0
    assert engine.closed == 1


async def test_a_wait_can_be_cancelled() -> None:
    clock = WatchedClock()
    engine = Player("a", [BUSY], answers("one"))
    task = asyncio.create_task(
        gather([], Route([(engine, Circuit(clock))], clock, lambda: 1.0, Metrics()).run(asking("hello")))
    )
    await clock.asleep.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.tries == 1


async def test_its_check_tries_every_model() -> None:
    findings = [finding.subject async for finding in route(Player("a"), Player("b")).check()]
    assert findings == ["model a", "model b"]


async def test_a_fallback_takes_over_between_two_rounds(provider: Provider, http: aiohttp.ClientSession) -> None:
    clock = HastyClock()
    smart = OpenAI("smart", settings("openai", f"{provider.url}/v1"), http, clock)
    fast = Gemini("fast", settings("gemini", f"{provider.url}/v1beta"), http, clock)
    for first, second in ((smart, fast), (fast, smart)):
        both = Route([(first, Circuit(clock)), (second, Circuit(clock))], clock, lambda: 1.0, Metrics())
        provider.sim.act = lambda talk, _: acts(("wait", {}), ("wait", {})) if talk[-1]["role"] == "user" else None
        provider.sim.converse = lambda talk: f"heard {talk[-1]['content']}"
        question = msgspec.structs.replace(asking("go on"), tools=(NOTHING,))
        _, done = await whole(both.run(question))
        made = Round("", done.calls, (Result("one"), Result("two")))
        provider.sim.plans.append(Refuse(400))
        before = len(provider.sim.requests)
        text, done = await whole(both.run(msgspec.structs.replace(question, rounds=(made,))))
        assert (done.finish, "two" in text) == ("stop", True)
        assert [asked.path.split("/")[1] for asked in provider.sim.requests[before:]] in (
            ["v1", "v1beta"], ["v1beta", "v1"],
        )  # fmt: skip
