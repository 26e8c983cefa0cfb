"""What every engine promises. A test file of an engine inherits a suite and says how to make one."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from contextlib import aclosing
from typing import Any, ClassVar

import aiohttp
import msgspec
import pytest

from chatferry.clock import Clock
from chatferry.engines.base import Call, Delta, Done, Engine, Event, Result, Round, Tool
from chatferry.engines.faults import NoTools, mend
from chatferry.errors import Fault, Final, TryLater
from chatferry.simulator.model import Break, Odd, Raw, Refuse
from chatferry.simulator.model_calls import acts
from chatferry.testing import ManualClock
from tests.engines.support import (
    KEY,
    HastyClock,
    Provider,
    WatchedClock,
    WatchedConnector,
    asking,
    gather,
    settle,
    whole,
)


class EngineContract(ABC):
    """Holds for every engine."""

    @pytest.fixture
    @abstractmethod
    def engine(self) -> Engine:
        """An engine that answers in several tokens, by a clock that runs by itself."""

    async def test_done_is_the_last_event_and_there_once(self, engine: Engine) -> None:
        text, done = await whole(engine.run(asking("Good morning to you")))
        assert text
        assert done.finish == "stop"
        assert done.usage is not None
        assert done.usage.completion > 0

    async def test_a_paced_answer_says_the_same(self, engine: Engine) -> None:
        live, _ = await whole(engine.run(asking("Good morning to you")))
        paced, _ = await whole(engine.run(asking("Good morning to you"), pace=0.25))
        assert paced == live

    async def test_whoever_leaves_early_leaves_nothing_running(self, engine: Engine) -> None:
        before = asyncio.all_tasks()
        async with aclosing(engine.run(asking("Good morning to you"))) as events:
            async for event in events:
                assert isinstance(event, Delta)
                break
        assert asyncio.all_tasks() <= before | {asyncio.current_task()}
        assert (await whole(engine.run(asking("Good morning to you"))))[0]

    async def test_answers_side_by_side_do_not_mix(self, engine: Engine) -> None:
        alone, _ = await whole(engine.run(asking("Good morning to you")))
        answers = await asyncio.gather(*[whole(engine.run(asking("Good morning to you"))) for _ in range(5)])
        assert {text for text, _ in answers} == {alone}

    async def test_its_check_names_it_and_finds_it_well(self, engine: Engine) -> None:
        findings = [finding async for finding in engine.check()]
        assert [(finding.ok, finding.subject) for finding in findings] == [(True, f"model {engine.name}")]


LOOK = Tool(
    "look",
    "Looks.",
    {
        "type": "object",
        "properties": {
            "at": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]},
            "how": {"const": "hard", "title": "How"},
        },
        "required": ["at"],
        "additionalProperties": False,
        "$defs": {"Place": {"type": "array", "items": {"type": ["string", "null"], "pattern": "^.", "format": "uri"}}},
    },
)
"""A tool with what not every provider understands of a schema."""
NOTHING = Tool("wait", "Waits.", {"type": "object", "properties": {}})


class WireContract(EngineContract):
    """Holds for every engine that asks a provider over HTTP."""

    overloaded: ClassVar[Any]
    """The error that the provider puts into a stream when it has too much to do."""
    invalid: ClassVar[Any]
    """The error that it puts there when it does not like the request."""

    @abstractmethod
    def make(self, base: str, http: aiohttp.ClientSession, clock: Clock, **settings: Any) -> Engine:
        """An engine whose provider is at `base`."""

    @pytest.fixture
    def engine(self, provider: Provider, http: aiohttp.ClientSession) -> Engine:
        return self.make(provider.url, http, HastyClock())

    async def test_a_passing_refusal_may_be_tried_later(self, engine: Engine, provider: Provider) -> None:
        for status in (408, 409, 429, 500, 502, 503, 504, 529):
            provider.sim.plans.append(Refuse(status))
            with pytest.raises(TryLater, match=str(status)) as caught:
                await whole(engine.run(asking("hello")))
            assert caught.value.after is None

    async def test_any_other_refusal_is_final(self, engine: Engine, provider: Provider) -> None:
        statuses = (307, 400, 401, 403, 404, 422)
        for status in statuses:
            provider.sim.plans.append(Refuse(status, headers={"location": "/elsewhere"}))
            with pytest.raises(Final, match=str(status)):
                await whole(engine.run(asking("hello")))
        assert len(provider.sim.requests) == len(statuses)

    async def test_the_wait_that_the_provider_asks_for_is_passed_on(self, engine: Engine, provider: Provider) -> None:
        provider.sim.plans.append(Refuse(429, headers={"retry-after": "17"}))
        with pytest.raises(TryLater) as caught:
            await whole(engine.run(asking("hello")))
        assert caught.value.after == 17.0

    async def test_no_fault_tells_the_key(self, engine: Engine, provider: Provider) -> None:
        for told in (f"bad key {KEY}", f"bad key '{KEY[:8]}****{KEY[-4:]}'."):
            provider.sim.plans.append(Refuse(401, error={"message": told}))
            with pytest.raises(Final) as caught:
                await whole(engine.run(asking("hello")))
            assert "bad key" in str(caught.value)
            assert KEY[:8] not in str(caught.value)
            assert KEY[-4:] not in str(caught.value)

    async def test_the_key_is_sent_but_not_in_the_address(self, engine: Engine, provider: Provider) -> None:
        await whole(engine.run(asking("hello")))
        asked = provider.sim.requests[0]
        assert any(KEY in value for value in asked.headers.values())
        assert KEY not in asked.path + asked.query

    @pytest.mark.parametrize("how", ["cut", "end"])
    async def test_a_stream_that_breaks_off_may_be_tried_again(
        self, engine: Engine, provider: Provider, how: Any
    ) -> None:
        provider.sim.plans.append(Break(how, after=2))
        seen: list[Event] = []
        with pytest.raises(TryLater):
            await gather(seen, engine.run(asking("one two three")))
        assert "".join(event.text for event in seen if isinstance(event, Delta)) == "echo: one"
        assert not any(isinstance(event, Done) for event in seen)

    async def test_an_error_in_mid_stream_is_told_apart(self, engine: Engine, provider: Provider) -> None:
        for error, kind in ((self.overloaded, TryLater), (self.invalid, Final)):
            provider.sim.plans.append(Break("error", after=1, error=error))
            with pytest.raises(kind):
                await whole(engine.run(asking("hello")))

    async def test_a_web_page_is_no_answer_and_says_where_to_look(self, engine: Engine, provider: Provider) -> None:
        provider.sim.plans.append(Raw([b"\n<!DOCTYPE html>\n<html>\n\n<h1>Welcome", b" to the console</h1></html>"]))
        with pytest.raises(TryLater, match="a web page came in the place of an answer") as caught:
            await whole(engine.run(asking("hello")))
        assert mend(caught.value).startswith("Check base_url")

    @pytest.mark.parametrize("pace", [0.0, 0.01])
    async def test_silence_is_given_up(self, provider: Provider, http: aiohttp.ClientSession, pace: float) -> None:
        engine = self.make(provider.url, http, HastyClock(), timeout=0.5)
        provider.sim.plans.append(Break("hang", after=1))
        with pytest.raises(TryLater, match=r"no word for 0\.5 s"):
            await whole(engine.run(asking("hello"), pace=pace))
        await provider.sim.idle()
        assert provider.sim.cancelled == 1

    async def test_signs_of_life_that_bring_no_words_are_given_up_too(self, http: aiohttp.ClientSession) -> None:
        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b": processing\n\n")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.close()
            left.set()

        left = asyncio.Event()
        async with await asyncio.start_server(met, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            engine = self.make(url, http, HastyClock(), timeout=0.1)
            with pytest.raises(TryLater, match=r"nothing but signs of life for 0\.5 s"):
                await whole(engine.run(asking("hello")))
            await left.wait()  # we have hung up

    async def test_nobody_at_the_address_may_be_tried_later(self, http: aiohttp.ClientSession) -> None:
        engine = self.make("http://127.0.0.1:1", http, HastyClock())
        with pytest.raises(TryLater, match="127"):
            await whole(engine.run(asking("hello")))

    async def test_closing_hangs_up_on_the_provider(self, engine: Engine, provider: Provider) -> None:
        provider.sim.plans.append(Break("hang", after=1))
        async with aclosing(engine.run(asking("hello"))) as events:
            assert isinstance(await anext(events), Delta)
            assert provider.sim.connections == 1
        await provider.sim.idle()
        assert provider.sim.cancelled == 1

    @pytest.mark.parametrize("pace", [0.0, 0.25])
    async def test_cancelling_hangs_up_on_the_provider(
        self, provider: Provider, http: aiohttp.ClientSession, pace: float
    ) -> None:
        provider.sim.plans.append(Break("hang", after=1))
        clock = WatchedClock()
        task = asyncio.create_task(whole(self.make(provider.url, http, clock).run(asking("hello"), pace=pace)))
        await (clock.asleep if pace else provider.sim.hanging).wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await provider.sim.idle()
        assert provider.sim.cancelled == 1

    async def test_between_two_looks_nothing_is_read_and_then_all_of_it(
        self, provider: Provider, http: aiohttp.ClientSession, connector: WatchedConnector
    ) -> None:
        clock = WatchedClock()
        provider.sim.plans.append(Break("hang", after=1))
        events = self.make(provider.url, http, clock).run(asking("one two three four"), pace=0.25)
        assert await anext(events) == Delta("echo:")
        assert clock.slept == []
        second = asyncio.ensure_future(anext(events))
        await clock.asleep.wait()
        provider.sim.release.set()
        await provider.sim.idle()
        assert not connector.transports[0].is_reading()
        clock.advance(0.25)
        assert await second == Delta(" one two three four")
        assert isinstance(await anext(events), Done)
        assert clock.slept == [0.25]

    async def test_the_first_text_is_not_kept_waiting_by_what_comes_before_it(
        self, provider: Provider, http: aiohttp.ClientSession
    ) -> None:
        clock = WatchedClock()
        provider.sim.plans.append(Break("hang", after=0))
        events = self.make(provider.url, http, clock).run(asking("hello"), pace=0.25)
        first = asyncio.ensure_future(anext(events))
        await provider.sim.hanging.wait()
        await settle()
        provider.sim.release.set()
        assert isinstance(await first, Delta)
        assert clock.slept == []
        await events.aclose()

    async def test_a_burst_larger_than_any_buffer_comes_through_whole_at_any_pace(
        self, provider: Provider, http: aiohttp.ClientSession
    ) -> None:
        provider.sim.reply = lambda _: "word " * 20_000
        for pace in (0.0, 0.01):
            text, _ = await whole(self.make(provider.url, http, HastyClock()).run(asking("much"), pace=pace))
            assert text == "word " * 20_000

    async def test_one_answer_after_another_needs_one_connection(
        self, engine: Engine, connector: WatchedConnector
    ) -> None:
        for _ in range(3):
            await whole(engine.run(asking("hello")))
        assert len(set(connector.transports)) == 1

    async def test_line_ends_and_comments_may_be_as_they_like(self, engine: Engine, provider: Provider) -> None:
        provider.sim.plans.append(Odd(crlf=True, comments=True, done=False, usage=False))
        assert (await whole(engine.run(asking("你好"))))[0] == "echo: 你好"

    async def test_what_the_model_calls_is_told_at_the_end_and_its_result_goes_back(
        self, engine: Engine, provider: Provider
    ) -> None:
        wish = acts(("look", {"at": ["海"]}), ("wait", {}), said="Let me see.")
        provider.sim.act = lambda talk, tools: wish if talk[-1]["role"] == "user" else None
        provider.sim.converse = lambda talk: f"heard {talk[-1]['content']}"
        question = msgspec.structs.replace(asking("what is there?"), tools=(LOOK, NOTHING))
        for odd in (Odd(), Odd(whole=True)):
            provider.sim.plans.append(odd)
            text, done = await whole(engine.run(question))
            assert (text, done.finish) == ("Let me see.", "calls")
            assert [(call.name, msgspec.json.decode(call.arguments)) for call in done.calls] == [
                ("look", {"at": ["海"]}),
                ("wait", {}),
            ]
            results = (Result("a ship"), Result("no time", failed=True))
            made = Round(text, done.calls, results)
            text, done = await whole(engine.run(msgspec.structs.replace(question, rounds=(made,))))
            assert done.finish == "stop"
            assert "no time" in text

    async def test_who_has_called_enough_cannot_call_any_more(self, engine: Engine, provider: Provider) -> None:
        provider.sim.act = lambda _, tools: acts(("wait", {})) if tools else None
        question = msgspec.structs.replace(asking("go on"), tools=(NOTHING,))
        _, done = await whole(engine.run(question))
        made = Round("", done.calls, (Result("waited"),))
        _, done = await whole(engine.run(msgspec.structs.replace(question, rounds=(made,), last=True)))
        assert (done.finish, done.calls) == ("stop", ())

    async def test_a_round_of_another_provider_is_understood(self, engine: Engine, provider: Provider) -> None:
        for token in ("", "c2lnbmVk", '{"google": {"thought_signature": "x"}}'):
            made = Round("", (Call("id-1", "wait", "{}", token),), (Result("waited"),))
            question = msgspec.structs.replace(asking("go on"), tools=(NOTHING,), rounds=(made,))
            assert (await whole(engine.run(question)))[0]

    async def test_a_model_without_tools_is_told_apart(self, engine: Engine, provider: Provider) -> None:
        question = msgspec.structs.replace(asking("go on"), tools=(NOTHING,))
        for status, told in (
            (400, "registry/gemma does not support tools"),
            (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
            (500, "tools param requires --jinja flag"),
            (400, "Function calling is not enabled for this model"),
        ):
            provider.sim.plans.append(Refuse(status, error={"message": told}))
            with pytest.raises(NoTools) as caught:
                await whole(engine.run(question))
            assert "leave `tools` out" in mend(caught.value)
        provider.sim.plans.append(Refuse(429, error={"message": "too many requests"}))
        with pytest.raises(TryLater):
            await whole(engine.run(question))
        provider.sim.plans.append(Refuse(400, error={"message": "Unknown name \"const\" at 'tools[0]': no such field"}))
        with pytest.raises(Final) as refused:
            await whole(engine.run(question))
        assert not isinstance(refused.value, NoTools)

    async def test_its_check_says_what_mends_a_refusal(self, engine: Engine, provider: Provider) -> None:
        for status, word in ((401, "api_key"), (403, "api_key"), (404, "model"), (503, "wait"), (400, "max_tokens")):
            provider.sim.plans.append(Refuse(status))
            findings = [finding async for finding in engine.check()]
            assert [finding.ok for finding in findings] == [False]
            assert str(status) in findings[0].detail
            assert word in findings[0].mend

    async def test_its_check_points_at_an_address_where_nobody_is(self, http: aiohttp.ClientSession) -> None:
        engine = self.make("http://127.0.0.1:1", http, ManualClock())
        findings = [finding async for finding in engine.check()]
        assert "base_url" in findings[0].mend

    async def test_a_fault_names_the_model_that_failed(self, engine: Engine, provider: Provider) -> None:
        provider.sim.plans.append(Refuse(500, error={"message": "we are on fire"}))
        with pytest.raises(Fault, match=f"{engine.name}: 500 we are on fire"):
            await whole(engine.run(asking("hello")))
