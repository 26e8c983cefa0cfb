"""Signs that a database refuses do not keep a turn from its end: what is only for looking at goes without them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chatferry.clock import SystemClock
from chatferry.engines.base import Call
from chatferry.ledger.database import migrate, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.steps import Step
from chatferry.model import Inbound, Turn, Usage, says

ODD = "a\0b\ud800c"


@pytest.fixture
async def ledger(postgres: str) -> AsyncIterator[Ledger]:
    """On the database that refuses more than the other one does."""
    database = open_database(postgres)
    try:
        await migrate(database)
        async with asyncio.timeout(60), Ledger(database, SystemClock(), lease=0.0).open() as ledger:
            yield ledger
    finally:
        await database.aclose()


@pytest.fixture
async def turn(ledger: Ledger) -> Turn:
    await ledger.accept("board", [Inbound("e1", "room", message=says("user", "hello"))])
    turn = await ledger.claim("board:room")
    assert turn is not None
    return turn


async def test_words_that_are_being_said(ledger: Ledger, turn: Turn) -> None:
    await ledger.saying(turn, ODD)
    shown = await ledger.shown(turn.id)
    assert shown is not None
    assert shown.partial == "abc"


@pytest.mark.parametrize("way", ["answered", "finish", "retry"])
async def test_faults_that_quote_somebody(ledger: Ledger, turn: Turn, way: str) -> None:
    if way == "answered":
        await ledger.answered(turn, says("assistant", "sorry"), [], error=ODD)
    elif way == "finish":
        await ledger.finish(turn, state="failed", error=ODD)
    else:
        await ledger.retry(turn, 0.0, ODD)
    [entry] = await ledger.entries()
    assert entry.error == "abc"


async def test_what_a_model_says_before_it_calls_and_what_it_calls_itself(ledger: Ledger, turn: Turn) -> None:
    await ledger.calling(turn, [Step(0, 0, ODD, Call("c1", "look", '{"at": "a\0b"}'), "key")], Usage())
    await ledger.answered(turn, says("assistant", "hello"), [], model=ODD)
    assert [step.said for step in await ledger.steps(turn.id)] == ["abc"]
    [entry] = await ledger.entries()
    assert entry.model == "abc"
