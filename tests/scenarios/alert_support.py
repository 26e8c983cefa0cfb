"""What the scenarios about alerts share: operators who are told on LINE, on Slack and by a webhook."""

from __future__ import annotations

import contextlib
import hmac
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.config import AlertSettings, Settings, SlackSettings
from chatferry.gateway import Gateway, Role
from chatferry.simulator.line_people import address
from chatferry.simulator.serving import serving
from chatferry.simulator.slack import SlackSimulator
from tests.scenarios.support import World, until, world
from tests.stack import process_on

SECRET = "what-signs-alarms"
OPERATOR = address("U", "operator")


@dataclass
class Webhook:
    """Somebody's server that takes alarms, or not: the next `statuses` are what it answers."""

    told: list[dict[str, Any]] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)
    tries: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        self.tries += 1
        signature = hmac.digest(SECRET.encode(), body, "sha256").hex()
        assert request.headers["x-chatferry-signature"] == f"sha256={signature}"
        status = self.statuses.popleft() if self.statuses else 204
        if status < 300:
            self.told.append(json.loads(body))
        await Response(status_code=status)(scope, receive, send)


@dataclass
class Watched:
    """A gateway's settings, and everybody who is told."""

    world: World
    slack: SlackSimulator
    room: str
    hook: Webhook
    settings: Settings

    def told(self) -> dict[str, list[str]]:
        """The first line that each was told of every alarm."""
        posts = [post.text for post in self.slack.screen(self.room)]
        line = [seen.text for seen in self.world.line.chats[OPERATOR]]
        hook = [one["text"] for one in self.hook.told]
        return {"slack": _first(posts), "line": _first(line), "webhook": _first(hook)}

    async def turned(self, seconds: float, *, step: float = 0.2) -> None:
        """Let time pass, so slowly that everybody can do what he does then."""
        until_ = self.world.clock.now() + seconds
        await until(lambda: self.world.clock.now() >= until_, self.world.clock, turn=step)

    async def reached(self, number: int, *, turn: float = 0.2) -> None:
        """Return once each was told so often."""
        clock = self.world.clock
        await until(lambda: all(len(told) >= number for told in self.told().values()), clock, turn=turn)

    @contextlib.asynccontextmanager
    async def process(self, role: Role = "all") -> AsyncIterator[Gateway]:
        async with process_on(self.settings, self.world.clock, role) as (gateway, url, _):
            self.world.line.webhook = f"{url}/hooks/line"
            yield gateway


def _first(texts: list[str]) -> list[str]:
    return [text.split("\n")[0] for text in texts]


@contextlib.asynccontextmanager
async def watched(
    folder: Path, *alerts: dict[str, Any], database: str | None = None, server: dict[str, Any] | None = None
) -> AsyncIterator[Watched]:
    """Alerts that tell an operator on LINE, a room on Slack and a webhook, each alert all of them."""
    hook, slack = Webhook(), SlackSimulator()
    async with (
        world(folder, server=server or {}) as it,
        serving(slack) as slack_url,
        serving(hook) as hook_url,
        slack,
    ):
        slack.clock, slack.url = it.clock.now, slack_url
        it.line.known.add(OPERATOR)
        room = slack.channel("alarms")
        to = ({"url": hook_url, "secret": SECRET}, f"slack:{room}", f"line:{OPERATOR}")
        channel = SlackSettings(
            secret=SecretStr(slack.signing_secret),
            token=SecretStr(slack.bot_token),
            api_base=f"{slack_url}/api",
            path="/hooks/slack",
        )
        changed: dict[str, Any] = {
            "channels": {**it.settings.channels, "slack": channel},
            "alerts": tuple(AlertSettings.model_validate({"window": 60, "least": 3, "to": to} | one) for one in alerts),
        }
        if database is not None:
            changed["server"] = it.settings.server.model_copy(update={"database": database})
        yield Watched(it, slack, room, hook, it.settings.model_copy(update=changed))
