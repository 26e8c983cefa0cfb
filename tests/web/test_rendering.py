"""Answers as HTML: whatever a model writes, nothing of it does anything, and all of it can be read."""

from __future__ import annotations

import re
import time
from html import escape
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatferry.web.rendering import HIGHLIGHTED, LONGEST, _lexer, blocks

VOID = {"br", "hr"}
ALLOWED = {
    "a": {"href", "rel", "target", "class"},
    "ol": {"start"},
    "code": {"tabindex"},
    "div": {"class", "tabindex", "data-language"},
    "span": {"class"},
    "li": {"class"},
    "th": {"class"},
    "td": {"class"},
}
TAGS = set(ALLOWED) | set("p h1 h2 h3 h4 h5 h6 ul blockquote hr pre table thead tbody tr strong em s br".split())  # noqa: SIM905


class Judge(HTMLParser):
    """Reads a block as a browser would begin to: what stands in it, and whether it is one element, closed."""

    def __init__(self, block: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.roots = 0
        self.words = ""
        self.links: list[str] = []
        self.feed(block)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        assert {name for name, _ in attrs} <= ALLOWED.get(tag, set()), attrs
        given = dict(attrs)
        if "href" in given:
            self.links.append(given["href"] or "")
            assert given["rel"] == "noopener nofollow noreferrer"
        self.roots += not self.open
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert self.open or not data.strip(), "text outside of any element"
        self.words += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError("a declaration")

    def handle_pi(self, data: str) -> None:
        raise AssertionError("an instruction")


def judged(markdown: str) -> list[Judge]:
    """Every block, found harmless."""
    judges = [Judge(block) for block in blocks(markdown)]
    for judge in judges:
        assert judge.roots == 1
        assert not judge.open
        assert all(urlsplit(link).scheme in ("http", "https", "mailto") for link in judge.links)
    return judges


def words(markdown: str) -> str:
    return "\n".join(judge.words for judge in judged(markdown))


# fmt: off
marks = st.sampled_from([
    "# ", "**", "*", "_", "`", "```\n", "```html\n", "```python\n", "> ", "- ", "1. ", "[", "](", ")", "![", "[1]: ",
    "|", "|-|-|\n", "---\n", "\n", "\n\n", "    ", "~~", "\\", "<", ">", "<b>", "</b>", "<script>", "</script>",
    "</div>", "</pre></code>", "<!--", "-->", "<svg onload=", "&amp;", "&lt;script&gt;", "&#x6a;", "javascript:", "x:",
    "data:text/html,", "http://a.b", "https://[", "//c.d/", "mailto:a@b", '"', "'", " onclick=x ", "<br>", "[ ] ",
    "\t", "\x00", "\r\n", "\ud800", "\ufdd0", "\u202e",
])
# fmt: on
documents = st.lists(st.one_of(marks, st.text(max_size=6)), max_size=50).map("".join)


@settings(max_examples=300)
@given(documents)
def test_any_text_at_all_becomes_blocks_that_do_nothing(text: str) -> None:
    judged(text)


@given(st.lists(st.from_regex(r"[a-z漢字ひらカナ가나]{1,8}", fullmatch=True), min_size=1, max_size=30), documents)
def test_no_word_in_a_paragraph_is_left_out(said: list[str], before: str) -> None:
    last = judged("- *a*\n\n" + " ".join(f"**{word}**" for word in said))[-1]
    assert re.findall(r"\w+", last.words) == said


HOSTILE = [
    "<script>boom()</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>boom()</scr</script>ipt>",
    "<img src=x onerror=boom()>",
    "<svg onload=boom()>",
    "<svg><script>boom()</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=boom()>",
    "<iframe srcdoc='<script>boom()</script>'></iframe>",
    "<body onload=boom()><style>@import '//evil.example/x.css'</style>",
    "<a href=javascript:boom()>x</a>",
    "<base href=//evil.example><form action=//evil.example><input name=q>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<!--><script>boom()</script-->",
    "</article></main><h1>not ours</h1>",
    "<details open ontoggle=boom()>",
    "[x](javascript:boom())",
    "[x](JaVaScRiPt:boom())",
    "[x](java\tscript:boom())",
    "[x](<java script:boom()>)",
    "[x](&#106;avascript:boom())",
    "[x](&#x6a&#x61vascript:boom())",
    "[x](javascript&colon;boom())",
    "[x](\x01javascript:boom())",
    "[x](vbscript:boom())",
    "[x](data:text/html;base64,PHNjcmlwdD5ib29tKCk8L3NjcmlwdD4=)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example)",
    "[x](/a/token/stop)",
    "[x](?q=1)",
    "[x](#answer)",
    "[x](weixin://dl/business)",
    "[x](http:evil)",
    "[x](https://a.b/\"onmouseover=\"boom())",
    "<javascript:boom()>",
    "<https://a.b/'onclick='boom()>",
    "![x](javascript:boom())",
    "![x](data:image/svg+xml,<svg onload=boom()>)",
    "![x\"onerror=\"boom()](https://evil.example/x.png)",
    "[![x](https://evil.example/x.png)](javascript:boom())",
    "```html\"><script>boom()</script>\n<b>\n```",
    "```x\" onclick=\"boom()\n<b>\n```",
    "|a|\n|-|\n|<img src=x onerror=boom()>|",
    "# <img src=x onerror=boom()>",
    "`<script>boom()</script>`",
    "https://a.b/<script>boom()</script>",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_meant_to_do_something_is_only_text(text: str) -> None:
    for judge in judged(f"before\n\n{text}\n\nafter"):
        assert all(link.startswith(("https://a.b/", "https://evil.example/x.png")) for link in judge.links)


def test_html_is_shown_as_it_was_written() -> None:
    assert blocks("a <b onclick=x>b</b>") == ("<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>\n",)


def test_an_address_that_nobody_may_follow_is_still_to_be_read() -> None:
    assert words("[call](tel:123) [there](/relative)") == "call (tel:123) there (/relative)\n"


def test_a_picture_is_a_link_so_that_nothing_is_fetched() -> None:
    (block,) = blocks("![a *cat*](https://e.v/cat.png)")
    assert "<img" not in block
    assert 'class="picture"' in block
    assert Judge(block).links == ["https://e.v/cat.png"]
    assert Judge(block).words == "a cat\n"


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("see https://a.b/c_d_e. Good", ["https://a.b/c_d_e"]),
        ("看https://a.b/c，或https://d.e。", ["https://a.b/c", "https://d.e"]),
        ("(http://a.b/c?d=1&e=2)", ["http://a.b/c?d=1&e=2"]),
        ("[https://a.b](https://c.d)", ["https://c.d"]),
        ("`https://a.b`", []),
        ("http:// https://", []),
    ],
)
def test_a_bare_address_is_a_link(text: str, links: list[str]) -> None:
    assert [link for judge in judged(text) for link in judge.links] == links


def test_code_is_coloured_by_its_language_and_the_rest_stays_black() -> None:
    (block,) = blocks('```python\nif x < "<b>":\n    pass\n```')
    assert '<span class="k">if</span>' in block
    assert "&lt;b&gt;" in block
    assert Judge(block).words == 'if x < "<b>":\n    pass\n'
    assert "<span" not in blocks("```nosuchlanguage\nif x\n```")[0]
    assert "<span" not in blocks(f"```python\n{'if x: pass' * HIGHLIGHTED}\n```")[0]


def test_languages_that_texts_make_up_are_not_kept() -> None:
    blocks("```python\nif x\n```")
    known = _lexer.cache_info().currsize
    blocks("\n".join(f"```made-up-{number}\nif x\n```\n" for number in range(20)))
    assert _lexer.cache_info().currsize == known


def test_code_keeps_every_blank() -> None:
    code = "\n\n  a\n\tb  \n\n"
    for language in ("", "python", "js", "diff"):
        assert words(f"```{language}\n{code}\n```") == f"{code}\n"


def test_lists_tables_and_tasks_look_like_what_they_are() -> None:
    html = "".join(blocks("3. c\n\n- [ ] todo\n- [x] done\n\n|a|b|\n|:-:|--:|\n|1<br>2|3|"))
    assert '<ol start="3">' in html
    assert "☐ todo" in html
    assert "☑ done" in html
    assert '<td class="center">1<br>2</td>' in html
    assert '<td class="right">3</td>' in html


def test_blocks_that_are_complete_stay_the_same_while_the_answer_grows() -> None:
    text = "# Head\n\none\n\n- a\n- b\n\n```py\nx = 1\n```\n\nlast words"
    whole = blocks(text)
    assert blocks(text + " and more\n\nthen")[: len(whole) - 1] == whole[:-1]


@pytest.mark.parametrize(
    "text",
    [
        "> " * 10_000 + "deep",
        "- " * 10_000 + "deep",
        "".join("  " * n + "- x\n" for n in range(200)),
        "|" + "a|" * 400 + "\n|" + "-|" * 400 + "\n" + ("|" + "b|" * 400 + "\n") * 100,
        "**a" * 20_000,
        "~~a" * 20_000,
        "[" * 49_000,
        "![" * 24_000,
        "[a](" * 12_000,
        "`" * 49_000,
        "<" * 49_000,
        "&amp;" * 9_000,
        "a" * 200_000,
        "[a](http://b.c) " * 3_000,
        "```java\n" + "a " * 9_900,
        "```scala\n" + "a." * 9_900,
        "```php\n" + "<?php $" * 2_800,
    ],
)
def test_nobody_buys_much_time_with_one_answer(text: str) -> None:
    began = time.process_time()
    assert judged(text)
    assert time.process_time() - began < 4


def test_what_cannot_be_laid_out_is_shown_as_it_is() -> None:
    text = "> " * 10_000 + "deep <b>"
    assert "".join(judge.words for judge in judged(text)) == text
    assert escape("deep <b>") in blocks(text)[-1]


def test_a_text_without_end_is_cut() -> None:
    said = "".join(judge.words for judge in judged("line\n" * LONGEST))
    assert len(said) == LONGEST + 1
    assert said.endswith("…")
