"""The composition root: the one file that names concrete classes. It imports what the configuration asks for.

A process has a role: `web` takes in what comes and serves pages, `worker` answers, `all` does both.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import random
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import aiohttp
import structlog
from sqlalchemy.exc import SQLAlchemyError

from chatferry import news
from chatferry.asking import Asking
from chatferry.assistant import Assistant, Staff
from chatferry.channels.base import Channel, Surroundings, listening
from chatferry.clock import Clock, SharedClock
from chatferry.commands import Commands
from chatferry.config import AssistantSettings, ChannelSettings, ModelSettings, Settings
from chatferry.database import Database, migrate, open_database
from chatferry.delivery import Delivery
from chatferry.desk import Desk
from chatferry.dispatch.base import Dispatcher
from chatferry.dispatch.inprocess import InProcess
from chatferry.engines.base import Engine
from chatferry.engines.route import Route
from chatferry.entrance import Entrance
from chatferry.errors import ConfigError, Unavailable
from chatferry.feed import Feed
from chatferry.functions import reach, sound
from chatferry.growth import Growth
from chatferry.holding import Holding
from chatferry.intake import Intake
from chatferry.ledger import Ledger
from chatferry.limits import Limits
from chatferry.links import Links, signing_key, tell_address, told_address
from chatferry.metrics import Metrics
from chatferry.model import Finding
from chatferry.privacy import Notice
from chatferry.relay import Relay
from chatferry.replies import Replies, findings
from chatferry.retention import retain
from chatferry.retry import Circuit
from chatferry.summaries import Summaries
from chatferry.tokens import Gauge, Gauged
from chatferry.tools.base import Confirmed, Fixed, Guarded, Source
from chatferry.vault import Vault
from chatferry.worker import Worker

if TYPE_CHECKING:
    from chatferry.postgres import Postgres
    from chatferry.tools.mcp import Server

log = structlog.get_logger(__name__)

Role = Literal["all", "web", "worker"]

_ALONE = 60.0
_AMONG_OTHERS = 7.0
"""Seconds of a lease: a process that dies is noticed, at the latest, that much and one sweep later."""
_HEARSAY = 1.0
"""Seconds for which new work is left to the job that tells of it."""
_LAPSE = 3600.0
"""Seconds between two times that we look for what has come to its end."""
_LOOK = 0.1
"""Seconds between two looks whether readers have left, at the end."""

CHANNELS = {
    "line": "chatferry.channels.line:Line",
    "slack": "chatferry.channels.slack:Slack",
    "wechat": "chatferry.channels.wechat:WeChat",
}
ENGINES = {
    "openai": "chatferry.engines.openai:OpenAI",
    "gemini": "chatferry.engines.gemini:Gemini",
    "demo": "chatferry.engines.demo:Demo",
}


class Gateway:
    """Everything of one process, wired. Made by `open_gateway`."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        database: Database,
        http: aiohttp.ClientSession,
        links: Links,
        *,
        alone: bool,
        role: Role = "all",
    ) -> None:
        self.settings = settings
        self.role = role
        self._alone = alone
        self._database = database
        self.unreached = links.base is None
        """It is not set how people reach us, and nobody has come here yet whom we believe it."""
        self._addressed = asyncio.Event()
        self.clock = clock
        self.metrics = Metrics()
        self.feed = Feed()
        self.ledger = Ledger(database, clock, lease=_ALONE if alone else _AMONG_OTHERS)
        self.engines = {name: make_engine(name, model, http, clock) for name, model in settings.models.items()}
        assigned = {name: channel.assistant for name, channel in settings.channels.items()} | {"api": "default"}
        self.servers = make_servers(settings, clock)
        self.staff = Staff(_assistants(settings, self.engines, self.servers, clock, self.metrics), assigned)
        self.links = links
        self.notice = Notice(settings)
        commands, replies = Commands(settings.commands, notice=self.notice.there), Replies(settings.replies)
        self.desk = Desk(commands, replies, self.staff, links, clock, self.ledger, self.notice)
        self.summaries = Summaries(self.ledger)
        self.channels = make_channels(settings, http, clock, database)
        self.dispatcher = self._make_dispatcher()
        self.worker = Worker(
            self.ledger,
            Delivery(self.ledger, links, clock),
            Growth(self.ledger, clock),
            self.feed,
            clock,
            self.metrics,
            Asking(self.ledger, clock, self.summaries),
            channels=self.channels,
            staff=self.staff,
            desk=self.desk,
            alone=alone,
        )
        limits = Limits(settings)
        self.intake = Intake(
            self.ledger, self.dispatcher, self.metrics, self.desk, limits, Entrance(settings), end=self.worker.stop
        )
        self.holding = Holding(self.ledger, self.feed, links, clock)
        self.relay = Relay(self.ledger, self.feed, clock, ours=lambda turn: alone or self.worker.holds(turn))
        self.metrics.running.set_function(lambda: self.worker.running)

    def _make_dispatcher(self) -> Dispatcher:
        server, channels = self.settings.server, self.settings.channels.items()
        most = {name: its.concurrency for name, its in channels if its.concurrency}
        if self.settings.api is not None and self.settings.api.concurrency:
            most["api"] = self.settings.api.concurrency
        due = partial(self.ledger.due, late=0.0 if self._alone else _HEARSAY)
        local = InProcess(due, self.clock, concurrency=server.concurrency, channels=most)
        if self._alone:
            return local
        from chatferry.dispatch.pgqueuer import PgQueuer

        connect = cast("Postgres", self._database).connect
        return PgQueuer(connect, local=local if self.role != "web" else None)

    async def work(self, stop: asyncio.Event) -> None:
        """Do what the role asks until `stop`; then what runs has `server.drain` seconds to end.

        The rest is for the next start, or for other processes.
        """
        async with asyncio.TaskGroup() as group:
            keeping = [group.create_task(work, name=name) for name, work in self._kept().items()]
            ears = [
                group.create_task(channel.listen(partial(self.intake.accept, channel)), name=f"ears of {channel.name}")
                for channel in self.channels.values()
                if listening(channel) and self.role != "worker"
            ]
            answering = group.create_task(self.dispatcher.run(self.worker.handle), name="dispatch")
            await _either(stop, answering)
            self.intake.close()
            for ear in ears:
                ear.cancel()
            self.dispatcher.stop()
            log.info("stopping", running=self.worker.running, drain=self.settings.server.drain)
            end = asyncio.get_running_loop().time() + self.settings.server.drain
            await asyncio.wait([answering], timeout=self.settings.server.drain)
            if not answering.done():
                log.warning("cut off; the next start goes on", running=self.worker.running)
                answering.cancel()
                await asyncio.wait([answering])
            # What is read here may be made elsewhere; the last reader of an answer tells nobody that he leaves.
            while not self._alone and self.feed.open() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK)
            self.feed.close()
            for task in keeping:
                task.cancel()

    def _kept(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What goes on for as long as we work."""
        kept: dict[str, Coroutine[Any, Any, None]] = {}
        if self.role != "web":
            kept |= {"leases": self.worker.keep_leases(), "summaries": self.summaries.keep(), "lapse": self._lapse()}
        if self.role != "web" and self.settings.server.keep is not None:
            kept["retention"] = retain(self.settings.server.keep, self.ledger.prune, self.metrics.pruned, self.clock)
        if not self._alone:
            kept |= {"news": self._database.listen(self._hear), "relay": self.relay.run(), "address": self._learn()}
        if self.role != "web":
            kept |= {f"mcp {name}": server.keep() for name, server in self.servers.items()}
        if isinstance(self.clock, SharedClock):
            kept["clock"] = self.clock.keep()
        return kept

    async def _lapse(self) -> None:
        """Let what was kept of strangers, and of what was forgotten, come to its end, until cancelled."""
        while True:
            await self.clock.sleep(_LAPSE)
            with contextlib.suppress(Unavailable):
                await self.ledger.lapse()

    async def reached(self, base: str) -> None:
        """People reach us by this address: all processes know it from here on."""
        self.unreached = False
        if base != self.links.base:
            self.links.base = base
            with contextlib.suppress(SQLAlchemyError, OSError, Unavailable):  # the next start tells it
                await tell_address(self._database, base)

    async def _learn(self) -> None:
        """Learn from other processes how people reach us, where it is not set, until cancelled."""
        while self.settings.server.public_url is None:
            await self._addressed.wait()
            self._addressed.clear()
            with contextlib.suppress(SQLAlchemyError, OSError):  # it is told again when the database is back
                self.links.base = await told_address(self._database) or self.links.base

    def _hear(self, payload: str | None) -> None:
        """What another process, or this one, tells of a turn."""
        told = news.read(payload) if payload is not None else None
        if payload is None:
            self.worker.missed()
            self.relay.missed()
            self._addressed.set()
        elif told is not None:
            kind, turns = told
            if kind == "changed":
                self.relay.ring(turns)
            elif kind == "address":
                self._addressed.set()
            else:
                tell = {"stop": self.worker.stop, "nudge": self.worker.nudge, "watch": self.worker.watched}[kind]
                for turn in turns:
                    tell(turn)


@contextlib.asynccontextmanager
async def open_gateway(
    settings: Settings, clock: Clock | None = None, *, patience: float = 0.0, role: Role = "all"
) -> AsyncIterator[Gateway]:
    """A gateway on a migrated database, alone on it where it is SQLite; turns cut off by a crash are due again.

    patience: seconds to wait for another process to leave the database, before InUse is raised.
    Raises ConfigError where a function that is to reply is not there, or the role needs others beside it.
    """
    sound(settings.source, "replies", findings(settings))
    sound(settings.source, "tools", look_for_tools(settings))
    if role != "all" and settings.server.file is not None:
        raise ConfigError(
            f"server.database: a file is for one process that does everything, not for --role {role}\n"
            "  mend: CHATFERRY_DATABASE=postgresql://user:password@host/name, or leave --role out"
        )
    database = open_database(settings.server.database)
    try:
        async with database.exclusive(patience) as alone:
            await migrate(database)
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                links = Links(await signing_key(database), settings.pages.ttl, settings.server.public_url)
                clock = clock or await database.clock()
                gateway = Gateway(settings, clock, database, http, links, alone=alone, role=role)
                async with gateway.ledger.open():
                    if await database.age() < gateway.ledger.lease:
                        gateway.ledger.beware()
                    if alone and (freed := await gateway.ledger.adopt()):
                        log.info("going on with turns that were cut off", turns=freed)
                    yield gateway
    finally:
        await database.aclose()


def make_engine(name: str, settings: ModelSettings, http: aiohttp.ClientSession, clock: Clock) -> Engine:
    """The client for one configured model."""
    engine: Engine = _load(ENGINES[settings.provider])(name, settings, http)
    return engine


def make_channels(
    settings: Settings, http: aiohttp.ClientSession, clock: Clock, database: Database | None = None
) -> Mapping[str, Channel]:
    """All configured channels by name, the API among them. Without a database none can look at what it was given."""

    def channel(name: str, its: ChannelSettings) -> Channel:
        # What a channel keeps only for itself can be encrypted with a secret of its own.
        kept = settings.server.secret or getattr(its, "app_secret", None)
        vault = Vault(database, name, kept.get_secret_value(), clock) if kept and database else None
        around = Surroundings(http, clock, settings.assistants[its.assistant].words, vault, settings.server.public_url)
        made: Channel = _load(CHANNELS[its.type])(name, its, around)
        return made

    channels = {name: channel(name, its) for name, its in settings.channels.items()}
    if settings.api is not None:
        from chatferry.channels.api import Api

        channels["api"] = Api(settings.api, frozenset(settings.assistants))
    return channels


def make_servers(settings: Settings, clock: Clock) -> Mapping[str, Server]:
    """The tool servers that assistants ask for, by name. Raises ConfigError where what they need is not installed."""
    asked = [tool.removeprefix("mcp:").partition("/")[0] for tool in _tools(settings) if tool.startswith("mcp:")]
    if not asked:
        return {}
    try:
        from chatferry.tools.mcp import Server
    except ModuleNotFoundError as missing:
        raise ConfigError(
            f"{settings.source}  mcp: servers need {missing.name}, which is not there\n"
            "  mend: pip install 'chatferry[mcp]'"
        ) from None
    return {name: Server(name, settings.mcp[name], settings.source, clock) for name in dict.fromkeys(asked)}


def look_for_tools(settings: Settings) -> Iterator[Finding]:
    """Imports the modules of all functions that assistants may call, and looks whether they can be."""
    places = [tool for tool in _tools(settings) if not tool.startswith("mcp:")]
    if places:
        from chatferry.tools.python import look

        reach(settings.source)
        for place in places:
            found = look(place, settings.source)
            yield (
                found if isinstance(found, Finding) else Finding(True, f"python {place}", f"the tool {found.tool.name}")
            )


def _tools(settings: Settings) -> Iterable[str]:
    return dict.fromkeys(tool for assistant in settings.assistants.values() for tool in assistant.tools)


def _assistants(
    settings: Settings, engines: Mapping[str, Engine], servers: Mapping[str, Server], clock: Clock, metrics: Metrics
) -> dict[str, Assistant]:
    circuits, gauges = {name: Circuit(clock) for name in engines}, {name: Gauge() for name in engines}

    def route(model: str) -> Engine:
        order = (model, *settings.models[model].fallback)
        route = Route([(engines[name], circuits[name]) for name in order], clock, random.random, metrics)
        return Gauged(route, gauges[model])

    return {
        name: Assistant(
            name,
            its,
            route(its.model),
            its.words,
            tuple(_sources(settings, its, servers)),
            gauges[its.model],
            route(its.summary_model) if its.summary_model else None,
        )
        for name, its in settings.assistants.items()
    }


def _sources(settings: Settings, assistant: AssistantSettings, servers: Mapping[str, Server]) -> Iterator[Source]:
    """What an assistant may call, in the order in which it is listed."""
    for place in assistant.tools:
        server, _, only = place.removeprefix("mcp:").partition("/")
        if place.startswith("mcp:"):
            offering = servers[server].offering(only)
            asked = [one.partition("/")[2] for one in assistant.confirm if one.partition("/")[0] == f"mcp:{server}"]
            yield Guarded(offering, None if "" in asked else asked) if asked else offering
        else:
            from chatferry.tools.python import look

            found = look(place, settings.source)
            if isinstance(found, Finding):  # `prepare` has complained of it
                raise ConfigError(found.detail)
            yield Fixed(place, Confirmed(found) if found.confirm or place in assistant.confirm else found)


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


async def _either(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Wait for the event; a task that ends before it has failed, and its group says so."""
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([stopped, task], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
