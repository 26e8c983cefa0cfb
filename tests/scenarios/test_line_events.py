"""Events that are not a question: who met us, what was taken back, what comes twice or is not for us."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chatferry.simulator import line_people as people
from chatferry.simulator.line_records import Delivery, Fault
from chatferry.simulator.line_rules import Json
from chatferry.simulator.model import Break
from chatferry.words import words
from tests.scenarios.support import (
    CLUB,
    REPLY,
    asked,
    calls,
    ended,
    kept,
    said_while_it_hangs,
    screen,
    state,
    texts,
    until,
)
from tests.stack import Stack, running

SECRET = "my-password-is-swordfish"


def message(stack: Stack, text: str, *, user: str = "ann", **more: object) -> Json:
    event = people.event("message", people.source(user, None), stack.line.clock(), message=people.text(text))
    return event | more


def ref(delivery: Delivery) -> str:
    return str(delivery.events[0]["message"]["id"])


async def test_whoever_adds_us_is_greeted_for_free_and_no_model_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        await stack.line.follow("ann")
        [greeting] = await stack.line.seen("ann", 1)
        assert (greeting.text, greeting.via) == (words("en").greeting, "reply")
        await stack.line.join("club")
        [greeting] = await stack.line.seen(CLUB, 1)
        assert greeting.via == "reply"
        assert not stack.model.requests


async def test_a_greeting_may_be_ones_own_or_none(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"greeting": "**Ahoy!**"}) as stack:
        await stack.line.follow("ann")
        assert texts(await stack.line.seen("ann", 1)) == ["Ahoy!"]
    (tmp_path / "silent").mkdir()
    async with running(tmp_path / "silent", assistant={"greeting": ""}) as stack:
        await stack.line.follow("ann")
        [entry] = await ended(stack.gateway, 1)
        assert entry.state == "done"
        assert not calls(stack.line, REPLY)


async def test_a_message_taken_back_while_it_waits_is_never_asked_nor_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.plans.append(Break("hang"))
        await said_while_it_hangs(stack, "one")
        said = await stack.line.say("ann", SECRET)
        await stack.line.unsend("ann", ref(said))
        await stack.line.say("ann", "three")
        stack.model.release.set()
        await ended(stack.gateway, 3)
        assert screen(stack.line) == ["echo: one", "echo: three"]
        assert asked(stack.model) == ["one", "echo: one", "three"]
        assert SECRET not in kept(tmp_path)


async def test_a_message_taken_back_while_it_is_answered_stops_the_model_and_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.plans.append(Break("hang", after=1))
        stack.model.hanging.clear()
        said = await stack.line.say("ann", SECRET)
        await stack.model.hanging.wait()
        await stack.line.unsend("ann", ref(said))
        await stack.line.say("ann", "hello")
        assert texts(await stack.line.seen("ann", 1)) == ["echo: hello"]
        assert stack.model.cancelled == 1
        assert asked(stack.model) == ["hello"]
        assert SECRET not in kept(tmp_path)


async def test_a_message_taken_back_after_its_answer_is_gone_from_the_history(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.reply = lambda text: "noted"
        said = await stack.line.say("ann", SECRET)
        await stack.line.seen("ann", 1)
        await ended(stack.gateway, 1)
        await stack.line.unsend("ann", ref(said))
        await stack.line.say("ann", "hello")
        await stack.line.seen("ann", 2)
        assert asked(stack.model) == ["noted", "hello"]


async def test_a_message_taken_back_after_its_answer_is_gone_from_the_database(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.reply = lambda text: "noted"
        said = await stack.line.say("ann", SECRET)
        await stack.line.seen("ann", 1)
        await ended(stack.gateway, 1)
        assert SECRET in kept(tmp_path)
        await stack.line.unsend("ann", ref(said))
        assert SECRET not in kept(tmp_path)


async def test_a_message_taken_back_after_it_was_merged_is_forgotten_too(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"busy": "merge"}) as stack:
        stack.model.reply = lambda text: "noted"
        stack.model.plans.append(Break("hang"))
        await said_while_it_hangs(stack, "one")
        await stack.line.say("ann", "two")
        said = await stack.line.say("ann", SECRET)
        stack.model.release.set()
        await ended(stack.gateway, 3)
        await stack.line.unsend("ann", ref(said))
        await stack.line.say("ann", "four")
        await stack.line.seen("ann", 3)
        assert SECRET not in " ".join(asked(stack.model))
        assert SECRET not in kept(tmp_path)


async def test_the_first_of_merged_messages_taken_back_leaves_the_second_to_be_answered(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"busy": "merge"}) as stack:
        stack.model.plans.extend([Break("hang")] * 2)
        await said_while_it_hangs(stack, "one")
        said = await stack.line.say("ann", SECRET)
        await stack.line.say("ann", "three")
        stack.model.hanging.clear()
        stack.model.release.set()
        await state(stack.gateway, 3, "merged")
        await stack.line.unsend("ann", ref(said))
        await ended(stack.gateway, 3)
        assert "three" in " ".join(asked(stack.model))
        assert any("three" in text for text in screen(stack.line))


async def test_a_withdrawal_that_names_no_message_takes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        await stack.line.say("ann", "hello")
        await stack.line.seen("ann", 1)
        await ended(stack.gateway, 1)
        await stack.line.unsend("ann", "")
        await stack.line.say("ann", "and?")
        await stack.line.seen("ann", 2)
        assert asked(stack.model) == ["hello", "echo: hello", "and?"]


async def test_every_event_of_a_batch_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        said = [message(stack, f"m{n}", user=user) for n, user in enumerate(["ann", "bob", "ann", "cid", "ann"])]
        assert (await stack.line.deliver(said)).status == 200
        await ended(stack.gateway, 5)
        assert screen(stack.line, "ann") == ["echo: m0", "echo: m2", "echo: m4"]
        assert screen(stack.line, "bob") == ["echo: m1"]
        assert screen(stack.line, "cid") == ["echo: m3"]


async def test_a_message_and_its_withdrawal_in_one_batch_are_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        said = message(stack, SECRET)
        where = people.source("ann", None)
        taken_back = people.event(
            "unsend", where, stack.line.clock(), reply=False, unsend={"messageId": said["message"]["id"]}
        )
        await stack.line.deliver([said, taken_back, message(stack, "hello")])
        await ended(stack.gateway, 2)
        assert screen(stack.line) == ["echo: hello"]
        assert SECRET not in kept(tmp_path)


@pytest.mark.parametrize("kind", ["videoPlayComplete", "memberJoined", "beacon", "accountLink", "futureKind"])
async def test_events_that_we_dont_know_disturb_nothing(tmp_path: Path, kind: str) -> None:
    async with running(tmp_path) as stack:
        unknown = people.event(kind, people.source("ann", None), stack.line.clock()) | {kind: {"x": [1, {}]}}
        assert (await stack.line.deliver([unknown, message(stack, "hello")])).status == 200
        await ended(stack.gateway, 1)
        assert screen(stack.line) == ["echo: hello"]


async def test_while_a_human_operator_has_the_chat_we_are_silent(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        assert (await stack.line.deliver([message(stack, "hello", mode="standby")])).status == 200
        assert not await stack.gateway.ledger.entries()


async def test_an_event_delivered_three_times_at_once_is_answered_once(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        said = [message(stack, "hello")]
        deliveries = await asyncio.gather(*(stack.line.deliver(said, redelivery=n > 0) for n in range(3)))
        assert [delivery.status for delivery in deliveries] == [200] * 3
        await stack.line.seen("ann", 1)
        await stack.line.deliver(said, redelivery=True)
        await stack.line.say("ann", "again")
        await ended(stack.gateway, 2)
        assert screen(stack.line) == ["echo: hello", "echo: again"]
        assert len(stack.model.requests) == 2


async def test_a_redelivery_while_line_waits_for_the_reply_is_answered_once(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        gate = asyncio.Event()
        stack.line.fail(REPLY, Fault(gate=gate))
        said = [message(stack, "hello")]
        await stack.line.deliver(said)
        await until(lambda: calls(stack.line, REPLY))
        await stack.line.deliver(said, redelivery=True)
        gate.set()
        await ended(stack.gateway, 1)
        assert screen(stack.line) == ["echo: hello"]


async def test_a_wrong_signature_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.line.secret = "somebody-elses"
        assert (await stack.line.say("mallory", "hello")).status == 400
        assert not await stack.gateway.ledger.entries()
