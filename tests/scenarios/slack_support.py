"""What the scenarios on Slack share: a gateway between a simulated workspace and a simulated model."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from chatferry.config import AssistantSettings, ModelSettings, ServerSettings, Settings, SlackSettings
from chatferry.gateway import Gateway
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from chatferry.simulator.slack import SlackSimulator
from chatferry.simulator.slack_records import Call, Post
from chatferry.testing import ManualClock
from tests.stack import gateway_on

STOPPED = "…_[stopped]_"
STATUS = ("agents.sessions.setStatus", "assistant.threads.setStatus")


@dataclass
class World:
    """The platforms' side, which outlives gateways."""

    slack: SlackSimulator
    model: ModelSimulator
    settings: Settings
    clock: ManualClock

    @contextlib.asynccontextmanager
    async def gateway(self) -> AsyncIterator[Gateway]:
        """A gateway on the one database. It does not drain: leaving cuts off what runs."""
        async with gateway_on(self.settings, self.clock) as (gateway, url, _):
            self.slack.webhook = f"{url}/hooks/slack"
            yield gateway

    def thread(self, who: str, ts: str) -> list[Post]:
        """What answers a direct message."""
        return self.slack.thread(self.slack.dm(who), ts)[1:]

    def calls(self, method: str) -> list[Call]:
        return [call for call in self.slack.calls if call.method == method]

    def asked(self, request: int = -1) -> list[str]:
        """What the model was asked in one of its requests, without the assistant's own instructions."""
        return [said["content"] for said in self.model.requests[request].body["messages"] if said["role"] != "system"]


@contextlib.asynccontextmanager
async def slack_world(
    folder: Path, *, slack: SlackSimulator | None = None, native: bool = False, **tables: dict[str, Any]
) -> AsyncIterator[World]:
    """native: Slack's own streams are granted; else answers are messages that are edited."""
    clock = ManualClock()
    slack = slack or SlackSimulator(patience=60.0)
    slack.clock, slack.streams = clock.now, native
    slack.sessions = slack.sessions and native
    model = ModelSimulator()
    async with slack, serving(slack) as url, serving(model.app) as model_url:
        slack.url = url
        channel = {
            "secret": SecretStr(slack.signing_secret),
            "token": SecretStr(slack.bot_token),
            "api_base": f"{url}/api",
            "path": "/hooks/slack",
            "stream": "auto" if native else "edit",
        }
        assistants = {"default": AssistantSettings(**{"language": "en", **tables.get("assistant", {})})}
        for name, its in tables.get("assistants", {}).items():
            assistants[name] = AssistantSettings(**{"language": "en", **its})
        place = {"host": "127.0.0.1", "port": 0, "database": f"sqlite:///{folder}/chatferry.db", "drain": 0.0}
        settings = Settings(
            server=ServerSettings(**{**place, **tables.get("server", {})}),
            models={"default": ModelSettings(provider="openai", model="sim", base_url=f"{model_url}/v1")},
            assistants=assistants,
            channels={"slack": SlackSettings(**{**channel, **tables.get("channel", {})})},
            source="test",
        )
        yield World(slack, model, settings, clock)
