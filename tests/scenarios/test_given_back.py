"""An answer that failed is nobody's loss: the message is not charged."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from chatferry.simulator.model import Refuse
from tests.scenarios.asking import api, ask
from tests.scenarios.support import charged, ended, until, world

TWO = {"budget": {"messages": 2}}

both = pytest.mark.usefixtures("layout")


@both
async def test_while_the_provider_is_down_nobody_uses_up_anything(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=TWO) as it, it.gateway() as gateway, api(it) as caller:
        for _ in range(5):
            it.model.plans.append(Refuse(401))
            with pytest.raises(openai.InternalServerError):
                await ask(caller, "hello")
        assert await charged(gateway) == [0]
        await ask(caller, "hello")
        await ask(caller, "hello")
        assert await charged(gateway) == [2]
        with pytest.raises(openai.RateLimitError):
            await ask(caller, "hello")


@both
async def test_what_is_tried_again_is_given_back_once(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=TWO) as it, it.gateway() as gateway:
        await it.line.say("ann", "one")
        await ended(gateway, 1)
        it.model.plans.append(Refuse(401))
        await it.line.say("ann", "two")
        await ended(gateway, 2)
        assert await charged(gateway) == [1]
        it.model.plans.append(Refuse(401))
        for n in (3, 4):
            assert await gateway.ledger.reopen(2)
            await gateway.dispatcher.wake("line:" + it.line.address("ann"))
            await until(lambda n=n: len(it.model.requests) == n)  # type: ignore[misc]
            entry = (await ended(gateway, 2))[-1]
            assert entry.state == ("failed" if n == 3 else "done")
            assert await charged(gateway) == [1], "an operator's try is nobody's message"


async def test_messages_that_are_answered_together_are_given_back_together(tmp_path: Path) -> None:
    merging = {"busy": "merge", "budget": {"messages": 9}}
    async with world(tmp_path, assistant=merging) as it, it.gateway() as gateway:
        it.model.key = "another"
        it.model.first = 0.0
        await it.line.say("ann", "one")
        await it.line.say("ann", "two")
        await it.line.say("ann", "three")
        await ended(gateway, 3)
        assert await charged(gateway) == [0]


async def test_a_restart_gives_nothing_back_twice(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=TWO) as it:
        async with it.gateway() as gateway:
            it.model.plans.append(Refuse(401))
            await it.line.say("ann", "one")
            await ended(gateway, 1)
        async with it.gateway() as gateway:
            await it.line.say("ann", "two")
            await ended(gateway, 2)
            assert await charged(gateway) == [1]
