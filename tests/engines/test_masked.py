"""An engine behind masks: what it is asked, what it says, what it wants to be called."""

from __future__ import annotations

import asyncio
import json
import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.config import AssistantSettings
from chatferry.engines.base import Call, Delta, Done, Event, Prompt, Restart, Result, Round
from chatferry.engines.masked import Masked, masked
from chatferry.errors import ConfigError
from chatferry.masking.masks import KINDS
from chatferry.model import File, Message, Options, Text, says
from chatferry.testing import LiveEngine, ScriptedEngine
from tests.masking.people import cases

ALL: tuple[Any, ...] = KINDS
SETTINGS = AssistantSettings(redact=ALL, instructions="Our hotline is 02-2345-6789.")
VALUES = [case.value for case in cases(random.Random(4), 2) if case.kind in ("email", "card", "iban")]  # noqa: S311
FILE = File("file", "r", "0912-345-678.txt", text="mei@example.com")


async def through(prompt: Prompt, *events: Event) -> tuple[Prompt, list[Event]]:
    """What the model got, and what came of its events."""
    engine = LiveEngine()
    heard: list[Event] = []

    async def listen() -> None:
        heard.extend([event async for event in masked(engine, SETTINGS).run(prompt)])

    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        talk = await engine.asked()
        for event in events:
            talk._said.put_nowait(event)
    return talk.prompt, heard


async def test_all_of_a_prompt_is_masked_but_for_what_the_operator_says() -> None:
    prompt = Prompt(
        "Our hotline is 02-2345-6789.\n\nThe person's mail is mei@example.com.",
        (
            Message("user", (Text("打0912-345-678，或熱線02-2345-6789"), FILE), name="0912-345-678"),
            says("assistant", "OK, mei@example.com"),
        ),
        Options(stop=("mei@example.com",)),
        rounds=(Round("mei@example.com?", (Call("c1", "f", '{"n": 13800138000}'),), (Result("0912345678"),)),),
    )
    got, _ = await through(prompt, Done())
    text = msgspec.json.encode(got).decode()
    for personal in ("mei@", "0912", "13800138000"):
        assert personal not in text
    assert text.count("02-2345-6789") == 2
    assert text.count("[EMAIL_1]") == 5 + 1  # the note tells of it too
    assert got.messages[0].text == "打[PHONE_1]，或熱線02-2345-6789"
    assert got.rounds[0].calls[0].arguments == '{"n":"[PHONE_2]"}'
    assert got.rounds[0].results[0].text == "[PHONE_1B]"


async def test_what_tools_return_as_json_is_read_as_json() -> None:
    said = {"said": "電話0912345678\n0987654321", "order_id": 13800138000, "price": 98765432}
    texts = [json.dumps(said), json.dumps([said])[:-1], '{"n": 1,  "price": 10.50}']
    results = tuple([Result(text) for text in texts])
    calls = tuple([Call(f"c{n}", "f", "{}") for n in range(len(results))])
    got, _ = await through(Prompt("", (says("user", "?"),), rounds=(Round("", calls, results),)), Done())
    whole, cut, other = [result.text for result in got.rounds[0].results]
    assert json.loads(whole) == {**said, "said": "電話[PHONE_1]\n[PHONE_2]"}
    assert "0987654321" not in cut
    assert other == texts[2]


async def test_a_prompt_without_personal_data_is_passed_on_as_it_is() -> None:
    prompt = Prompt("You are kind.", (says("user", "hello [1]"),))
    got, heard = await through(prompt, Delta("P"), Delta("HONE_1 ["), Restart(), Delta("hi"), Done())
    assert got == prompt
    assert heard == [Delta("P"), Delta("HONE_1 ["), Restart(), Delta("hi"), Done()]


async def test_calls_are_unmasked_within_their_json_and_a_restart_forgets_half_a_mask() -> None:
    prompt = Prompt("", (says("user", 'mail "0912-345-678" http://a:b!c@d.e'),))
    call = Call("c1", "f", '{"to": ["[PHONE_1]", "[credentials_1]"], "n": 1}')
    got, heard = await through(prompt, Delta("at [PHO"), Restart(), Delta("NE_1]"), Done("calls", calls=(call,)))
    assert "[CREDENTIALS_1]@d.e" in got.messages[0].text
    *said, end = heard
    assert said == [Delta("at "), Restart(), Delta("NE_1]")]
    assert isinstance(end, Done)
    assert json.loads(end.calls[0].arguments) == {"to": ["0912-345-678", "a:b!c"], "n": 1}


async def test_arguments_that_are_no_json_are_unmasked_as_they_are() -> None:
    call = Call("c1", "f", "{number: [PHONE_1]")
    _, [end] = await through(Prompt("", (says("user", "0912-345-678"),)), Done("calls", calls=(call,)))
    assert isinstance(end, Done)
    assert end.calls[0].arguments == "{number: 0912-345-678"


@pytest.mark.parametrize("depth", [600, 100_000])
async def test_and_so_are_those_that_are_too_deep(depth: int) -> None:
    call = Call("c1", "f", '{"a":' * depth + '"[PHONE_1]"' + "}" * depth)
    _, [end] = await through(Prompt("", (says("user", "0912-345-678"),)), Done("calls", calls=(call,)))
    assert isinstance(end, Done)
    assert '"0912-345-678"' in end.calls[0].arguments


@given(st.lists(st.sampled_from([*VALUES, "[EMAIL_1]", "CARD_1"]) | st.text("[]\\_1 a,。", max_size=5)), st.data())
def test_whatever_a_model_repeats_comes_back_word_by_word_and_it_never_saw_a_value(
    words: list[str], data: st.DataObject
) -> None:
    said = " ".join(words)
    seen: list[Prompt] = []

    class Parrot(ScriptedEngine):
        async def run(self, prompt, *, pace=0.0):  # type: ignore[no-untyped-def]
            seen.append(prompt)
            text = prompt.messages[-1].text
            places = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=9))})
            for start, end in pairwise(places):
                yield Delta(text[start:end])
            yield Done()

    async def ask() -> str:
        engine = masked(Parrot(lambda _: ""), SETTINGS)
        events = [event async for event in engine.run(Prompt("", (says("user", said),)))]
        return "".join(event.text for event in events if isinstance(event, Delta))

    assert asyncio.run(ask()) == said
    assert not [value for value in VALUES if value in seen[0].messages[0].text]


def test_a_country_that_is_none_is_named() -> None:
    settings = AssistantSettings(redact=("phone",), redact_regions=("TW", "UK"))
    with pytest.raises(ConfigError, match="UK, which is no country"):
        masked(ScriptedEngine(lambda _: ""), settings)
    assert isinstance(masked(ScriptedEngine(lambda _: ""), SETTINGS), Masked)
