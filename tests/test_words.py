from __future__ import annotations

import re
import tomllib
from importlib import resources

import msgspec
import pytest

from chatferry.words import LANGUAGES, SIMPLIFIED, TRADITIONAL, Language, language_of, words

LINKED = ("history_here", "ready_later", "rest_here", "privacy_here")


def sentences(language: str) -> dict[str, str]:
    return msgspec.structs.asdict(words(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_sentence(language: Language) -> None:
    assert all(text.strip() == text != "" for text in sentences(language).values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_long_sentence_is_recognised_as_its_own_language(language: Language) -> None:
    long = {key: text for key, text in sentences(language).items() if len(text) > 15}
    assert {key: language_of(text) for key, text in long.items()} == dict.fromkeys(long, language)


@pytest.mark.parametrize(("language", "foreign"), [("zh-TW", SIMPLIFIED), ("zh-CN", TRADITIONAL)])
def test_neither_chinese_has_a_character_of_the_other_script(language: str, foreign: str) -> None:
    assert not set("".join(sentences(language).values())) & set(foreign)


CJK = r"[\u3041-\u30ff\u4e00-\u9fff]"
FOREIGN = {  # Japanese has no blanks beside Latin letters and numbers, Chinese has them
    "zh-TW": rf"[“”]|{CJK}[A-Za-z0-9{{]|[A-Za-z0-9]{CJK}",
    "zh-CN": rf"[「」]|{CJK}[A-Za-z0-9{{]|[A-Za-z0-9]{CJK}",
    "ja": rf"[“”]|{CJK} [A-Za-z0-9{{]|[A-Za-z0-9}}] {CJK}",
}
GIVEN = {"你是一個繁體中文AI助理, 請以台灣人的習慣用語回答", "好的,請稍候 ..."}
"""Of issue 2, word for word."""


@pytest.mark.parametrize("language", FOREIGN)
def test_marks_and_blanks_are_those_of_the_language(language: str) -> None:
    page = resources.files("chatferry.playground").joinpath(f"words/{language}.toml").read_text("utf-8")
    texts = {*sentences(language).values(), *tomllib.loads(page).values()} - GIVEN
    bare = [re.sub("`[^`]*`", "`", text) for text in texts]
    half = rf"{CJK}[,:;!?()]|[,:;!?()]{CJK}"
    assert [text for text in bare if re.search(rf"{half}|{FOREIGN[language]}", text)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_button_labels_fit_the_20_characters_of_a_line_button(language: Language) -> None:
    assert max(len(words(language).fetch), len(words(language).more_label)) <= 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_take_exactly_what_is_put_into_them(language: Language) -> None:
    takes = {key: re.findall(r"{(\w*)}", text) for key, text in sentences(language).items()}
    assert {key: names for key, names in takes.items() if names} == {
        "usage": ["command"],
        "calling": ["tools"],
        "file": ["name"],
        "sticker": ["text"],
        "location": ["text"],
        "session_ended": ["start"],
        "session_expired": ["time", "start"],
        "session_renewed": ["time"],
        "slow": ["time"],
        "spent_day": ["time"],
        "unread_large": ["size"],
        "unread_many": ["number"],
        "read_cut": ["number"],
        "read_pages": ["number"],
        "too_long": ["number"],
        "code_pause": ["time"],
        "privacy_tools": ["names"],
        "privacy_masked": ["kinds"],
        "privacy_kept_cache": ["time"],
        "privacy_kept_time": ["time"],
        "privacy_links": ["time"],
        "privacy_rights_ask": ["contact"],
        "greeting_session": ["start"],
        "alert_raised": ["alert"],
        "alert_over": ["alert", "time"],
        "alert_try": ["alert"],
        "alert_success": ["turns", "value", "limit"],
        "alert_latency": ["turns", "value", "limit"],
        "alert_queue": ["value", "limit"],
        "alert_circuit": ["model"],
        "alert_budget": ["assistant", "value", "limit"],
        "alert_where": ["where"],
        "memory_forget": ["forget"],
        **{key: ["number"] for key in ("seconds", "minutes", "hours", "days")},
        **{key: ["link"] for key in LINKED},
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_link_stands_alone_at_the_end_as_some_apps_take_what_follows_for_a_part_of_it(language: Language) -> None:
    assert all(sentences(language)[key].endswith("\n{link}") for key in LINKED)


def test_a_language_is_read_once() -> None:
    assert words("ja") is words("ja")


def test_an_unknown_language_says_which_ones_there_are() -> None:
    with pytest.raises(ValueError, match=r"no words in '\.\./en'; there are zh-TW, zh-CN, ja, en"):
        words("../en")


def test_the_two_scripts_are_pairs_without_a_character_in_common() -> None:
    assert len(TRADITIONAL) == len(SIMPLIFIED) == len(set(TRADITIONAL + SIMPLIFIED)) // 2


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("請問你們週末有營業嗎?我想訂四個人的位子。", "zh-TW"),
        ("皇后大道離這裡三公里", "zh-TW"),
        ("麻煩幫我用 Python 寫一個 FastAPI 的 webhook", "zh-TW"),
        ("優の良品很好吃", "zh-TW"),
        ("ありがとう是什麼意思?", "zh-TW"),
        ("你好", "zh-TW"),
        ("请问你们周末营业吗?我想订四个人的位子。", "zh-CN"),
        ("帮我写一个 FastAPI 的 webhook", "zh-CN"),
        ("今天天气怎么样", "zh-CN"),
        ("週末は営業していますか?四名で予約したいです。", "ja"),
        ("東京都新宿区西新宿の天気", "ja"),
        ("是非お願いします", "ja"),
        ("中国語の先生です。「你好」の意味を教えます。", "ja"),
        ("コーヒー", "ja"),
        ("Are you open at the weekend? I'd like a table for four.", "en"),
        (
            "You are 小幫手, the friendly assistant of a bookshop in Taipei. Answer politely and briefly.",
            "en",
        ),
        ("¿Abrís el domingo?", "en"),
        ("12345 🙂", "en"),
        ("", "en"),
    ],
)
def test_the_language_of_a_text_is_told_by_its_script(text: str, language: Language) -> None:
    assert language_of(text) == language
