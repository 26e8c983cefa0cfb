from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from chatferry import config
from chatferry.config import LineSettings, Settings, SlackSettings, WeChatSettings, load, load_server
from chatferry.errors import ConfigError
from chatferry.words import words

EXAMPLE = Path(__file__).parent.parent / "chatferry.example.toml"
LINE = {"LINE_CHANNEL_SECRET": "s3cret", "LINE_CHANNEL_ACCESS_TOKEN": "t0ken"}
DEMO = '[models.default]\nprovider = "demo"\n'
API = '[api]\nkeys = ["k"]\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no file of the developer's is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "chatferry.toml") -> Path:
    path = Path(name)
    path.write_text(text, "utf-8")
    return path


def faults(environ: dict[str, str] | None = None) -> list[str]:
    """What `load` complains of, line by line, the mends among them."""
    with pytest.raises(ConfigError) as caught:
        load(environ=environ or {})
    return str(caught.value).split("\n")


def line_of(made: Settings) -> LineSettings:
    line = made.channels["line"]
    assert isinstance(line, LineSettings)
    return line


# The environment alone


def test_the_environment_alone_makes_a_line_bot() -> None:
    made = load(environ={**LINE, "OPENAI_API_KEY": "sk-1"})
    line, model = line_of(made), made.models["default"]
    assert (line.secret.get_secret_value(), line.token.get_secret_value()) == ("s3cret", "t0ken")
    assert (line.path, line.api_base, line.assistant) == ("/hooks/line", "https://api.line.me", "default")
    assert (model.provider, model.model, model.base_url) == ("openai", "gpt-5-mini", "https://api.openai.com/v1")
    assert (made.assistants["default"].model, made.api, made.source) == ("default", None, "environment")


def test_every_variable_finds_its_setting() -> None:
    made = load(
        environ={
            **LINE,
            "LINE_API_BASE": "http://127.0.0.1:9000/line/",
            "LINE_DATA_API_BASE": "http://127.0.0.1:9000/data",
            "OPENAI_API_KEY": "sk-1",
            "OPENAI_BASE_URL": "http://127.0.0.1:9001/v1/",
            "OPENAI_MODEL": "gpt-x",
            "GEMINI_API_KEY": "g-1",
            "GEMINI_BASE_URL": "http://127.0.0.1:9002",
            "GEMINI_MODEL": "gemini-x",
            "CHATFERRY_API_KEY": "k-1",
            "CHATFERRY_DATABASE": "postgresql://u:p@db/chat",
            "CHATFERRY_INSTRUCTIONS": "用繁體中文回答問題",
            "CHATFERRY_PUBLIC_URL": "https://chat.example.com/",
            "PORT": "10000",
        }
    )
    openai, gemini, line = made.models["default"], made.models["gemini"], line_of(made)
    assert (openai.model, openai.base_url, openai.fallback) == ("gpt-x", "http://127.0.0.1:9001/v1", ("gemini",))
    assert (gemini.provider, gemini.model, gemini.base_url) == ("gemini", "gemini-x", "http://127.0.0.1:9002")
    assert (line.api_base, line.data_api_base) == ("http://127.0.0.1:9000/line", "http://127.0.0.1:9000/data")
    assert made.api is not None
    assert [key.get_secret_value() for key in made.api.keys] == ["k-1"]
    assert (made.server.database, made.server.port) == ("postgresql://u:p@db/chat", 10000)
    assert made.server.public_url == "https://chat.example.com"
    assert made.assistants["default"].tongue == "zh-TW"


def test_one_variable_makes_a_wechat_bot_and_the_others_find_their_settings() -> None:
    model = {"OPENAI_API_KEY": "sk-1"}
    bare = load(environ={**model, "WECHAT_TOKEN": "t0ken"}).channels["wechat"]
    assert isinstance(bare, WeChatSettings)
    assert (bare.token.get_secret_value(), bare.path) == ("t0ken", "/hooks/wechat")
    assert (bare.app_id, bare.app_secret, bare.aes_key, bare.mode) == ("", None, None, "auto")
    more = {"WECHAT_APP_ID": "wx1", "WECHAT_APP_SECRET": "s3cret", "WECHAT_AES_KEY": "k" * 43}
    rest = {"WECHAT_TOKEN": "t0ken", "WECHAT_MODE": "service", "WECHAT_API_BASE": "http://127.0.0.1:9/"}
    made = load(environ={**model, **more, **rest})
    full = made.channels["wechat"]
    assert isinstance(full, WeChatSettings)
    assert full.app_secret is not None
    assert full.aes_key is not None
    assert (full.app_id, full.app_secret.get_secret_value(), full.mode) == ("wx1", "s3cret", "service")
    assert (full.aes_key.get_secret_value(), full.api_base) == ("k" * 43, "http://127.0.0.1:9")
    assert "k" * 43 in made.secrets()
    assert list(load(environ={**model, **LINE, "WECHAT_API_BASE": "http://127.0.0.1:9"}).channels) == ["line"]


def test_gemini_alone_is_the_default_model() -> None:
    made = load(environ={**LINE, "GEMINI_API_KEY": "g-1"})
    assert {name: (model.provider, model.model) for name, model in made.models.items()} == {
        "default": ("gemini", "gemini-2.5-flash")
    }


def test_a_local_server_needs_no_key() -> None:
    assert load(environ={**LINE, "OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}).models["default"].api_key is None


def test_openai_itself_needs_a_key() -> None:
    assert faults({**LINE, "OPENAI_BASE_URL": "https://api.openai.com/v1/"}) == [
        "environment  OPENAI_API_KEY: is not set",
        "    mend: OPENAI_API_KEY=... in .env or the environment",
    ]


@pytest.mark.parametrize("missing", LINE)
def test_half_of_the_line_pair_names_the_other_half(missing: str) -> None:
    environ = {name: value for name, value in LINE.items() if name != missing}
    assert faults({**environ, "OPENAI_API_KEY": "sk-1"}) == [
        f"environment  {missing}: is not set",
        f"    mend: {missing}=... in .env or the environment",
    ]


def test_nothing_at_all_says_what_to_set_both_ways() -> None:
    models, mend_models, channels, mend_channels = faults()
    assert models == "environment  models: there is no model"
    assert all(word in mend_models for word in ("OPENAI_API_KEY", "GEMINI_API_KEY", "[models.default]"))
    assert channels.startswith("environment  channels: there is no channel and no api")
    assert all(word in mend_channels for word in (*LINE, "CHATFERRY_API_KEY", "[channels.line]", "[api]"))


def test_an_empty_variable_is_not_set_and_blanks_around_a_value_go() -> None:
    made = load(environ={**LINE, "OPENAI_API_KEY": "", "GEMINI_API_KEY": " g-1\n", "PORT": ""})
    key = made.models["default"].api_key
    assert key is not None
    assert (key.get_secret_value(), made.server.port) == ("g-1", 8080)


def test_render_tells_us_our_public_url_unless_we_were_told() -> None:
    render = {**LINE, "OPENAI_API_KEY": "sk-1", "RENDER_EXTERNAL_URL": "https://x.onrender.com"}
    assert load(environ=render).server.public_url == "https://x.onrender.com"
    told = render | {"CHATFERRY_PUBLIC_URL": "https://chat.example.com"}
    assert load(environ=told).server.public_url == "https://chat.example.com"
    file = write('[server]\npublic_url = "https://file.example.com"')
    assert load(file, render).server.public_url == "https://file.example.com"


def test_a_bad_variable_is_named_as_the_place_of_the_fault() -> None:
    assert faults({**LINE, "OPENAI_BASE_URL": "localhost:11434", "PORT": "http"}) == [
        "environment  PORT: must be a whole number",
        "environment  OPENAI_BASE_URL: must be an address that begins with http:// or https://",
    ]


# Where it is read from


def test_the_file_is_the_argument_then_the_variable_then_the_usual_name() -> None:
    paths = [write(DEMO + API, name) for name in ("chatferry.toml", "named.toml", "given.toml")]
    named = {"CHATFERRY_CONFIG": "named.toml"}
    assert [load(environ={}).source, load(environ=named).source, load(paths[2], named).source] == [
        "chatferry.toml",
        "named.toml",
        "given.toml",
    ]


def test_a_named_file_that_is_not_there_is_a_fault() -> None:
    assert faults({"CHATFERRY_CONFIG": "nowhere.toml"}) == ["nowhere.toml: No such file or directory"]


def test_a_file_in_another_encoding_is_a_fault() -> None:
    Path("chatferry.toml").write_bytes("# 設定".encode("big5"))
    assert faults() == ["chatferry.toml: is not written in UTF-8"]


def test_a_byte_order_mark_does_no_harm() -> None:
    assert load(write("\ufeff" + DEMO + API), {}).models["default"].provider == "demo"


def test_dotenv_beside_the_file_is_read_and_the_environment_wins(folder: Path) -> None:
    (folder / "etc").mkdir()
    write("OPENAI_API_KEY=from-here", ".env")
    write("OPENAI_API_KEY=from-file\nOPENAI_MODEL=from-file\nPASSWORD='a$b${HOME}'", "etc/.env")
    path = write(f'{API}[channels.line]\nsecret = "s"\ntoken = "${{PASSWORD}}"', "etc/c.toml")
    before = dict(os.environ)
    made = load(path, {"OPENAI_MODEL": "from-environment"})
    model = made.models["default"]
    assert model.api_key is not None
    assert (model.api_key.get_secret_value(), model.model) == ("from-file", "from-environment")
    assert line_of(made).token.get_secret_value() == "a$b${HOME}"
    assert dict(os.environ) == before


def test_dotenv_is_enough_without_a_file() -> None:
    write("\n".join(f"{name}={value}" for name, value in LINE.items()) + "\nexport OPENAI_API_KEY=sk-1\n", ".env")
    assert line_of(load(environ={})).secret.get_secret_value() == "s3cret"


def test_some_variables_win_over_the_file() -> None:
    path = write(
        f"""{DEMO}{API}[server]
        port = 1
        database = "${{UNSET}}"
        public_url = "https://a.example"
        """
    )
    environ = {"PORT": "2", "CHATFERRY_DATABASE": "sqlite:///b.db", "CHATFERRY_PUBLIC_URL": "https://b.example"}
    server = load(path, environ).server
    assert (server.port, server.database, server.public_url) == (2, "sqlite:///b.db", "https://b.example")


def test_the_environment_fills_in_the_tables_that_a_file_lacks() -> None:
    made = load(write("[server]\nport = 1"), {**LINE, "GEMINI_API_KEY": "g", "CHATFERRY_INSTRUCTIONS": "Be brief."})
    assert made.models["default"].provider == "gemini"
    assert made.assistants["default"].instructions == "Be brief."
    assert "line" in made.channels


def test_a_file_that_names_a_channel_gets_no_other_from_the_environment() -> None:
    assert load(write(DEMO + API), LINE).channels == {}


# ${NAME}


def test_variables_are_put_into_text_wherever_it_stands() -> None:
    path = write(
        DEMO
        + """
        [api]
        keys = ["${A}", "x-${A}-${B:-b}"]
        [server]
        port = "${P}"
        [assistants.default]
        instructions = "$${A} ${C:-} $A ${D:-你好}"
        """
    )
    made = load(path, {"A": "a", "P": "99"})
    assert made.api is not None
    assert [key.get_secret_value() for key in made.api.keys] == ["a", "x-a-b"]
    assert (made.server.port, made.assistants["default"].instructions) == (99, "${A}  $A 你好")


def test_what_a_variable_holds_is_not_looked_into() -> None:
    path = write(f'{DEMO}{API}[assistants.default]\ninstructions = "${{A}}"')
    assert load(path, {"A": "${B} $${C}"}).assistants["default"].instructions == "${B} $${C}"


def test_a_missing_variable_is_told_with_its_place_and_mend() -> None:
    write(f'# keys\n\n{API}\n[models.default]\nprovider = "openai"\nmodel = "m"\napi_key = "${{OPENAI_API_KEY}}"\n')
    assert faults() == [
        "chatferry.toml:9  models.default.api_key: OPENAI_API_KEY is not set",
        "    mend: OPENAI_API_KEY=... in .env or the environment",
    ]


def test_a_reference_that_is_none_is_a_fault() -> None:
    write(DEMO + API + '[assistants.default]\ninstructions = "a ${b c}"')
    assert faults() == [
        "chatferry.toml:6  assistants.default.instructions: `${` begins no ${NAME}",
        "    mend: write $${ for the two characters as they are",
    ]


# Values


def test_a_channel_is_of_the_type_that_it_is_named_after() -> None:
    path = write(DEMO + '[channels.line]\nsecret = "s"\ntoken = "t"')
    assert load(path, {}).channels["line"].type == "line"


def test_no_limit_of_tokens_is_written_0() -> None:
    assert load(write(DEMO + "max_tokens = 0\n" + API), {}).models["default"].max_tokens is None


@pytest.mark.parametrize(
    ("table", "tongue", "instructions"),
    [
        ("", "en", words("en").instructions),
        ('language = "ja"', "ja", words("ja").instructions),
        ('instructions = "请用简体中文回答"', "zh-CN", "请用简体中文回答"),
        ('instructions = "Sell books."\nlanguage = "zh-TW"', "zh-TW", "Sell books."),
    ],
)
def test_an_assistant_speaks_the_language_it_is_instructed_in(table: str, tongue: str, instructions: str) -> None:
    assistant = load(write(f"{DEMO}{API}[assistants.default]\n{table}"), {}).assistants["default"]
    assert (assistant.tongue, assistant.instructions) == (tongue, instructions)


def test_settings_cannot_be_changed() -> None:
    made = load(environ={**LINE, "OPENAI_API_KEY": "sk-1"})
    with pytest.raises(ValidationError):
        made.server.port = 1


def test_who_only_looks_at_the_database_needs_nothing_else_to_be_right() -> None:
    write(f'{DEMO}wrong = 1\n[channels.line]\nsecret = "${{UNSET}}"\n[server]\ndatabase = "sqlite:///a/b.db"')
    assert load_server(environ={}).file == Path("a/b.db")
    assert load_server(environ={"CHATFERRY_DATABASE": "postgresql://u:p@db/chat"}).file is None
    with pytest.raises(ConfigError, match=r"^environment  PORT: must be a whole number$"):
        load_server(environ={"PORT": "x"})


def test_a_room_of_slack_names_its_assistant_in_a_word_or_in_a_table() -> None:
    made = load(
        write(f"""{DEMO}[channels.slack]
secret = "s"
token = "t"
rooms = {{ C01 = "default", C02 = {{ assistant = "default" }} }}
"""),
        {},
    )
    slack = made.channels["slack"]
    assert isinstance(slack, SlackSettings)
    assert {room: its.assistant for room, its in slack.rooms.items()} == {"C01": "default", "C02": "default"}


def test_settings_know_what_must_not_be_shown() -> None:
    environ = {
        "LINE_CHANNEL_SECRET": "secret-1",
        "LINE_CHANNEL_ACCESS_TOKEN": "secret-2",
        "OPENAI_BASE_URL": "https://me:secret-3@models.example",
        "GEMINI_API_KEY": "secret-4",
        "CHATFERRY_API_KEY": "secret-5",
        "CHATFERRY_DATABASE": "postgresql://u:secret-6@db/chat",
    }
    assert load(environ=environ).secrets() == {f"secret-{n}" for n in range(1, 7)}
    assert load(write(DEMO + API), {}).secrets() == set()  # "k" is part of too many words


# The example


def used(text: str) -> str:
    """The example with every setting taken into use."""
    return re.sub(r"^#(?=[\w\[])", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('first_contact = "code"', "channels.line.code: is required"),
        ('code = "heron-tea"', "channels.line.code: is asked of nobody"),
        ('first_contact = "code"\ncode = "tea"', "channels.line.code: must have 8 characters at least"),
        ('allow = ["U1"]\ndeny = ["U2", "U1"]', "is in allow too"),
        ('denied = "No."', "channels.line.denied: is said to nobody"),
    ],
)
def test_doors_that_nobody_can_open_are_told(table: str, fault: str) -> None:
    write(f'{DEMO}[channels.line]\nsecret = "s"\ntoken = "t"\n{table}')
    assert any(fault in line for line in faults())


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("facts = false", "privacy.facts: leaves nothing to be told"),
        ('notice = "none.md"', "privacy.notice: cannot be read: No such file"),
    ],
)
def test_a_notice_that_says_nothing_is_told(table: str, fault: str) -> None:
    write(f"{DEMO}{API}[privacy]\n{table}")
    assert any(fault in line for line in faults())


@pytest.mark.parametrize("edit", [str, used])
def test_the_example_loads(edit: Callable[[str], str]) -> None:
    text = edit(EXAMPLE.read_text("utf-8"))
    write("We care.", "privacy.md")
    made = load(write(text), dict.fromkeys(re.findall(r"\${(\w+)}", text), "x" * 16) | {"WECHAT_AES_KEY": "k" * 43})
    assert made.assistants["default"].tongue == "zh-TW"


def test_what_the_readme_shows_loads(tmp_path: Path) -> None:
    readme = EXAMPLE.with_name("README.md").read_text("utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    path = tmp_path / "chatferry.toml"
    path.write_text(shown, "utf-8")
    assert load(path, dict.fromkeys(re.findall(r"\$\{(\w+)\}", shown), "a" * 43)).assistants["default"].budget.money


def test_the_example_shows_every_setting() -> None:
    tables = [kind for kind in vars(config).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    names = {name for kind in tables if kind is not Settings for name in kind.model_fields}
    shown = re.findall(r"^(?:\[.*\.)?(\w+)(?: = |\]$)", used(EXAMPLE.read_text("utf-8")), re.MULTILINE)
    assert names - set(shown) == set()
