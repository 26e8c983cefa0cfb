"""Questions that were answered before, or that somebody else asks just now: on their platforms, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from chatferry.answering import again
from chatferry.cli.usage import show_usage
from chatferry.config import MoneySettings
from chatferry.gateway import Gateway
from chatferry.simulator.model import Break, ModelSimulator, Pause, Refuse
from chatferry.simulator.model_calls import acts
from chatferry.simulator.serving import serving
from chatferry.words import words
from tests.scenarios.asking import api, ask, client_at, stream, streamed, text
from tests.scenarios.crash import Served
from tests.scenarios.harbour import Gate
from tests.scenarios.support import CLUB, World, ended, screen, until, world
from tests.stack import KEY, process_on

CACHE = {"cache": {"ttl": "1h"}}
FERRY = {"tools": ("tests.scenarios.harbour:ferry",)}
ENGLISH = words("en")
PRICED = {"price": {"prompt": 1.0, "completion": 100.0}}
HOUR = 3600.0
SLOW = 0.005
"""How much a clock is turned where leases hang on it, and a server has to keep up."""


def given(gateway: Gateway) -> dict[str, float]:
    """How many answers were given in which way, as `/metrics` tells."""
    registry = gateway.metrics.registry
    ways = ("kept", "joined", "asked")
    found = {
        way: registry.get_sample_value("chatferry_answers_total", {"assistant": "default", "outcome": way})
        for way in ways
    }
    return {way: number for way, number in found.items() if number}


async def test_an_answer_that_cannot_be_kept_for_others_is_still_the_answer(tmp_path: Path) -> None:
    full = "CREATE TRIGGER full BEFORE INSERT ON answers BEGIN SELECT RAISE(ABORT, 'full'); END"
    async with world(tmp_path, assistant=CACHE) as it, it.gateway() as gateway:
        with contextlib.closing(sqlite3.connect(tmp_path / "chatferry.db")) as database:
            database.execute(full)
        await it.line.say("ann", "When do you open?")
        await ended(gateway, 1)
        assert screen(it.line) == ["echo: When do you open?"]
        assert len(it.model.requests) == 1


async def test_the_same_question_is_asked_once_on_all_channels_and_costs_a_message_and_nothing_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Three answers of four tokens, as the simulated model counts them, and no more.
    budget = {"budget": {"money": 0.0013, "messages": 3}}
    tables: dict[str, Any] = {"assistant": CACHE | budget, "model": PRICED}
    async with world(tmp_path, **tables) as it, it.gateway() as gateway, api(it) as caller:
        spellings = {"ann": "When do you open?", "bob": "when do you\u3000ｏｐｅｎ", "eve": "Ｗhen do you  open?? "}
        for n, (who, said) in enumerate(spellings.items()):
            await it.line.say(who, said)
            await ended(gateway, n + 1)
            assert screen(it.line, who) == ["echo: When do you open?"]
        answer = await ask(caller, "when do you open。")
        assert text(answer) == "echo: When do you open?"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 0
        assert streamed(await stream(caller, "When do you open?")) == "echo: When do you open?"
        assert text(await ask(caller, "When do you open")) == "echo: When do you open?"
        with pytest.raises(openai.RateLimitError):
            await ask(caller, "When do you open")
        assert len(it.model.requests) == 1
        assert given(gateway) == {"asked": 1, "kept": 5}
        # To who was told before, the same words are another question.
        for n in (7, 8):
            await it.line.say("ann", "When do you open?")
            await ended(gateway, n)
        assert len(it.model.requests) == 3
        days = {"since": "2027-01-01", "until": "2027-01-31"}
        await asyncio.to_thread(show_usage, it.settings.server, MoneySettings(), **days, by=["person"], as_csv=True)
    rows = {row["person"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    bob = rows[it.line.address("bob")]
    assert (bob["answers"], bob["prompt_tokens"], float(bob["cost_USD"])) == ("1", "0", 0.0)


async def test_the_size_of_a_letter_makes_another_question_where_it_may_matter(tmp_path: Path) -> None:
    questions = ("decode SGVsbG8=", "decode sgvsbg8=", "Polish", "polish", "open late?", "Open LATE?")
    async with world(tmp_path, assistant=CACHE) as it, it.gateway() as gateway, api(it) as caller:
        for question in questions:
            assert text(await ask(caller, question)) == f"echo: {question}"
        assert given(gateway) == {"asked": len(questions)}
        assert text(await ask(caller, "Decode SGVsbG8=")) == "echo: decode SGVsbG8="


async def test_where_there_is_more_to_it_than_the_question_it_is_asked(tmp_path: Path) -> None:
    Gate.open = asyncio.Event()
    Gate.open.set()
    async with world(tmp_path, assistant=CACHE | FERRY) as it, it.gateway() as gateway, api(it) as caller:
        await ask(caller, "hello")
        assert text(await ask(caller, "hello")) == "echo: hello"
        assert len(it.model.requests) == 1
        await ask(caller, "hello", max_tokens=5)
        await ask(caller, "hello, " * 100)
        await ask(caller, "hello, " * 100)
        system = [{"role": "system", "content": "You are a cook."}, {"role": "user", "content": "hello"}]
        await caller.chat.completions.create(model="default", messages=system)
        assert len(it.model.requests) == 5
        for who in ("ann", "bob"):
            await it.line.say(who, "hello", group="club", mention_self=True)
            await it.line.seen(CLUB, 2 if who == "bob" else 1)
            await it.line.show(who, "image", b"no picture")
            await it.line.seen(who, 1)
        assert len(it.model.requests) == 9
        # What a tool tells is about somebody, or about now.
        it.model.act = lambda talk, _: acts(("ferry", {"name": "Mei"})) if talk[-1]["role"] == "user" else None
        for _ in range(2):
            await ask(caller, "where is Mei?")
        assert len(it.model.requests) == 13
        assert given(gateway) == {"asked": 4, "kept": 1}


async def test_an_answer_is_given_for_a_while_and_as_long_as_the_configuration_is_the_same(tmp_path: Path) -> None:
    async with world(tmp_path, assistant={"cache": {"ttl": "1h", "size": 2}}) as it:
        async with it.gateway(), api(it) as caller:

            async def asks(*questions: str) -> int:
                """How often the model was asked then."""
                before = len(it.model.requests)
                for question in questions:
                    it.clock.advance(1.0)
                    assert text(await ask(caller, question)) == f"echo: {question}"
                return len(it.model.requests) - before

            assert await asks("one", "two") == 2
            it.clock.advance(0.5 * HOUR)
            assert await asks("one", "three", "one") == 1
            assert await asks("two") == 1, "nobody had asked it for longest, and there was no room"
            it.clock.advance(0.6 * HOUR)
            assert await asks("two") == 0
            assert await asks("one") == 1, "it is older than an hour, though it was asked for since"
        shop = it.settings.assistants["default"].model_copy(update={"instructions": "You are a pirate."})
        for change in (
            {"assistants": {"default": shop}},
            {"models": {"default": it.settings.models["default"].model_copy(update={"model": "another"})}},
        ):
            it.settings = it.settings.model_copy(update=change)
            async with it.gateway(), api(it) as caller:
                await ask(caller, "one")
                await ask(caller, "one")
        assert [request.body["model"] for request in it.model.requests[-2:]] == ["sim", "another"]
        shop = shop.model_copy(update={"cache": None})
        it.settings = it.settings.model_copy(update={"assistants": {"default": shop}})
        before = len(it.model.requests)
        async with it.gateway(), api(it) as caller:
            await ask(caller, "one")
            await ask(caller, "one")
        assert len(it.model.requests) == before + 2


async def test_twenty_who_ask_at_once_read_along_with_the_first(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=CACHE) as it, it.gateway() as gateway, api(it) as caller:
        it.model.tokens = 6
        it.model.plans.append(Pause(before=(3,)))
        first = asyncio.create_task(stream(caller, "all of it?"))
        await it.model.hanging.wait()
        chunks = await caller.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "All of it"}], stream=True
        )
        said = ""
        async for chunk in chunks:
            said += chunk.choices[0].delta.content or ""
            if said == "tok tok tok ":
                break
        others = [asyncio.create_task(ask(caller, "All of it?")) for _ in range(17)]
        await it.line.say("ann", "all of it")
        await until(lambda: gateway.worker.running == 20)
        it.model.release.set()
        async for chunk in chunks:
            said += "".join(choice.delta.content or "" for choice in chunk.choices)
        assert said == "tok " * 6
        assert streamed(await first) == "tok " * 6
        assert {text(await one) for one in others} == {"tok " * 6}
        await ended(gateway, 20)
        assert screen(it.line) == ["tok " * 6]
        assert len(it.model.requests) == 1
        ways = given(gateway)
        assert (ways["asked"], ways["joined"] + ways.get("kept", 0)) == (1, 19), "some may have come when it was over"


async def test_where_the_first_fails_or_is_stopped_the_others_ask_for_themselves(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=CACHE) as it, it.gateway() as gateway, api(it) as caller:
        for who in ("ann", "bob"):
            it.model.plans.extend([Break("hang")] if who == "ann" else [Break("cut", held=True), Refuse(400)])
            it.model.hanging.clear()
            it.model.release.clear()
            await it.line.say(who, f"who is {who}?")
            await it.model.hanging.wait()
            other = asyncio.create_task(ask(caller, f"who is {who}"))
            await until(lambda: gateway.worker.running == 2)
            if who == "ann":
                await it.line.say("ann", "/stop")
            else:
                it.model.release.set()
            await until(other.done, it.clock)
            assert text(await other) == f"echo: who is {who}"
        assert screen(it.line, "bob") == [ENGLISH.sorry_failed]
        assert given(gateway) == {"asked": 4}


async def test_nobody_waits_for_what_a_tool_tells_somebody_else(tmp_path: Path) -> None:
    Gate.open, Gate.called = asyncio.Event(), asyncio.Event()
    async with world(tmp_path, assistant=CACHE | FERRY) as it, it.gateway(), api(it) as caller:
        calls = iter([acts(("ferry", {"name": "Mei"}))])
        it.model.act = lambda talk, _: next(calls, None)
        first = asyncio.create_task(ask(caller, "where is Mei?"))
        await Gate.called.wait()
        assert text(await ask(caller, "where is Mei?")) == "echo: where is Mei?"
        assert not first.done()
        Gate.open.set()
        await first


@contextlib.asynccontextmanager
async def two_processes(folder: Path, database: str) -> AsyncIterator[tuple[World, Gateway, Any, Gateway, Any]]:
    """Two gateways on one database, each with a caller of its own; LINE calls the first."""
    async with (
        world(folder, assistant=CACHE, server={"database": database}) as it,
        it.gateway() as one,
        process_on(it.settings, it.clock) as (other, url, _),
        api(it) as caller,
        client_at(url) as another,
    ):
        yield it, one, caller, other, another


async def test_processes_share_their_answers(tmp_path: Path, postgres_clean: str) -> None:
    async with two_processes(tmp_path, postgres_clean) as (it, one, caller, other, another):
        for _ in range(2):
            assert text(await ask(caller, "hello")) == "echo: hello"
            assert text(await ask(another, "hello")) == "echo: hello"
        assert len(it.model.requests) == 1
        ways = [given(gateway) for gateway in (one, other)]
        assert sum(way.get("asked", 0) for way in ways) == 1
        assert sum(way["kept"] for way in ways) == 3


async def test_who_ask_at_once_in_two_processes_ask_once_and_read_along(tmp_path: Path, postgres_clean: str) -> None:
    async with two_processes(tmp_path, postgres_clean) as (it, one, caller, other, another):
        it.model.tokens = 6
        it.model.plans.append(Pause(before=(3,)))
        asks = [asyncio.create_task(ask(client, "all?")) for client in (caller, another) * 5]
        await it.model.hanging.wait()
        half = asyncio.Event()
        reading: list[asyncio.Task[str]] = []

        async def reads(client: Any) -> str:
            asked = [{"role": "user", "content": "all "}]
            said = ""
            async for chunk in await client.chat.completions.create(model="default", messages=asked, stream=True):
                said += "".join(choice.delta.content or "" for choice in chunk.choices)
                if said == "tok " * 3:
                    half.set()
            return said

        for client in (caller, another):
            half.clear()
            reading.append(asyncio.create_task(reads(client)))
            await until(half.is_set, it.clock, turn=SLOW)
        await until(lambda: one.worker.running + other.worker.running == 12)
        it.model.release.set()
        await until(lambda: all(one.done() for one in (*asks, *reading)), it.clock, turn=SLOW)
        assert {text(one.result()) for one in asks} == {one.result() for one in reading} == {"tok " * 6}
        await until(lambda: one.worker.running + other.worker.running == 0, it.clock, turn=SLOW)
        assert len(it.model.requests) == 1
        ways = [given(gateway) for gateway in (one, other)]
        assert sum(way.get("asked", 0) for way in ways) == 1
        assert sum(way["joined"] for way in ways) == 11


async def test_where_the_first_fails_or_is_stopped_in_one_process_the_other_asks(
    tmp_path: Path, postgres_clean: str
) -> None:
    async with two_processes(tmp_path, postgres_clean) as (it, one, _, other, another):
        for who in ("ann", "bob"):
            it.model.plans.extend([Break("hang")] if who == "ann" else [Break("cut", held=True), Refuse(400)])
            it.model.hanging.clear()
            it.model.release.clear()
            await it.line.say(who, f"who is {who}?")
            await it.model.hanging.wait()
            asks = [asyncio.create_task(ask(another, f"who is {who}")) for _ in range(3)]
            await until(lambda: other.worker.running == 3)
            if who == "ann":
                await it.line.say("ann", "/stop")
            else:
                it.model.release.set()
            answers = asyncio.gather(*asks)
            await until(answers.done, it.clock, turn=SLOW)
            assert {text(answer) for answer in answers.result()} == {f"echo: who is {who}"}
        await until(lambda: one.worker.running + other.worker.running == 0, it.clock, turn=SLOW)
        assert screen(it.line, "bob") == [ENGLISH.sorry_failed]
        assert (given(one), given(other)) == ({"asked": 2}, {"asked": 2, "joined": 4})


async def test_who_waits_for_another_process_can_stop_and_does_not_wait_for_ever(
    tmp_path: Path, postgres_clean: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "_PATIENCE", 3.0)
    async with two_processes(tmp_path, postgres_clean) as (it, one, _, other, another):
        it.model.plans.append(Break("hang"))
        first = asyncio.create_task(ask(another, "all?"))
        await it.model.hanging.wait()
        await it.line.say("ann", "all?")
        await until(lambda: one.worker.running == 1)
        await it.line.say("ann", "/stop")
        await until(lambda: one.worker.running == 0, it.clock, turn=SLOW)
        assert (len(it.model.requests), given(one)) == (1, {})
        await it.line.say("bob", "all?")
        await until(lambda: screen(it.line, "bob"), it.clock, turn=SLOW)
        assert screen(it.line, "bob") == ["echo: all?"]
        assert (len(it.model.requests), first.done()) == (2, False)
        it.model.release.set()
        await until(lambda: other.worker.running == 0, it.clock, turn=SLOW)
        first.cancel()


@pytest.mark.long
async def test_who_waits_for_a_process_that_is_killed_is_answered(tmp_path: Path, postgres: str) -> None:
    (tmp_path / "chatferry.toml").write_text(
        '[assistants.default]\nlanguage = "en"\ncache = { ttl = "1h" }\n[api]\nkeys = ["${API_KEY}"]\n'
    )
    model = ModelSimulator()
    async with serving(model.app) as url, contextlib.AsyncExitStack() as stack:
        environ = {"OPENAI_BASE_URL": f"{url}/v1", "API_KEY": KEY}
        one, other = Served(tmp_path, environ, postgres), Served(tmp_path, environ, postgres)
        for served in (one, other):
            stack.push_async_callback(served.aclose)
            await served.start()
            await served.ready()
        model.plans.append(Break("hang"))
        async with client_at(one.url) as caller, client_at(other.url) as another:
            first = asyncio.create_task(ask(caller, "all?"))
            await model.hanging.wait()
            others = [asyncio.create_task(ask(another, "all?")) for _ in range(5)]
            async with asyncio.timeout(20):
                while (await other.ready())["doing"] < 6:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            assert len(model.requests) == 1
            await one.end(signal.SIGKILL)
            with pytest.raises(openai.APIConnectionError):
                await first
            async with asyncio.timeout(20):
                assert {text(await one) for one in others} == {"echo: all?"}
            assert len(model.requests) == 2
