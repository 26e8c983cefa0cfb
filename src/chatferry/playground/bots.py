"""Whose bots `chatferry simulate` plays with: what was given on the command line, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chatferry.errors import ConfigError


@dataclass(frozen=True)
class Bot:
    """One bot on one platform. What is empty is made up, and told."""

    url: str
    """Where it takes webhooks; empty: a Slack app that opens a socket."""
    secret: str = ""
    """What signs them: LINE's channel secret, Slack's signing secret, WeChat's token."""
    token: str = ""
    """What it calls the API with: LINE's channel access token, Slack's bot token, WeChat's AppSecret."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the platform's simulator."""


@dataclass(frozen=True)
class Given:
    """Options, by platform where there is one for each; empty: not given."""

    urls: Mapping[str, str]
    secrets: Mapping[str, str]
    tokens: Mapping[str, str]
    secret: str = ""
    token: str = ""
    slack_app_token: str = ""
    wechat_app_id: str = ""
    wechat_aes_key: str = ""


def bots(given: Given) -> dict[str, Bot]:
    """By platform. Raises ConfigError for what cannot be meant."""
    more = {"slack": {"app_token": given.slack_app_token}, "wechat": {"app_id": given.wechat_app_id}}
    if given.wechat_aes_key:
        if not re.fullmatch(r"[A-Za-z0-9+/]{43}", given.wechat_aes_key):
            raise ConfigError("--wechat-aes-key: an EncodingAESKey has 43 letters and digits")
        more["wechat"] |= {"aes_key": given.wechat_aes_key, "mode": "encrypted"}
    named = [name for name, url in given.urls.items() if url or (name == "slack" and given.slack_app_token)]
    of_wechat = given.secrets["wechat"] or given.tokens["wechat"] or given.wechat_app_id or given.wechat_aes_key
    for name, said in {**given.secrets, "wechat": of_wechat}.items():
        if (said or given.tokens[name]) and name not in named:
            raise ConfigError(
                f"options of {name} are given, but not the bot\n  mend: --{name} URL, where its webhook is"
            )
    if not named:
        mend = "chatferry simulate --line http://localhost:5000/callback --secret CHANNEL_SECRET"
        raise ConfigError(f"which bot? say where its webhook is\n  mend: {mend}")
    if len(named) > 1 and (given.secret or given.token):
        mend = "use --line-secret, --line-token, --slack-secret, ... when there are several"
        raise ConfigError(f"--secret, --token: whose? of {' and '.join(named)}\n  mend: {mend}")
    made = {}
    for name in named:
        url = given.urls[name]
        if url and not re.fullmatch(r"https?://[^\s/?#]+\S*", url):
            raise ConfigError(f"--{name}: must be an address that begins with http:// or https://")
        settings = {setting: value for setting, value in more.get(name, {}).items() if value}
        made[name] = Bot(url, given.secrets[name] or given.secret, given.tokens[name] or given.token, settings)
    return made


def named(shortcuts: Sequence[str]) -> dict[str, str]:
    """Slack's shortcuts by what people read, from NAME=CALLBACK_ID. Raises ConfigError."""
    made = {}
    for one in shortcuts:
        name, sign, id = one.rpartition("=")
        if not (name and sign and id):
            raise ConfigError(f'--shortcut: {one!r} is not NAME=CALLBACK_ID\n  mend: --shortcut "Stop=stop_answer"')
        made[name] = id
    return made
