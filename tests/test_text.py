"""Cutting text: nothing is lost, nothing is too long, and it is cut where a reader would pause."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.text.cutting import Measure, closed, length, split

MEASURES: tuple[Measure, ...] = ("chars", "utf16", "utf8", "escaped")
# Every character class that the cutting looks at, often enough to meet.
alphabet = st.one_of(
    st.sampled_from([*"ab .!?\n\r\t`~-&<", "\n\n", "```\n", "。", "！", "」", "漢", "字", "　"]),
    st.sampled_from(["e\u0301", "👨\u200d👩\u200d👧", "👍🏽", "🇯🇵", "\u200d", "\U0001f1ef", "각", "\ufe0f", "𠮷"]),
    st.characters(),
)
texts = st.lists(alphabet, max_size=400).map("".join)


def dense(text: str) -> str:
    return re.sub(r"\s+", "", text)


def code_free(text: str) -> str:
    return re.sub(r"[`~]", "", text)


@pytest.mark.parametrize(("measure", "expected"), [("chars", 3), ("utf16", 4), ("utf8", 8), ("escaped", 3)])
def test_length_is_counted_as_the_platform_counts(measure: Measure, expected: int) -> None:
    assert length("a漢🍎", measure) == expected


def test_slack_counts_the_entities_that_stand_for_a_character() -> None:
    assert length("a & b <c>", "escaped") == len("a &amp; b &lt;c&gt;")


def test_text_that_fits_is_left_alone() -> None:
    assert split("  as it is \n", 12) == ["  as it is \n"]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("as it is", ""),
        ("```py\ndone()\n```", ""),
        ("see:\n```py\nhalf(", "\n```\n"),
        ("~~~~\nhalf", "\n~~~~\n"),
        ("| a | b |\n|---|---|\n| 1", "\n\n"),
    ],
)
def test_what_is_open_can_be_closed_for_something_to_follow(text: str, end: str) -> None:
    assert closed(text) == text + end


@pytest.mark.parametrize("nothing", ["", " \n\t " * 50])
def test_white_space_alone_has_no_pieces(nothing: str) -> None:
    assert split(nothing, 20) == []


def test_a_limit_that_holds_no_character_is_refused() -> None:
    with pytest.raises(ValueError, match="limit of 4"):
        split("abcde", 4)


@given(texts.map(code_free), st.integers(5, 60), st.sampled_from(MEASURES))
def test_no_piece_is_too_long_and_only_white_space_goes(text: str, limit: int, measure: Measure) -> None:
    pieces = split(text, limit, measure)
    assert all(0 < length(piece, measure) <= limit for piece in pieces)
    assert dense("".join(pieces)) == dense(text)


@given(texts, st.integers(5, 200), st.sampled_from(MEASURES))
def test_with_code_too_the_limit_holds_and_all_words_stay(text: str, limit: int, measure: Measure) -> None:
    pieces = split(text, limit, measure)
    assert all(0 < length(piece, measure) <= limit for piece in pieces)
    said = iter(code_free("".join(pieces)))
    assert all(char in said for char in dense(code_free(text))), "the text is no longer part of what is sent, in order"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One two.\nThree four.\n\nFive six seven.", "One two.\nThree four."),
        ("One two. Three\nfour five six seven", "One two. Three"),
        ("One. Two three. Four five six seven", "One. Two three."),
        ("one two three four five six seven", "one two three four"),
        ("これは一番最初の文です。次の文はとても長くて入りません", "これは一番最初の文です。"),
        ("彼は大声で「今から行くのだ。」と言いながら出かけていった", "彼は大声で「今から行くのだ。」"),
    ],
)
def test_the_best_pause_in_the_second_half_is_taken(text: str, first: str) -> None:
    assert split(text, 21)[0] == first


def test_the_indentation_of_the_next_line_stays() -> None:
    assert split("• fruit\n  • apple\n  • a pear", 18)[1] == "  • a pear"


@pytest.mark.parametrize("cluster", ["👨\u200d👩\u200d👧\u200d👦", "👍🏽", "e\u0301", "🇯🇵", "❤\ufe0f", "नि"])
@pytest.mark.parametrize("measure", MEASURES)
def test_what_a_reader_sees_as_one_character_stays_whole(cluster: str, measure: Measure) -> None:
    pieces = split(cluster * 60, 61, measure)
    assert all(len(piece) % len(cluster) == 0 for piece in pieces)
    assert "".join(pieces) == cluster * 60


def test_a_cluster_longer_than_a_piece_is_cut_after_all() -> None:
    text = "a" + "\u0301" * 300
    assert "".join(split(text, 50)) == text


def test_a_cut_block_of_code_is_closed_and_opened_in_its_language() -> None:
    lines = [f"    value_{number} = {number}" for number in range(20)]
    text = "Here:\n\n```python\n" + "\n".join(lines) + "\n```\nDone."
    pieces = split(text, 160)
    assert len(pieces) > 2
    assert pieces[0].endswith("\n```")
    for piece in pieces[1:-1]:
        assert piece.startswith("```python\n    value_")
        assert piece.endswith("\n```")
    assert [line for piece in pieces for line in piece.splitlines() if "value" in line] == lines
    assert pieces[-1].endswith("\n```\nDone.")


lines_of_code = st.lists(st.text("ab漢🍎 .(", max_size=40), max_size=30).map("\n".join)
blocks = st.one_of(
    texts.map(code_free), lines_of_code.map("```py\n{}\n```".format), lines_of_code.map("~~~\n{}\n~~~".format)
)


@given(st.lists(blocks, max_size=5).map("\n".join), st.integers(80, 200), st.sampled_from(MEASURES))
def test_closing_and_opening_blocks_never_breaks_the_limit(text: str, limit: int, measure: Measure) -> None:
    pieces = split(text, limit, measure)
    assert all(0 < length(piece, measure) <= limit for piece in pieces)
    assert all(piece.count("```") % 2 == 0 for piece in pieces), "a piece leaves a block open"


def test_a_block_that_fits_into_the_next_piece_is_not_cut() -> None:
    words = "word " * 20
    block = "```\n" + "x = 1\n" * 8 + "```"
    assert split(words + "\n" + block, 120) == [words.rstrip(), block]


def test_no_empty_block_is_shown_where_a_cut_meets_the_first_or_the_last_line() -> None:
    for size in range(1, 120):
        pieces = split("```py\n" + "x" * size + "\n" + "y" * 60 + "\n```\nthe end of it all", 100)
        assert not any(re.search(r"```py\n+```", piece) for piece in pieces), size
        pieces = split("x" * size + "\n```py\n" + "y" * 200 + "\n```", 100)
        assert not any(re.search(r"```py\n+```", piece) for piece in pieces), size


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("unit", ["\n", " ", "`", "```\n", "🇯", "\u0301", ".)", "漢", "\ud800", "a\n\n\n\n"])
def test_cost_grows_with_the_text_and_not_faster(unit: str, measure: Measure) -> None:
    # A quadratic split would need minutes for this; the suite's own patience is the bound.
    pieces = split(unit * 200_000, 2000, measure)
    assert dense("".join(pieces)).count(unit.strip()[:1]) >= dense(unit * 200_000).count(unit.strip()[:1]) * 0.9
