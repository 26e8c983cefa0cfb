"""What is offered under which name, and what of the rounds goes into a prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from chatferry.answering.rounds import spoken
from chatferry.answering.toolbox import Toolbox
from chatferry.config import AssistantSettings
from chatferry.engines.base import Call, Result, Tool
from chatferry.tools.base import Caller

CALLER = Caller("line", "room", "ann", "default", 1, "key")


class Named:
    """Says which it is."""

    def __init__(self, name: str) -> None:
        self.tool = Tool(name, "", {"type": "object"})

    def misfit(self, arguments: Mapping[str, Any]) -> str:
        return ""

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> Result:
        if self.tool.name == "itself":
            raise asyncio.CancelledError
        return Result(self.tool.name)


async def called(box: Toolbox, *names: str) -> list[str]:
    calls = {place: Call(f"c{place}", name, "") for place, name in enumerate(names)}

    async def returned(place: int, result: Result) -> None: ...

    results = await box.call(calls, dict.fromkeys(calls, CALLER), returned)
    return [results[place].text for place in calls]


async def test_each_tool_has_a_name_that_every_provider_takes_and_no_other_has() -> None:
    box = Toolbox([Named(name) for name in ("look", "look", "new one!", "1st", "x" * 99)], AssistantSettings())
    names = [tool.name for tool in box.offered]
    assert names == ["look", "look_2", "new_one_", "_1st", "x" * 64]
    assert await called(box, *names) == ["look", "look", "new one!", "1st", "x" * 99]


async def test_too_many_calls_and_one_that_cancels_itself_are_results_like_others() -> None:
    box = Toolbox([Named("look"), Named("itself")], AssistantSettings())
    texts = await called(box, "itself", *["look"] * 16)
    assert texts[0] == "It failed: it was cancelled."
    assert texts[1:16] == ["look"] * 15
    assert "no more than 16 calls" in texts[16]


def test_what_was_said_is_kept_as_it_was_in_paragraphs() -> None:
    assert spoken(["One.", "", " ", "Two.\n", "Three.\n\n"]) == "One.\n\n Two.\n\nThree.\n\n"
