"""A question that is put in other words counts like one that is asked: for budgets, for limits, for its length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatferry.gateway import Gateway
from chatferry.simulator.model import Break
from chatferry.words import words
from tests.scenarios.slack_growing import QUESTION, half_said
from tests.scenarios.slack_support import World, slack_world
from tests.scenarios.support import charged, ended, until

EN = words("en")


async def asked_anew(it: World, ts: str, said: str) -> None:
    """Somebody edits their question, and the model is at work on it again."""
    before = len(it.model.requests)
    it.model.hanging.clear()
    it.model.plans.append(Break("hang", after=1))
    await it.slack.edit("ann", it.slack.dm("ann"), ts, said)
    await until(lambda: len(it.model.requests) > before and it.model.hanging.is_set(), it.clock)


async def refused(it: World, gateway: Gateway, ts: str, said: str) -> None:
    """Somebody edits their question, and that counts for nothing."""
    limited = gateway.metrics.registry.get_sample_value
    names = ("chatferry_spent_total", "chatferry_limited_total")

    def count() -> float:
        return sum(limited(name, {"channel": "slack"}) or 0.0 for name in names)

    before = count()
    await it.slack.edit("ann", it.slack.dm("ann"), ts, said)
    await until(lambda: count() > before, it.clock)


def told(it: World, ts: str, beginning: str) -> int:
    return sum(post.markdown.startswith(beginning) for post in it.thread("ann", ts))


async def test_each_edit_that_asks_the_model_again_is_charged_like_a_message(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"budget": {"messages": 5}}) as it, it.gateway() as gateway:
        ts, _ = await half_said(it)
        for n in range(4):
            await asked_anew(it, ts, f"other words {n}")
        assert await charged(gateway) == [5]
        for n in range(4, 10):
            await refused(it, gateway, ts, f"other words {n}")
        assert await charged(gateway) == [5]
        await until(lambda: told(it, ts, EN.spent_day[:20]), it.clock)
        it.model.release.set()
        await ended(gateway, 2, it.clock)
        assert told(it, ts, EN.spent_day[:20]) == 1
        (answer,) = [post.markdown for post in it.thread("ann", ts) if "echo" in post.markdown]
        assert answer == f"{EN.near}\n\necho: other words 3"
        assert len(it.model.requests) == 5


async def test_edits_are_paced_like_messages(tmp_path: Path) -> None:
    async with slack_world(tmp_path, channel={"limits": {"user": "2/m"}}) as it, it.gateway() as gateway:
        ts, _ = await half_said(it)
        await asked_anew(it, ts, "other words")
        for n in range(5):
            await refused(it, gateway, ts, f"yet others {n}")
        await until(lambda: told(it, ts, EN.slow[:20]), it.clock)
        it.model.release.set()
        await ended(gateway, 2, it.clock)
        assert told(it, ts, EN.slow[:20]) == 1
        assert it.asked() == ["other words"]
        assert len(it.model.requests) == 2


async def test_an_edit_may_be_as_long_as_a_message(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"limits": {"message": 50}}
    long, told_so = "word " * 20, EN.too_long.replace("{number}", "50")
    async with slack_world(tmp_path, channel=limits) as it, it.gateway() as gateway:
        ts, _ = await half_said(it)
        waits = await it.slack.say("ann", "seven", thread=ts)
        for n in range(3):
            await it.slack.edit("ann", it.slack.dm("ann"), ts, f"{long}{n}")
            await it.slack.edit("ann", it.slack.dm("ann"), waits, f"{long}{n}")
        await until(lambda: told(it, ts, told_so) == 2, it.clock)
        it.model.release.set()
        await ended(gateway, 4, it.clock)
        assert told(it, ts, told_so) == 2, "once for each of the two"
        assert it.asked() == [QUESTION, it.model.reply(QUESTION), "seven"]
        assert len(it.model.requests) == 2


async def test_an_edit_of_what_waits_or_is_answered_costs_nothing(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"budget": {"messages": 2}}) as it, it.gateway() as gateway:
        ts, _ = await half_said(it)
        waits = await it.slack.say("ann", "seven", thread=ts)
        for n in range(5):
            await it.slack.edit("ann", it.slack.dm("ann"), waits, f"eight {n}")
        it.model.release.set()
        await ended(gateway, 2, it.clock)
        for n in range(5):
            await it.slack.edit("ann", it.slack.dm("ann"), ts, f"nine {n}")
        assert it.asked()[-1] == "eight 4"
        assert await charged(gateway) == [2]
        assert told(it, ts, EN.spent_day[:20]) == 0


async def test_a_long_edit_of_what_nobody_asked_us_is_not_answered(tmp_path: Path) -> None:
    async with slack_world(tmp_path, channel={"limits": {"message": 50}}) as it, it.gateway() as gateway:
        root = await it.slack.say("ann", "what a day", channel="general")
        await it.slack.edit("ann", "general", root, "word " * 20)
        await half_said(it)
        it.model.release.set()
        await ended(gateway, 1, it.clock)
        assert len(it.slack.thread(it.slack.channel("general"), root)) == 1
