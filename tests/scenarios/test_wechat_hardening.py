"""Odd answers on WeChat, and what people get to see of them."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from chatferry.config import ReplySettings
from tests.scenarios.wechat_support import WORDS, wechat_world


@pytest.mark.parametrize("said", ["\x01\x02", "\ufffe", " \x00\n"])
async def test_an_answer_that_nobody_could_see_is_none(tmp_path: Path, said: str) -> None:
    async with wechat_world(tmp_path) as world, world.gateway():
        world.model.reply = lambda _: said
        await world.wechat.say("ann", "one")
        assert world.screen() == [WORDS.sorry_empty]


@pytest.mark.parametrize("long", [1, 60_000])
async def test_what_nobody_can_see_is_left_out_of_an_answer(tmp_path: Path, long: int) -> None:
    async with wechat_world(tmp_path) as world, world.gateway() as gateway:
        world.model.reply = lambda _: "good\x00\x1b answer" + "好" * long
        await world.wechat.say("ann", "one")
        assert world.screen()[0].startswith("good answer好")
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
