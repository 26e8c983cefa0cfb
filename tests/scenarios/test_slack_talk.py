"""What the model knows on Slack: the thread, what was said in it before we came, and nothing of anybody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.simulator.model import Break
from chatferry.simulator.slack import SlackSimulator
from chatferry.simulator.slack_records import Fault
from tests.scenarios.slack_support import World, slack_world
from tests.scenarios.support import ended

TRANSLATOR = "Translate what you are given."
ASSISTANTS = {"translator": {"instructions": TRANSLATOR}}
READ = "conversations.replies"


def prompt(world: World, request: int = -1) -> list[tuple[str, str]]:
    """Who said what, as the model was told it."""
    return [(said["role"], said["content"]) for said in world.model.requests[request].body["messages"][1:]]


def persona(world: World) -> str:
    """Who the model was told to be in the last request."""
    system: str = world.model.requests[-1].body["messages"][0]["content"]
    return system


async def began_without_us(world: World) -> str:
    """A thread in which people talk, and in which we have said something that our ledger knows nothing of."""
    ts = await world.slack.say("ann", "which tea is this?", channel="tea")
    await world.slack.say("bob", f"ask <@{world.slack.user('ann')}>", channel="tea", thread=ts)
    room = world.slack.at("tea")
    room.put(world.slack.ours(room, text="I am told that it is *green*.", thread_ts=ts))
    return ts


BEFORE = [
    ("user", "ann: which tea is this?"),
    ("user", "bob: ask @ann"),
    ("assistant", "I am told that it is *green*."),
]


async def test_each_thread_is_a_conversation_of_its_own(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        red = await world.slack.say("ann", "mine is red", channel="tea", mention=True)
        blue = await world.slack.say("ann", "mine is blue", channel="tea", mention=True)
        await ended(gateway, 2, world.clock)
        await world.slack.say("bob", "which is hers?", channel="tea", thread=red, mention=True)
        await ended(gateway, 3, world.clock)
        assert prompt(world) == [
            ("user", "ann: mine is red"), ("assistant", "echo: ann: mine is red"), ("user", "bob: which is hers?"),
        ]  # fmt: skip
        assert [len(world.slack.thread("tea", ts)) for ts in (red, blue)] == [4, 2]


async def test_in_direct_messages_each_question_begins_a_thread(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        for n, who in enumerate(("ann", "ann", "bob"), 1):
            ts = await world.slack.say(who, f"question {n}")
            await ended(gateway, n, world.clock)
            assert prompt(world) == [("user", f"question {n}")]
            assert [post.markdown for post in world.thread(who, ts)] == [f"echo: question {n}"]
        await world.slack.say("bob", "more of it?", thread=ts)
        await ended(gateway, 4, world.clock)
        assert world.asked() == ["question 3", "echo: question 3", "more of it?"]


async def test_direct_messages_may_be_one_talk_for_each_person(tmp_path: Path) -> None:
    async with slack_world(tmp_path, channel={"dm": "chat"}) as world, world.gateway() as gateway:
        for n, (who, words) in enumerate((("ann", "one"), ("bob", "two"), ("ann", "three")), 1):
            ts = await world.slack.say(who, words)
            await ended(gateway, n, world.clock)
        assert world.asked() == ["one", "echo: one", "three"]
        assert [post.markdown for post in world.slack.screen(world.slack.dm("ann"))] == [
            "one", "echo: one", "three", "echo: three",
        ]  # fmt: skip
        await world.slack.say("ann", "and by the way?", thread=ts)
        await ended(gateway, 4, world.clock)
        assert world.asked()[-1] == "and by the way?"
        assert len(world.thread("ann", ts)) == 2


async def test_a_thread_that_began_without_us_is_read_once(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world:
        async with world.gateway() as gateway:
            ts = await began_without_us(world)
            await world.slack.say("ann", "is it?", channel="tea", thread=ts, mention=True)
            await ended(gateway, 1, world.clock)
            assert prompt(world) == [*BEFORE, ("user", "ann: is it?")]
            await world.slack.say("bob", "no", channel="tea", thread=ts)
            await world.slack.say("bob", "really?", channel="tea", thread=ts, mention=True)
            await ended(gateway, 2, world.clock)
        talk = [*BEFORE, ("user", "ann: is it?"), ("assistant", "echo: ann: is it?"), ("user", "bob: no")]
        assert prompt(world) == [*talk, ("user", "bob: really?")]
        async with world.gateway() as gateway:
            await world.slack.say("ann", "then what?", channel="tea", thread=ts, mention=True)
            await ended(gateway, 3, world.clock)
        assert prompt(world)[: len(BEFORE) + 3] == talk
        assert len(world.calls(READ)) == 1


async def test_whoever_only_calls_us_wants_an_answer_to_what_was_said_before(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await began_without_us(world)
        await world.slack.say("ann", "", channel="tea", thread=ts, mention=True)
        await ended(gateway, 1, world.clock)
        assert prompt(world)[: len(BEFORE)] == BEFORE


async def test_whoever_calls_us_and_says_nothing_is_greeted(tmp_path: Path) -> None:
    assistant = {"greeting": "Good morning!"}
    async with slack_world(tmp_path, assistant=assistant) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "", channel="tea", mention=True)
        await ended(gateway, 1, world.clock)
        assert [post.markdown for post in world.slack.thread("tea", ts)[1:]] == ["Good morning!"]
        assert world.model.requests == []


@pytest.mark.parametrize("why", ["ratelimited", "missing_scope"])
async def test_a_thread_that_cannot_be_read_is_answered_all_the_same(tmp_path: Path, why: str) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        if why == "ratelimited":
            world.slack.faults(READ, Fault(status=429, retry_after=60))
        else:
            world.slack.scopes[:] = [scope for scope in world.slack.scopes if not scope.endswith(":history")]
        ts = await began_without_us(world)
        await world.slack.say("ann", "is it?", channel="tea", thread=ts, mention=True)
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.error) == ("done", "")
        assert prompt(world) == [("user", "ann: is it?")]


async def test_what_is_said_while_an_answer_is_made_comes_behind_it(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.model.plans.append(Break(after=1, how="hang"))
        ts = await world.slack.say("ann", "one", channel="tea", mention=True)
        await world.model.hanging.wait()
        await world.slack.say("bob", "two", channel="tea", thread=ts)
        await world.slack.say("ann", "three", channel="tea", thread=ts, mention=True)
        await world.slack.say("bob", "four", channel="tea", thread=ts)
        world.model.release.set()
        await ended(gateway, 2, world.clock)
        await world.slack.say("ann", "five", channel="tea", thread=ts, mention=True)
        await ended(gateway, 3, world.clock)
        assert world.asked() == [
            "ann: one", "echo: ann: one", "bob: two", "ann: three", "echo: ann: three", "bob: four", "ann: five",
        ]  # fmt: skip


async def test_each_room_has_the_assistant_that_it_was_given(tmp_path: Path) -> None:
    slack = SlackSimulator()
    rooms = {place: {"assistant": "translator"} for place in (slack.channel("words"), slack.dm("bob"))}
    async with (
        slack_world(tmp_path, slack=slack, assistants=ASSISTANTS, channel={"rooms": rooms}) as world,
        world.gateway() as gateway,
    ):
        asked = [("ann", "words"), ("ann", "tea"), ("ann", None), ("bob", None)]
        told = []
        for n, (who, channel) in enumerate(asked, 1):
            await slack.say(who, "hello", channel=channel, mention=channel is not None)
            await ended(gateway, n, world.clock)
            told.append(persona(world) == TRANSLATOR)
        await slack.command("ann", "/ask", "hello", channel="words")
        await ended(gateway, 5, world.clock)
        assert [*told, persona(world) == TRANSLATOR] == [True, False, False, True, True]
