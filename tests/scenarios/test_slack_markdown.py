"""Answers as people read them on Slack: long ones, code, tables, and streams that last longer than Slack lets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.channels.slack import LIMIT
from chatferry.simulator.model import Break, Pause
from chatferry.simulator.slack import SlackSimulator
from chatferry.simulator.slack_records import Post
from tests.scenarios.slack_growing import either_way
from tests.scenarios.slack_support import World, slack_world
from tests.scenarios.support import ended, until

TABLE = "| tea | cups |\n|---|---|\n| green | 2 |\n| black | 10 |"
CODE = [f"print({n:04})" for n in range(500)]


async def answered(world: World, answer: str) -> list[Post]:
    """The messages of this answer, which grew."""
    world.model.reply = lambda _: answer
    world.model.plans.append(Pause((len(answer.split()) * 9 // 10,)))
    async with world.gateway() as gateway:
        ts = await world.slack.say("ann", "tell me")
        await until(world.model.hanging.is_set, world.clock)
        await until(lambda: len(world.thread("ann", ts)) > 0, world.clock)
        world.model.release.set()
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.error) == ("done", "")
        return world.thread("ann", ts)


def finished(posts: list[Post]) -> bool:
    """Nothing grows any more, and every message fits into one."""
    return all(not post.streaming and not post.buttons and len(post.markdown) <= LIMIT for post in posts)


@either_way
async def test_a_long_answer_goes_on_in_the_next_message(tmp_path: Path, native: bool) -> None:
    paragraphs = [f"{n} " + "tea " * 400 for n in range(8)]
    async with slack_world(tmp_path, native=native) as world:
        posts = await answered(world, "\n\n".join(paragraphs))
    assert len(posts) == 4
    assert finished(posts)
    assert " ".join(post.markdown for post in posts).split() == " ".join(paragraphs).split()


@either_way
async def test_code_that_is_cut_is_code_in_both_messages(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world:
        posts = await answered(world, "\n".join(["Run this:", "", "```python", *CODE, "```", "", "That is all."]))
    assert len(posts) == 2
    assert finished(posts)
    first, second = (post.markdown for post in posts)
    assert first.startswith("Run this:\n\n```python\n")
    assert first.endswith("\n```")
    assert second.startswith("```python\n")
    assert second.endswith("\n```\n\nThat is all.")
    assert [line for line in f"{first}\n{second}".split("\n") if line.startswith("print")] == CODE


@either_way
async def test_markdown_is_shown_as_it_is(tmp_path: Path, native: bool) -> None:
    answer = f"**Two** teas:\n\n{TABLE}\n\n[more](https://example.com) <of> it & that"
    async with slack_world(tmp_path, native=native) as world:
        (post,) = await answered(world, answer)
    assert post.markdown == answer


async def test_a_workspace_without_markdown_gets_slacks_own_marks(tmp_path: Path) -> None:
    answer = f"**Two** teas:\n\n{TABLE}\n\n[more](https://example.com) <of> it & that"
    async with slack_world(tmp_path, slack=SlackSimulator(markdown=False)) as world:
        (post,) = await answered(world, answer)
        refused = [call for call in world.slack.calls if call.error == "invalid_blocks"]
    assert post.markdown.split("\n") == [
        "*Two* teas:", "", "```", "tea    cups", "───────────", "green  2", "black  10", "```", "",
        "<https://example.com|more> &lt;of&gt; it &amp; that",
    ]  # fmt: skip
    assert len(refused) == 1


async def test_where_slack_has_no_streams_a_message_is_edited(tmp_path: Path) -> None:
    async with slack_world(tmp_path, native=True, slack=SlackSimulator()) as world:
        world.slack.streams = False
        (post,) = await answered(world, "one two three four")
        assert post.markdown == "one two three four"
        assert [call.error for call in world.calls("chat.startStream")] == ["unknown_method"]


@pytest.mark.parametrize("seconds", [250, 310])
async def test_an_answer_may_take_longer_than_a_stream(tmp_path: Path, seconds: float) -> None:
    async with slack_world(tmp_path, native=True) as world, world.gateway() as gateway:
        world.model.plans.append(Pause((3, 4)))
        ts = await world.slack.say("ann", "one two three four")
        await until(lambda: [post.markdown for post in world.thread("ann", ts)] == ["echo: one two"], world.clock)
        world.clock.advance(seconds)
        world.model.release.set()
        await until(lambda: world.thread("ann", ts)[0].markdown == "echo: one two three", world.clock)
        (growing,) = world.thread("ann", ts)
        assert not growing.streaming
        assert growing.buttons == [("Stop", "chatferry:stop")]
        world.model.release.set()
        await ended(gateway, 1, world.clock)
        (post,) = world.thread("ann", ts)
        assert (post.ts, post.markdown, post.buttons) == (growing.ts, "echo: one two three four", [])


async def test_an_answer_that_is_whole_when_its_stream_has_ended_is_edited_in(tmp_path: Path) -> None:
    async with slack_world(tmp_path, native=True) as world, world.gateway() as gateway:
        world.model.plans.append(Pause((3,)))
        ts = await world.slack.say("ann", "one two three four")
        await until(lambda: [post.markdown for post in world.thread("ann", ts)] == ["echo: one two"], world.clock)
        world.clock.advance(310)
        world.model.release.set()
        (turn,) = await ended(gateway, 1, world.clock)
        (post,) = world.thread("ann", ts)
        assert (post.markdown, post.streaming) == ("echo: one two three four", False)
        assert (turn.state, turn.error) == ("done", "")


@either_way
async def test_an_answer_that_begins_anew_takes_the_place_of_what_was_shown(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        world.model.reply = lambda asked: f"answer {len(world.model.requests)}: {asked}"
        world.model.plans.append(Break("cut", after=3, held=True))
        ts = await world.slack.say("ann", "one two three four")
        await until(lambda: [post.markdown for post in world.thread("ann", ts)] == ["answer 1: one"], world.clock)
        world.model.release.set()
        await ended(gateway, 1, world.clock)
        (post,) = world.thread("ann", ts)
        assert post.markdown == "answer 2: one two three four"
