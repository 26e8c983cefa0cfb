"""`chatferry simulate`: the playground for anybody's bot. Its platforms are simulated, the bot is yours, as it is."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from chatferry.playground.bots import Bot
from chatferry.playground.ending import heed_signals
from chatferry.playground.stage import bound, opened, simulators
from chatferry.serve import loop_factory
from chatferry.simulator.scene import Scene

PORT = 8766
"""Beside a demo."""


_SECRETS = {"line": "secret", "slack": "signing_secret", "wechat": "token"}
_TOKENS = {"line": "token", "slack": "bot_token", "wechat": "app_secret"}
_SAID = {
    "line": {"secret": "channel secret", "token": "channel access token"},
    "slack": {"signing_secret": "signing secret", "bot_token": "bot token"},
    "wechat": {"token": "token", "app_id": "AppID", "app_secret": "AppSecret", "aes_key": "EncodingAESKey"},
}
_API = {"line": "/line", "slack": "/slack/api/", "wechat": "/wechat"}


@dataclass
class Playing:
    """A simulation that goes on."""

    url: str
    scene: Scene
    lines: list[str]
    """What a bot has to be told."""


def run(
    bots: Mapping[str, Bot],
    *,
    host: str,
    port: int | None,
    browser: bool,
    shortcuts: Mapping[str, str],
) -> int:
    """Play until interrupted. Returns the exit status. Raises ConfigError."""
    with (
        bound(port, PORT, host) as sock,
        asyncio.Runner(loop_factory=loop_factory()) as runner,
        contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError),
    ):
        runner.run(_run(bots, sock, host, browser, shortcuts))
    return 0


async def _run(
    bots: Mapping[str, Bot], sock: socket.socket, host: str, browser: bool, shortcuts: Mapping[str, str]
) -> None:
    heed_signals()
    async with playing(bots, sock, host, shortcuts) as its:
        sys.stdout.write("\n".join([f"Chatferry playground: {its.url}  (Ctrl-C ends it)", *its.lines, ""]))
        sys.stdout.flush()
        if browser:
            from chatferry.playground.browser import show

            show(its.url)
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def playing(
    bots: Mapping[str, Bot], sock: socket.socket, host: str = "127.0.0.1", shortcuts: Mapping[str, str] | None = None
) -> AsyncIterator[Playing]:
    """The playground on this socket. `bots`: by platform. `shortcuts`: Slack's, by what they are called."""
    given = {platform: _settings(platform, bot) for platform, bot in bots.items()}
    scene = Scene()
    its = simulators(given, scene)
    async with opened(its, sock, host) as url:
        its.lead(url, {platform: bot.url for platform, bot in bots.items()})
        its.settle()
        named = [{"name": name, "callback_id": id} for name, id in (shortcuts or {}).items()]
        its.introduce("simulate", {platform: bot.url for platform, bot in bots.items()}, shortcuts=named)
        yield Playing(url, scene, list(_lines(url, bots, given)))


def _settings(platform: str, bot: Bot) -> dict[str, Any]:
    settings = dict(bot.more)
    settings[_SECRETS[platform]] = bot.secret or secrets.token_hex(16)
    settings[_TOKENS[platform]] = bot.token or secrets.token_hex(16)
    if platform == "wechat":
        settings.setdefault("app_id", f"wx{secrets.token_hex(8)}")
    return settings


def _lines(url: str, bots: Mapping[str, Bot], given: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What to tell each bot: where its platform is, and what was made up for it."""
    lines = []
    for platform, bot in bots.items():
        way = f"webhooks go to {bot.url}" if bot.url else "events go to the socket that the app opens"
        lines.append(f"  {platform}: {way}; the API's base URL is {url}{_API[platform]}")
        known = {bot.secret, bot.token, *map(str, bot.more.values())}
        lines += [
            f"  {platform}: {said} = {given[platform][name]}"
            for name, said in _SAID[platform].items()
            if given[platform].get(name) and given[platform][name] not in known
        ]
    return lines
