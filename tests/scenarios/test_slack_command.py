"""`/ask`: answered at once that the answer comes, and then by it, whole, to whoever may see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.channels.slack import LIMIT
from chatferry.simulator.model import Break
from chatferry.simulator.slack import SlackSimulator
from chatferry.words import words
from tests.scenarios.slack_support import World, slack_world
from tests.scenarios.support import ended, until

WAITING = words("en").waiting


def whispered(world: World, who: str = "ann") -> list[str]:
    """What only one person sees."""
    return [post.markdown for post in world.slack.ephemeral(who)]


def shown(world: World) -> list[str]:
    """What everybody in the channel sees."""
    return [post.markdown for post in world.slack.screen("tea")]


async def test_only_whoever_asked_sees_the_answer(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.model.plans.append(Break(after=2, how="hang"))
        await world.slack.command("ann", "/ask", "which tea?", channel="tea")
        assert whispered(world) == [WAITING]
        await until(world.model.hanging.is_set, world.clock)
        world.model.release.set()
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "done"
        assert whispered(world) == [WAITING, "echo: which tea?"]
        assert shown(world) == whispered(world, "bob") == []


async def test_everybody_sees_the_answer_where_that_is_set(tmp_path: Path) -> None:
    async with slack_world(tmp_path, channel={"replies": "public"}) as world, world.gateway() as gateway:
        await world.slack.command("ann", "/ask", "which tea?", channel="tea")
        await ended(gateway, 1, world.clock)
        assert shown(world) == [WAITING, "echo: which tea?"]
        assert whispered(world) == []


async def test_it_works_where_the_app_is_not_a_member(tmp_path: Path) -> None:
    slack = SlackSimulator(absent={"tea"})
    async with slack_world(tmp_path, slack=slack) as world, world.gateway() as gateway:
        await slack.command("ann", "/ask", "which tea?", channel="tea")
        await ended(gateway, 1, world.clock)
        assert whispered(world) == [WAITING, "echo: which tea?"]


async def test_without_a_question_it_says_how_to_ask(tmp_path: Path) -> None:
    async with slack_world(tmp_path, channel={"replies": "public"}) as world, world.gateway() as gateway:
        await world.slack.command("ann", "/ask", "  ", channel="tea")
        assert whispered(world) == [words("en").usage.replace("{command}", "/ask")]
        assert await ended(gateway, 0, world.clock) == []
        assert shown(world) == []


async def test_each_person_has_a_talk_of_their_own_in_each_channel(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        asked = [("ann", "tea", "one"), ("bob", "tea", "two"), ("ann", "pots", "three"), ("ann", "tea", "four")]
        for n, (who, channel, text) in enumerate(asked, 1):
            await world.slack.command(who, "/ask", text, channel=channel)
            await ended(gateway, n, world.clock)
        said = [world.asked(request) for request in range(4)]
        assert said == [["one"], ["two"], ["three"], ["one", "echo: one", "four"]]


@pytest.mark.parametrize("replies", ["ephemeral", "public"])
async def test_a_long_answer_goes_on_where_the_leave_ends(tmp_path: Path, replies: str) -> None:
    """The leave is good for five messages."""
    async with slack_world(tmp_path, channel={"replies": replies}) as world, world.gateway() as gateway:
        said = [letter * LIMIT for letter in "abcdefg"]
        world.model.reply = lambda _: "\n\n".join(said)
        await world.slack.command("ann", "/ask", "all of it", channel="tea")
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "done"
        read, method = (shown(world), "postMessage") if replies == "public" else (whispered(world), "postEphemeral")
        assert read == [WAITING, *said]
        (leave,) = world.slack.responses.values()
        assert leave.uses == 5
        assert len(world.calls(f"chat.{method}")) == 2


async def late(world: World) -> None:
    """The answer is made when nobody may answer the command any more."""
    world.model.plans.append(Break(after=2, how="hang"))
    await world.slack.command("ann", "/ask", "which tea?", channel="tea")
    await until(world.model.hanging.is_set, world.clock)
    world.clock.advance(1801)
    world.model.release.set()


async def test_an_answer_that_is_late_comes_as_a_message_that_only_one_person_sees(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        await late(world)
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "done"
        assert whispered(world) == [WAITING, "echo: which tea?"]
        assert shown(world) == []


async def test_an_answer_that_is_late_has_no_way_where_the_app_is_not_a_member(tmp_path: Path) -> None:
    slack = SlackSimulator(absent={"tea"})
    async with slack_world(tmp_path, slack=slack) as world, world.gateway() as gateway:
        await late(world)
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "gone"
        assert turn.error.startswith("Slack chat.postEphemeral: not_in_channel; invite the app")


async def test_a_leave_that_slack_takes_back_early_is_made_good_too(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.model.plans.append(Break(after=2, how="hang"))
        await world.slack.command("ann", "/ask", "which tea?", channel="tea")
        await until(world.model.hanging.is_set, world.clock)
        world.slack.responses.clear()
        world.model.release.set()
        await ended(gateway, 1, world.clock)
        assert whispered(world) == [WAITING, "echo: which tea?"]
