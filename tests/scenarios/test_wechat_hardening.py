"""Odd answers on WeChat, what people get to see of them, and many people at once."""

from __future__ import annotations

import asyncio
import sys
import types
from pathlib import Path

import aiohttp
import pytest
import sqlalchemy as sa

from chatferry.clock import SystemClock
from chatferry.config import ReplySettings
from chatferry.ledger.database import migrate, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Standing
from chatferry.model import Inbound, says
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_records import Fault
from tests.scenarios.wechat_support import SEND, WORDS, event, turn, wechat_world


@pytest.mark.parametrize("said", ["\x01\x02", "\ufffe", " \x00\n"])
async def test_an_answer_that_nobody_could_see_is_none(tmp_path: Path, said: str) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        world.model.reply = lambda _: said
        await world.wechat.say("ann", "one")
        assert world.screen() == [WORDS.sorry_empty]


@pytest.mark.parametrize("long", [1, 60_000])
async def test_what_nobody_can_see_is_left_out_of_an_answer(tmp_path: Path, long: int) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        world.model.reply = lambda _: "good\x00\x1b answer" + "x" * long
        await world.wechat.say("ann", "one")
        assert world.screen()[0].startswith("good answerx")
        (entry,) = await gateway.ledger.entries()
        assert entry.state == "done"


async def test_a_function_that_returns_half_a_character_has_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("answers_oddly")
    module.answer = lambda text: "\ud83d it is\ud83d"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "answers_oddly", module)
    rules = (ReplySettings(match="what is it", python="answers_oddly:answer"),)
    async with wechat_world(tmp_path, replies=rules) as world, world.gateway():
        await world.wechat.say("ann", "what is it")
        assert world.screen() == [" it is"]


async def test_all_who_wait_are_looked_after_together(ledger: Ledger) -> None:
    events = [Inbound(f"e{number}", f"person {number}", message=says("user", "hi")) for number in range(300)]
    owed = [one.turn for one in await ledger.accept("wechat", events)]
    looks: list[object] = []

    def look(*its: object) -> None:
        looks.append(its[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", look)
    try:
        requests = [asyncio.ensure_future(ledger.standing(turn)) for turn in owed * 3]
        requests[0].cancel()
        standings = await asyncio.gather(*requests[1:])
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", look)
    assert standings[: len(owed) - 1] == [Standing(turn, True, None) for turn in owed[1:]]
    assert standings[len(owed) - 1] == Standing(owed[0], True, None), "one who leaves takes nobody along"
    assert len(looks) < 10


async def test_two_processes_never_wait_for_each_other_in_a_circle(postgres: str) -> None:
    """PostgreSQL ends such a wait after a second, in which nobody is answered.

    There are few, as all are locked until all are written, and to wait for that has its own limit.
    """
    import asyncpg

    databases = open_database(postgres), open_database(postgres)
    await migrate(databases[0])
    events = [Inbound(f"e{number}", f"person {number}", message=says("user", "hi")) for number in range(20)]
    async with Ledger(databases[0], SystemClock()).open() as one, Ledger(databases[1], SystemClock()).open() as two:
        owed = [accepted.turn for accepted in await one.accept("wechat", events)]
        said = [one.replied(turn, "said", ()) for turn in owed]
        said += [two.replied(turn, "said", ()) for turn in reversed(owed)]
        await asyncio.gather(*said)
    for database in databases:
        await database.aclose()
    admin = await asyncpg.connect(postgres)
    circles = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await admin.fetchval(circles) == 0
    await admin.close()


async def test_an_answer_that_is_refused_takes_none_along_that_waits_behind_it(tmp_path: Path) -> None:
    wechat = WeChatSimulator(verified=True)
    async with wechat_world(tmp_path, wechat=wechat) as world, world.gateway() as gateway:
        wechat.fail(SEND, Fault(errcode=45047), Fault(errcode=45047), Fault(errcode=45002))
        await wechat.say("ann", "one")
        await turn(gateway, 1, "parked")
        await wechat.say("ann", "two")
        await turn(gateway, 2, "parked")
        await wechat.say("ann", "three")
        await turn(gateway, 3, "done")
        assert world.screen() == ["echo: two", "echo: three"]
        assert [entry.state for entry in await gateway.ledger.entries()] == ["done", "done", "failed"]


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({"Host": "bot.example"}, "http://bot.example"),
        (
            {"Host": "10.0.0.2:8080", "X-Forwarded-Host": "bot.example", "X-Forwarded-Proto": "https"},
            "https://bot.example",
        ),
        ({"Host": "bot.example:8443"}, "http://bot.example:8443"),
        ({"Host": "-bot"}, None),
        ({"Host": "bot.example:99999"}, None),
        ({"Host": "bot.example/x?"}, None),
        ({"Host": "bot.example", "X-Forwarded-Proto": "javascript"}, None),
    ],
)
async def test_where_people_reach_us_is_believed_of_a_signed_call_that_makes_sense(
    tmp_path: Path, headers: dict[str, str], base: str | None
) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway, aiohttp.ClientSession() as http:
        query, body = world.wechat._written(event(world.wechat, "ann", "VIEW"))
        for signature, expected in (("0" * 40, None), (query["signature"], base)):
            signed = query | {"signature": signature}
            async with http.post(world.wechat.webhook, params=signed, data=body, headers=headers) as answer:
                assert answer.status == (200 if signature == query["signature"] else 403)
            assert gateway.links.base == expected
