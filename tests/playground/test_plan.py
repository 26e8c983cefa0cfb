"""What a playground makes of the user's own configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.config import LineSettings, SlackSettings
from chatferry.errors import ConfigError
from chatferry.playground.plan import Plan, compose, spoken

BASE = "http://127.0.0.1:8765"
THEIRS = {
    "line": {"secret": "s" * 32, "token": "t" * 32, "api_base": f"{BASE}/line", "data_api_base": f"{BASE}/line"},
    "slack": {"secret": "s" * 32, "token": "xoxb-1", "api_base": f"{BASE}/slack/api"},
}


def plan(folder: Path, config: str = "", *, model: str = "", base: str = BASE, language: str = "auto") -> Plan:
    path = folder / "chatferry.toml"
    if config:
        path.write_text(config, "utf-8")
    given = str(path) if config else None
    return Plan(base=base, port=9, folder=str(folder), channels=THEIRS, config=given, model=model, language=language)


def test_with_nothing_at_all_a_script_answers_on_every_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, upstreams, platforms = compose(plan(tmp_path, language="ja"), {})
    assert settings.models["default"].model == "script"
    assert settings.models["default"].base_url == f"{BASE}/model/default"
    assert upstreams == {"default": f"{BASE}/script/v1"}
    assert platforms == {"line": "line", "slack": "slack"}
    assert settings.assistants["default"].tongue == "ja"
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 9)
    assert settings.server.file == tmp_path / "demo.db"


def test_a_script_never_passes_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--model: there is no key for gpt-9"):
        compose(plan(tmp_path, model="gpt-9"), {})
    assert compose(plan(tmp_path, model="script"), {}).settings.models["default"].model == "script"


def test_a_key_in_the_environment_is_a_real_model_by_way_of_the_playground(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, upstreams, _ = compose(plan(tmp_path), {"OPENAI_API_KEY": "sk-1", "GEMINI_API_KEY": "g-1"})
    assert upstreams == {
        "default": "https://api.openai.com/v1",
        "gemini": "https://generativelanguage.googleapis.com/v1beta",
    }
    assert {model.base_url for model in settings.models.values()} == {f"{BASE}/model/default", f"{BASE}/model/gemini"}
    key = settings.models["default"].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-1"
    assert (
        compose(plan(tmp_path, model="gpt-9"), {"OPENAI_API_KEY": "sk-1"}).settings.models["default"].model == "gpt-9"
    )
    script = compose(plan(tmp_path, model="script"), {"OPENAI_API_KEY": "sk-1"})
    assert [model.model for model in script.settings.models.values()] == ["script"]


CONFIG = """
[server]
database = "postgresql://somebody:secret@production/chatferry"
secret = "${NOT_SET_HERE}"
[models.default]
provider = "openai"
base_url = "http://localhost:11434/v1"
model = "llama"
[models.big]
provider = "openai"
base_url = "http://localhost:11434/v1"
model = "llama-big"
[assistants.default]
instructions = "You sell tea."
[assistants.translator]
instructions = "Translate."
model = "big"
[channels.shop]
type = "line"
secret = "${LINE_CHANNEL_SECRET}"
token = "${LINE_CHANNEL_ACCESS_TOKEN}"
late = "button"
path = "/callback"
[channels.team]
type = "slack"
app_token = "${SLACK_APP_TOKEN}"
client_id = "1.2"
client_secret = "${SLACK_CLIENT_SECRET}"
rooms = { C0123456789 = "translator" }
[[replies]]
match = "hours"
reply = "9 to 5"
channels = ["shop"]
[api]
keys = ["${API_KEY}"]
"""


def test_a_file_keeps_all_that_is_not_the_platforms(tmp_path: Path) -> None:
    settings, upstreams, platforms = compose(plan(tmp_path, CONFIG), {"CHATFERRY_DATABASE": "postgresql://other/db"})
    assert settings.server.database.startswith("sqlite:///")
    assert settings.api is None
    assert platforms == {"shop": "line", "team": "slack"}
    shop, team = settings.channels["shop"], settings.channels["team"]
    assert isinstance(shop, LineSettings)
    assert (shop.late, shop.path, shop.api_base) == ("button", "/callback", f"{BASE}/line")
    assert shop.secret.get_secret_value() == "s" * 32
    assert isinstance(team, SlackSettings)
    assert team.app_token is None
    assert team.rooms["C0123456789"].assistant == "translator"
    assert settings.assistants["default"].instructions == "You sell tea."
    assert upstreams == {"default": "http://localhost:11434/v1", "big": "http://localhost:11434/v1"}


def test_a_model_of_the_file_may_answer_for_all(tmp_path: Path) -> None:
    settings = compose(plan(tmp_path, CONFIG, model="big"), {}).settings
    assert {model.model for model in settings.models.values()} == {"llama-big"}
    other = compose(plan(tmp_path, CONFIG, model="mistral"), {}).settings
    assert {model.model for model in other.models.values()} == {"mistral"}


def test_the_script_takes_the_place_of_every_model_of_the_file(tmp_path: Path) -> None:
    settings = compose(plan(tmp_path, CONFIG, model="script"), {}).settings
    assert list(settings.models) == ["default"]
    assert settings.assistants["translator"].model == "default"


def test_without_a_page_models_are_asked_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings, upstreams, _ = compose(plan(tmp_path, base=""), {})
    assert settings.models["default"].provider == "demo"
    assert upstreams == {}
    settings, upstreams, _ = compose(plan(tmp_path, base=""), {"OPENAI_API_KEY": "sk-1"})
    assert settings.models["default"].base_url == "https://api.openai.com/v1"
    assert upstreams == {}


def test_faults_of_the_file_are_told_as_ever(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.default\.temprature: is not a setting"):
        compose(plan(tmp_path, "[models.default]\nprovider = 'demo'\ntemprature = 1\n"), {})
    with pytest.raises(ConfigError, match="assistants: must be a table"):
        compose(plan(tmp_path, "channels = 5\nmodels.default.provider = 'demo'\nassistants = 3"), {})


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_TW.UTF-8"}, "zh-TW"),
        ({"LANG": "zh_HK"}, "zh-TW"),
        ({"LC_ALL": "ja_JP.UTF-8", "LANG": "en_US"}, "ja"),
        ({"LANG": "zh_CN.UTF-8"}, "zh-CN"),
    ],
)
def test_the_language_of_the_terminal(environ: dict[str, str], language: str) -> None:
    assert spoken(environ) == language
