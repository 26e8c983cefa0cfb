"""A yes that does not count, or is put in other words or taken back: what it was to stays open, or is not done."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chatferry.simulator.model import Break
from chatferry.simulator.slack_people import BOT
from tests.scenarios.slack_support import World, slack_world
from tests.scenarios.support import ended, state, until
from tests.scenarios.test_confirm import ASSISTANT, EN, Desk, calling

pytestmark = pytest.mark.usefixtures("anew")


@pytest.fixture
def anew() -> None:
    Desk.cancelled, Desk.entered, Desk.gate = [], asyncio.Event(), None


async def asked_in_general(it: World) -> str:
    """A question of the assistant's waits in a thread for Ann's yes."""
    calling(it.model)
    root = await it.slack.say("ann", "cancel my order", channel="general", mention=True)
    await until(lambda: any(EN.confirm_ask in post.markdown for post in it.slack.thread("general", root)), it.clock)
    return root


@pytest.mark.parametrize(
    ("limited", "word"),
    [
        ({"assistant": ASSISTANT | {"budget": {"messages": 1}}}, EN.spent_day[:20]),
        ({"assistant": ASSISTANT, "channel": {"limits": {"user": "1/d"}}}, EN.slow[:20]),
    ],
    ids=["spent", "paused"],
)
async def test_a_yes_for_which_there_is_no_room_leaves_the_question_open(
    tmp_path: Path, limited: dict[str, Any], word: str
) -> None:
    limited["assistant"] |= {"confirm_timeout": 172_800.0}
    async with slack_world(tmp_path, **limited) as it, it.gateway() as gateway:
        root = await asked_in_general(it)
        await ended(gateway, 1, it.clock)
        await it.slack.say("ann", "yes", channel="general", thread=root)
        await until(lambda: any(post.markdown.startswith(word) for post in it.slack.thread("general", root)), it.clock)
        assert Desk.cancelled == []
        [question, *_] = [post for post in it.slack.thread("general", root) if post.user == BOT]
        assert question.buttons
        it.clock.advance(86_400.0)
        await it.slack.say("ann", "yes", channel="general", thread=root)
        await ended(gateway, 3, it.clock)
        assert [number for number, _ in Desk.cancelled] == ["17"]


@pytest.mark.parametrize("meanwhile", ["edited", "taken back"])
async def test_a_yes_that_is_none_any_more_before_anything_is_done(tmp_path: Path, meanwhile: str) -> None:
    async with slack_world(tmp_path, assistant=ASSISTANT | {"busy": "merge"}) as it, it.gateway() as gateway:
        calling(it.model)
        ts = await it.slack.say("ann", "cancel my order")
        await ended(gateway, 1, it.clock)
        direct, gate = it.slack.dm("ann"), asyncio.Event()
        told = gateway.ledger.steps

        async def steps(turn: int) -> Any:
            await gate.wait()
            return await told(turn)

        gateway.ledger.steps = steps  # type: ignore[method-assign]
        said = await it.slack.say("ann", "yes", thread=ts)
        await state(gateway, 2, "doing")
        await it.slack.say("ann", "and hello", thread=ts)
        await it.slack.edit("ann", direct, said, "yes!")
        await state(gateway, 3, "merged")
        if meanwhile == "edited":
            await it.slack.edit("ann", direct, said, "no, do not")
        else:
            await it.slack.delete("ann", direct, said)
        gate.set()
        await ended(gateway, 2, it.clock)
        assert Desk.cancelled == []


async def test_what_a_yes_has_begun_is_done_once_though_the_yes_is_put_in_other_words(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant=ASSISTANT) as it, it.gateway() as gateway:
        calling(it.model)
        ts = await it.slack.say("ann", "cancel my order")
        await ended(gateway, 1, it.clock)
        it.model.plans.append(Break("hang", after=1))
        said = await it.slack.say("ann", "yes", thread=ts)
        await it.model.hanging.wait()
        assert len(Desk.cancelled) == 1
        await it.slack.edit("ann", it.slack.dm("ann"), said, "yes please")
        await ended(gateway, 2, it.clock)
        assert len(Desk.cancelled) == 1
