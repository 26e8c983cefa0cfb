"""A simulated Slack, and channels that call it: what the tests of the Slack channel share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from chatferry.channels.base import Surroundings
from chatferry.channels.slack import Slack
from chatferry.config import SlackSettings
from chatferry.model import Inbound, says
from chatferry.simulator.serving import serving
from chatferry.simulator.slack import TEAM, SlackSimulator
from chatferry.simulator.slack_records import Call, Post
from chatferry.testing import ManualClock
from chatferry.words import words


@dataclass
class World:
    sim: SlackSimulator
    url: str
    clock: ManualClock
    http: aiohttp.ClientSession

    def slack(self, **more: Any) -> Slack:
        """The channel as a process that starts now has it: it remembers nothing."""
        return Slack("slack", self.settings(**more), Surroundings(self.http, self.clock, words("en")))

    def settings(self, **more: Any) -> SlackSettings:
        ours = {"secret": self.sim.signing_secret, "token": self.sim.bot_token, "api_base": f"{self.url}/api"}
        return SlackSettings.model_validate(ours | more)

    async def asked(self, words: str = "hi", *, who: str = "ann", channel: str = "general") -> Inbound:
        """Somebody asks us in a channel."""
        ts = await self.sim.say(who, words, channel=channel, mention=True)
        return self.inbound(f"{TEAM}/{self.sim.channel(channel)}/{ts}", words, who=who, ref=ts)

    def inbound(self, address: str, words: str = "hi", *, who: str = "ann", **more: Any) -> Inbound:
        at, sender = self.clock.now(), self.sim.user(who)
        return Inbound("e", address, message=says("user", words), sender=sender, at=at, **more)

    def answers(self, inbound: Inbound) -> list[Post]:
        """What hangs in the thread of the question."""
        _, channel, ts = inbound.conversation.split("/")
        return self.sim.thread(channel, ts)[1:]

    def calls(self, method: str = "") -> list[Call]:
        return [call for call in self.sim.calls if not method or call.method == method]

    def methods(self) -> list[str]:
        """What was called, without the family's name."""
        return [call.method.rpartition(".")[2] for call in self.sim.calls]


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[World]:
    clock = ManualClock()
    async with SlackSimulator(clock=clock.now) as sim, serving(sim) as url, aiohttp.ClientSession() as http:
        sim.url = url
        yield World(sim, url, clock, http)
