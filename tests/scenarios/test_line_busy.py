"""Messages that come while another is being answered, and many people at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chatferry.simulator.line import LineSimulator
from chatferry.simulator.model import Break, Refuse
from tests.scenarios.support import (
    BUSY,
    REPLY,
    asked,
    calls,
    ended,
    said_while_it_hangs,
    screen,
    state,
    texts,
    until,
    world,
)
from tests.stack import running


async def test_quick_messages_are_answered_each_in_their_order(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.plans.append(Break("hang"))
        await said_while_it_hangs(stack, "one")
        await stack.line.say("ann", "two")
        await stack.line.say("ann", "three")
        stack.model.release.set()
        answers = await stack.line.seen("ann", 3)
        assert texts(answers) == ["echo: one", "echo: two", "echo: three"]
        assert {one.via for one in answers} == {"reply"}
        assert asked(stack.model) == ["one", "echo: one", "two", "echo: two", "three"]


async def test_another_person_does_not_wait_behind_a_slow_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.plans.append(Break("hang"))
        await said_while_it_hangs(stack, "one")
        await stack.line.say("bob", "hello")
        await stack.line.seen("bob", 1)
        assert screen(stack.line, "ann") == []
        stack.model.release.set()


async def test_merged_messages_are_answered_together(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"busy": "merge"}) as stack:
        stack.model.plans.append(Break("hang"))
        await said_while_it_hangs(stack, "one")
        await stack.line.say("ann", "two")
        await stack.line.say("ann", "three")
        stack.model.release.set()
        entries = await ended(stack.gateway, 3)
        assert screen(stack.line) == ["echo: one", "echo: two\n\nthree"]
        assert asked(stack.model) == ["one", "echo: one", "two\n\nthree"]
        assert [entry.state for entry in entries] == ["done", "done", "merged"]
        await stack.line.say("ann", "four")
        await stack.line.seen("ann", 3)
        assert asked(stack.model) == ["one", "echo: one", "two\n\nthree", "echo: two\n\nthree", "four"]


async def test_a_merged_answer_uses_the_newest_token(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"busy": "merge"}) as stack:
        stack.model.plans.append(Break("hang"))
        await said_while_it_hangs(stack, "one")
        await stack.line.say("ann", "two")
        newest = await stack.line.say("ann", "three")
        stack.model.release.set()
        answers = await stack.line.seen("ann", 2)
        assert answers[1].event == newest.events[0]["webhookEventId"]


async def test_an_answer_that_is_stored_already_is_not_merged_into_an_older_question(tmp_path: Path) -> None:
    async with world(tmp_path, assistant={"busy": "merge"}) as it, it.gateway() as gateway:
        it.model.plans.append(Refuse(400))
        await it.line.say("ann", "one")
        [failed] = await ended(gateway, 1)
        it.line.fail(REPLY, BUSY)
        await it.line.say("ann", "two")
        await until(lambda: len(calls(it.line, REPLY)) == 2)
        await state(gateway, 2, "due")
        assert await gateway.ledger.reopen(failed.id)
        await gateway.dispatcher.wake(failed.conversation)
        await ended(gateway, 2, it.clock)
        assert sorted(screen(it.line)[1:]) == ["echo: one", "echo: two"]
        assert len(it.model.requests) == 3


async def test_an_interrupting_message_closes_the_model_call_and_gets_the_one_answer(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"busy": "interrupt"}) as stack:
        stack.model.plans.append(Break("hang", after=1))
        await said_while_it_hangs(stack, "one")
        newest = await stack.line.say("ann", "two")
        [answer] = await stack.line.seen("ann", 1)
        await ended(stack.gateway, 2)
        await until(lambda: stack.model.cancelled == 1)
        assert stack.model.connections == 0
        assert screen(stack.line) == ["echo: two"]
        assert (answer.via, answer.event) == ("reply", newest.events[0]["webhookEventId"])
        assert asked(stack.model) == ["one", "two"]


async def test_a_person_may_interrupt_again_and_again(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"busy": "interrupt"}) as stack:
        stack.model.plans.extend([Break("hang")] * 3)
        for words in ("one", "two", "three"):
            await said_while_it_hangs(stack, words)
        await stack.line.say("ann", "four")
        await ended(stack.gateway, 4)
        await until(lambda: stack.model.cancelled == 3)
        assert screen(stack.line) == ["echo: four"]
        assert asked(stack.model) == ["one", "two", "three", "four"]


async def test_a_second_message_that_waits_already_is_taken_along_by_an_interrupting_one(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"busy": "interrupt"}) as stack:
        await asyncio.gather(*(stack.line.say("ann", f"message {n}") for n in range(10)))
        await ended(stack.gateway, 10)
        said = " ".join(asked(stack.model))
        assert all(f"message {n}" in said for n in range(10))
        assert screen(stack.line)


@pytest.mark.long
async def test_a_hundred_people_with_twenty_messages_each_get_their_answers_in_order(tmp_path: Path) -> None:
    async def talk(name: str) -> None:
        for n in range(20):
            assert (await line.say(name, f"{name} {n}")).status == 200

    people = [f"p{n}" for n in range(100)]
    # On a machine that is so busy that reply tokens die, the last ones are pushed.
    async with running(tmp_path, line=LineSimulator(patience=60.0, quota=None), channel={"waiting": "none"}) as stack:
        line = stack.line
        await asyncio.gather(*map(talk, people))
        for name in people:
            await line.seen(name, 20, patience=180)
        for name in people:
            assert screen(line, name) == [f"echo: {name} {n}" for n in range(20)]
        assert len(stack.model.requests) == 2000
