"""The demonstration, which has to work where nothing else does."""

from __future__ import annotations

import pytest

from chatferry.engines.base import Delta, Engine
from chatferry.engines.demo import Demo, answer
from chatferry.model import File, Message, Options, says
from chatferry.words import LANGUAGES, language_of
from tests.contracts.engine import EngineContract
from tests.engines.support import HastyClock, asking, settings, whole

DEMO = settings("demo", "http://unused", pace=0.05)


class TestDemo(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return Demo("default", DEMO, clock=HastyClock())


def test_it_says_that_it_sees_a_picture() -> None:
    asked = [says("user", "你好，請問這個怎麼用？"), says("assistant", "..."), Message("user", (File("image", ""),))]
    assert answer(asked).startswith("我看到一張圖片")


GREETINGS = {
    "en": "Hello there",
    "zh-TW": "你好，請問這個怎麼用？",
    "zh-CN": "你好，请问这个怎么用？",
    "ja": "こんにちは、これは何ですか？",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_answers_in_the_language_of_the_question_and_says_at_first_what_it_is(language: str) -> None:
    greeting = GREETINGS[language]
    first = answer([says("user", greeting)])
    assert "Chatferry" in first
    assert language_of(first.replace("Chatferry", "")) == language
    later = answer([says("user", greeting), says("assistant", first), says("user", greeting)])
    assert "Chatferry" not in later
    assert language_of(later) == language


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("My name is Anna.", "Anna"),
        ("hi, my name's anna", "anna"),
        ("Please call me Mary Ann", "Mary Ann"),
        ("I'm Bob, and you?", "Bob"),
        ("你好，我叫小明。", "小明"),
        ("我的名字是王大明", "王大明"),
        ("我的名字叫王大明喔", "王大明"),
        ("請叫我阿華吧", "阿華"),
        ("我叫 Anna", "Anna"),
        ("我叫李雷，你呢？", "李雷"),
        ("私の名前は花子です", "花子"),
        ("はじめまして、花子といいます。", "花子"),
        ("私は花子と申します", "花子"),
        ("僕の名前はケンだよ", "ケン"),
    ],
)
@pytest.mark.parametrize(
    "question",
    [
        "What is my name?",
        "do you remember me?",
        "我叫什麼名字？",
        "你記得我嗎",
        "你还记得我吗？",
        "我叫什么",
        "私の名前は？",
        "私の名前は何ですか",
        "私の名前を覚えていますか",
    ],
)
def test_it_knows_a_name_that_was_told_earlier_whatever_the_language(told: str, name: str, question: str) -> None:
    talk = [
        says("user", told),
        says("assistant", "..."),
        says("user", "ok"),
        says("assistant", "..."),
        says("user", question),
    ]
    assert f"**{name}**" in answer(talk)


@pytest.mark.parametrize(
    "text", ["I am happy", "my name", "我叫什麼名字？", "我的名字是什么", "私の名前は何？", "叫我什麼？"]
)
def test_not_everything_is_a_name(text: str) -> None:
    reply = answer([says("user", text), says("assistant", "..."), says("user", "what is my name?")])
    assert "not told me" in reply


def test_the_name_that_was_told_last_counts() -> None:
    talk = [says("user", text) for text in ("My name is Anna", "My name is Berta", "What is my name?")]
    assert "**Berta**" in answer(talk)


@pytest.mark.parametrize(
    ("question", "recalled"),
    [
        ("What did I say first?", "apples"),
        ("What did I just say?", "pears"),
        ("我第一句說了什麼？", "apples"),
        ("我刚才说了什么？", "pears"),
        ("最初に何と言いましたか？", "apples"),
        ("さっき何と言いましたか？", "pears"),
    ],
)
def test_it_recalls_what_was_said(question: str, recalled: str) -> None:
    talk = [says("user", "apples"), says("assistant", "..."), says("user", "pears"), says("user", question)]
    assert recalled in answer(talk)
    assert "apples" not in answer([says("user", question)])


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a table please", "|---|"),
        ("給我一個表格", "|---|"),
        ("show me code", "```python"),
        ("コードを見せて", "```python"),
    ],
)
def test_it_shows_markdown_when_asked(asked: str, shown: str) -> None:
    assert shown in answer([says("user", asked)])


@pytest.mark.parametrize("asked", ["something long", "來一篇長文", "来一篇长文", "長い話をして"])
def test_it_can_be_long(asked: str) -> None:
    assert len(answer([says("user", asked)])) > 400


def test_it_turns_what_was_said_around() -> None:
    assert "that your cat hates you" in answer([says("user", "I think my cat hates me.")])
    assert "覺得你老了" in answer([says("user", "我覺得我老了。")])


def test_a_talk_that_nobody_began_is_greeted() -> None:
    assert "Hello" in answer([])


async def test_it_speaks_at_its_pace_and_is_looked_at_at_ours() -> None:
    clock = HastyClock()
    engine = Demo("default", DEMO, clock=clock)
    live = [event async for event in engine.run(asking("long")) if isinstance(event, Delta)]
    assert set(clock.slept) == {0.05}
    assert len(clock.slept) == len(live) - 1
    clock.slept.clear()
    paced = [event async for event in engine.run(asking("long"), pace=0.25) if isinstance(event, Delta)]
    assert set(clock.slept) == {0.25}
    assert len(paced) == -(-len(live) // 5)


async def test_it_stops_at_the_limit_and_says_so() -> None:
    text, done = await whole(Demo("default", DEMO, clock=HastyClock()).run(asking("hi", options=Options(max_tokens=3))))
    assert text == "*This is Chatferry's"
    assert done.finish == "length"
    assert done.model == "chatferry-demo"
