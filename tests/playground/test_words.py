"""The page's words: the same in every language, and none too many."""

from __future__ import annotations

import re
import tomllib
from importlib import resources

import pytest

from chatferry.words import LANGUAGES, SIMPLIFIED, TRADITIONAL

HERE = resources.files("chatferry.playground")
SCRIPTS = "\n".join(path.read_text("utf-8") for path in HERE.joinpath("static").iterdir() if path.name.endswith(".js"))
TEMPLATE = HERE.joinpath("templates/index.html").read_text("utf-8")


def said(language: str) -> dict[str, str]:
    return tomllib.loads(HERE.joinpath(f"words/{language}.toml").read_text("utf-8"))


def holes(language: str) -> dict[str, set[str]]:
    return {key: set(re.findall(r"{(\w+)}", text)) for key, text in said(language).items()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_texts_with_the_same_holes(language: str) -> None:
    assert holes(language) == holes("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty(language: str) -> None:
    assert all(text.strip() == text != "" for text in said(language).values())


@pytest.mark.parametrize(("language", "foreign"), [("zh-TW", SIMPLIFIED), ("zh-CN", TRADITIONAL)])
def test_neither_chinese_has_a_character_of_the_other_script(language: str, foreign: str) -> None:
    assert set("".join(said(language).values())) & set(foreign) == set()


def test_every_text_that_the_page_asks_for_is_there() -> None:
    asked = re.findall(r'\bt\(\s*"(\w+)"', SCRIPTS) + re.findall(r"words\[[\"'](\w+)[\"']\]", TEMPLATE)
    assert set(asked) - set(said("en")) == set()


def test_no_text_is_there_for_nothing() -> None:
    """A key may also be chosen (`t(one ? "a" : "b")`) or put together (`t(`shape_${...}`)`)."""
    written = set(re.findall(r'"(\w+)"', SCRIPTS)) | set(re.findall(r"words\[[\"'](\w+)[\"']\]", TEMPLATE))
    begun = tuple(re.findall(r"\bt\(`(\w+_)\$\{", SCRIPTS))
    assert [key for key in said("en") if key not in written and not key.startswith(begun)] == []
