"""`chatferry demo`: the playground with our own gateway behind it, which answers as `chatferry serve` would."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatferry.clock import SystemClock
from chatferry.errors import ConfigError
from chatferry.playground.ending import ended, heed_signals
from chatferry.playground.plan import SCRIPT, Composed, Plan, compose, spoken
from chatferry.playground.process import GatewayProcess
from chatferry.serve import loop_factory
from chatferry.simulator.scene import Scene
from chatferry.simulator.serving import listening

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from chatferry.config import Settings

PORT = 8765
"""Where the page is, if nobody else is there."""
_TOKENS = 40.0
"""Of the script, in a second: one sees an answer grow."""


@dataclass(frozen=True)
class Wish:
    """What the command line says."""

    config: Path | None = None
    model: str = ""
    pace: float | None = None
    """Seconds between two tokens of the script."""


@dataclass
class Playing:
    """A demo that goes on."""

    url: str
    scene: Scene
    gateway: GatewayProcess
    label: str
    lacking: str
    """What is left out, and why; empty: nothing."""
    settings: Settings
    """Of the gateway."""


def run(wish: Wish, *, port: int | None, browser: bool) -> int:
    """Play until interrupted. Returns the exit status. Raises ConfigError."""
    from chatferry.playground.stage import bound

    with (
        bound(port, PORT) as sock,
        asyncio.Runner(loop_factory=loop_factory()) as runner,
        contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError),
    ):
        runner.run(_run(wish, sock, browser))
    return 0


async def _run(wish: Wish, sock: socket.socket, browser: bool) -> None:
    heed_signals()
    async with playing(wish, sock) as its:
        if its.lacking:
            sys.stdout.write(f"{its.lacking}\n")
        sys.stdout.write(f"Chatferry playground: {its.url}  (model: {its.label}; Ctrl-C ends it)\n")
        sys.stdout.flush()
        if browser:
            from chatferry.playground.browser import show

            show(its.url)
        looking = asyncio.create_task(_tell_missed(its.settings), name="tool servers")
        try:
            await _tell_failed(its.scene)
            await asyncio.Event().wait()
        finally:
            await ended(looking)


async def _tell_failed(scene: Scene) -> None:
    """Say what the gateway said last, as often as it does not start, or ends by itself."""
    async for facts in scene.follow():
        for fact in facts:
            if fact["kind"] == "gateway" and fact.get("state") == "failed":
                sys.stderr.write(f"The gateway does not run:\n{fact['log']}\n")
                sys.stderr.flush()


async def _tell_missed(settings: Settings) -> None:
    """Say which tool servers do not work, as `check` does: people are answered without them, and nothing shows it."""
    if not settings.mcp:
        return
    from chatferry.parts import make_servers
    from chatferry.watching import logs

    logs.configure("console", level=logging.WARNING, hide=settings.secrets())  # what they say is in the gateway's log
    try:
        servers = make_servers(settings, SystemClock())
    except ConfigError as fault:
        sys.stdout.write(f"{fault}\n")
        sys.stdout.flush()
        return
    for server in servers.values():
        async for found in server.check():
            if not found.ok:
                told = f"{found.subject}: {found.detail}\n  mend: {found.mend}\n"
                for secret in settings.secrets():
                    told = told.replace(secret, "***")
                sys.stdout.write(told)
                sys.stdout.flush()


@contextlib.asynccontextmanager
async def playing(wish: Wish, sock: socket.socket) -> AsyncIterator[Playing]:
    """The playground on this socket, and the gateway, which may still be starting. Raises ConfigError."""
    host, port = sock.getsockname()[:2]
    base = f"http://{host}:{port}"
    ours, theirs, lacking = _credentials(base)
    scene = Scene()
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chatferry-demo-", ignore_cleanup_errors=True))
        plan = Plan(
            base=base,
            port=_free_port(),
            folder=folder,
            channels=theirs,
            config=str(wish.config) if wish.config else None,
            model=wish.model,
            language=spoken(os.environ),
        )
        composed = compose(plan)
        gateway = GatewayProcess(plan, scene)
        keeper = asyncio.create_task(gateway.keep(), name="gateway")
        stack.push_async_callback(ended, keeper)
        await asyncio.sleep(0)  # it starts while we import what we need ourselves
        from chatferry.playground import acting, stage
        from chatferry.simulator.model import ModelSimulator
        from chatferry.simulator.model_weather import ModelProxy

        its = stage.simulators(ours, scene)
        rate = _TOKENS if wish.pace is None else 1 / wish.pace if wish.pace else 0.0
        script = ModelSimulator(converse=stage.script, act=acting.act, rate=rate)
        proxy = await stack.enter_async_context(ModelProxy(scene, composed.upstreams))
        extra: dict[str, ASGIApp] = {"model": proxy, "script": script.app}
        url = await stack.enter_async_context(
            stage.opened(its, sock, extra=extra, gateway=gateway, records=[script.requests])
        )
        label = _settled(its, base, plan, composed)
        stack.push_async_callback(ended, keeper)  # while there is still whom its last words are for
        watching = asyncio.create_task(_watch(gateway, plan, scene, composed), name="ways")
        stack.push_async_callback(ended, watching)
        yield Playing(url, scene, gateway, label, lacking, composed.settings)


async def _watch(gateway: GatewayProcess, plan: Plan, scene: Scene, composed: Composed) -> None:
    from chatferry.playground import ways

    await gateway.up()
    await ways.follow(plan.database, scene, composed.platforms)


def _settled(its: Any, base: str, plan: Plan, composed: Composed) -> str:
    """Say to the scene who is there; returns the name of what answers."""
    from chatferry.channels.slack_manifest import manifest
    from chatferry.playground.stage import BOT

    settings = composed.settings
    gateway = f"http://127.0.0.1:{plan.port}"
    channels = {channel.type: channel for channel in reversed(settings.channels.values())}
    bots = {platform: f"{gateway}{channel.path}" for platform, channel in channels.items()}
    its.lead(base, bots)
    its.settle()
    shortcuts: list[dict[str, str]] = []
    command = ""
    slack = channels.get("slack")
    if slack is not None and slack.type == "slack":
        language = settings.assistants[slack.assistant].tongue
        features = manifest(slack, name=BOT, hook_url=bots["slack"], redirect_url=None, language=language)["features"]
        shortcuts = [{name: one[name] for name in ("name", "callback_id")} for one in features["shortcuts"]]
        command = slack.command
    asked = {settings.assistants[channel.assistant].model for channel in channels.values()}
    models = [settings.models[name] for name in sorted(asked)]
    label = ", ".join(sorted({model.model or model.provider for model in models}))
    engine = SCRIPT if any(model.model == SCRIPT for model in models) else models[0].provider
    its.introduce("demo", bots, model=label, engine=engine, gateway=gateway, shortcuts=shortcuts, command=command)
    return "a script, no AI" if engine == SCRIPT else label


def _credentials(base: str) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, str]], str]:
    """What simulators and gateway know each other by, new each time; and what is left out, and why."""
    secret, token = secrets.token_hex(16), secrets.token_hex(32)
    signing, bot = secrets.token_hex(16), f"xoxb-{secrets.token_hex(24)}"
    ours: dict[str, dict[str, Any]] = {
        "line": {"secret": secret, "token": token},
        "slack": {"signing_secret": signing, "bot_token": bot},
    }
    theirs = {
        "line": {"secret": secret, "token": token, "api_base": f"{base}/line", "data_api_base": f"{base}/line"},
        "slack": {"secret": signing, "token": bot, "api_base": f"{base}/slack/api"},
    }
    if any(find_spec(name) is None for name in ("cryptography", "defusedxml")):
        return ours, theirs, "WeChat is left out: it needs  pip install 'chatferry[wechat]'"
    account = {
        "token": secrets.token_hex(16),
        "app_id": f"wx{secrets.token_hex(8)}",
        "app_secret": secrets.token_hex(16),
        "aes_key": secrets.token_hex(32)[:43],
    }
    ours["wechat"] = {**account, "mode": "encrypted"}
    theirs["wechat"] = {**account, "api_base": f"{base}/wechat"}
    return ours, theirs, ""


def _free_port() -> int:
    """A port for the gateway, which needs the same one again after each start."""
    with listening() as sock:
        return int(sock.getsockname()[1])
