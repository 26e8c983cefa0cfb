"""Fifty threads of one workspace are answered at once, within the limits that they share."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from pathlib import Path

import pytest

from chatferry.simulator.slack import SlackSimulator
from chatferry.simulator.slack_records import Post
from chatferry.simulator.slack_rules import POSTS_BURST, SPECIAL, TIERS
from tests.scenarios.slack_support import World, slack_world
from tests.scenarios.support import ended, until

THREADS = 50
CHANNELS = 5
"""Half of the threads are in as many channels, the others are direct messages."""
WORDS = 60
TURN = 0.2
"""Seconds by which the clock is turned at a time."""
SECONDS = 1.2
"""Real ones that the model takes for an answer; by the clock about a minute."""


def reply(question: str) -> str:
    return f"{question}: {' '.join(f'word{n}' for n in range(WORDS))} end"


async def ask(world: World, number: int) -> tuple[str, str]:
    """Somebody asks; where the thread is."""
    who, channel = f"p{number}", f"room{number % CHANNELS}" if number % 2 else None
    ts = await world.slack.say(who, f"question {number}", channel=channel, mention=channel is not None)
    return (world.slack.channel(channel) if channel else world.slack.dm(who)), ts


def most_in_a_minute(slack: SlackSimulator) -> dict[tuple[str, str], int]:
    """By method and, for posts, channel."""
    most: Counter[tuple[str, str]] = Counter()
    minutes: dict[tuple[str, str], deque[float]] = {}
    for call in slack.calls:
        post = call.method == "chat.postMessage"
        key = call.method, call.fields["channel"] if post else ""
        minute = minutes.setdefault(key, deque())
        minute.append(call.at)
        while minute[0] <= call.at - 60:
            minute.popleft()
        most[key] = max(most[key], len(minute))
    return most


@pytest.mark.parametrize("native", [False, True], ids=["edited", "streamed"])
async def test_fifty_threads_at_once_keep_to_the_tiers_and_every_answer_arrives(
    tmp_path: Path, *, native: bool
) -> None:
    async with slack_world(tmp_path, native=native) as world, world.gateway() as gateway:
        sim, began = world.slack, world.clock.now()
        world.model.reply, world.model.rate = lambda text: reply(text.rpartition(": ")[2]), WORDS / SECONDS
        places = await asyncio.gather(*(ask(world, number) for number in range(THREADS)))

        def answers() -> list[list[Post]]:
            return [sim.thread(*place)[1:] for place in places]

        await until(lambda: all(answers()), world.clock, turn=TURN)
        assert world.clock.now() - began < 10  # a second for each post in a channel, and some for names
        turns = await ended(gateway, THREADS, world.clock, turn=TURN)
        assert world.clock.now() - began < 180  # the model, then a minute and a half for what waited for its last edit

        assert {(turn.state, turn.error) for turn in turns} == {("done", "")}
        assert [[answer.markdown for answer in found] for found in answers()] == [
            [reply(f"question {number}")] for number in range(THREADS)
        ]
        assert not any(answer.streaming or answer.buttons for (answer,) in answers())
        assert [call for call in sim.calls if call.status == 429] == []
        for (method, channel), calls in most_in_a_minute(sim).items():
            assert calls <= (60 + POSTS_BURST if channel else TIERS.get(method, SPECIAL)), method
