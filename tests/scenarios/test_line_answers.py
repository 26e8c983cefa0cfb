"""From a signed LINE webhook to what the person sees, when all goes well."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.channels.base import COLLECT
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_records import Fault
from chatferry.simulator.line_rules import units
from chatferry.simulator.model import Break
from chatferry.testing import ManualClock
from chatferry.words import words
from tests.scenarios.support import (
    CLUB,
    LOADING,
    PUSH,
    REPLY,
    asked,
    calls,
    ended,
    paragraphs,
    said_while_it_hangs,
    screen,
    texts,
    until,
)
from tests.stack import running

WORDS = words("en")


async def test_a_message_is_answered_once_by_the_free_reply(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        delivery = await stack.line.say("ann", "hello")
        [answer] = await stack.line.seen("ann", 1)
        assert delivery.status == 200
        assert answer.text == "echo: hello"
        assert answer.via == "reply"
        assert stack.line.used == 0


async def test_a_long_answer_goes_out_in_five_messages_of_one_reply(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.reply = lambda _: paragraphs("abcde")
        await stack.line.say("ann", "hello")
        answers = await stack.line.seen("ann", 5)
        assert texts(answers) == [letter * 4000 for letter in "abcde"]
        assert len(calls(stack.line, REPLY)) == 1
        assert stack.line.used == 0


async def test_what_is_longer_than_five_messages_is_pushed_under_a_retry_key(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.reply = lambda _: paragraphs("abcdefg")
        await stack.line.say("ann", "hello")
        answers = await stack.line.seen("ann", 7)
        await ended(stack.gateway, 1)
        assert texts(answers) == [letter * 4000 for letter in "abcdefg"]
        assert [one.via for one in answers] == ["reply"] * 5 + ["push"] * 2
        [push] = calls(stack.line, PUSH)
        assert push.headers["x-line-retry-key"]


async def test_where_nothing_may_be_pushed_a_button_brings_the_rest_tap_by_tap(tmp_path: Path) -> None:
    async with running(tmp_path, line=LineSimulator(quota=0)) as stack:
        stack.model.reply = lambda _: paragraphs("abcdefghijkl")
        await stack.line.say("ann", "hello")
        first = await stack.line.seen("ann", 5)
        assert texts(first) == [letter * 4000 for letter in "abcd"] + [WORDS.more]
        assert first[-1].buttons == [(WORDS.more_label, COLLECT)]
        await ended(stack.gateway, 1)

        await stack.line.tap("ann", COLLECT)
        second = (await stack.line.seen("ann", 10))[5:]
        assert texts(second) == [letter * 4000 for letter in "efgh"] + [WORDS.more]
        await ended(stack.gateway, 2)

        await stack.line.tap("ann", COLLECT)
        third = (await stack.line.seen("ann", 14))[10:]
        entries = await ended(stack.gateway, 3)
        assert texts(third) == [letter * 4000 for letter in "ijkl"]
        assert {entry.state for entry in entries} == {"done"}
        assert not calls(stack.line, PUSH)


async def test_a_hasty_second_tap_repeats_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, line=LineSimulator(quota=0)) as stack:
        stack.model.reply = lambda _: paragraphs("abcdefg")
        await stack.line.say("ann", "hello")
        await stack.line.seen("ann", 5)
        await ended(stack.gateway, 1)
        await stack.line.tap("ann", COLLECT)
        await stack.line.tap("ann", COLLECT)
        await ended(stack.gateway, 3)
        rest = screen(stack.line)[5:]
        assert [text for text in rest if text != WORDS.nothing_waiting] == [letter * 4000 for letter in "efg"]


async def test_an_answer_is_measured_in_utf16_units_and_no_character_is_cut(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.reply = lambda _: "😀" * 2501
        await stack.line.say("ann", "hello")
        answers = texts(await stack.line.seen("ann", 2))
        assert "".join(answers) == "😀" * 2501
        assert max(map(units, answers)) <= 5000


async def test_markdown_becomes_plain_text(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.model.reply = lambda _: "# Tea\n\n**Steep** it, see [here](https://tea.example)."
        await stack.line.say("ann", "hello")
        [answer] = await stack.line.seen("ann", 1)
        assert "**" not in answer.text
        assert "# " not in answer.text
        assert all(word in answer.text for word in ("Tea", "Steep it", "here", "https://tea.example"))


@pytest.mark.parametrize("said", ["#", "```\n```", "&nbsp;"])
async def test_an_answer_that_is_nothing_but_markdown_is_shown_as_it_is(tmp_path: Path, said: str) -> None:
    async with running(tmp_path) as stack:
        stack.model.reply = lambda _: said
        await stack.line.say("ann", "how do I write a heading?")
        await ended(stack.gateway, 1)
        assert screen(stack.line) == [said]


async def test_the_loading_dots_are_renewed_while_the_model_works(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock=clock) as stack:
        stack.model.plans.append(Break("hang"))
        await said_while_it_hangs(stack, "hello")
        await until(lambda: len(calls(stack.line, LOADING)) == 3, clock, turn=0.2)
        stack.model.release.set()
        await ended(stack.gateway, 1)
        clock.advance(60)
        await stack.line.say("ann", "again")  # whatever the old turn still did would come before this
        await stack.line.seen("ann", 2)
        first, second, third, fourth = calls(stack.line, LOADING)
        assert max(second.at - first.at, third.at - second.at) < 20  # seconds for which one call shows
        assert fourth.at > third.at + 50


async def test_a_group_gets_its_answer_without_loading_dots(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        await stack.line.say("ann", "hello", group="club", mention_self=True)
        [answer] = await stack.line.seen(CLUB, 1)
        assert answer.text == "echo: hello"
        assert asked(stack.model) == ["hello"]
        assert not calls(stack.line, LOADING)


async def test_dots_that_line_refuses_cost_no_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        stack.line.fail(LOADING, Fault(status=500))
        await stack.line.say("ann", "hello")
        assert texts(await stack.line.seen("ann", 1)) == ["echo: hello"]
