"""A message that grows is found again and finished, and nothing is answered twice, whenever the process dies."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from chatferry.simulator.model import Break
from chatferry.simulator.slack_records import Fault
from tests.scenarios.conftest import Judge
from tests.scenarios.slack_crash import ordeal

MODES = pytest.mark.parametrize("native", [False, True], ids=["edited", "streamed"])


@MODES
async def test_a_gateway_that_is_killed_all_the_time_answers_every_question_once(
    tmp_path: Path, kills: int, seed: int, judge: Judge, *, native: bool
) -> None:
    async with ordeal(tmp_path, seed, native=native) as trial:
        judge(await trial.endure(kills // 12))


@MODES
async def test_killed_while_a_message_grows_the_same_message_is_finished(
    tmp_path: Path, seed: int, judge: Judge, *, native: bool
) -> None:
    async with ordeal(tmp_path, seed, native=native) as trial:
        trial.model.reply = lambda _: "p0 1: 4 la la la la end"
        trial.model.plans.append(Break("hang", 4))
        await trial.served.start()
        talk = await trial.ask("p0", "p0 1")
        await trial.slack.until(lambda: "la" in "".join(post.markdown for post in trial.posts(talk)))
        (growing,) = trial.posts(talk)
        await trial.served.end(signal.SIGKILL)
        assert growing.streaming is native

        await trial.served.start()
        judge(await trial.end())
        assert [post.ts for post in trial.posts(talk)] == [growing.ts]
        assert len(trial.model.requests) == 2


@MODES
async def test_killed_while_a_message_begins_it_is_found_by_what_it_carries(
    tmp_path: Path, seed: int, judge: Judge, *, native: bool
) -> None:
    async with ordeal(tmp_path, seed, native=native) as trial:
        on_its_way = asyncio.Event()
        method = "chat.startStream" if native else "chat.postMessage"
        trial.slack.faults(method, Fault(delay=on_its_way))
        trial.model.plans.append(Break("hang", 4))
        await trial.served.start()
        talk = await trial.ask("p0", "p0 1")
        await trial.slack.until(lambda: any(call.method == method for call in trial.slack.calls))
        await trial.served.end(signal.SIGKILL)
        on_its_way.set()
        await trial.slack.until(lambda: trial.posts(talk))
        (begun,) = trial.posts(talk)

        await trial.served.start()
        judge(await trial.end())
        assert trial.posts(talk)[0].ts == begun.ts
        assert len(trial.model.requests) == 2


async def test_a_stream_that_another_life_ended_is_not_taken_for_the_next_answer(
    tmp_path: Path, seed: int, judge: Judge
) -> None:
    async with ordeal(tmp_path, seed, native=True) as trial:
        trial.model.plans.append(Break("hang", 4))
        await trial.served.start()
        talk = await trial.ask("p0", "p0 1")
        await trial.ask("p0", "p0 2", talk=talk)
        await trial.slack.until(lambda: trial.posts(talk))
        await trial.served.end(signal.SIGKILL)

        never = asyncio.Event()
        trial.slack.faults("chat.startStream", Fault(delay=never, lose=True))
        await trial.served.start()
        await trial.slack.until(lambda: len([c for c in trial.slack.calls if c.method == "chat.startStream"]) == 2)
        await trial.served.end(signal.SIGKILL)
        never.set()

        await trial.served.start()
        judge(await trial.end())
