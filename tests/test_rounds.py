"""An answer that is made with tools: asked in rounds, called at once, kept as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatferry.engines.base import Call, Result
from chatferry.errors import Final
from chatferry.tools.base import Caller
from chatferry.tools.python import Python
from tests.growing import WORDS, World, about, asks, rewords, world


class Till:
    """What the functions below are called with, and what lets them go."""

    def __init__(self) -> None:
        self.called: list[tuple[str, str]] = []
        """Number and key."""
        self.stopped: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.waiting = asyncio.Event()

    async def order_status(self, number: str, caller: Caller) -> str:
        """Where an order is."""
        self.called.append((number, caller.key))
        if number in self.held:
            self.waiting.set()
            try:
                await self.held[number].wait()
            except asyncio.CancelledError:
                self.stopped.append(number)
                raise
        return f"{number} is at sea"

    async def meet(self, name: str, other: str) -> str:
        """Waits for the other."""
        self.held.setdefault(name, asyncio.Event()).set()
        await self.held.setdefault(other, asyncio.Event()).wait()
        return "met"

    def broken(self) -> str:
        """Fails."""
        raise ValueError("the password is 1234")

    @property
    def numbers(self) -> list[str]:
        return [number for number, _ in self.called]


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
async def talk(tmp_path: Path, till: Till) -> AsyncIterator[World]:
    async with world(tmp_path) as one:
        one.tools = [Python(till.order_status), Python(till.meet), Python(till.broken)]
        yield one


def status(number: str, id: str = "c1") -> Call:
    return Call(id, "order_status", f'{{"number": "{number}"}}')


async def test_what_the_model_calls_comes_back_to_it_and_its_words_stay(talk: World, till: Till) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1", "Where is 12?"))
        first = await talk.asked()
        assert [tool.name for tool in first.prompt.tools] == ["order_status", "meet", "broken"]
        assert "never instructions" in first.prompt.system
        first.says("Let me look.")
        first.calls(status("12"))
        second = await talk.asked()
        [made] = second.prompt.rounds
        assert (made.said, made.calls, made.results) == ("Let me look.", (status("12"),), (Result("12 is at sea"),))
        second.ends("It is at sea.")
        [turn] = await talk.ended(process)
        assert (turn.state, turn.prompt_tokens, turn.completion_tokens) == ("done", 10, 5)
        assert talk.screen == ["Let me look.\n\nIt is at sea."]
        assert await talk.said(process) == ["Where is 12?", "Let me look.\n\nIt is at sea."]
        [step] = await process.ledger.steps(turn.id)
        assert (step.call, step.result, step.key) == (status("12"), Result("12 is at sea"), till.called[0][1])
        assert step.ended_at is not None


async def test_calls_of_one_round_run_at_once(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        (await talk.asked()).calls(
            Call("1", "meet", '{"name": "a", "other": "b"}'), Call("2", "meet", '{"name": "b", "other": "a"}')
        )
        second = await talk.asked()
        assert second.prompt.rounds[0].results == (Result("met"), Result("met"))


async def test_what_cannot_be_called_is_told_to_the_model(talk: World) -> None:
    talk.settings = {"tool_timeout": 0.05, "tool_limit": 200}

    def told(results: tuple[Result, ...]) -> list[str]:
        assert all(result.failed for result in results)
        return [result.text for result in results]

    async with talk.process() as process:
        await process.accept(asks("e1"))
        (await talk.asked()).calls(
            Call("1", "nothing", "{}"),
            Call("2", "order_status", '{"number": '),
            Call("3", "order_status", '{"nmber": "1"}'),
            Call("4", "order_status", "[]"),
            Call("5", "broken", ""),
            Call("6", "meet", '{"name": "a", "other": "nobody"}'),
        )
        texts = told((await talk.asked()).prompt.rounds[0].results)
        for text, words in zip(texts, ("order_status, meet", "no JSON object", "Field required", "no JSON object",
                                       "It failed: ValueError.", "longer than 0.05 s"), strict=True):  # fmt: skip
            assert words in text
        assert "1234" not in "".join(texts)


async def test_a_long_result_is_cut(talk: World, till: Till) -> None:
    talk.settings = {"tool_limit": 200}
    async with talk.process() as process:
        await process.accept(asks("e1"))
        (await talk.asked()).calls(status("9" * 1000))
        [result] = (await talk.asked()).prompt.rounds[0].results
        assert result.text == "9" * 200 + "\n[... 810 more characters were cut off]"


async def test_the_model_calls_only_so_often_and_then_answers(talk: World, till: Till) -> None:
    talk.settings = {"tool_rounds": 2}
    async with talk.process() as process:
        await process.accept(asks("e1"))
        for number in "12":
            question = await talk.asked()
            assert not question.prompt.last
            question.calls(status(number))
        last = await talk.asked()
        assert last.prompt.last
        assert "No more tools" in last.prompt.system
        last.says("So be it.")
        last.calls(status("3"))
        [turn] = await talk.ended(process)
        assert turn.finish == "stop"
        assert talk.screen == ["So be it."]
        assert till.numbers == ["1", "2"]


async def test_what_began_anew_keeps_what_was_said_before_the_calls(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        first = await talk.asked()
        first.says("Wrong")
        first.restarts()
        first.says("Let me look.")
        first.calls(status("1"))
        second = await talk.asked()
        second.says("It is")
        second.restarts()
        second.ends("At sea.")
        await talk.ended(process)
        assert talk.screen == ["Let me look.\n\nAt sea."]


async def test_a_crash_between_two_calls_of_a_round_repeats_only_what_had_not_returned(talk: World, till: Till) -> None:
    till.held["2"] = asyncio.Event()
    async with talk.process() as process:
        await process.accept(asks("e1"))
        first = await talk.asked()
        first.says("Let me look.")
        first.calls(status("1", "a"), status("2", "b"))
        await till.waiting.wait()
        await talk.until(lambda: len(till.called) == 2)
        async with asyncio.timeout(60):
            while not any(step.result for step in await process.ledger.steps(1)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    till.held["2"].set()
    async with talk.process() as process:
        again = await talk.asked()  # and not the first question once more
        assert [result.text for result in again.prompt.rounds[0].results] == ["1 is at sea", "2 is at sea"]
        again.ends("Both at sea.")
        [turn] = await talk.ended(process)
        assert till.numbers == ["1", "2", "2"]
        assert till.called[1] == till.called[2], "the same call has the same key"
        assert talk.screen == ["Let me look.\n\nBoth at sea."]
        assert (turn.prompt_tokens, turn.completion_tokens) == (10, 5)


async def test_who_is_stopped_while_something_is_called_calls_nothing_more(talk: World, till: Till) -> None:
    till.held["1"] = asyncio.Event()
    async with talk.process() as process:
        await process.accept(asks("e1"))
        first = await talk.asked()
        first.says("Let me look.")
        first.calls(status("1"))
        await till.waiting.wait()
        await talk.reads("Let me look.")
        await process.accept(asks("stop", "/stop"))
        await talk.until(lambda: till.stopped == ["1"])
        await talk.until(lambda: not any(post.growing for post in talk.board.posts.values()))
        assert talk.screen[0].startswith("Let me look.")
        assert len(talk.engine.talks) == 1


@pytest.mark.parametrize("end", ["fault", "stop"])
async def test_what_the_rounds_have_cost_is_counted_however_the_answer_ends(talk: World, till: Till, end: str) -> None:
    till.held["2"] = asyncio.Event()
    async with talk.process() as process:
        await process.accept(asks("e1"))
        (await talk.asked()).calls(status("1"))
        second = await talk.asked()
        if end == "fault":
            second.fails(Final("out of order"))
        else:
            second.calls(status("2"))
            await till.waiting.wait()
            await process.accept(asks("stop", "/stop"))
        turn = (await talk.ended(process))[0]
        rounds = {"fault": 1, "stop": 2}[end]
        assert (turn.prompt_tokens, turn.completion_tokens) == (10 * rounds, 5 * rounds)


async def test_new_words_void_what_was_called_for_the_old_ones(talk: World, till: Till) -> None:
    till.held["1"] = asyncio.Event()
    async with talk.process() as process:
        await process.accept(asks("e1", "Where is 1?"))
        (await talk.asked()).calls(status("1"))
        await till.waiting.wait()
        await process.accept(rewords("e1", "Where is 2?"))
        anew = await talk.asked()
        assert anew.prompt.rounds == ()
        assert till.stopped == ["1"]
        anew.calls(status("2"))
        (await talk.asked()).ends("At sea.")
        await talk.ended(process)
        assert len({key for _, key in till.called}) == 2, "another call has another key"


async def test_without_tools_no_step_is_looked_for(talk: World) -> None:
    looked: list[Any] = []
    talk.tools = []
    async with talk.process() as process:
        process.ledger.steps = looked.append  # type: ignore[assignment, method-assign]
        await process.accept(asks("e1"))
        (await talk.asked()).ends("hello")
        await talk.ended(process)
        assert looked == []


async def test_while_something_is_called_the_message_says_so_and_then_no_more(talk: World, till: Till) -> None:
    till.held["1"] = asyncio.Event()
    async with talk.process() as process:
        await process.accept(asks("e1"))
        (await talk.asked()).calls(status("1"))
        await talk.shows("Looking up: order_status…")
        till.held["1"].set()
        second = await talk.asked()
        await talk.shows(WORDS.answering)
        second.says("Let me look again.")
        till.held["2"] = asyncio.Event()
        second.calls(status("2", "a"), Call("b", "broken", "{}"))
        await talk.shows("Let me look again.\n\nLooking up: order_status…")  # the other failed at once
        till.held["2"].set()
        (await talk.asked()).ends("At sea.")
        await talk.ended(process)
        assert talk.screen == ["Let me look again.\n\nAt sea."]


async def test_where_a_message_can_only_go_on_no_step_stands_in_it(talk: World, till: Till) -> None:
    talk.board.append_only = True
    till.held["1"] = asyncio.Event()
    async with talk.process() as process:
        await process.accept(asks("e1"))
        first = await talk.asked()
        first.says("Let me look.")
        first.calls(status("1"))
        await talk.shows("Let me look.")
        await talk.passes(3.0)
        assert talk.screen == ["Let me look."]
        till.held["1"].set()
        (await talk.asked()).ends("At sea.")
        await talk.ended(process)


async def test_an_answer_that_is_stopped_after_a_crash_does_not_keep_the_step(talk: World, till: Till) -> None:
    till.held["1"] = asyncio.Event()
    async with talk.process() as process:
        await process.accept(asks("e1"))
        first = await talk.asked()
        first.says("Let me look.")
        first.calls(status("1"))
        await talk.shows("Let me look.\n\nLooking up: order_status…")
    async with talk.process() as process:
        await process.ledger.halt(1)
        await process.accept(about("stop"))
        await talk.until(lambda: "stopped" in talk.screen[0])
        assert "Looking up" not in talk.screen[0]
        turn = (await talk.ended(process))[0]
        assert (turn.prompt_tokens, turn.completion_tokens) == (10, 5)
