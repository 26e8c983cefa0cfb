"""What the scenarios on stopping, deleting and changing share: an answer that is half said, and how it may end."""

from __future__ import annotations

import pytest

from chatferry.gateway import Gateway
from chatferry.ledger.looking import Entry
from chatferry.simulator.model import Break, split
from chatferry.simulator.slack_records import Post
from tests.scenarios.slack_support import STOPPED, World
from tests.scenarios.support import ended, until

QUESTION = "one two three four five six"
HALF = "echo: one two"
"""What the model has said of its answer when it hangs."""

either_way = pytest.mark.parametrize("native", [False, True], ids=["edited", "streamed"])


async def half_said(
    world: World, words: str = QUESTION, *, who: str = "ann", after: int = 3, **where: str
) -> tuple[str, Post]:
    """Somebody asks, the model hangs, and what it has said by then is on the screen: the question's ts, the answer."""
    ts = await asked(world, words, who=who, after=after, **where)
    said = "".join(split(world.model.reply(world.asked()[-1]))[:after])
    thread = where.get("thread", ts)
    channel = where.get("channel", world.slack.dm(who))
    await until(lambda: _grown(world, channel, thread, ts, said), world.clock)
    return ts, _answers(world, channel, thread, ts)[-1]


async def asked(world: World, words: str = QUESTION, *, who: str = "ann", after: int = 3, **where: str) -> str:
    """Somebody asks, and the model hangs after so many words."""
    world.model.hanging.clear()
    world.model.plans.append(Break(after=after, how="hang"))
    ts = await world.slack.say(who, words, mention="channel" in where, **where)  # type: ignore[arg-type]  # by name
    await until(world.model.hanging.is_set, world.clock)
    return ts


def _answers(world: World, channel: str, thread: str, ts: str) -> list[Post]:
    return [post for post in world.slack.thread(channel, thread) if post.bot and post.ts > ts]


def _grown(world: World, channel: str, thread: str, ts: str, said: str) -> bool:
    posts = _answers(world, channel, thread, ts)
    return bool(posts) and said in posts[-1].markdown


async def is_stopped(world: World, gateway: Gateway, ts: str, *, said: str = HALF, mark: str = STOPPED) -> Entry:
    """The one answer to `ts` has ended in mid-sentence, on the screen, at the provider's and in the ledger."""
    (turn,) = await ended(gateway, 1, world.clock)
    assert (turn.state, turn.finish, turn.error) == ("done", "stopped", "")
    (answer,) = world.thread("ann", ts)
    assert answer.markdown == said + mark
    assert answer.buttons == []
    assert not answer.streaming
    await world.model.idle()
    assert world.model.cancelled == 1
    await until(lambda: is_quiet(world), world.clock)
    return turn


def is_quiet(world: World) -> bool:
    """No thread shows that somebody is at work."""
    return not world.slack.statuses and set(world.slack.session_statuses.values()) <= {"active"}


async def next_prompt(world: World, ts: str, words: str = "and then?", *, who: str = "ann") -> list[str]:
    """What the model gets to read with the next question in the thread."""
    before = len(world.model.requests)
    await world.slack.say(who, words, thread=ts)
    await until(lambda: len(world.model.requests) > before, world.clock)
    return world.asked()
