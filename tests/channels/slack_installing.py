"""A simulated Slack whose workspaces install us, for tests; tokens lie in a real database."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import sqlalchemy as sa
from pydantic import SecretStr

from chatferry.channels.base import Page, Surroundings, Visit
from chatferry.channels.slack_install import Installations
from chatferry.config import SlackSettings
from chatferry.ledger.database import Database, open_database
from chatferry.ledger.vault import Vault
from chatferry.simulator.serving import serving
from chatferry.simulator.slack import TEAM, SlackSimulator
from chatferry.testing import ManualClock
from chatferry.words import words
from tests.sqlite import with_schema

PUBLIC = "https://bot.example.com"
ACCESS = "oauth.v2.access"


@dataclass
class World:
    """A simulated Slack, and installations that talk to it."""

    sim: SlackSimulator
    url: str
    clock: ManualClock
    http: aiohttp.ClientSession
    database: Database
    public_url: str | None = PUBLIC
    secret: str = "the operator's secret"

    def installations(self, **more: Any) -> Installations:
        told = {"client_id": self.sim.client_id, "client_secret": SecretStr(self.sim.client_secret)}
        settings = SlackSettings(**{**told, "api_base": f"{self.url}/api", **more})
        vault = Vault(self.database, "slack", self.secret, self.clock)
        return Installations(
            "slack", settings, Surroundings(self.http, self.clock, words("en"), vault, self.public_url)
        )

    async def install(self, installations: Installations, team: str = TEAM) -> Page:
        """All that a browser does, if its owner agrees."""
        browser = Browser(installations, self.clock)
        await browser.begin()
        return await browser.end(code=self.sim.new_code(team, redirect_uri=f"{self.public_url}/slack/oauth"))

    @property
    def exchanges(self) -> int:
        """How often oauth.v2.access was called."""
        return sum(call.method == ACCESS for call in self.sim.calls)


@dataclass
class Browser:
    installations: Installations
    clock: ManualClock
    cookies: dict[str, str] = field(default_factory=dict)
    state: str = ""

    async def begin(self) -> Page:
        page = await self.installations.visit(Visit("/slack/install", {}, self.cookies, self.clock.now()))
        if page.status == 302:
            self.cookies |= {name: cookie.value for name, cookie in SimpleCookie(page.headers["Set-Cookie"]).items()}
            (self.state,) = parse_qs(urlsplit(page.headers["Location"]).query)["state"]
        return page

    async def end(self, **query: str) -> Page:
        return await self.installations.visit(
            Visit("/slack/oauth", {"state": self.state} | query, self.cookies, self.clock.now())
        )


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    """Everything on real sockets and a real file while the context is open."""
    clock = ManualClock()
    database = open_database(with_schema(folder / "x.db"))
    async with SlackSimulator(clock=clock.now) as sim, serving(sim) as url, aiohttp.ClientSession() as http:
        yield World(sim, url, clock, http, database)
    await database.aclose()


async def run(database: Database, statement: str) -> None:
    """What somebody did to the database by hand."""

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.text(statement))

    await database.write(work)
