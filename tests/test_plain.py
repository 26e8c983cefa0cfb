"""Markdown made plain: marks go, words stay, and text that has no marks is not touched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.text.plain import DENSE, LONGEST, plain

# fmt: off
marks = st.sampled_from([
    "# ", "**", "*", "_", "`", "```\n", "> ", "- ", "1. ", "[", "](", ")", "![", "[1]: ", "|", "|-|-|\n", "---\n", "\n",
    "\n\n", "    ", "~~", "<b>", "&amp;", "\\",
    "「", "」", "：", "http://a.b", "\t", "\x00", "\r\n", "\ud800", "\ufdd0",
])
# fmt: on
documents = st.lists(st.one_of(marks, st.text(max_size=6)), max_size=60).map("".join)
words = st.from_regex(r"[a-z漢字ひらカナ가나]{1,8}", fullmatch=True)


@given(documents)
def test_any_text_at_all_has_a_plain_form(text: str) -> None:
    plain(text)


@given(st.lists(words, min_size=1, max_size=30), documents)
def test_no_word_in_a_paragraph_is_left_out(said: list[str], before: str) -> None:
    text = plain("- *a*\n\n" + " ".join(f"**{word}**" for word in said))
    assert re.findall(r"\w+", text)[1:] == said


@given(st.lists(st.lists(words, min_size=1, max_size=5).map(" ".join), max_size=10), st.sampled_from(["\n", "\n\n\n"]))
def test_text_without_marks_is_not_touched(lines: list[str], gap: str) -> None:
    text = "  " + gap.join(lines) + "\n"
    assert plain(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "すみません。\n  字下げ　です\n\n\n\nおわり",
        "1. first\n2. second\n   and more",
        "2 * 3 * 4 = 24, 2*3*4, 2**3**4, a_b_c, x < y && y > z, C:\\path",
        "plain https://example.com/a_b_c/_d_/?e=1&f=2 here",
        "one\r\ntwo\r\n",
    ],
)
def test_what_only_looks_like_markdown_is_not_touched(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("Yes [1].\n\nSources:  \n[1] a.csv  \n[2] b.csv", "Yes [1].\n\nSources:\n[1] a.csv\n[2] b.csv"),
        ("# Title\n\nText", "Title\n\nText"),
        ("Title\n===\nText", "Title\n\nText"),
        ("**bold** and *it* and ~~old~~ and `co*d*e`", "bold and it and old and co*d*e"),
        ("a  \nb\nc **d**", "a\nb\nc d"),
        ('[site](https://a.b/c "tip")', "site (https://a.b/c)"),
        ("[https://a.b](https://a.b)", "https://a.b"),
        ("[](https://a.b) <https://c.d> <me@e.f>", "https://a.b https://c.d me@e.f"),
        ("![a **cat**](https://a.b/c.png)", "a cat (https://a.b/c.png)"),
        ("see [1] *now*\n\n[1]: https://a.b", "see [1] now\n\n[1]: https://a.b"),
        ("<b>x</b> **y** &lt;", "<b>x</b> y <"),
        ("above\n\n---\n\nbelow", "above\n\n———\n\nbelow"),
        ("> said\n> twice\n\nend", "> said\n> twice\n\nend"),
        ("> *a*\n> - b\n>   c", "> a\n> • b\n>   c"),
        ("- a\n- b\n  - c\n\n    d\n-\n- e", "• a\n• b\n  • c\n\n    d\n•\n• e"),
        ("7) *x*\n8) y\n   - z", "7) x\n8) y\n   • z"),
        ("So:\n```py\n  if x:\n\n    y()\n```\nend", "So:\n  if x:\n\n    y()\nend"),
    ],
)
def test_each_mark_becomes_what_reads_well(markdown: str, expected: str) -> None:
    assert plain(markdown) == expected


def test_emphasis_that_ends_in_full_width_punctuation_is_taken_off_too() -> None:
    assert plain("**注意：**次に**「項目」**です。") == "注意：次に「項目」です。"
    assert plain("power is `2**3` or 2 ** 3 ** 4") == "power is 2**3 or 2 ** 3 ** 4"
    assert plain("**“項目”**は*「一」*で、~~（二）~~だ。") == "“項目”は「一」で、（二）だ。"
    assert plain("冪は `2**3` か `a**b` です") == "冪は 2**3 か a**b です"


def test_a_narrow_table_is_aligned_by_the_width_of_its_letters() -> None:
    assert plain("|名前|Age|\n|-|-|\n|太郎|3|\n|Bo|**41**|") == "名前  Age\n─────────\n太郎  3\nBo    41"


def test_a_table_too_wide_for_a_phone_is_told_row_by_row() -> None:
    table = "|Plan|What you get|Price|\n|-|-|-|\n|Light|5,000 messages in a month|5,000 yen|\n|Free|200 messages||"
    assert plain(table) == (
        "Light\n• What you get: 5,000 messages in a month\n• Price: 5,000 yen\n\nFree\n• What you get: 200 messages"
    )


@pytest.mark.parametrize("nested", ["> " * 500 + "deep", "\n".join("  " * n + "- item" for n in range(200))])
def test_nesting_beyond_reason_leaves_the_text_as_it_is(nested: str) -> None:
    assert plain(nested) == nested


@pytest.mark.parametrize("unit", ["[", "![](", "[[a]", "a*b_", "`a", "<a ", "  - a\n", "|a\n|-\n"])
def test_nasty_text_costs_little(unit: str) -> None:
    plain((unit * LONGEST)[:LONGEST])
    assert plain(unit * LONGEST) == unit * LONGEST


@pytest.mark.parametrize("unit", ["**a", "[a", "*a **b "])
def test_a_paragraph_of_nothing_but_marks_stays_as_it_is(unit: str) -> None:
    """What emphasis and links cost grows with the square of their marks."""
    assert plain(unit * (DENSE + 1)) == unit * (DENSE + 1)
    assert plain(f"**bold**\n\n{'*b* c ' * (DENSE // 2)}").startswith("bold")
