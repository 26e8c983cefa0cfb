"""Platforms, models, people and callers around one fleet."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chatferry.simulator.serving import serving
from tests.chaos import load_api
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.moody import Moody
from tests.postgres import Cluster
from tests.scenarios import line_crash, slack_crash, wechat_crash
from tests.scenarios.crash import Trial

HOLD, LIMIT = 1.4, 2.0
"""WeChat's five seconds, in a world that is in a hurry, and on a machine that has much to do."""
PAUSE = 0.8
"""Seconds between two messages of a person, more or less."""


@dataclass
class World:
    """Everything there is."""

    fleet: Fleet
    models: Mapping[str, Moody]
    """Each channel's own."""
    line: line_crash.Ordeal
    slack: slack_crash.Ordeal
    wechat: wechat_crash.Ordeal
    api: load_api.Ordeal

    @property
    def trials(self) -> Mapping[str, Trial]:
        return {"line": self.line, "slack": self.slack, "wechat": self.wechat, "api": self.api}


@contextlib.asynccontextmanager
async def world(folder: Path, server: Cluster, seed: int, people: int) -> AsyncIterator[World]:
    """Everything in place, and no process started yet. people: how many write on each channel."""

    def chance(name: str) -> random.Random:
        return random.Random(f"{seed} {name}")  # noqa: S311 - for a test to be repeated, not for secrets

    line = line_crash.FarLine(quota=None)
    slack = slack_crash.FarSlack(limits=False, streams=False, sessions=False)
    wechat = wechat_crash.FarWeChat(limit=LIMIT, gap=LIMIT, verified=False)
    line.chance, slack.chance, wechat.chance = chance("line"), chance("slack"), chance("wechat")
    slack.pauses = tuple(slack.chance.uniform(0.02, 0.2) for _ in range(1000))
    rambling = chance("model")
    models = {
        "line": Moody(rambling, reply=lambda words: f"{words}:{' la' * rambling.randrange(15)}", rate=50.0),
        "slack": Moody(rambling, reply=slack_crash.reply(rambling), rate=100.0),
        "wechat": Moody(rambling, rate=wechat_crash.RATE),
        "api": Moody(rambling, reply=load_api.reply(rambling), rate=100.0),
    }
    async with contextlib.AsyncExitStack() as stack:
        for sim in (line, slack, wechat):
            await stack.enter_async_context(sim)
        urls = {name: await stack.enter_async_context(serving(model.app)) for name, model in models.items()}
        line_url, slack.url, wechat_url = [
            await stack.enter_async_context(serving(sim)) for sim in (line, slack, wechat)
        ]
        one = await stack.enter_async_context(fleet(folder, server))
        assistants = "".join(
            f"""
            [models.{name}]
            provider = "openai"
            model = "simulated"
            base_url = "{url}/v1"
            [assistants.{"default" if name == "api" else name}]
            model = "{name}"
            language = "en"
            """
            for name, url in urls.items()
        )
        (folder / "chatferry.toml").write_text(f"""
            [server]
            host = "127.0.0.1"
            public_url = "{one.url}"
            drain = 4.0
            log = "json"
            [api]
            keys = ["{load_api.KEY}"]
            [channels.line]
            secret = "{line.secret}"
            token = "{line.token}"
            assistant = "line"
            api_base = "{line_url}"
            data_api_base = "{line_url}"
            [channels.slack]
            secret = "{slack.signing_secret}"
            token = "{slack.bot_token}"
            assistant = "slack"
            stream = "edit"
            api_base = "{slack.url}/api"
            [channels.wechat]
            token = "{wechat.token}"
            assistant = "wechat"
            mode = "passive"
            hold = {HOLD}
            limit = {LIMIT}
            api_base = "{wechat_url}"
            {assistants}
        """)
        line.webhook, slack.webhook, wechat.webhook = [
            f"{one.url}/hooks/{name}" for name in ("line", "slack", "wechat")
        ]
        yield World(
            one,
            models,
            line_crash.Ordeal(models["line"], one.of("line"), chance("p1"), line, people=people, pause=PAUSE),
            slack_crash.Ordeal(models["slack"], one.of("slack"), chance("p2"), slack, people=people, pause=PAUSE),
            wechat_crash.Ordeal(models["wechat"], one.of("wechat"), chance("p3"), wechat, people=people, pause=PAUSE),
            load_api.Ordeal(models["api"], one.of("api"), chance("p4"), one.url, people=people, pause=PAUSE),
        )
