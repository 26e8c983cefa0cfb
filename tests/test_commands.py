"""What people say to the gateway itself."""

from __future__ import annotations

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.commands import Command, Commands, notice, span
from chatferry.config import CommandSettings, SessionSettings
from chatferry.words import LANGUAGES, Language, words

COMMANDS = Commands(CommandSettings())
GATED = SessionSettings()
ALWAYS = SessionSettings(always=True)
EN = words("en")
LINK = "https://chat.example.com/h/abc"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/chatgpt", "start"),
        ("/stop", "stop"),
        ("/clear", "clear"),
        ("/new", "clear"),
        ("/history", "history"),
        ("/help", "help"),
        ("/STOP", "stop"),
        ("/Help", "help"),
        ("  /stop\n", "stop"),
        ("\u3000/stop\u3000", "stop"),
        ("／ｓｔｏｐ", "stop"),
        ("／ＣｈａｔＧＰＴ", "start"),
    ],
)
def test_a_command_is_known_however_it_is_typed(text: str, name: str) -> None:
    assert COMMANDS.read(text, GATED) == (name, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "stop",
        "/",
        "//stop",
        "/stop!",
        "/stop。",
        "/stop it",
        "/help me",
        "do /stop",
        "/chatgpts",
        "/new\nidea",
    ],
)
def test_with_more_words_it_is_none(text: str) -> None:
    assert COMMANDS.read(text, GATED) is None


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("/chatgpt what IS ＡＢＣ?", "what IS ＡＢＣ?"),
        ("/ChatGPT   two\n\nparagraphs ", "two\n\nparagraphs"),
        ("／ＣＨＡＴＧＰＴ\u3000你好", "你好"),
        ("/chatgpt\n/stop", "/stop"),
        (f"/chatgpt {'long ' * 30_000}", ("long " * 30_000).strip()),
    ],
)
def test_a_question_may_follow_the_start_and_is_kept_as_it_was_said(text: str, rest: str) -> None:
    assert COMMANDS.read(text, GATED) == ("start", rest)


def test_the_start_is_known_without_sessions_and_named_by_the_assistant() -> None:
    hello = SessionSettings(start="開始ＡＩ")
    assert COMMANDS.read("/chatgpt", None) == Command("start")
    assert COMMANDS.read("開始ai 你好", hello) == Command("start", "你好")
    assert COMMANDS.read("/chatgpt", hello) is None


def test_names_are_the_operators_own_and_none_switch_a_command_off() -> None:
    commands = Commands(CommandSettings(stop=("結束 對話", "Ｑ"), clear=()))
    assert commands.read("結束\u3000對話", None) == Command("stop")
    assert commands.read("q", None) == Command("stop")
    assert commands.read("/stop", None) is None
    assert commands.read("/new", None) is None


@given(st.text() | st.text("/chatgptSTOP／ \u3000\n", max_size=12))
def test_any_text_can_be_read(text: str) -> None:
    command = COMMANDS.read(text, GATED)
    assert command is None or (text.strip().endswith(command.rest) and (command.name == "start" or not command.rest))


@pytest.mark.parametrize("text", ["\u0316\u0301" * 200_000, "/chatgpt" + "\u0316\u0301" * 200_000, "ﷺ" * 200_000])
def test_no_text_takes_long_to_be_read(text: str) -> None:
    began = time.process_time()
    assert COMMANDS.read(text, GATED) is None
    assert time.process_time() - began < 1.0  # to sort the accents of all of it takes minutes


# The answers


@pytest.mark.parametrize(
    ("name", "result", "session", "said"),
    [
        ("start", "began", GATED, EN.session_began),
        ("start", "ongoing", GATED, EN.session_ongoing),
        ("start", "open", None, EN.session_open),
        ("stop", "ended", GATED, "All right, we'll end here. Send /chatgpt when you want to talk again."),
        ("stop", "ended", ALWAYS, EN.session_over),
        ("stop", "stopped", GATED, EN.answer_stopped),
        ("stop", "nothing", GATED, EN.nothing_to_stop),
        ("clear", "began", None, EN.cleared),
        (
            "expired",
            "",
            GATED,
            "Our conversation ended after 5 minutes of silence. Send /chatgpt to begin a new one.",
        ),
        ("expired", "", None, EN.session_over),
    ],
)
def test_a_command_is_answered_by_what_came_of_it(
    name: str, result: str, session: SessionSettings | None, said: str
) -> None:
    assert COMMANDS.answer(name, result, EN, session, None) == said


def test_the_history_is_a_link_or_a_kind_word() -> None:
    assert COMMANDS.answer("history", "", EN, GATED, LINK) == f"Everything we have talked about is here:\n{LINK}"
    assert COMMANDS.answer("history", "", EN, GATED, None) == EN.no_history


def test_help_lists_what_there_is_by_its_first_name() -> None:
    assert COMMANDS.answer("help", "", EN, GATED, None) == (
        "Here is what you can send me:\n\n"
        "/chatgpt – begin a conversation; your question may follow it\n"
        "/stop – stop my answer and end the conversation\n"
        "/clear – begin a new conversation\n"
        "/history – read what we have talked about\n"
        "/help – show this list"
    )
    assert Commands(CommandSettings(clear=(), history=("過去",))).answer("help", "", EN, ALWAYS, None) == (
        "Here is what you can send me:\n\n"
        "/stop – stop my answer\n"
        "過去 – read what we have talked about\n"
        "/help – show this list"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_is_whole_and_short(language: Language) -> None:
    names = ("start", "stop", "clear", "history", "help", "expired")
    results = ("", "began", "ongoing", "open", "ended", "stopped", "nothing")
    for name, result, session, link in product(names, results, (None, GATED, ALWAYS), (None, LINK)):
        said = COMMANDS.answer(name, result, words(language), session, link)
        assert said
        assert "{" not in said
        assert len(said.encode()) <= 500


def test_a_new_beginning_after_a_pause_is_told_before_the_answer() -> None:
    renewed = "(Nothing was said for over 2 hours, so this is a new conversation.)"
    assert notice(EN, SessionSettings(always=True, ttl=7200.0)) == renewed
    assert notice(EN, ALWAYS) == notice(EN, None) == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 second"),
        (1, "1 second"),
        (45, "45 seconds"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (300, "5 minutes"),
        (3600, "1 hour"),
        (3661, "61 minutes"),
        (5400, "90 minutes"),
        (7200, "2 hours"),
        (86400, "1 day"),
        (100_000, "28 hours"),
        (7 * 86400, "7 days"),
    ],
)
def test_a_time_is_told_in_the_unit_that_people_think_in(seconds: float, said: str) -> None:
    assert span(seconds, EN) == said
