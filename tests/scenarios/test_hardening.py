"""What an attack on the gateway found, each as a test."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

from chatferry.config import AssistantSettings
from chatferry.model import Inbound, says
from chatferry.simulator.line_records import Fault
from chatferry.simulator.model import Refuse
from chatferry.text.plain import plain
from tests.scenarios.support import BUSY, PUSH, REPLY, ended, screen, until, world
from tests.stack import running

REFUSED = Fault(status=400, message="A message (messages[0]) in the request body is invalid")


async def test_a_database_that_is_locked_for_a_while_repeats_and_forgets_nothing(tmp_path: Path) -> None:
    """Another process holds SQLite's write lock for longer than our patience with it, right after LINE's 200."""
    async with running(tmp_path) as stack:
        gate = asyncio.Event()
        stack.line.fail(REPLY, Fault(gate=gate, status=0))
        await stack.line.say("ann", "hello")
        await until(lambda: any(call.path == REPLY for call in stack.line.calls))
        other = sqlite3.connect(tmp_path / "chatferry.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        gate.set()
        await stack.line.seen("ann", 1)
        await asyncio.sleep(5.5)  # SQLite itself waits five seconds for a lock, by its own clock
        other.execute("ROLLBACK")
        other.close()
        [entry] = await ended(stack.gateway, 1)
        assert entry.state == "done"
        assert len(stack.model.requests) == 1
        assert len(await stack.line.seen("ann", 1)) == 1


def test_a_table_made_to_be_huge_costs_next_to_nothing() -> None:
    huge = "|" * 350 + "\n" + "|-" * 350 + "\n" + "a\n" * 350
    begin = time.process_time()
    assert plain(huge) == huge
    assert time.process_time() - begin < 0.5


async def test_what_line_refuses_of_an_earlier_answer_does_not_hold_up_the_next(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"late": "button"}) as sky, sky.gateway() as gateway:
        parked = Inbound("e-old", sky.line.address("ann"), "push", says("assistant", "what LINE refuses"))
        await gateway.ledger.accept("line", [parked])
        await gateway.dispatcher.wake(f"line:{sky.line.address('ann')}")
        await ended(gateway, 1, sky.clock)
        assert [entry.state for entry in await gateway.ledger.entries()] == ["parked"]
        sky.line.fail(REPLY, REFUSED)
        await sky.line.say("ann", "one")
        await ended(gateway, 2, sky.clock)
        await sky.line.say("ann", "two")
        entries = await ended(gateway, 3, sky.clock)
        assert [entry.state for entry in entries] == ["failed", "done", "done"]
        assert screen(sky.line) == ["echo: one", "echo: two"]


async def test_an_answer_that_line_would_not_take_for_long_comes_with_the_next_message(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"late": "push"}) as sky, sky.gateway() as gateway:
        sky.line.fail(REPLY, *[BUSY] * 30)
        sky.line.fail(PUSH, *[BUSY] * 30)
        await sky.line.say("ann", "one")
        await ended(gateway, 1, sky.clock, turn=20.0)
        assert [entry.state for entry in await gateway.ledger.entries()] == ["parked"]
        sky.line._faults.clear()
        await sky.line.say("ann", "two")
        await ended(gateway, 2, sky.clock)
        assert screen(sky.line) == ["echo: one", "echo: two"]


async def test_a_turn_for_an_assistant_that_is_gone_does_not_keep_the_gateway_from_starting(tmp_path: Path) -> None:
    async with world(tmp_path) as sky:
        async with sky.gateway() as gateway:
            await gateway.ledger.accept("api", [Inbound("e", "s", message=says("user", "hi"), assistant="gone")])
        other = {"other": AssistantSettings(language="en")}
        channels = {
            name: line.model_copy(update={"assistant": "other"}) for name, line in sky.settings.channels.items()
        }
        sky.settings = sky.settings.model_copy(update={"assistants": other, "channels": channels})
        async with sky.gateway() as gateway:
            [entry] = await ended(gateway, 1, sky.clock, turn=1.0)
            assert entry.state == "failed"
            await sky.line.say("ann", "hello")
            await sky.line.seen("ann", 1)


async def test_instructions_that_use_up_the_budget_leave_the_question_in(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"context_tokens": 100, "instructions": "Be kind. " * 200}) as stack:
        await stack.line.say("ann", "Where is my order?")
        await stack.line.seen("ann", 1)
        assert stack.model.requests[0].body["messages"][-1]["content"] == "Where is my order?"


async def test_what_a_person_wrote_is_not_in_the_reason_that_a_provider_gives(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        private = "my blood pressure is 150 to 95 and I am afraid"
        stack.model.plans.append(Refuse(400, {"message": f"Invalid value: '{private}'", "code": "invalid_value"}))
        await stack.line.say("ann", private)
        await stack.line.seen("ann", 1)
        await ended(stack.gateway, 1)
        [entry] = await stack.gateway.ledger.entries()
        assert "invalid_value" in entry.error
        assert "blood" not in entry.error
