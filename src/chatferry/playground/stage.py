"""What stands behind the page: simulators with people in them, and for `demo` a gateway and its model."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from starlette.types import ASGIApp

from chatferry import __version__
from chatferry.errors import ConfigError
from chatferry.playground.app import Gateway, Playground
from chatferry.playground.ending import ended
from chatferry.simulator.scene import KEPT, Scene
from chatferry.simulator.serving import listening, serving

if TYPE_CHECKING:
    from chatferry.simulator.line import LineSimulator
    from chatferry.simulator.slack import SlackSimulator
    from chatferry.simulator.wechat import WeChatSimulator

BOT = "Ferry"
PEOPLE = ("Mei", "Ken")
LUNCH = "Lunch"
GENERAL = "general"
_SLACK_PAUSES = (1.0, 5.0, 15.0)
"""Slack itself tries again at once, after a minute and after five: too long to look at."""

_FORGETTING = 30.0
"""Seconds between two looks at what is kept."""


@dataclass
class Simulators:
    """The platforms that take part, with the same people on each."""

    scene: Scene
    line: LineSimulator | None = None
    slack: SlackSimulator | None = None
    wechat: WeChatSimulator | None = None

    @property
    def apps(self) -> dict[str, ASGIApp]:
        named: dict[str, ASGIApp | None] = {"line": self.line, "wechat": self.wechat, "slack": self.slack}
        return {name: app for name, app in named.items() if app is not None}

    def lead(self, base: str, bots: Mapping[str, str]) -> None:
        """Tell each where it is itself, and where its bot is."""
        if self.line is not None:
            self.line.webhook = bots["line"]
        if self.wechat is not None:
            self.wechat.webhook = bots["wechat"]
        if self.slack is not None:
            self.slack.url, self.slack.webhook = f"{base}/slack", bots["slack"]

    def settle(self) -> None:
        """Let people in: a talk of each with the bot, and where the platform has them a group of all."""
        for who in PEOPLE:
            if self.line is not None:
                self._chat("line", self.line.address(who), BOT, "dm", who)
            if self.wechat is not None:
                self._chat("wechat", self.wechat.address(who), BOT, "dm", who)
            if self.slack is not None:
                self._chat("slack", self.slack.dm(who), BOT, "dm", who)
        if self.line is not None:
            from chatferry.simulator.line_people import address

            self._chat("line", address("C", LUNCH), LUNCH, "group")
            self.line.members[address("C", LUNCH)] = len(PEOPLE)
        if self.slack is not None:
            self._chat("slack", self.slack.channel(GENERAL), GENERAL, "channel")

    def introduce(
        self,
        mode: Literal["demo", "simulate"],
        bots: Mapping[str, str],
        *,
        model: str = "",
        engine: str = "",
        gateway: str | None = None,
        shortcuts: Sequence[Mapping[str, str]] = (),
        command: str = "",
    ) -> None:
        """Say to the scene who plays here. `bots`: platform to webhook."""
        self.scene.put(
            "setup",
            "setup",
            mode=mode,
            platforms=list(self.apps),
            people=list(PEOPLE),
            bot=BOT,
            model=model,
            engine=engine,
            gateway=gateway,
            bots=dict(bots),
            shortcuts=list(shortcuts),
            command=command,
            version=__version__,
        )

    def _chat(self, platform: str, chat: str, name: str, shape: str, who: str = "") -> None:
        self.scene.put("chat", f"{platform}/{chat}", platform=platform, chat=chat, name=name, shape=shape, who=who)


def simulators(given: Mapping[str, Mapping[str, Any]], scene: Scene) -> Simulators:
    """Simulators of these platforms, made with these settings of theirs."""
    made = Simulators(scene)
    if "line" in given:
        from chatferry.simulator.line import LineSimulator

        made.line = LineSimulator(scene=made.scene, **given["line"])
        made.line.weather.redelivery = True
    if "wechat" in given:
        from chatferry.simulator.wechat import WeChatSimulator

        made.wechat = WeChatSimulator(scene=made.scene, **{"verified": False, **given["wechat"]})
    if "slack" in given:
        from chatferry.simulator.slack import SlackSimulator

        made.slack = SlackSimulator(scene=made.scene, pauses=_SLACK_PAUSES, **given["slack"])
    return made


def script(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the demonstration says to a talk in OpenAI's form."""
    from chatferry.engines.demo import answer
    from chatferry.model import Message, Role, Text

    roles: dict[str, Role] = {"user": "user", "assistant": "assistant"}
    said = [Message(roles[one["role"]], (Text(one["content"]),)) for one in messages if one["role"] in roles]
    # What was called since the last question stands behind it, with what the script had said then: nothing.
    found = [one["content"] for one in takewhile(lambda one: one["role"] != "user", reversed(messages))]
    return answer([one for one in said if one.text], [text for text in reversed(found) if text])


@contextlib.asynccontextmanager
async def opened(
    its: Simulators,
    sock: socket.socket,
    host: str = "127.0.0.1",
    extra: Mapping[str, ASGIApp] | None = None,
    gateway: Gateway | None = None,
    records: Sequence[list[Any]] = (),
) -> AsyncIterator[str]:
    """Serve the playground on a socket that listens at `host`; yields its address. `extra`: what only our own gateway
    calls. `records`: what else is kept for tests, of which the latest are enough here."""
    async with contextlib.AsyncExitStack() as stack:
        for simulator in (its.line, its.slack, its.wechat):
            if simulator is not None:
                await stack.enter_async_context(simulator)
        extra = extra or {}
        app = Playground(its.scene, {**its.apps, **extra}, gateway, host, private=extra.keys())
        url = await stack.enter_async_context(serving(app, sock=sock))
        stack.push_async_callback(ended, asyncio.create_task(_forget(its, records), name="forgetting"))
        stack.callback(its.scene.close)  # or pages that follow it would keep the server from ending
        yield url


async def _forget(its: Simulators, records: Sequence[list[Any]]) -> None:
    """Keep of all that simulators record no more than a page can show. A playground may be left open for days."""
    platforms = [simulator for simulator in (its.line, its.slack, its.wechat) if simulator is not None]
    while True:
        await asyncio.sleep(_FORGETTING)
        for kept in (*(sim.calls for sim in platforms), *(sim.deliveries for sim in platforms), *records):
            del kept[:-KEPT]


def bound(port: int | None, usual: int, host: str = "127.0.0.1") -> socket.socket:
    """A socket at this port; without one at the usual port, or if that is taken at any other. Raises ConfigError."""
    with contextlib.suppress(OSError):
        return listening(host, usual if port is None else port)
    try:
        return listening(host, port or 0)
    except OSError as fault:
        if port is None:  # no port at all, so it is not the port
            mend = "an address of this machine, such as 127.0.0.1 or 0.0.0.0"
            raise ConfigError(f"--host: cannot listen at {host}: {fault.strerror}\n  mend: {mend}") from None
        mend = "choose another by --port, or leave it out"
        raise ConfigError(f"--port: cannot listen at {host}:{port}: {fault.strerror}\n  mend: {mend}") from None
