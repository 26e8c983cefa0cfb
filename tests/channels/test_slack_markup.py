"""Slack's marks: what a model writes looks right and calls nobody; what people write reads as they saw it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.channels.slack_markup import escape, mentioned, mrkdwn, without_mention, words_of
from chatferry.text.cutting import length
from chatferry.text.plain import LONGEST

# fmt: off
inline = st.sampled_from([
    "**", "*", "_", "~~", "~", "`", "``", "\\", "\n", "\n\n", "<b>", "&amp;", "&", "(", ")", "「", "」", "：", "，",
    "…", "a", "b ", "漢", "é", "\t", "\x00", "\r\n", "\ud800", "\ufdd0", "\ufdd3", "\u200b", "http://a.b/_c_", "7",
])
blocks = st.sampled_from(["# ", "\n# ", "\n===\n", "\n---\n", "\n```\n", "\n```py\n", "~~~\n", "\n\n    ", "\n\n\t"])
nests = st.sampled_from(["> ", "\n> ", "- ", "\n- ", "\n  - ", "\n1. ", "    "])
links = st.sampled_from([
    "[", "](", ")", "![", "](!channel)", "](@U1)", "](https://a.b/c|d)", "<https://a.b>", "<!here>", "<@U1>", "<#C1>",
    "[1]: ", "|", "\n|-|-|\n", "|a|b|\n|-|-|\n",
])
# fmt: on
documents = st.lists(st.one_of(inline, blocks, nests, links, st.text(max_size=4)), max_size=60).map("".join)
prose = st.lists(st.one_of(inline, blocks, st.text("ab *_~`漢", max_size=6)), max_size=60).map("".join)


@given(documents)
def test_any_text_has_a_form_that_calls_nobody(text: str) -> None:
    shown = mrkdwn(text)
    assert all(re.match(r"(?:https?|mailto|tel):", found) for found in re.findall("<(.?.?.?.?.?.?.?)", shown))
    assert "&" not in re.sub(r"&(amp|lt|gt);", "", shown)
    assert bool(shown.strip()) == bool(text.strip())


@given(documents, st.integers(1, 80))
def test_the_limit_holds_and_no_entity_is_cut(text: str, limit: int) -> None:
    shown = mrkdwn(text, limit=limit)
    assert len(shown) <= limit
    assert "&" not in re.sub(r"&(amp|lt|gt);", "", shown)


@given(prose)
def test_marks_make_a_text_only_so_much_longer(text: str) -> None:
    room = sum(map(text.count, "*_~`")) + 8 * (text.count("\n") + 1)
    assert len(mrkdwn(text, limit=10_000)) <= length(text, "escaped") + room


@given(documents)
def test_outside_code_and_tables_the_note_that_an_answer_was_stopped_stays_what_it_is(said: str) -> None:
    assert "…_[已終止]_" in mrkdwn(re.sub("[`~|_]", "", said) + "字…_[已終止]_", limit=10_000)


@given(st.lists(st.from_regex(r"[a-z漢字ひらカナ가나]{1,8}", fullmatch=True), min_size=1, max_size=30), documents)
def test_no_word_is_left_out(said: list[str], before: str) -> None:
    shown = mrkdwn("- *a*\n\n" + " ".join(f"**{word}**" for word in said))
    assert re.findall(r"\w+", shown.replace("_", ""))[1:] == said


@pytest.mark.parametrize(
    "text",
    [
        "すみません。\n  字下げ　です\n\n\n\nおわり",
        "1. first\n2. second\n   and more",
        "2 * 3 * 4 = 24, 2*3*4, 2**3, snake_case_name, C:\\path, ~5 or so, *args and **kwargs",
        "plain https://example.com/_b_/_c_d?e=~f~ here",
        "_it_ and `code`",
        "one\r\ntwo\r\n",
    ],
)
def test_what_slack_shows_as_it_is_is_not_touched(text: str) -> None:
    assert mrkdwn(text) == text


def test_text_is_escaped() -> None:
    assert escape("a & b < c > &lt;") == mrkdwn("a & b < c > &amp;lt;") == "a &amp; b &lt; c &gt; &amp;lt;"
    assert mrkdwn("<!channel> <@U1> **<!here>**") == "&lt;!channel&gt; &lt;@U1&gt; *&lt;!here&gt;*"


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("**bold** *it* _it_ ~~old~~ `co*d*e <b>`", "*bold* _it_ _it_ ~old~ `co*d*e &lt;b&gt;`"),
        ("***both*** **a *b* c** **d **e** f**", "_*both*_ *a _b_ c* *d e f*"),
        ("**two\nlines** end", "*two*\n*lines* end"),
        ("# Title\n\nText", "*Title*\n\nText"),
        ("## All **of** it\nText", "*All of it*\nText"),
        ("Title\n===\nText", "*Title*\n\nText"),
        ("**a\\\nb**", "*a*\n*b*"),
        ('[site](https://a.b/c?d=1&e "tip")', "<https://a.b/c?d=1&amp;e|site>"),
        ("[**a|b**\n\\> c](https://a.b/c|d>)", "<https://a.b/c%7Cd%3E|a|b &gt; c>"),
        ("[https://a.b](https://a.b) [](https://a.b)", "<https://a.b> <https://a.b>"),
        (
            "**https://a.b/_c_** [https://a.b/_c_/](https://a.b) _https://a.b_",
            "*https://a.b/_c_* <https://a.b|https://a.b/_c_/> _https://a.b_",
        ),
        ("<https://c.d> <me@e.f>", "<https://c.d> <mailto:me@e.f|me@e.f>"),
        ("[all](!channel) [you](@U1) [here](#C1)", "all (!channel) you (@U1) here (#C1)"),
        ("![a **cat**](https://a.b/c.png)", "<https://a.b/c.png|a cat>"),
        ("[![cat](https://a.b/c.png)](https://a.b)", "<https://a.b|cat>"),
        ("see [1] *now*\n\n[1]: https://a.b", "see [1] _now_\n\n[1]: https://a.b"),
        ("above\n\n---\n\nbelow", "above\n\n———\n\nbelow"),
        ("> said\n> **twice**\nand on\n\nend", "> said\n> *twice*\n> and on\n\nend"),
        ("> *a*\n> - b\n>   c", "> _a_\n> • b\n>   c"),
        ("- a\n- b\n  - c\n\n    d\n-\n- e", "• a\n• b\n  • c\n\n    d\n•\n• e"),
        ("7) *x*\n8) y\n   - z", "7) _x_\n8) y\n   • z"),
        ("So:\n```py\n  if x < 1:\n\n    y()\n```\nend", "So:\n```\n  if x &lt; 1:\n\n    y()\n```\nend"),
        ("- so\n  ```py\n  if x:\n    y()\n  ```\n  end", "• so\n```\nif x:\n  y()\n```\n  end"),
        ("- a\n  - ```\n    x\n    ```", "• a\n  • ```\nx\n```"),
        ("``````\n```\n`````\n``````", "```\n``\u200b`\n``\u200b``\u200b`\n```"),
        ("half of it:\n```py", "half of it:"),
        ("```py", "```py"),
    ],
)
def test_each_mark_becomes_slacks(markdown: str, expected: str) -> None:
    assert mrkdwn(markdown) == expected


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("これは**太字**です。", "これは|*太字*|です。"),
        ("**注意：**次に**「項目」**です。", "*注意：*|次に|*「項目」*|です。"),
        ("中文`x`，*強調*。", "中文|`x`|，|_強調_|。"),
        ("a**b**c (**d**), **e**(f) **g***h*", "a|*b*|c (*d*), *e*|(f) *g*|_h_"),
        ("한글**'강조'**는 “**x**”…**y**", "한글|*'강조'*|는 “*x*”…*y*"),
        ("**太*斜*字**です", "*太|_斜_|字*|です"),
    ],
)
def test_marks_that_touch_words_are_set_apart(markdown: str, expected: str) -> None:
    assert mrkdwn(markdown) == expected.replace("|", "\u200b")


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        (r"a \*x\* b", "a *|x* b"),
        (r"\_x\_ \~y\~ \`z\`", "_|x_ ~|y~ `|z`"),
        (r"\*x **y**", "*|x *y*"),
        (r"\*x *y*", "*x _y_"),
        (r"`\*x*` and \*args", r"`\*x*` and *args"),
        ("use `` `x` `` here", "use `|x` here"),
        ("from ~/a~ to https://a.b/~c/~/d", "from ~|/a~ to https://a.b/~c/~/d"),
        ("\\> no quote\n\n*x*", "|&gt; no quote\n\n_x_"),
    ],
)
def test_marks_that_are_meant_as_text_are_disarmed(markdown: str, expected: str) -> None:
    assert mrkdwn(markdown) == expected.replace("|", "\u200b")


def test_a_table_is_aligned_by_the_width_of_its_letters() -> None:
    table = "|名前|Age|\n|-|-|\n|太郎|<3|\n|Bo|**41**|"
    assert mrkdwn(table) == "```\n名前  Age\n─────────\n太郎  &lt;3\nBo    41\n```"


def test_a_wide_table_is_told_row_by_row_with_its_marks() -> None:
    table = (
        "|Plan|What you get|Price|\n|-|-|-|\n"
        "|Light|5,000 **messages** in a month, and [more](https://a.b) of it|5,000 yen|\n|**Free**|200 messages||"
    )
    assert mrkdwn(table) == (
        "*Light*\n• What you get: 5,000 *messages* in a month, and <https://a.b|more> of it\n• Price: 5,000 yen\n\n"
        "*Free*\n• What you get: 200 messages"
    )


def test_what_gets_too_long_is_sent_as_it_is_and_else_cut() -> None:
    assert mrkdwn("これは*太*。", limit=8) == "これは*太*。"
    assert mrkdwn("**a** & more", limit=9) == "**a** …"
    assert mrkdwn("x" * 5000) == "x" * 3999 + "…"


@pytest.mark.parametrize("nested", ["> " * 500 + "deep", "\n".join("  " * n + "- item" for n in range(200))])
def test_nesting_beyond_reason_leaves_the_text_as_it_is(nested: str) -> None:
    assert mrkdwn(nested, limit=LONGEST) == escape(nested)


@pytest.mark.parametrize(
    "unit", ["[", "![](", "a*b_", " *a", " `", "`a", "**漢", "  - a\n", "|a\n|-\n", "&", " " * 9, "http://;"]
)
def test_nasty_text_costs_little(unit: str) -> None:
    mrkdwn((unit * LONGEST)[:LONGEST])
    words_of("<" * LONGEST + unit * 100 + "<@" * LONGEST, {})
    without_mention(" " * LONGEST + "<@U1|" * LONGEST + " " * LONGEST, "U1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<@U1> and <@U2|bo> and <@U3>", "@Ann &amp; Co and @bo and @U3"),
        ("<#C1|general> <#C2> <#C3|>", "#general #C2 #C3"),
        ("<!here> <!channel|@channel> <!subteam^S1|@team> <!subteam^S2>", "@here @channel @team @S2"),
        ("on <!date^1392734382^{date} at {time}|2014-02-18 &amp; so>", "on 2014-02-18 & so"),
        ("<https://x.y/z?a=1&amp;b=2|label> <https://x.y>", "label (https://x.y/z?a=1&b=2) https://x.y"),
        ("<http://x.y|x.y> <https://x.y/|x.y> <https://x.y|https://x.y>", "http://x.y https://x.y/ https://x.y"),
        ("<mailto:a@b|a@b> <tel:+81-3|+81-3> <mailto:a@b|Ann>", "a@b +81-3 Ann (a@b)"),
        ("&lt;@U1&gt; &amp;lt; &amp;amp; &nbsp; <>", "<@U1> &lt; &amp; &nbsp; <>"),
        ("a < b &amp; > c", "a < b & > c"),
        ("*stays* _as_ it `is`", "*stays* _as_ it `is`"),
    ],
)
def test_slacks_text_is_read_as_people_see_it(text: str, expected: str) -> None:
    assert words_of(text, {"U1": "Ann &amp; Co"}) == expected


@given(st.text())
def test_what_is_escaped_is_read_as_it_was(text: str) -> None:
    assert words_of(escape(text), {}) == text


@given(st.lists(st.sampled_from([*"<>@#!^|: ", "U1", "&lt;", "date", "\n", "http://"]), max_size=30).map("".join))
def test_any_text_at_all_can_be_read(text: str) -> None:
    words_of(text, {})
    assert ("<@U1>" in text) <= ("U1" in mentioned(text))
    assert "U1" not in mentioned(without_mention(text, "U1"))


def test_who_is_mentioned_is_told_once_each_and_in_order() -> None:
    assert mentioned("<@W2|bo> <@U1> <@W2> <@U3>, &lt;@U4&gt; <#C1> <!here>") == ["W2", "U1", "U3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<@U1> what is  this?", "what is  this?"),
        ("what, <@U1|bot>, is this", "what,, is this"),
        ("what <@U1> is this", "what is this"),
        ("what is this <@U1>", "what is this"),
        ("what is this <@U1>?", "what is this?"),
        ("はい<@U1>です", "はいです"),
        ("hey <@U1>次に", "hey 次に"),
        ("<@U1>\nwhat\n  is this", "what\n  is this"),
        ("one <@U1>\n  two", "one\n  two"),
        ("one\n\n  <@U1> two", "one\n\n  two"),
        ("<@U1> <@U1><@U1> <@U2> <@U11>", "<@U2> <@U11>"),
        ("<@U1>", ""),
        ("nobody  ", "nobody  "),
    ],
)
def test_a_mention_is_taken_out_with_its_blanks(text: str, expected: str) -> None:
    assert without_mention(text, "U1") == expected
