"""Who said what in a Slack thread, and which of it was ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from chatferry.channels.slack_thread import Me, Post
from chatferry.errors import TryLater
from chatferry.model import Inbound, Receipt, says
from chatferry.simulator.slack import BOT, TEAM
from chatferry.simulator.slack_records import Fault
from tests.channels.slack_world import World, opened

REPLIES, HISTORY = "conversations.replies", "conversations.history"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as made:
        yield made


async def late(world: World, root: str, words: str = "and we?", *, who: str = "ann") -> Inbound:
    """Somebody asks us in a thread that began without us."""
    ts = await world.sim.say(who, words, channel="general", thread=root, mention=True)
    asked = world.inbound(f"{TEAM}/{world.sim.channel('general')}/{root}", words, who=who, ref=ts, earlier=True)
    assert asked.message is not None
    return replace(asked, message=replace(asked.message, author=asked.sender))


# Names.


async def test_names_stand_in_the_place_of_ids_and_are_asked_for_once_an_hour(world: World) -> None:
    slack, root = world.slack(), await world.sim.say("ann", "hello", channel="general")
    bob = world.sim.user("bob")
    world.sim.display_names["bob"] = "Bob B."
    asked = await late(world, root, f"what does <@{bob}> say &amp; <@{bob}>?")
    for _ in range(2):
        told, before = await slack.brief(asked, first=False)
        assert told.message is not None
        assert (told.message.text, told.message.name) == ("what does @Bob B. say & @Bob B.?", "ann")
        assert before == []
    assert world.methods() == ["info", "info"]
    world.clock.advance(3600)
    await slack.brief(asked, first=False)
    assert len(world.calls()) == 4


async def test_messages_that_are_answered_together_get_their_names_too(world: World) -> None:
    slack, root = world.slack(), await world.sim.say("ann", "hello", channel="general")
    asked, other = await late(world, root), await late(world, root, who="bob")
    told, _ = await slack.brief(replace(asked, also=(other,)), first=False)
    assert [one.message.name for one in (told, *told.also) if one.message] == ["ann", "bob"]


async def test_where_nobody_else_is_there_is_no_name(world: World) -> None:
    asked = world.inbound(f"{TEAM}/{world.sim.dm('ann')}/1.1", "hi")
    told, _ = await world.slack().brief(asked, first=True)
    assert told == asked
    taken_back = replace(asked, message=None)
    assert await world.slack().brief(taken_back, first=False) == (taken_back, [])


@pytest.mark.parametrize(
    "fault", [Fault(error="user_not_found"), Fault(status=500), Fault(lose=True), Fault(status=429, retry_after=9)]
)
async def test_without_an_answer_the_question_stays_as_it_is(world: World, fault: Fault) -> None:
    slack, root = world.slack(), await world.sim.say("ann", "hello", channel="general")
    asked = await late(world, root)
    world.sim.faults("users.info", *[fault] * 2)
    world.sim.faults(REPLIES, fault)
    told, before = await slack.brief(asked, first=True)
    assert told == asked
    assert before == []


# What was said before.


async def test_a_thread_that_began_without_us_is_told_with_names_and_with_our_own_words(world: World) -> None:
    slack, root = world.slack(), await world.sim.say("ann", "shall we &lt;go&gt;?", channel="general")
    await world.sim.say("bob", "yes", channel="general", thread=root)
    ours = world.inbound(f"{TEAM}/{world.sim.channel('general')}/{root}", ref=root)
    for text in ("**certainly** & now", "then I would…_[stopped]_"):
        await slack.send(ours.conversation, [says("assistant", text)], key="k", grant=None)
    streamed = await slack.begin(ours, says("assistant", "by *boat*"), key="l")
    await slack.edit(ours, streamed, says("assistant", "by *boat*."), last=True)
    world.sim.bots.add("weather")
    await world.sim.say("weather", "rain", channel="general", thread=root)
    await world.sim.say("bob", "has joined", channel="general", thread=root, subtype="channel_join")
    asked = await late(world, root)
    await world.sim.say("bob", "too late", channel="general", thread=root)
    _, before = await slack.brief(asked, first=True)
    assert [(one.role, one.name, one.text) for one in before] == [
        ("user", "ann", "shall we <go>?"),
        ("user", "bob", "yes"),
        ("assistant", "", "**certainly** & now"),
        ("assistant", "", "then I would"),
        ("assistant", "", "by *boat*."),
        ("user", "weather", "rain"),
    ]
    assert before[1].author == world.sim.user("bob")


async def test_of_a_long_thread_the_beginning_and_the_end_are_told(world: World) -> None:
    slack, root = world.slack(), await world.sim.say("ann", "root", channel="general")
    for number in range(250):
        await world.sim.say("bob", f"{number}", channel="general", thread=root)
    _, before = await slack.brief(await late(world, root), first=True)
    assert [one.text for one in before] == ["root", *(f"{number}" for number in range(151, 250))]
    assert len(world.calls(REPLIES)) == 2


async def test_where_slack_gives_one_page_a_minute_that_page_has_to_do(world: World) -> None:
    world.sim.marketplace_limits = True
    slack, root = world.slack(), await world.sim.say("ann", "root", channel="general")
    for number in range(30):
        await world.sim.say("bob", f"{number}", channel="general", thread=root)
    asked = await late(world, root)
    _, before = await slack.brief(asked, first=True)
    assert [one.text for one in before] == ["root", *(f"{number}" for number in range(14))]
    _, before = await slack.brief(asked, first=True)
    assert before == []
    assert [call.status for call in world.calls(REPLIES)] == [200, 429]


def test_a_message_of_any_form_is_read_and_is_nobodys_by_default() -> None:
    post = Post(metadata={"event_type": "chatferry", "event_payload": {"key": 1}}, blocks=[None, {"type": "image"}])
    assert (post.key, post.markdown) == (None, None)
    oddities: list[Any] = [None, [], {"event_type": "x", "event_payload": {"key": "k"}}]
    assert [Post(metadata=odd).key for odd in oddities] == [None, None, None]
    assert not Me("").said(Post(user="", bot_id=""))
    assert Me("U1", "B1").said(Post(bot_id="B1"))


# What we sent.


async def test_a_message_is_found_by_its_key_among_others_on_any_page(world: World) -> None:
    world.sim.marketplace_limits, world.sim.limits = True, False
    slack, asked = world.slack(stream="edit"), await world.asked()
    for number in range(20):
        await world.sim.say("ann", f"{number}", channel="general", thread=asked.ref)
    sent = [await slack.begin(asked, says("assistant", key), key=key) for key in ("k1", "k2")]
    fresh = world.slack()
    assert [await fresh.find(asked, key) for key in ("k1", "k2", "k3")] == [*sent, None]
    assert (await fresh.find(asked, "k1")) == sent[0]


async def test_in_a_talk_without_threads_it_is_looked_for_in_the_channel(world: World) -> None:
    dm = world.sim.dm("ann")
    asked = world.inbound(f"{TEAM}/{dm}")
    [receipt] = await world.slack().send(f"{TEAM}/{dm}", [says("assistant", "hello")], key="k", grant=None)
    assert await world.slack().find(asked, "k") == receipt
    assert await world.slack().find(asked, "l") is None
    assert [call.method for call in world.calls()][-2:] == ["auth.test", HISTORY]


async def test_a_stream_is_found_before_it_has_its_key_but_no_other_message_is_taken_for_it(world: World) -> None:
    slack = world.slack()
    before = await world.asked("first")
    old = await slack.begin(before, says("assistant", "old"), key="old")
    await slack.edit(before, old, says("assistant", "old."), last=True)
    ts = await world.sim.say("ann", "more", channel="general", thread=before.ref)
    asked = replace(before, ref=ts)
    assert await slack.find(asked, "new") is None
    new = await slack.begin(asked, says("assistant", "new"), key="new")
    await world.sim.say("ann", "not ours", channel="general", thread=before.ref)
    assert await world.slack().find(asked, "new") == new
    assert await world.slack().find(before, "old") == old


@pytest.mark.parametrize("error", ["missing_scope", "not_in_channel", "thread_not_found"])
async def test_where_we_may_not_look_there_is_nothing(world: World, error: str) -> None:
    slack, asked = world.slack(), await world.asked()
    world.sim.faults(REPLIES, Fault(error=error))
    assert await slack.find(asked, "k") is None


async def test_while_slack_does_not_answer_nobody_knows(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    for method in ("auth.test", REPLIES):
        world.sim.faults(method, Fault(status=500))
        with pytest.raises(TryLater):
            await slack.find(asked, "k")
    assert await slack.find(asked, "k") is None
    assert Receipt(BOT) != Receipt()
