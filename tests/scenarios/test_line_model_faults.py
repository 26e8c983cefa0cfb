"""What a person on LINE sees, and the ledger keeps, when the model fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatferry.gateway import Gateway
from chatferry.ledger.looking import Entry
from chatferry.simulator.line_records import Fault
from chatferry.simulator.model import Break, Raw, Refuse
from chatferry.words import words
from tests.scenarios.support import REPLY, World, asked, ended, screen, state, texts, until, world

WORDS = words("en")
DOWN = Refuse(500, {"message": "the server caught fire"})


def ending(finish: str, said: str) -> Raw:
    """A model's answer that ends for this reason."""
    delta = {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    return Raw([f"data: {json.dumps(chunk)}\n\n".encode() for chunk in (delta, end)] + [b"data: [DONE]\n\n"])


async def again(gateway: Gateway, entry: Entry) -> bool:
    """What `chatferry turns retry` does."""
    reopened = await gateway.ledger.reopen(entry.id)
    await gateway.dispatcher.wake(entry.conversation)
    return reopened


def with_backup(it: World, **backup: object) -> None:
    default = it.settings.models["default"]
    models = {
        "default": default.model_copy(update={"fallback": ("backup",)}),
        "backup": default.model_copy(update={"model": "spare"} | backup),
    }
    it.settings = it.settings.model_copy(update={"models": models})


async def test_a_busy_model_is_asked_again_when_it_said_and_not_before(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway():
        it.model.plans.append(Refuse(429, headers={"retry-after": "7"}))
        began = it.clock.now()
        await it.line.say("ann", "hello")
        await until(lambda: len(it.model.requests) == 2, it.clock)
        assert it.clock.now() - began >= 7
        [answer] = await it.line.seen("ann", 1)
        assert (answer.text, answer.via) == ("echo: hello", "reply")


async def test_what_a_balancer_would_have_us_bring_along_is_not_brought(tmp_path: Path) -> None:
    """Such a cookie leads all that we ask to one server of many, for as long as we live."""
    async with world(tmp_path) as it:
        default = it.settings.models["default"]
        named = default.model_copy(update={"base_url": default.base_url.replace("127.0.0.1", "localhost")})
        it.settings = it.settings.model_copy(update={"models": {"default": named}})
        async with it.gateway() as gateway:
            it.model.plans.append(Refuse(503, headers={"set-cookie": "AWSALB=the-one-on-fire; Path=/"}))
            await it.line.say("ann", "hello")
            await ended(gateway, 1, it.clock)
        assert ["cookie" in request.headers for request in it.model.requests] == [False, False]


async def test_a_model_that_keeps_failing_gives_way_to_its_fallback(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        with_backup(it)
        async with it.gateway() as gateway:
            it.model.plans.extend([DOWN] * 3)
            await it.line.say("ann", "hello")
            [entry] = await ended(gateway, 1, it.clock)
            assert screen(it.line) == ["echo: hello"]
            assert [request.body["model"] for request in it.model.requests] == ["sim"] * 3 + ["spare"]
            assert (entry.state, entry.error) == ("done", "")


async def test_when_all_fail_the_person_is_told_kindly_and_the_operator_why(tmp_path: Path) -> None:
    async with world(tmp_path, assistant={"language": "zh-TW"}) as it, it.gateway() as gateway:
        it.model.plans.extend([DOWN] * 3)
        await it.line.say("ann", "你好")
        [entry] = await ended(gateway, 1, it.clock)
        assert screen(it.line) == [words("zh-TW").sorry_busy]
        assert entry.state == "failed"
        assert "500" in entry.error
        assert "caught fire" in entry.error

        await it.line.say("ann", "再來")
        await it.line.seen("ann", 2)
        assert asked(it.model) == ["再來"]


async def test_a_failed_turn_that_is_opened_again_is_answered_properly(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.plans.extend([DOWN] * 3)
        await it.line.say("ann", "hello")
        [failed] = await ended(gateway, 1, it.clock)
        assert await again(gateway, failed)
        _, answer = await it.line.seen("ann", 2)
        assert (answer.text, answer.via) == ("echo: hello", "push")
        done = await state(gateway, failed.id, "done")
        assert done.error == ""
        assert not await again(gateway, done)
        await it.line.say("ann", "and?")
        await it.line.seen("ann", 3)
        assert asked(it.model) == ["hello", "echo: hello", "and?"]


async def test_a_key_that_is_refused_is_final_and_never_quoted(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.key = "sk-the-right-key"
        await it.line.say("ann", "hello")
        assert texts(await it.line.seen("ann", 1)) == [WORDS.sorry_failed]
        [entry] = await ended(gateway, 1)
        assert len(it.model.requests) == 1
        assert (entry.state, entry.finish) == ("failed", "apology")
        assert "401" in entry.error


async def test_a_circuit_opens_and_lets_one_through_after_its_rest(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.plans.extend([DOWN] * 5)
        for n, words_said in enumerate(("one", "two", "three"), 1):
            await it.line.say("ann", words_said)
            await ended(gateway, n, it.clock, turn=0.02)
            it.clock.advance(2.0)  # so that it is more than a blip
        assert len(it.model.requests) == 5
        assert screen(it.line) == [WORDS.sorry_busy] * 3
        it.clock.advance(30)
        await it.line.say("ann", "four")
        assert texts(await it.line.seen("ann", 4))[3:] == ["echo: four"]


async def test_an_answer_that_is_withheld_is_told_so(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.plans.append(ending("content_filter", ""))
        await it.line.say("ann", "hello")
        assert texts(await it.line.seen("ann", 1)) == [WORDS.sorry_filtered]
        [entry] = await ended(gateway, 1)
        assert (entry.state, entry.finish) == ("done", "filter")


async def test_a_model_that_says_nothing_is_apologised_for_and_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.plans.append(ending("stop", " \n"))
        await it.line.say("ann", "hello")
        assert texts(await it.line.seen("ann", 1)) == [WORDS.sorry_empty]
        [entry] = await ended(gateway, 1)
        assert (entry.state, entry.error) == ("failed", "the model said nothing")
        await it.line.say("ann", "again")
        await it.line.seen("ann", 2)
        assert asked(it.model) == ["again"]


async def test_an_answer_that_met_the_length_limit_says_so_at_its_end(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway():
        it.model.plans.append(ending("length", "Once upon a time"))
        await it.line.say("ann", "a story, please")
        assert texts(await it.line.seen("ann", 1)) == [f"Once upon a time\n\n{WORDS.cut_short}"]


@pytest.mark.parametrize("how", ["cut", "end", "error"])
async def test_of_a_stream_that_breaks_off_only_the_good_answer_is_seen(tmp_path: Path, how: str) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.reply = lambda text: f"a long answer to {text} that goes on"
        error = {"type": "server_error", "message": "overloaded"}
        it.model.plans.append(Break(how, after=3, error=error))  # type: ignore[arg-type]  # a str by parametrize
        await it.line.say("ann", "hello")
        await ended(gateway, 1, it.clock)
        assert screen(it.line) == ["a long answer to hello that goes on"]
        assert len(it.model.requests) == 2


async def test_an_apology_that_could_not_be_delivered_is_no_part_of_the_talk(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.key = "sk-the-right-key"
        it.line.fail(REPLY, Fault(status=401, message="invalid token"))
        await it.line.say("ann", "hello")
        [entry] = await ended(gateway, 1)
        assert entry.state == "failed"
        assert "invalid_api_key" in entry.error  # the model's fault, and then LINE's
        assert "invalid token" in entry.error
        it.model.key = ""
        await it.line.say("ann", "and?")
        await it.line.seen("ann", 1)
        assert asked(it.model) == ["and?"]
