"""Slack's own streams: when an answer is one, and when it is a message that is edited after all."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import msgspec
import pytest

from chatferry.channels.slack import Slack
from chatferry.errors import Ambiguous, TryLater, Vanished
from chatferry.model import Inbound, Message, Receipt, Task, says
from chatferry.simulator.slack import TEAM
from chatferry.simulator.slack_records import Fault, Post
from chatferry.words import words
from tests.channels.slack_world import World, opened

START, APPEND, STOP = "chat.startStream", "chat.appendStream", "chat.stopStream"
KEPT = {"event_type": "chatferry", "event_payload": {"key": "k"}}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as made:
        yield made


async def streaming(world: World, text: str = "One") -> tuple[Slack, Inbound, Receipt]:
    slack, asked = world.slack(), await world.asked()
    return slack, asked, await slack.begin(asked, says("assistant", text), key="k")


async def edited(
    world: World, slack: Slack, asked: Inbound, receipt: Receipt, text: str, *, last: bool = False
) -> Post:
    """The message a second later, when it was told to read so."""
    world.clock.advance(1)
    assert await slack.edit(asked, receipt, says("assistant", text), last=last)
    [post] = world.answers(asked)
    return post


async def test_an_answer_is_appended_to_and_stopped_with_its_last_words_and_its_key(world: World) -> None:
    slack, asked, receipt = await streaming(world)
    post = await edited(world, slack, asked, receipt, "One two")
    assert (post.stream, post.streaming) == (["One", " two"], True)
    post = await edited(world, slack, asked, receipt, "One two three", last=True)
    assert (post.stream, post.streaming, post.metadata) == (["One", " two", " three"], False, KEPT)
    start = world.calls(START)[0].fields
    assert (start["recipient_user_id"], start["recipient_team_id"], start["thread_ts"]) == (
        asked.sender,
        TEAM,
        asked.ref,
    )
    assert world.methods() == ["startStream", "appendStream", "stopStream"]


async def test_white_space_at_the_end_and_the_same_edit_again_change_nothing(world: World) -> None:
    slack, asked, receipt = await streaming(world, "One \n")
    for text in ("One \n", "One"):
        await edited(world, slack, asked, receipt, text)
    post = await edited(world, slack, asked, receipt, "One", last=True)
    assert (post.markdown, post.streaming) == ("One \n", False)
    assert world.methods() == ["startStream", "stopStream"]


def calls(text: str, **states: str) -> Message:
    """A message for which this was called."""
    tasks = [Task(name, name, f"Looking up: {name}…", state) for name, state in states.items()]  # type: ignore[arg-type]
    return msgspec.structs.replace(says("assistant", text), tasks=tuple(tasks))


async def test_what_is_called_is_a_task_of_the_stream_until_it_has_ended(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    receipt = await slack.begin(asked, calls(words("en").answering, a="running"), key="k")
    [post] = world.answers(asked)
    assert (post.markdown, post.tasks) == ("", [("Looking up: a…", "in_progress")])
    world.clock.advance(1)
    assert await slack.edit(asked, receipt, calls(words("en").answering, a="failed", b="running"), last=False)
    assert (post.markdown, [status for _, status in post.tasks]) == ("", ["error", "in_progress"])
    world.clock.advance(1)
    assert await slack.edit(asked, receipt, calls("One", a="failed", b="running"), last=False)
    assert await slack.edit(asked, receipt, calls("One two", a="failed", b="done"), last=True)
    assert (post.markdown, [status for _, status in post.tasks]) == ("One two", ["error", "complete"])
    assert world.methods() == ["startStream", "appendStream", "appendStream", "stopStream"]


async def test_no_task_goes_on_for_ever_though_nobody_knows_how_it_ended(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    receipt = await slack.begin(asked, calls("One", a="running"), key="k")
    post = await edited(world, slack, asked, receipt, "One two", last=True)
    assert post.tasks == [("Looking up: a…", "complete")]


async def test_where_a_stream_takes_no_chunks_it_takes_words(world: World) -> None:
    slack, asked, receipt = await streaming(world, words("en").answering)
    world.sim.chunks = False
    world.clock.advance(1)
    assert not await slack.edit(asked, receipt, calls("One", a="running"), last=False)
    post = await edited(world, slack, asked, receipt, "One")
    assert (post.markdown, post.mode) == ("One", "markdown_text")
    receipt = await slack.begin(await world.asked(), calls("Two", a="running"), key="l")
    assert world.calls(START)[-1].fields["markdown_text"] == "Two"


async def test_a_stream_of_chunks_goes_on_without_tasks_where_they_are_refused(world: World) -> None:
    slack, asked, receipt = await streaming(world)
    world.sim.faults(APPEND, Fault(error="invalid_chunks"))
    world.clock.advance(1)
    assert not await slack.edit(asked, receipt, calls("One", a="running"), last=False)
    world.clock.advance(1)
    assert await slack.edit(asked, receipt, calls("One two", a="running"), last=False)
    [post] = world.answers(asked)
    assert (post.markdown, post.mode, post.tasks) == ("One two", "chunks", [])


@pytest.mark.parametrize("language", ["en", "zh-TW"])
async def test_a_placeholder_is_not_said_in_a_stream(world: World, language: str) -> None:
    slack, asked, receipt = await streaming(world, words(language).answering)
    assert world.answers(asked)[0].markdown == ""
    assert (await edited(world, slack, asked, receipt, "One", last=True)).markdown == "One"
    assert world.calls("chat.update") == []


async def test_an_answer_that_begins_anew_goes_on_in_the_same_message(world: World) -> None:
    slack, asked, receipt = await streaming(world, "Wrong")
    post = await edited(world, slack, asked, receipt, "Right")
    assert (post.markdown, post.streaming, post.metadata) == ("Right", False, KEPT)
    assert (await edited(world, slack, asked, receipt, "Right now")).markdown == "Right now"
    assert (await edited(world, slack, asked, receipt, "Right now.", last=True)).markdown == "Right now."
    assert world.methods() == ["startStream", "stopStream", "update", "update", "update"]


async def test_a_last_text_that_is_another_one_is_edited_in(world: World) -> None:
    slack, asked, receipt = await streaming(world, "One two three")
    post = await edited(world, slack, asked, receipt, "One two", last=True)
    assert (post.markdown, post.streaming) == ("One two", False)


async def test_a_stream_is_left_before_slack_ends_it(world: World) -> None:
    slack, asked, receipt = await streaming(world)
    world.clock.advance(240)
    post = await edited(world, slack, asked, receipt, "One two")
    assert (post.markdown, post.streaming) == ("One two", False)
    assert world.methods() == ["startStream", "stopStream", "update"]


@pytest.mark.parametrize("last", [False, True])
async def test_a_stream_that_slack_has_ended_goes_on_by_edits(world: World, last: bool) -> None:
    slack, asked, receipt = await streaming(world)
    world.sim.stream_seconds = 10
    world.clock.advance(10)
    assert (await edited(world, slack, asked, receipt, "One two", last=last)).markdown == "One two"


@pytest.mark.parametrize("last", [False, True])
async def test_a_process_that_knows_nothing_of_the_stream_finds_it_and_goes_on_by_edits(
    world: World, last: bool
) -> None:
    _, asked, receipt = await streaming(world)
    slack = world.slack()
    assert await slack.find(asked, "k") == receipt
    post = await edited(world, slack, asked, receipt, "One two", last=last) if last else None
    if post is None:
        world.clock.advance(1)
        await slack.edit(asked, receipt, says("assistant", "One tw"), last=False)
        post = await edited(world, slack, asked, receipt, "One two", last=True)
    assert (post.markdown, post.streaming) == ("One two", False)


async def test_what_somebody_stopped_by_slacks_own_button_still_says_so(world: World) -> None:
    slack, asked, receipt = await streaming(world)
    [post] = world.answers(asked)
    post.stopped_by = asked.sender
    post = await edited(world, slack, asked, receipt, "One…_[stopped]_", last=True)
    assert (post.markdown, post.streaming) == ("One…_[stopped]_", False)


@pytest.mark.parametrize("fault", [Fault(drop=True), Fault(lose=True), Fault(status=500)])
async def test_an_append_that_fails_on_the_way_leaves_no_gap_and_nothing_twice(world: World, fault: Fault) -> None:
    slack, asked, receipt = await streaming(world)
    world.sim.faults(APPEND, fault)
    world.clock.advance(1)
    with pytest.raises(TryLater):
        await slack.edit(asked, receipt, says("assistant", "One two"), last=False)
    assert (await edited(world, slack, asked, receipt, "One two three", last=True)).markdown == "One two three"


@pytest.mark.parametrize("fault", [Fault(drop=True), Fault(lose=True), Fault(status=500), Fault(error="fatal_error")])
async def test_a_stop_that_fails_on_the_way_can_be_made_again(world: World, fault: Fault) -> None:
    slack, asked, receipt = await streaming(world)
    world.sim.faults(STOP, fault)
    with pytest.raises(TryLater):
        await slack.edit(asked, receipt, says("assistant", "One two"), last=True)
    post = await edited(world, slack, asked, receipt, "One two", last=True)
    assert (post.markdown, post.streaming) == ("One two", False)


async def test_a_stop_that_slack_refuses_ends_in_an_edit(world: World) -> None:
    slack, asked, receipt = await streaming(world)
    world.sim.faults(STOP, Fault(error="invalid_metadata_format"))
    post = await edited(world, slack, asked, receipt, "One two", last=True)
    assert (post.markdown, post.streaming) == ("One two", False)


async def test_a_start_that_fails_on_the_way_is_ambiguous_and_can_be_looked_for(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    for fault in (Fault(lose=True), Fault(drop=True)):
        world.sim.faults(START, fault)
        with pytest.raises(Ambiguous):
            await slack.begin(asked, says("assistant", "One"), key="k")
        found = await slack.find(asked, "k")
        out = world.answers(asked)
        assert found == (Receipt(out[0].ts) if out else None)


async def test_a_stream_that_somebody_deleted_has_vanished(world: World) -> None:
    slack, asked, receipt = await streaming(world)
    await world.sim.delete("ann", "general", receipt.id)
    world.clock.advance(1)
    for last in (False, True):
        with pytest.raises(Vanished):
            await slack.edit(asked, receipt, says("assistant", "One two"), last=last)


# When there is none.


async def test_where_slack_knows_no_streams_that_is_remembered_for_an_hour(world: World) -> None:
    world.sim.streams = False
    slack, asked = world.slack(), await world.asked()
    for _ in range(2):
        await slack.begin(asked, says("assistant", "One"), key="k")
    assert world.methods() == ["startStream", "postMessage", "postMessage"]
    assert slack.patience(asked) == 0.0
    world.clock.advance(3600)
    world.sim.streams = True
    assert slack.patience(asked) == 1.0
    await slack.begin(asked, says("assistant", "One"), key="k")
    assert slack.patience(asked) == math.inf


async def test_what_one_channel_refuses_says_nothing_about_others(world: World) -> None:
    slack, asked, other = world.slack(), await world.asked(), await world.asked(channel="other")
    world.sim.faults(START, Fault(error="channel_type_not_supported"))
    await slack.begin(asked, says("assistant", "One"), key="k")
    assert [slack.patience(one) for one in (asked, other)] == [0.0, 1.0]


async def test_a_stream_that_cannot_begin_without_words_may_begin_with_some(world: World) -> None:
    slack, slow, swift = world.slack(), await world.asked(), await world.asked(channel="other")
    world.sim.faults(START, Fault(error="no_text"))
    receipt = await slack.begin(slow, says("assistant", "Writing an answer…"), key="k")
    assert world.sim.post(slow.conversation.split("/")[1], receipt.id).markdown == "Writing an answer…"
    assert slack.patience(slow) == 1.0
    await slack.begin(swift, says("assistant", "One"), key="l")
    assert slack.patience(slow) == math.inf


async def test_when_slack_has_seen_too_many_starts_the_answer_is_edited_and_nothing_is_remembered(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    world.sim.faults(START, Fault(status=429, retry_after=20))
    await slack.begin(asked, says("assistant", "One"), key="k")
    assert world.methods() == ["startStream", "postMessage"]
    assert slack.patience(asked) == 1.0


async def test_no_more_streams_are_open_than_could_end_at_once(world: World) -> None:
    slack = world.slack()
    for number in range(25):
        await slack.begin(await world.asked(channel=f"c{number}"), says("assistant", "One"), key="k")
    world.clock.advance(70)
    await slack.begin(await world.asked(), says("assistant", "One"), key="k")
    assert (len(world.calls(START)), len(world.calls("chat.postMessage"))) == (20, 6)


@pytest.mark.parametrize("thread", [False, True])
async def test_what_is_no_thread_or_is_to_be_edited_is_no_stream(world: World, thread: bool) -> None:
    slack = world.slack(stream="edit" if thread else "auto")
    asked = world.inbound(f"{TEAM}/{world.sim.dm('ann')}" + ("/1.1" if thread else ""))
    await slack.begin(asked, says("assistant", "One"), key="k")
    assert world.methods() == ["postMessage"]
