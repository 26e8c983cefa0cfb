"""[commands], [[replies]], [pages], sessions, and languages by file: what they take, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.config import SessionSettings, Settings, load
from chatferry.errors import ConfigError
from chatferry.words import MODEL, words

HEAD = '[models.default]\nprovider = "demo"\n[api]\nkeys = ["k"]\n'
"""Four lines, which say all that is needed."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no file of the developer's is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(text: str) -> Settings:
    path = Path("chatferry.toml")
    path.write_text(HEAD + text, "utf-8")
    return load(path, {"TTL": "90"})


def faults(text: str) -> list[str]:
    """What `load` complains of, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        made(text)
    return str(caught.value).replace("chatferry.toml:", "").split("\n")


def session(text: str) -> SessionSettings:
    session = made(f"[assistants.default.session]\n{text}").assistants["default"].session
    assert session is not None
    return session


# Sessions and times


def test_there_is_no_session_where_none_is_said() -> None:
    assert made("").assistants["default"].session is None
    assert session("").model_dump() == {"start": "/chatgpt", "always": False, "ttl": 300.0, "outside": "ignore"}


def test_a_session_that_is_always_open_ends_by_silence_only_where_that_is_said() -> None:
    assert session("always = true").ttl is None
    assert session('ttl = "1h"\nalways = true').ttl == 3600.0


@pytest.mark.parametrize(
    ("written", "seconds"),
    [('"30s"', 30), ('"5m"', 300), ('"1.5 h"', 5400), ('"7d"', 604800), ("90", 90), ("0.5", 0.5), ('"${TTL}"', 90)],
)
def test_a_time_is_written_with_its_unit_or_in_seconds(written: str, seconds: float) -> None:
    assert session(f"ttl = {written}").ttl == seconds
    assert made(f"[pages]\nttl = {written}").pages.ttl == seconds


@pytest.mark.parametrize("written", ['"soon"', '"5 min"', '"-5m"', '""', '"5m 30s"', "true", "[5]", f'"{"9" * 400}"'])
def test_what_is_no_time_is_told(written: str) -> None:
    problem = "must be a time such as 30s, 5m, 12h or 7d"
    assert faults(f"[pages]\nttl = {written}") == [f"6  pages.ttl: {problem}"]
    assert faults(f"[assistants.default.session]\nttl = {written}") == [f"6  assistants.default.session.ttl: {problem}"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("0", "must be greater than 0"),
        ("-1", "must be greater than 0"),
        ("inf", "must be a finite number"),
        ('"4000d"', "must be less than or equal to 315360000"),
        ("9" * 400, "must be"),
    ],
)
def test_a_time_beyond_reason_is_told(written: str, told: str) -> None:
    assert faults(f"[pages]\nttl = {written}")[0].startswith(f"6  pages.ttl: {told}")


@pytest.mark.parametrize(
    ("setting", "told", "mend"),
    [
        ('start = " "', "start: must not be empty", ""),
        ('start = "go on"', "start: must be one word, as a question may follow it", ""),
        (f'start = "{"x" * 41}"', "start: is too long", ""),
        ('strat = "/go"', "strat: is not a setting", "did you mean `start`?"),
        ('start = "／ＳＴＯＰ"', "start: is in commands.stop too", "leave it out of one of them"),
        ('outside = ""', "outside: must not be empty", ""),
        ('outside = "default"', "outside: is the assistant itself", '"ignore", another assistant, or a text'),
        ('outside = "shopp"', "outside: is no text and names nothing that exists", "did you mean `shop`?"),
        ('outside = "Ignore"', "outside: is no text and names nothing that exists", "did you mean `ignore`?"),
    ],
)
def test_a_session_that_leads_nowhere_is_told(setting: str, told: str, mend: str) -> None:
    fault, *mends = faults(f"[assistants.default.session]\n{setting}\n[assistants.shop]")
    assert fault == f"6  assistants.default.session.{told}"
    assert " ".join(mends).startswith(f"    mend: {mend}" if mend else "")
    assert bool(mends) == bool(mend)


@pytest.mark.parametrize("outside", ["ignore", "shop", "Send /chatgpt to talk to me.", "您好", "Hello"])
def test_what_happens_outside_is_a_name_or_a_text(outside: str) -> None:
    text = f'[assistants.default.session]\noutside = "{outside}"\n[assistants.shop]'
    its = made(text).assistants["default"].session
    assert its is not None
    assert its.outside == outside


# Commands


def test_commands_have_the_names_that_are_given_and_keep_the_others() -> None:
    commands = made('[commands]\nstop = ["Stop", "停"]\nhelp = []').commands
    assert (commands.stop, commands.clear, commands.help) == (("Stop", "停"), ("/clear", "/new"), ())


@pytest.mark.parametrize(
    ("text", "place", "owners"),
    [
        ('clear = ["/clear", "／Stop"]', "6  commands.clear.1", "stop and in clear"),
        ('stop = ["/new"]', "6  commands.stop", "stop and in clear"),
        ('history = ["x"]\nhelp = ["X"]', "7  commands.help.0", "history and in help"),
    ],
)
def test_a_name_that_is_two_commands_is_told(text: str, place: str, owners: str) -> None:
    assert faults(f"[commands]\n{text}") == [f"{place}: is in {owners}", "    mend: leave it out of one of them"]


def test_a_name_may_stand_twice_for_one_command() -> None:
    assert made('[commands]\nstop = ["/stop", "/STOP"]').commands.stop == ("/stop", "/STOP")


def test_a_command_that_nobody_can_say_is_told() -> None:
    assert faults('[commands]\nstop = ["\u3000"]\nclear = "/new"\nhelp = [3]') == [
        "6  commands.stop.0: must not be empty",
        "7  commands.clear: must be a list",
        "8  commands.help.0: must be text in quotes",
    ]


# Replies


def test_every_fault_of_a_reply_is_told_in_its_place() -> None:
    assert faults("""\
[[replies]]
match = "hours"
reply = "9 to 18"
channels = ["api"]

[[replies]]
reply = " "
[[replies]]
match = " "
reply = "x"
python = "shop:f"
[[replies]]
match = "(hush"
by = "regex"
python = "shop"
channels = ["lime"]
[[replies]]
match = "x"
by = "glob"
""") == [
        "10  replies.1.match: is required",
        "    mend: match = ... in [[replies]]",
        "11  replies.1.reply: must not be empty",
        "12  replies.2: has reply and python, and can do one",
        '    mend: reply = "..." or python = "module:function"',
        "13  replies.2.match: must not be empty",
        "17  replies.3.match: is no regular expression, from character 6 on",
        '    mend: by = "exact" compares it as it stands',
        "19  replies.3.python: must name a function like module:function",
        "20  replies.3.channels.0: names nothing that exists",
        "    mend: one of `api`",
        "21  replies.4: does nothing",
        '    mend: reply = "..." or python = "module:function"',
        "23  replies.4.by: must be 'exact', 'prefix' or 'regex'",
    ]


def test_replies_keep_their_order_and_their_functions_are_not_looked_for_yet() -> None:
    rules = made('[[replies]]\nmatch = "a"\npython = "nowhere:f"\n[[replies]]\nmatch = "b"\nreply = "c"').replies
    assert [(rule.match, rule.reply, rule.python) for rule in rules] == [("a", None, "nowhere:f"), ("b", "c", None)]


# A language by file


def korean(**changed: str) -> str:
    """A file of sentences, some of which are in another language."""
    lines = Path(MODEL).read_text("utf-8").splitlines()
    return "\n".join(changed.pop(line.split(" = ")[0], line) for line in lines) + "\n" + "\n".join(changed.values())


def test_a_language_may_be_a_file_beside_the_configuration(folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "ko.toml").write_text(korean(greeting='greeting = "안녕하세요!"'), "utf-8")
    (folder / "etc" / "chatferry.toml").write_text(f'{HEAD}[assistants.default]\nlanguage = "./ko.toml"', "utf-8")
    its = load(folder / "etc" / "chatferry.toml", {}).assistants["default"]
    assert (its.words.greeting, its.words.usage) == ("안녕하세요!", words("en").usage)
    assert (its.instructions, its.tongue) == (words("en").instructions, "en")


def test_what_a_file_lacks_or_has_too_much_is_told_at_once(folder: Path) -> None:
    text = korean(
        stop="", help="", more='mroe = "x"', cancel="cancel = 3", usage='usage = "{0}"', image='image = "{x}"'
    )
    (folder / "ko.toml").write_text(text, "utf-8")
    assert faults('[assistants.default]\nlanguage = "ko.toml"') == [
        "6  assistants.default.language: is a file that cannot be used: it lacks more, stop, help; has unknown "
        "sentences: mroe; has no text for cancel; must have in usage: {command}; must have in image: nothing",
        f"    mend: translate {MODEL}",
    ]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (None, "it cannot be read: No such file or directory"),
        ("언어".encode("euc-kr"), "it is not written in UTF-8"),
        (b"a b", "it is no TOML: Expected '='"),
    ],
)
def test_a_file_that_is_none_is_told(folder: Path, raw: bytes | None, told: str) -> None:
    if raw is not None:
        (folder / "ko.toml").write_bytes(raw)
    fault, mend = faults('[assistants.default]\nlanguage = "ko.toml"')
    assert fault.startswith(f"6  assistants.default.language: is a file that cannot be used: {told}")
    assert mend == f"    mend: translate {MODEL}"


def test_an_unknown_language_is_told_without_it() -> None:
    assert faults('[assistants.default]\nlanguage = "hush"') == [
        "6  assistants.default.language: must be 'zh-TW', 'zh-CN', 'ja', 'en', 'auto' or a .toml file"
    ]
