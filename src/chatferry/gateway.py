"""The composition root: all that makes one process, wired (`parts` names what is concrete).

A process has a role: `web` takes in what comes and serves pages, `worker` answers, `all` does both.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from typing import Any, Literal

import aiohttp
import structlog
from sqlalchemy.exc import SQLAlchemyError

from chatferry import extras
from chatferry.accounts import Accounts
from chatferry.answering.again import Again
from chatferry.answering.asking import Asking
from chatferry.answering.media import Media
from chatferry.answering.summaries import Summaries
from chatferry.assistant import Staff
from chatferry.channels.base import keeping, listening
from chatferry.clock import Clock, SharedClock
from chatferry.commands import Commands
from chatferry.config import Settings
from chatferry.delivering.delivery import Delivery
from chatferry.delivering.growth import Growth
from chatferry.delivering.holding import Holding
from chatferry.delivering.relay import Relay
from chatferry.desk import Desk
from chatferry.engines.http import noting_reuse
from chatferry.entrance import Entrance
from chatferry.errors import ConfigError, Unavailable
from chatferry.feed import Feed
from chatferry.functions import sound
from chatferry.intake import Intake
from chatferry.keyring import Keyring
from chatferry.knowledge.grounding import Grounding
from chatferry.knowledge.library import Library
from chatferry.knowledge.sync import Sync, folder_of, wanted_of
from chatferry.ledger import news
from chatferry.ledger.database import Database, connected, migrate
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.retention import retain
from chatferry.ledger.shared import signing_key, tell_address, told_address
from chatferry.limits import Limits
from chatferry.links import Links
from chatferry.model import Inbound, conversation_key
from chatferry.parts import (
    look_for_tools,
    make_assistants,
    make_channels,
    make_dispatcher,
    make_engine,
    make_listeners,
    make_servers,
)
from chatferry.privacy import Notice
from chatferry.reading.readers import Readers
from chatferry.replies import Replies, findings
from chatferry.retry import Circuit
from chatferry.watching.alarms import Bell, watched
from chatferry.watching.metrics import Metrics
from chatferry.watching.occasion import Traced, Tracer
from chatferry.watching.telemetry import tracer_of
from chatferry.watching.watch import Watch, left_alone
from chatferry.worker import Worker

log = structlog.get_logger(__name__)

Role = Literal["all", "web", "worker"]

_ALONE = 60.0
_AMONG_OTHERS = 7.0
"""Seconds of a lease: a process that dies is noticed, at the latest, that much and one sweep later."""
_LAPSE = 3600.0
"""Seconds between two times that we look for what has come to its end."""
_LOOK = 0.1
"""Seconds between two looks whether readers have left, at the end."""


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
        tracer: Tracer | None = None,
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
        self.engines = {name: make_engine(name, model, http) for name, model in settings.models.items()}
        assigned = {name: channel.assistant for name, channel in settings.channels.items()} | {"api": "default"}
        self.circuits = {name: Circuit(clock) for name in self.engines}
        self.tracer = tracer
        tally = Traced(self.metrics) if tracer else self.metrics
        self.servers = make_servers(settings, clock)
        self.staff = Staff(make_assistants(settings, self.engines, self.servers, self.circuits, clock, tally), assigned)
        self.accounts = Accounts(settings.models, settings.money, self.staff)
        self.links = links
        self.notice = Notice(settings)
        commands, replies = Commands(settings.commands, notice=self.notice.there), Replies(settings.replies)
        self.desk = Desk(commands, replies, self.staff, links, clock, self.ledger, self.notice)
        self.summaries = Summaries(self.ledger, self.accounts, clock)
        self.keyring = Keyring(database, self.ledger, clock)
        self.channels = make_channels(settings, http, clock, database, self.keyring)
        self.dispatcher = make_dispatcher(settings, self.ledger, database, clock, alone=alone, here=role != "web")
        readers = Readers()
        self.worker = Worker(
            self.ledger,
            Delivery(self.ledger, links, clock),
            Growth(self.ledger, clock),
            self.feed,
            clock,
            self.metrics,
            Asking(
                self.ledger,
                Media(self.ledger, readers, make_listeners(settings, http), clock),
                Grounding(Library(database), self.metrics),
                self.summaries,
                Again(self.ledger, self.metrics, clock, None if alone else self.feed),
                self.accounts,
                clock,
            ),
            self.accounts,
            channels=self.channels,
            staff=self.staff,
            desk=self.desk,
            alone=alone,
            tracer=tracer,
        )
        self.knowledge = Sync(self.ledger, database, clock, wanted_of(settings), folder_of(settings), readers)
        self.intake = Intake(
            self.ledger,
            self.dispatcher,
            self.metrics,
            self.desk,
            self.accounts,
            clock,
            Limits(settings),
            Entrance(settings),
            end=self.worker.stop,
            tracer=tracer,
        )
        self.holding = Holding(self.ledger, self.feed, links, clock)
        self.relay = Relay(self.ledger, self.feed, clock, ours=lambda turn: alone or self.worker.holds(turn))
        self.metrics.running.set_function(lambda: self.worker.running)
        self.watch = Watch(
            self.ledger,
            clock,
            watched(settings),
            Bell.of(settings, http, self._say),
            signs={"circuit": left_alone(self.circuits)},
            models={name: assistant.model for name, assistant in settings.assistants.items()},
            purses=self.accounts.purses,
        )

    async def _say(self, channel: str, inbound: Inbound) -> None:
        """Keep a push. The same event is one push, however often it is kept."""
        await self.ledger.accept(channel, [inbound])
        await self.dispatcher.wake(conversation_key(channel, inbound.conversation))

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
        if self.role != "worker":
            kept |= {f"what {name} needs": its.keep() for name, its in self.channels.items() if keeping(its)}
            if self.settings.api is not None:
                kept["keys"] = self.keyring.keep()
        if self.role != "web":
            kept |= {"leases": self.worker.keep_leases(), "summaries": self.summaries.keep(), "lapse": self._lapse()}
            kept["knowledge"] = self.knowledge.keep()
        if self.role != "web" and self.accounts.purses(self.clock.now()):
            kept["budgets"] = self.accounts.watch(self.ledger, self.clock, self.metrics)
        if self.role != "web" and self.settings.server.keep is not None:
            prune = partial(self.ledger.prune, zone=self.settings.money.timezone)
            kept["retention"] = retain(self.settings.server.keep, prune, self.metrics.pruned, self.clock)
        if self.settings.alerts:
            kept["alerts"] = self.watch.run()
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
    Raises ConfigError where an extra or a function that is to reply is not there, or the role needs others beside it.
    """
    extras.require(settings)
    sound(settings.source, "replies", findings(settings))
    sound(settings.source, "tools", look_for_tools(settings))
    if role != "all" and settings.server.file is not None:
        raise ConfigError(
            f"server.database: a file is for one process that does everything, not for --role {role}\n"
            "  mend: CHATFERRY_DATABASE=postgresql://user:password@host/name, or leave --role out"
        )
    async with (
        connected(settings.server.database, migrated=False) as database,
        database.exclusive(patience) as alone,
        contextlib.AsyncExitStack() as ends,
    ):
        await migrate(database)
        connector = aiohttp.TCPConnector(limit=0)
        jar = aiohttp.DummyCookieJar()  # a balancer's cookie would lead all that we ask to one server
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, trace_configs=[noting_reuse()]) as http:
            key = await signing_key(database)
            links = Links(key, settings.pages.ttl, settings.server.public_url)
            clock = clock or await database.clock()
            tracer = tracer_of(settings.telemetry, key, role, clock)
            gateway = Gateway(settings, clock, database, http, links, alone=alone, role=role, tracer=tracer)
            if tracer is not None:
                ends.push_async_callback(tracer.aclose)
            if settings.api is not None:
                await gateway.keyring.look()
            async with gateway.ledger.open():
                if await database.age() < gateway.ledger.lease:
                    gateway.ledger.beware()
                if alone and (freed := await gateway.ledger.adopt()):
                    log.info("going on with turns that were cut off", turns=freed)
                yield gateway


async def _either(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Wait for the event; a task that ends before it has failed, and its group says so."""
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([stopped, task], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
