"""Documents as passages, and texts as terms."""

from __future__ import annotations

import pytest

from chatferry.knowledge.checking import verdict
from chatferry.knowledge.cutting import MOST, Passage, cut_html, cut_markdown, cut_table, cut_text
from chatferry.knowledge.quoting import cited
from chatferry.knowledge.terms import matches, terms, wanted
from chatferry.text.plain import plain


def test_markdown_is_cut_at_its_headings() -> None:
    text = (
        "---\ntitle: x\n---\nBefore.\n\n# A\n\nOne.\n\n```sh\n# no heading\n```\n\n<!-- # gone -->\n## B #\nTwo.\n# C\n"
    )
    assert list(cut_markdown(text)) == [
        Passage("", 4, "Before."),
        Passage("A", 8, "One.\n\n```sh\n# no heading\n```"),
        Passage("A › B", 16, "Two."),
    ]


def test_a_row_reads_as_a_question_and_its_answer_with_the_other_columns_named() -> None:
    text = '類別;問題;答案\n配送;要多久?;"三天;\n離島七天"\n;幾點?;十點\n'
    assert list(cut_table(text)) == [
        Passage("要多久?", 2, "要多久?\n三天;\n離島七天\n類別: 配送"),
        Passage("幾點?", 4, "幾點?\n十點"),
    ]


@pytest.mark.parametrize("header", ["常見問題,回答", "常见问题,答案", "よくある質問,答え"])
def test_a_column_of_frequent_questions_is_one_of_questions(header: str) -> None:
    assert list(cut_table(f"{header}\n幾點?,十點\n")) == [Passage("幾點?", 2, "幾點?\n十點")]


def test_a_page_is_cut_like_markdown_and_its_scripts_are_left_out() -> None:
    page = (
        "<head><title>x</title></head><script>alert(1)</script><h2>Tea &amp; cups</h2><p>One<br>two</p><nav>menu</nav>"
    )
    assert [(one.title, one.text) for one in cut_html(page)] == [("Tea & cups", "One\ntwo")]


@pytest.mark.parametrize("text", ["長い文。" * 2000, "word " * 4000, "x" * 9000, "a\n\n" * 3000, "👋" * 3000])
def test_no_passage_is_too_long_and_nothing_is_lost(text: str) -> None:
    cut = list(cut_text(text))
    assert max(len(one.text.encode()) for one in cut) <= MOST
    assert "".join("".join(one.text.split()) for one in cut) == "".join(text.split())


def test_what_is_written_otherwise_has_the_same_terms() -> None:
    assert terms("ＴＰ-1280") == terms("tp-1280") == ["tp1280", "tp", "1280"]
    assert terms("退貨說明") == terms("退货说明")
    assert {*terms("shipping"), *terms("shipped"), *terms("Ships")} == {"ship"}
    assert terms("1,280 元") == ["1280", "元"]
    assert terms("3.5") == ["3.5"]
    assert "茶" in terms("有機茶葉")


@pytest.mark.parametrize(
    "said",
    ["你好!", "謝謝您", "谢谢你", "こんにちは、ありがとうございます", "Hello, thank you!", "ok 👍", "who are you?", ""],
)
def test_small_talk_asks_for_nothing(said: str) -> None:
    assert wanted(said).idle


@pytest.mark.parametrize("said", ["運費", "茶?", "退货", "返品", "returns", "TP-1280"])
def test_one_word_asks_for_something(said: str) -> None:
    assert not wanted(said).idle


@pytest.mark.parametrize(
    "said",
    ["My name is Ann.", "Hi! My name's Mei Ling", "hello, I'm called Bob!", "你好，我叫小明", "我的名字是王小明。",
     "敝姓王", "我姓陈，谢谢", "はじめまして、田中と申します。", "私の名前はメイです"],
)  # fmt: skip
def test_who_tells_their_name_asks_for_nothing(said: str) -> None:
    assert wanted(said).idle


@pytest.mark.parametrize(
    "said",
    ["My name is Ann, do you sell bicycles?", "My name is on the wrong order", "What is the name of the tea?",
     "我叫小明，茶壺多重", "我的名字是寫在發票上嗎", "田中と申します。返品したいです", "我叫外賣可以嗎",
     "My name is Ann?"],
)  # fmt: skip
def test_a_question_behind_a_name_is_one(said: str) -> None:
    assert not wanted(said).idle


def test_where_it_matches_is_told_in_the_text_as_it_is_written() -> None:
    text = "寄到綠島 needs SHIPPED goods"
    found = [text[begin:end] for begin, end in matches(text, wanted("綠島 shipping"))]
    assert found == ["綠島", "SHIPPED"]


def test_sources_are_those_that_are_cited_and_were_given() -> None:
    given = ["faq.csv › 退貨", "docs/a_b.md › *Care*", "faq.csv › 退貨"]
    told = cited("Yes [1, 2]、【3】 [7] [2](https://x)", given, "Sources:")
    assert plain(f"Yes{told}").split("\n") == [
        "Yes",
        "",
        "Sources:",
        "[1][3] faq.csv › 退貨",
        "[2] docs/a_b.md › *Care*",
    ]
    assert cited("No.", given, "Sources:") == ""
    assert cited("```\ncode [1]", given, "Sources:").startswith("\n```\n")


@pytest.mark.parametrize(
    ("reply", "passed"),
    [
        ("PASS", True),
        ("**Pass.**", True),
        ("<think>FAIL?</think>\nPASS", True),
        ("FAIL: the price is not there", False),
        ("fail\nIt would PASS without the price.", False),
        ("PASS or FAIL?", None),
        ("The answer does not pass.", None),
        ("passable", None),
        ("", None),
    ],
)
def test_a_verdict_is_one_word_and_everything_else_is_none(reply: str, passed: bool | None) -> None:
    assert verdict(reply) is passed
