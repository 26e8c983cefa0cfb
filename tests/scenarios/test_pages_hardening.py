"""Texts that are made to cost time."""

from __future__ import annotations

import time

import pytest

from chatferry.text.plain import plain
from chatferry.web.past import searchable
from chatferry.web.rendering import blocks


def test_accents_without_end_are_no_work_for_a_search() -> None:
    text = "a" + "\u0301\u0323\u0327\u0345\u05b0\u0334" * 10_000
    start = time.process_time()
    searchable(text)
    assert time.process_time() - start < 1.0, "the square of their number is 9 s"


@pytest.mark.parametrize("before", range(195, 203))
def test_letters_of_several_signs_stay_one_wherever_a_long_text_is_taken_apart(before: int) -> None:
    text = "好" * before + "ｶﾞ"
    assert searchable(text + "e\u0301 ﾊﾟ").endswith("ガé パ")


def test_brackets_without_end_cost_nothing() -> None:
    text = "[" * 40_000
    start = time.process_time()
    assert plain(text) == text
    assert "".join(blocks(text)).count("[") == 40_000
    assert time.process_time() - start < 0.5, "the square of their number is 1.5 s"
