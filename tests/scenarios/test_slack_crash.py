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

MODES = pytest.mark.parametrize(
    "native", [pytest.param(False, id="edited"), pytest.param(True, id="streamed", marks=pytest.mark.long)]
)


@MODES
async def test_a_gateway_that_is_killed_all_the_time_answers_every_question_once(
    tmp_path: Path, kills: int, seed: int, judge: Judge, *, native: bool
) -> None:
    async with ordeal(tmp_path, seed, native=native) as trial:
        judge(await trial.endure(max(1, kills // 20)))


@MODES
async def test_killed_while_a_message_begins_and_again_while_it_grows_the_same_message_is_finished(
    tmp_path: Path, seed: int, judge: Judge, *, native: bool
) -> None:
    async with ordeal(tmp_path, seed, native=native) as trial:
        sim, method = trial.slack, "chat.startStream" if native else "chat.postMessage"
        trial.model.reply = lambda _: "p0 1: 3 la la la end"
        trial.model.plans += [Break("hang", 4), Break("hang", 5)]
        on_its_way = asyncio.Event()
        sim.faults(method, Fault(delay=on_its_way))
        await trial.served.start()
        talk = await trial.ask("p0", "p0 1")
        await sim.until(lambda: sim.count(method))
        await trial.served.end(signal.SIGKILL)
        on_its_way.set()
        await sim.until(lambda: trial.posts(talk))

        await trial.served.start()
        await sim.until(lambda: trial.posts(talk)[0].markdown.endswith("la la"))
        await trial.served.end(signal.SIGKILL)

        await trial.served.start()
        judge(await trial.end())
        assert len(trial.posts(talk)) == sim.count("chat.startStream", "chat.postMessage") == 1
        assert len(trial.model.requests) == 3


async def test_a_stream_that_another_life_ended_is_not_taken_for_the_next_answer(
    tmp_path: Path, seed: int, judge: Judge
) -> None:
    async with ordeal(tmp_path, seed, native=True) as trial:
        sim = trial.slack
        trial.model.plans.append(Break("hang", 4))
        await trial.served.start()
        talk = await trial.ask("p0", "p0 1")
        await trial.ask("p0", "p0 2", talk=talk)
        await sim.until(lambda: trial.posts(talk))
        await trial.served.end(signal.SIGKILL)

        never = asyncio.Event()
        sim.faults("chat.startStream", Fault(delay=never, lose=True))
        await trial.served.start()
        await sim.until(lambda: sim.count("chat.startStream") == 2)
        await trial.served.end(signal.SIGKILL)
        never.set()

        await trial.served.start()
        judge(await trial.end())
