"""What comes from outside is data in a prompt, and cannot say otherwise from inside."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.text.quoting import inert, quoted

BITS = ["<", "</", "＜／", "notes", "NOTES", "n\u200bote\u00ads", "answer", " ", "\n", "\u2060", ">", "&lt;", "&#60;"]


@given(st.lists(st.sampled_from(BITS) | st.text(max_size=3)).map("".join))
def test_no_text_ends_its_block_or_begins_another(text: str) -> None:
    block = quoted("notes", text, about="a talk")
    seen = re.sub("[\\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]", "", block).replace("&lt;", "<").replace("&#60;", "<")
    assert len(re.findall("[<＜‹][/／]?notes", seen, re.IGNORECASE)) == 2
    assert inert(inert(text)) == inert(text)


@pytest.mark.parametrize("text", ["a < b and notes", "<b>notes</b> on 3 < 4", "<tale>", "if (x<note) {"])
def test_what_ends_nothing_stays_as_it_is(text: str) -> None:
    assert inert(text) == text


def test_a_long_blank_behind_a_bracket_costs_no_more_than_its_length() -> None:
    began = time.process_time()
    assert inert("<" + " " * 200_000 + "notes").startswith("(")
    assert inert(("<" + " " * 20_000) * 10).startswith("<")
    assert time.process_time() - began < 2.0, "a quadratic one takes a quarter of an hour"
