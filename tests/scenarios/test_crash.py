"""Every message that was accepted is answered exactly once and in order, whenever the process dies."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from chatferry.simulator import line_people, line_rules
from chatferry.simulator.line_records import Fault
from chatferry.simulator.model import Break, Odd, Pause, Plan, Refuse
from tests.scenarios.conftest import Judge
from tests.scenarios.line_crash import ordeal
from tests.scenarios.support import until

_LINE_FAULTS = (
    Fault(status=500),
    Fault(status=500, done=True),
    Fault(drop=True),
    Fault(drop=True, done=True),
    Fault(status=429, message=line_rules.RATE_LIMIT),
)
_MODEL_FAULTS: tuple[Plan, ...] = (Break("cut", 2), Break("end", 1), Break("error"), Refuse(429), Refuse(500))
_MANY = 20_000
"""More calls than are made."""


async def test_a_gateway_that_is_killed_all_the_time_answers_everything_once_and_in_order(
    tmp_path: Path, kills: int, seed: int, judge: Judge
) -> None:
    async with ordeal(tmp_path, seed) as trial:
        judge(await trial.endure(kills))


@pytest.mark.long
async def test_what_no_reply_may_answer_is_pushed_once_and_in_order(
    tmp_path: Path, kills: int, seed: int, judge: Judge
) -> None:
    async with ordeal(tmp_path, seed, tokens=False) as trial:
        account = await trial.endure(kills // 4)
    assert account.figures["replies"] == 0
    judge(account)


@pytest.mark.long
async def test_what_is_delivered_again_after_an_outage_is_answered_though_its_reply_tokens_are_dead(
    tmp_path: Path, kills: int, seed: int, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What LINE delivers again is more than a minute old, and no reply token lives that long.
    monkeypatch.setattr(line_rules, "REPLY_TOKEN_SECONDS", -1)
    async with ordeal(tmp_path, seed, age=61.0) as trial:
        account = await trial.endure(kills // 4)
    assert account.figures["replies"] == 0
    judge(account)


@pytest.mark.long
async def test_faults_of_line_and_of_the_model_between_the_kills_change_nothing(
    tmp_path: Path, kills: int, seed: int, judge: Judge
) -> None:
    async with ordeal(tmp_path, seed) as trial:
        for path in ("/v2/bot/message/reply", "/v2/bot/message/push"):
            trial.line.fail(path, *trial.chance.choices((Fault(), *_LINE_FAULTS), (20, 1, 1, 1, 1, 1), k=_MANY))
        trial.model.plans.extend(trial.chance.choices((Odd(), *_MODEL_FAULTS), (45, 1, 1, 1, 1, 1), k=_MANY))
        judge(await trial.endure(kills // 4))


@pytest.mark.long
async def test_to_be_killed_is_not_held_against_a_turn(tmp_path: Path, seed: int, judge: Judge) -> None:
    async with ordeal(tmp_path, seed) as trial:
        trial.model.first = 60.0
        for kill in range(3):
            await trial.served.start()
            await trial.served.ready()
            if not kill:
                await trial.write("ann", "ann one")
            await trial.asked(kill + 1)
            await trial.served.end(signal.SIGKILL)
        trial.model.first = 0.0
        await trial.served.start()
        account = await trial.end()
        [turn] = trial.turns().values()
    assert turn["attempts"] == 1
    judge(account)


async def test_told_to_stop_it_ends_its_answers_takes_nothing_more_and_leaves_the_rest_to_the_next(
    tmp_path: Path, seed: int, judge: Judge
) -> None:
    async with ordeal(tmp_path, seed) as trial:
        people = [f"p{n}" for n in range(5)]
        trial.model.plans += [Pause((0,))] * len(people)
        await trial.served.start()
        await trial.served.ready()
        for words in ("one", "two"):
            await asyncio.gather(*(trial.write(name, f"{name} {words}") for name in people))
        await trial.asked(len(people))
        stopped = asyncio.create_task(trial.served.end(signal.SIGTERM))
        await until(lambda: any(entry["event"] == "stopping" for entry in trial.served.logged()))

        content = line_people.text("late one")
        event = line_people.event("message", line_people.source("late", None), trial.line.clock(), message=content)
        body, headers = line_people.signed(trial.line.secret, {"destination": "", "events": [event]})
        async with aiohttp.request("POST", trial.line.webhook, data=body, headers=headers) as refused:
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0

        trial.model.release.set()
        assert await stopped == 0
        assert {name: len(trial.line.chats[trial.line.address(name)]) for name in people} == dict.fromkeys(people, 1)
        await trial.served.start()
        await trial.write("late", "late one")
        account = await trial.end()
    assert account.figures["resumed"] == 0
    judge(account)
