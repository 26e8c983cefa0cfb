"""What Slack delivers, and what becomes of it: taken once, however often it comes; heard, answered or passed over."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from chatferry.simulator import slack_people as people
from chatferry.simulator.slack import BOT, SlackSimulator
from tests.scenarios.slack_support import World, slack_world
from tests.scenarios.support import ended

HERE = f"<@{BOT}>"
OTHERS: tuple[dict[str, Any], ...] = (
    {"type": "message", "subtype": "channel_join", "text": "<@U1> has joined", "user": "U1"},
    {"type": "message", "subtype": "channel_topic", "text": "tea", "user": "U1"},
    {"type": "message", "subtype": "bot_message", "text": HERE, "bot_id": "B1"},
    {"type": "message", "user": "USLACKBOT", "text": f"Reminder: {HERE}"},
    {"type": "message", "subtype": "message_changed", "message": {"ts": "1.1", "user": "U1", "text": HERE}},
    {"type": "message", "subtype": "message_deleted", "deleted_ts": "1.1"},
    {"type": "reaction_added", "user": "U1", "item": {"type": "message"}},
    {"type": "of tomorrow", "channel": {"id": 7}},
)
"""What comes in a direct message besides questions."""


@contextlib.contextmanager
def unavailable(folder: Path) -> Iterator[None]:
    """Nothing can be kept meanwhile."""
    with contextlib.closing(sqlite3.connect(folder / "chatferry.db")) as database:
        database.execute("ALTER TABLE turns RENAME TO away")
        yield
        database.execute("ALTER TABLE away RENAME TO turns")


async def posted(world: World, payload: dict[str, Any]) -> tuple[int, str]:
    """What the gateway answers to an event that Slack has signed."""
    body, media_type = people.encoded("events_api", payload)
    headers = {"Content-Type": media_type, **people.signed(world.slack.signing_secret, body, world.clock.now())}
    async with aiohttp.ClientSession() as http, http.post(world.slack.webhook, data=body, headers=headers) as answer:
        return answer.status, await answer.text()


def clock_of(world: World, off: float) -> Callable[[], float]:
    """A clock that is wrong by so many seconds."""
    return lambda: world.clock.now() + off


def read(world: World, channel: str, ts: str) -> list[str]:
    """What stands in a thread below its first message."""
    return [post.markdown for post in world.slack.thread(channel, ts)[1:]]


# ── once ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_that_comes_again_and_again_is_answered_once(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "hello")
        (delivery,) = world.slack.deliveries
        await asyncio.gather(*(world.slack.deliver_again(delivery) for _ in range(3)))
        await ended(gateway, 1, world.clock)
        await world.slack.deliver_again(delivery)
        assert len(await ended(gateway, 1, world.clock)) == len(world.model.requests) == 1
        assert read(world, world.slack.dm("ann"), ts) == ["echo: hello"]


async def test_a_retry_is_kept_where_the_first_delivery_was_not(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.slack.pauses = ()
        with unavailable(tmp_path):
            ts = await world.slack.say("ann", "hello")
        (delivery,) = world.slack.deliveries
        assert delivery.statuses == [503]
        again = await world.slack.deliver_again(delivery)
        assert again.statuses == [200]
        await ended(gateway, 1, world.clock)
        assert read(world, world.slack.dm("ann"), ts) == ["echo: hello"]


async def test_a_retry_is_kept_where_nobody_was_there_for_the_first_delivery(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world:
        async with world.gateway():
            pass
        ts = await world.slack.say("ann", "hello")
        (delivery,) = world.slack.deliveries
        assert delivery.statuses == [0] * 4
        async with world.gateway() as gateway:
            await world.slack.deliver_again(delivery)
            await ended(gateway, 1, world.clock)
            assert read(world, world.slack.dm("ann"), ts) == ["echo: hello"]


@pytest.mark.parametrize("mention_first", [True, False])
async def test_a_message_that_also_comes_as_a_mention_is_one_question(tmp_path: Path, mention_first: bool) -> None:
    slack = SlackSimulator(mention_first=mention_first)
    async with slack_world(tmp_path, slack=slack) as world, world.gateway() as gateway:
        ts = await slack.say("ann", "hello", channel="tea", mention=True)
        assert len(await ended(gateway, 1, world.clock)) == len(world.model.requests) == 1
        assert read(world, "tea", ts) == ["echo: ann: hello"]
        first, second = (delivery.payload["event"]["type"] for delivery in slack.deliveries)
        assert (first == "app_mention", second == "app_mention") == (mention_first, not mention_first)


# ── what is said to us ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_whatever_somebody_says_in_a_thread_with_us_is_answered_there(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        began = await world.slack.say("ann", "hello")
        for n, subtype in enumerate(("me_message", "thread_broadcast"), 2):
            await world.slack.say("ann", f"a {subtype}", thread=began, subtype=subtype)
            await ended(gateway, n, world.clock)
        assert world.asked() == [
            "hello", "echo: hello", "a me_message", "echo: a me_message", "a thread_broadcast",
        ]  # fmt: skip


async def test_a_file_is_named_to_the_model(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        await world.slack.say("ann", "look", files={"plan.zip": b"PK\x03\x04", "cat.png": b"png"})
        await ended(gateway, 1, world.clock)
        assert world.asked() == ["look\n\n[file: plan.zip] It is of a kind that cannot be read here.\n\n[image]"]


async def test_in_a_group_and_in_a_channel_whoever_mentions_us_is_answered(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        for n, channel in enumerate((world.slack.group("trio"), world.slack.channel("tea")), 1):
            await world.slack.say("bob", "not to you", channel=channel)
            ts = await world.slack.say("ann", "hello", channel=channel, mention=True)
            await ended(gateway, n, world.clock)
            assert read(world, channel, ts) == ["echo: ann: hello"]
            assert len(world.slack.screen(channel)) == 2


async def test_a_mention_goes_wherever_it_stands_and_other_people_have_names(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.slack.display_names["bob"] = "Bob the Brewer"
        bob = world.slack.user("bob")
        await world.slack.say("ann", f"what does <@{bob}> {HERE} mean by &lt;tea&gt;? {HERE}", channel="tea")
        await ended(gateway, 1, world.clock)
        assert world.asked() == ["ann: what does @Bob the Brewer mean by <tea>?"]


async def test_a_person_of_whom_slack_tells_nothing_is_named_by_their_id(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.slack.scopes.remove("users:read")
        bob = world.slack.user("bob")
        await world.slack.say("ann", f"what does <@{bob}> say?", channel="tea", mention=True)
        await ended(gateway, 1, world.clock)
        assert world.asked() == [f"what does @{bob} say?"]


async def test_in_a_thread_only_a_mention_is_answered_and_the_rest_is_remembered(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "which tea?", channel="tea", mention=True)
        await ended(gateway, 1, world.clock)
        await world.slack.say("bob", f"<@{world.slack.user('ann')}> I like green", channel="tea", thread=ts)
        await world.slack.say("ann", "so which?", channel="tea", thread=ts, mention=True)
        await ended(gateway, 2, world.clock)
        assert world.asked() == [
            "ann: which tea?", "echo: ann: which tea?", "bob: @ann I like green", "ann: so which?",
        ]  # fmt: skip
        assert len(read(world, "tea", ts)) == 4


async def test_in_a_thread_everybody_is_answered_where_that_is_set(tmp_path: Path) -> None:
    async with slack_world(tmp_path, channel={"threads": "all"}) as world, world.gateway() as gateway:
        other = await world.slack.say("bob", "not to you", channel="tea")
        await world.slack.say("ann", "nor this", channel="tea", thread=other)
        ts = await world.slack.say("ann", "which tea?", channel="tea", mention=True)
        await ended(gateway, 1, world.clock)
        await world.slack.say("bob", "a green one?", channel="tea", thread=ts)
        await ended(gateway, 2, world.clock)
        assert world.asked() == ["ann: which tea?", "echo: ann: which tea?", "bob: a green one?"]
        assert len(world.slack.thread("tea", other)) == 2


# ── what is not ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_nobody_said_to_us_is_passed_over(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        where = {"channel": world.slack.dm("ann"), "channel_type": "im", "ts": world.slack.new_ts()}
        for event in OTHERS:
            delivery = await world.slack.tell(where | event)
            assert delivery.statuses == [200]
        await world.slack.say("ann", "hello")
        assert len(await ended(gateway, 1, world.clock)) == 1


@pytest.mark.parametrize("bots", [False, True])
@pytest.mark.parametrize("native", [False, True])
async def test_what_we_say_ourselves_is_never_taken_for_a_question(tmp_path: Path, native: bool, bots: bool) -> None:
    slack = SlackSimulator(echo=True)
    settings = {"bots": bots, "threads": "all"}
    async with slack_world(tmp_path, slack=slack, native=native, channel=settings) as world, world.gateway() as gateway:
        world.model.reply = lambda asked: f"{HERE} {asked}"
        ts = await slack.say("ann", "tell me all there is", channel="tea", mention=True)
        await ended(gateway, 1, world.clock)
        await slack.until(lambda: len(slack.deliveries) > 2 and all(one.attempts for one in slack.deliveries))
        assert len(await ended(gateway, 1, world.clock)) == len(read(world, "tea", ts)) == 1


@pytest.mark.parametrize("bots", [False, True])
async def test_another_bot_is_answered_only_where_that_is_set(tmp_path: Path, bots: bool) -> None:
    slack = SlackSimulator(bots={"robo"})
    async with slack_world(tmp_path, slack=slack, channel={"bots": bots}) as world, world.gateway() as gateway:
        ts = await slack.say("robo", "hello", channel="tea", mention=True)
        await ended(gateway, int(bots), world.clock)
        assert read(world, "tea", ts) == ["echo: robo: hello"] * bots


# ── is it Slack? ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_slack_may_try_the_address(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway():
        assert await posted(world, {"type": "url_verification", "challenge": "3eZbrw1a"}) == (200, "3eZbrw1a")


async def test_only_what_slack_signed_within_five_minutes_is_taken(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        await world.slack.say("ann", "hello")
        right, (delivery,) = world.slack.signing_secret, world.slack.deliveries
        for secret, off, status in (("another", 0, 401), (right, -301, 401), (right, 301, 401), (right, 299, 200)):
            world.slack.signing_secret, world.slack.clock = secret, clock_of(world, off)
            assert (await world.slack.deliver_again(delivery)).status == status
        await ended(gateway, 1, world.clock)


async def test_an_address_may_have_a_token_of_its_own(tmp_path: Path) -> None:
    async with slack_world(tmp_path, channel={"url_token": SecretStr("sesame")}) as world, world.gateway() as gateway:
        await world.slack.say("ann", "hello")
        assert set(world.slack.deliveries[0].statuses) == {403}
        world.slack.webhook += "?token=sesame"
        await world.slack.deliver_again(world.slack.deliveries[0])
        await ended(gateway, 1, world.clock)
        assert world.asked() == ["hello"]
