"""Which parts of a message are its questions, and which are told beside them."""

from __future__ import annotations

import pytest

from chatferry.knowledge.questions import asked, behind
from chatferry.knowledge.terms import wanted
from chatferry.text.likeness import REACH

STORY = "I bought the green teapot for my mother. "


def questions(message: str) -> list[set[str]]:
    return [set(want.weights) for want in asked(message).questions]


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (f"{STORY}How much is shipping?", ["shipping"]),
        (f"{STORY}how much is shipping. do you repair kettles", ["shipping", "repair kettles"]),
        (f"How are you? {STORY}What does shipping cost? Thank you very much!", ["shipping cost"]),
        ("hi i bought a teapot last week how much is shipping", ["shipping"]),
        ("你好,我住在台南,上星期買了茶壺。請問運費多少?謝謝", ["運費"]),
        ("我買了茶壺 想問運費多少 可以退貨嗎", ["運費", "退貨"]),
        ("可以刻字嗎請盡快回覆", ["刻字"]),
        ("茶壺を買ったのですが送料はいくらですか。返品できますか", ["送料は", "返品"]),
        # What cannot be understood without what stands before it.
        ("I should like the teapot engraved, is that possible?", ["like teapot engraved"]),
        ("Do you sell bicycles, in green or in red?", ["sell bicycles green red"]),
        ("我住在香港,可以寄嗎?運費怎麼算?", ["住在香港 寄", "運費 算"]),
        (f"{STORY}I want it engraved. What does that cost?", ["engraved cost"]),
        ("我收到了茶壺,但是破損了,怎麼辦?", ["破損"]),
        ("月升茶壺,多高?", ["月升茶壺 多高", "多高"]),
        # Is anybody in?
        (f"在嗎?{STORY}有賣腳踏車嗎?", ["有賣腳踏車"]),
        ("茶?", ["茶"]),
        # No question at all: it may be about each of its parts.
        ("I bought a teapot. It broke.", ["bought teapot", "broke", "bought teapot broke"]),
        ("運費 離島", ["運費 離島"]),
    ],
)
def test_what_is_asked_is_told_from_what_is_told(message: str, parts: list[str]) -> None:
    assert questions(message) == [set(wanted(part).weights) for part in parts]


def test_what_is_vague_says_nothing_of_what_it_is_about_and_behind_a_question_goes_on_from_it() -> None:
    shipping, how_long = asked("Hello. How much is shipping to Shetland?"), asked("And how long does that take?")
    assert (shipping.vague, how_long.vague) == (False, True)
    goes_on = behind(shipping.questions, how_long.questions, vague=True)
    assert set(goes_on.weights) == {"ship", "shetland", "long"}
    assert goes_on.units == shipping.questions[0].units


def test_of_a_long_message_the_end_is_read_too() -> None:
    assert questions(f"{STORY * (REACH // 10)}How much is shipping?") == [{"ship"}]


def test_there_are_never_more_questions_than_answers() -> None:
    assert len(questions(" ".join(f"How much is number {number}?" for number in range(50)))) == 8


@pytest.mark.parametrize(
    "message", ["你好!請問有人在嗎?", "Hi there, how are you doing?", "こんにちは。お元気ですか?", "😀?"]
)
def test_small_talk_asks_for_nothing_in_several_sentences_too(message: str) -> None:
    assert asked(message).idle
