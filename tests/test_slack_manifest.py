"""The Slack app's manifest: right for Slack, and to be had before anything else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from chatferry.channels.slack_manifest import creation_link, manifest, to_yaml
from chatferry.channels.slack_scopes import EVENTS, SCOPES
from chatferry.cli.setup_slack import show
from chatferry.config import SlackSettings
from chatferry.errors import ConfigError
from chatferry.words import LANGUAGES, Language
from tests.commandline import shop

HOOK = "https://bot.example.com/hooks/slack"


def made(settings: SlackSettings | None = None, *, language: Language = "en", name: str = "Tea Shop") -> dict[str, Any]:
    return manifest(settings or SlackSettings(), name=name, hook_url=HOOK, redirect_url=None, language=language)


# The manifest


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_as_short_as_slack_wants_it(language: Language) -> None:
    """Limits of the "App manifest reference"; a shortcut's name has 24 characters."""
    features = made(language=language)["features"]
    assert len(made(language=language)["display_information"]["description"]) <= 140
    assert len(features["agent_view"]["agent_description"]) <= 300
    assert 1 <= len(features["agent_view"]["suggested_prompts"]) <= 4
    for shortcut in features["shortcuts"]:
        assert len(shortcut["name"]) <= 24
        assert len(shortcut["description"]) <= 150


def test_all_requests_come_to_the_one_hook() -> None:
    it = made()
    assert it["features"]["slash_commands"][0]["url"] == HOOK
    assert it["settings"]["event_subscriptions"]["request_url"] == HOOK
    assert it["settings"]["interactivity"] == {"is_enabled": True, "request_url": HOOK}
    assert it["settings"]["socket_mode_enabled"] is False


def test_socket_mode_names_no_address() -> None:
    it = made(SlackSettings(app_token=SecretStr("xapp-1")))
    assert it["settings"]["socket_mode_enabled"] is True
    assert "https://" not in to_yaml(it)
    assert it["settings"]["interactivity"] == {"is_enabled": True}


def test_scopes_events_and_shortcuts_are_those_that_the_channel_lives_by() -> None:
    it = made(SlackSettings(command="/tea"))
    assert set(it["oauth_config"]["scopes"]["bot"]) == set(SCOPES)
    assert set(it["settings"]["event_subscriptions"]["bot_events"]) == set(EVENTS)
    assert [shortcut["callback_id"] for shortcut in it["features"]["shortcuts"]] == ["stop_answer", "delete_answer"]
    assert it["features"]["slash_commands"][0]["command"] == "/tea"
    assert "redirect_urls" not in it["oauth_config"]


@pytest.mark.parametrize(("name", "bot"), [("Tea Shop!", "tea-shop"), ("茶店", "assistant"), ("A_b.C-1", "a_b.c-1")])
def test_a_bot_is_named_by_the_letters_that_slack_allows(name: str, bot: str) -> None:
    it = made(name=name)
    assert it["display_information"]["name"] == name
    assert it["features"]["bot_user"]["display_name"] == bot


# YAML

texts = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn", "Co"]), max_size=20)
words = st.sampled_from(["yes", "No", "~", "null", "1e3", "0x1", "12:30", "- a", "a: b", "#", "a #b", "", " ", "2026"])
trees = st.recursive(
    texts | words | st.booleans(),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(texts | words, child, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(texts | words, trees, min_size=1, max_size=4))
def test_yaml_reads_back_as_what_was_written(tree: dict[str, Any]) -> None:
    assert yaml.safe_load(to_yaml(tree)) == tree


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_link_carries_the_whole_manifest(language: Language) -> None:
    it = made(language=language)
    link = urlsplit(creation_link(it))
    assert link._replace(query="").geturl() == "https://api.slack.com/apps"
    query = parse_qs(link.query, strict_parsing=True)
    assert query["new_app"] == ["1"]
    assert yaml.safe_load(query["manifest_yaml"][0]) == it


# The command


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], environ: dict[str, str], **asked: Any) -> tuple[dict[str, Any], str]:
    """The manifest that is printed, and what is said beside it."""
    show(None, environ, **asked)
    told = capsys.readouterr()
    return yaml.safe_load(told.out), told.err


def write(text: str) -> None:
    Path("chatferry.toml").write_text(text, "utf-8")


async def test_the_command_needs_no_setting_at_all(tmp_path: Path) -> None:
    async with shop(tmp_path) as machine:
        machine.environ.clear()
        ended = await machine.run("slack", "manifest", "--name", "Tea")
        linked = await machine.run(
            "slack", "manifest", "--link", "--socket", CHATFERRY_PUBLIC_URL="https://bot.example.com"
        )
    assert ended.status == 0
    assert yaml.safe_load(ended.out)["display_information"]["name"] == "Tea"
    assert "https://YOUR-ADDRESS/hooks/slack" in ended.out
    assert "CHATFERRY_PUBLIC_URL" in ended.err
    assert "--socket" in ended.err
    assert "https://api.slack.com/apps?new_app=1&manifest_yaml=" in ended.err
    assert linked.out.startswith("https://api.slack.com/apps?new_app=1&manifest_yaml=")
    assert linked.out.count("\n") == 1
    assert "\nhint:" not in linked.err


def test_the_environment_says_where_we_are(capsys: pytest.CaptureFixture[str]) -> None:
    it, said = shown(capsys, {"CHATFERRY_PUBLIC_URL": "https://bot.example.com/"})
    assert it["settings"]["interactivity"]["request_url"] == HOOK
    assert "SLACK_BOT_TOKEN" in said
    assert "SLACK_SIGNING_SECRET" in said
    assert "\nhint:" not in said


def test_a_file_is_read_as_far_as_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    """Its tokens, its models and whatever else it lacks are not asked for."""
    write(
        """
        [server]
        public_url = "https://bot.example.com"
        secret = "${CHATFERRY_SECRET}"
        [models.default]
        provider = "openai"
        api_key = "${OPENAI_API_KEY}"
        [assistants.tea]
        instructions = "你是茶店的客服"
        [channels.team]
        type = "slack"
        secret = "${SLACK_SIGNING_SECRET}"
        token = "${SLACK_BOT_TOKEN}"
        command = "/tea"
        assistant = "tea"
        """
    )
    it, said = shown(capsys, {})
    assert it["features"]["slash_commands"][0]["command"] == "/tea"
    assert it["settings"]["interactivity"]["request_url"] == "https://bot.example.com/hooks/team"
    assert it["features"]["shortcuts"][0]["name"] == "停止回答"
    assert "`token` in [channels.team]" in said


def test_tokens_that_are_named_and_not_there_yet_say_what_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    write(
        """
        [channels.slack]
        app_token = "${SLACK_APP_TOKEN}"
        client_id = "${SLACK_CLIENT_ID}"
        """
    )
    it, said = shown(capsys, {"CHATFERRY_PUBLIC_URL": "https://bot.example.com"})
    assert it["settings"]["socket_mode_enabled"] is True
    assert it["oauth_config"]["redirect_urls"] == ["https://bot.example.com/slack/oauth"]
    assert "https://bot.example.com/slack/install" in said
    assert "connections:write" in said


def test_where_the_environment_says_all_it_is_told_as_variables(capsys: pytest.CaptureFixture[str]) -> None:
    _, said = shown(capsys, {"LINE_CHANNEL_SECRET": "s", "LINE_CHANNEL_ACCESS_TOKEN": "t"})
    assert "SLACK_BOT_TOKEN=..." in said


def test_several_workspaces_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    it, said = shown(capsys, {"CHATFERRY_PUBLIC_URL": "https://bot.example.com"}, several=True)
    assert it["oauth_config"]["redirect_urls"] == ["https://bot.example.com/slack/oauth"]
    assert "CHATFERRY_SECRET" in said


def test_a_token_in_the_address_is_said_to_be_secret(capsys: pytest.CaptureFixture[str]) -> None:
    write('[channels.slack]\nurl_token = "${T}"')
    it, said = shown(capsys, {"T": "hush&hush", "CHATFERRY_PUBLIC_URL": "http://bot.example.com"})
    assert it["settings"]["interactivity"]["request_url"].endswith("/hooks/slack?token=hush%26hush")
    assert "url_token" in said
    assert "https:// only" in said


@pytest.mark.parametrize(
    ("text", "asked", "fault"),
    [
        ("", {"name": ""}, "--name"),
        ("", {"name": "a" * 36}, "--name"),
        ("", {"name": "a\nb"}, "--name"),
        ('[channels.a]\ntype = "slack"\n[channels.b]\ntype = "slack"', {}, "--channel a or b"),
        ("[channels.slack]", {"channel": "slak"}, "did you mean `slack`?"),
        ('[channels.slack]\ncommand = "ask"', {}, "chatferry.toml:2  channels.slack.command: must be a slash"),
        ('[channels.slack]\nurl_token = "${GONE}"', {}, "GONE is not set"),
        ('[server]\npublic_url = "bot"', {}, "chatferry.toml:2  server.public_url: must be an address"),
        ("[channels", {}, "this is not TOML"),
    ],
)
def test_what_is_said_and_is_wrong_is_a_fault(text: str, asked: dict[str, str], fault: str) -> None:
    write(text)
    with pytest.raises(ConfigError) as told:
        show(None, {}, **asked)  # type: ignore[arg-type]  # mypy does not know which of them are texts
    assert fault in str(told.value)


def test_a_channel_of_another_platform_is_no_obstacle(capsys: pytest.CaptureFixture[str]) -> None:
    write('[channels.line]\nsecret = "${A}"\ntoken = "${B}"')
    it, said = shown(capsys, {"CHATFERRY_PUBLIC_URL": "https://bot.example.com"}, channel="team")
    assert it["settings"]["interactivity"]["request_url"] == "https://bot.example.com/hooks/team"
    assert "`token` in [channels.team]" in said
