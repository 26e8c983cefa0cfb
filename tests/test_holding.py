"""Requests that stay open for their answer, on a real database file: what they say, and when."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from chatferry.ledger.accepting import Accepted
from chatferry.ledger.ledger import Ledger
from chatferry.testing import ManualClock
from tests.open_requests import ROOM, WORDS, Process


@pytest.fixture
async def here(ledger: Ledger, clock: ManualClock) -> Process:
    return Process(ledger, clock)


# ── in time, or not ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_that_is_there_in_time_is_the_response(here: Process) -> None:
    held = await here.comes("e1")
    task = here.waits(held)
    await here.passes(task, 2.0)
    assert not task.done()
    await here.answers("one")
    await here.settles(task)
    assert await task == "one"
    assert await here.holding.heard(here.board, held, here.left)
    [entry] = await here.ledger.entries()
    assert entry.state == "done"


async def test_one_that_is_there_already_needs_no_waiting(here: Process) -> None:
    held = await here.comes("e1")
    await here.answers("one", ring=False)
    before = here.clock.now()
    assert await here.said(held) == "one"
    assert here.clock.now() == before


async def test_without_one_in_time_there_is_no_response_and_nothing_is_written(here: Process) -> None:
    held = await here.comes("e1")
    before = here.clock.now()
    assert await here.hears(held) is None
    assert 4.5 <= here.clock.now() - before < 4.7
    assert (await here.ledger.standing(1)).reply is None


async def test_the_second_request_gets_it_where_the_first_did_not(here: Process) -> None:
    assert await here.said(await here.comes("e1")) is None
    held = await here.comes("e1")
    assert held.accepted.delivery == 2
    await here.answers("one")
    assert await here.said(held) == "one"


async def test_the_last_request_gets_the_link_to_it(here: Process) -> None:
    for _ in range(2):
        assert await here.said(await here.comes("e1")) is None
    before = here.clock.now()
    assert here.later(await here.said(await here.comes("e1"))) == 1
    assert here.clock.now() - before >= 4.5, "it waited for as long as it could"
    await here.answers("one")
    assert await here.said(await here.comes("e2", text="and?")) is None
    await here.answers("two")
    assert await here.said(await here.comes("e2")) == f"{WORDS.earlier}\n\none\n\n———\n\ntwo"


async def test_the_last_request_may_get_the_answer(here: Process) -> None:
    for _ in range(2):
        await here.comes("e1")
    held = await here.comes("e1")
    task = here.waits(held)
    await here.passes(task, 4.0)
    await here.answers("one")
    assert (await task) == "one"


@pytest.mark.parametrize(("age", "last"), [(0.0, False), (5.9, False), (6.9, False), (10.0, True), (12.0, True)])
async def test_where_earlier_requests_missed_us_the_age_tells_which_is_the_last(
    here: Process, age: float, last: bool
) -> None:
    """They come 0, 5 and 10 seconds after it was said, or up to a second more as times are told in whole ones."""
    held = await here.comes("e1", at=here.clock.now() - age)
    said = await here.said(held)
    assert here.later(said) == 1 if last else said is None


async def test_without_a_time_the_count_tells(here: Process) -> None:
    assert await here.said(await here.comes("e1", at=0.0)) is None


# ── the same again ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_that_is_repeated_gets_the_same_text_at_once(here: Process) -> None:
    held = await here.comes("e1")
    await here.answers("one")
    assert await here.said(held) == "one"
    await here.comes("e2")
    await here.answers("two")
    before = here.clock.now()
    assert await here.said(await here.comes("e1")) == "one"
    assert here.clock.now() == before
    assert [piece.message.text for piece in await here.ledger.parked(ROOM)] == ["two"]


async def test_so_it_does_after_a_link_though_the_answer_is_there_by_then(here: Process) -> None:
    for _ in range(2):
        await here.comes("e1")
    link = await here.said(await here.comes("e1"))
    await here.answers("one")
    assert await here.said(await here.comes("e1")) == link


async def test_requests_of_one_event_at_once_say_one_text_and_the_piece_goes_out_once(here: Process) -> None:
    requests = [await here.comes("e1") for _ in range(3)]
    tasks = [here.waits(held) for held in requests]
    await here.passes(tasks[0], 1.0)
    await here.answers("one")
    async with asyncio.timeout(60):
        replies = await asyncio.gather(*tasks)
    assert replies == ["one"] * 3


async def test_of_requests_of_two_events_at_once_one_brings_the_earlier_answer(here: Process) -> None:
    await here.comes("e0")
    await here.answers("zero")
    one, two = await here.comes("e1"), await here.comes("e2")
    await here.answers("one", ring=False)
    await here.answers("two", ring=False)
    async with asyncio.timeout(60):
        replies = await asyncio.gather(here.waits(one), here.waits(two))
    said = "".join(reply for reply in replies if reply is not None)
    assert [said.count(text) for text in ("zero", "one", "two")] == [1, 1, 1]
    assert await here.ledger.parked(ROOM) == []


# ── what else there is to say ────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_finished_earlier_goes_ahead_and_says_so(here: Process) -> None:
    await here.comes("e1")
    await here.answers("one")
    await here.comes("e2", command="help")
    await here.answers("help", lane=f"!{ROOM}")
    held = await here.comes("e3")
    await here.answers("three")
    assert await here.said(held) == "\n\n———\n\n".join([f"{WORDS.earlier}\n\none", "help", "three"])


async def test_the_last_request_brings_what_was_finished_earlier_and_the_link(here: Process) -> None:
    await here.comes("e1")
    await here.answers("one")
    held = await here.comes("e2", at=here.clock.now() - 12)
    said = await here.said(held)
    assert said is not None
    assert said.startswith(f"{WORDS.earlier}\n\none\n\n———\n\n{WORDS.ready_later[:10]}")
    assert here.later(said) == 2


async def test_an_earlier_answer_that_was_read_on_its_page_is_not_said_again(here: Process) -> None:
    await here.comes("e1")
    await here.answers("one")
    held = await here.comes("e2")
    await here.ledger.opened(1)
    await here.answers("two")
    assert await here.said(held) == "two"


async def test_an_answer_that_outgrows_the_message_goes_on_on_its_page(here: Process) -> None:
    held = await here.comes("e1")
    await here.answers("word " * 500)
    said = await here.said(held)
    assert said is not None
    assert len(said) <= 600
    assert here.linked(said, WORDS.rest_here) == 1


async def test_a_command_is_answered_while_the_answer_is_made(here: Process) -> None:
    await here.comes("e1")
    await here.claims()
    held = await here.comes("e2", command="help")
    task = here.waits(held)
    await here.passes(task, 0.2)
    await here.answers("help", lane=f"!{ROOM}")
    await here.settles(task)
    assert await task == "help"


async def test_what_is_not_for_us_has_no_answer(here: Process) -> None:
    held = msgspec.structs.replace(await here.comes("e1"), accepted=Accepted(0, False))
    assert await here.hears(held) == ""
