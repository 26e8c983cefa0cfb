"""What the configuration names, made: models, channels, tools, assistants.

The one file that names the concrete channels, engines, dispatchers and tools. Each is imported when the
configuration asks for it.
"""

from __future__ import annotations

import hashlib
import importlib
import random
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from chatferry.access import Keys
from chatferry.accounts import price
from chatferry.assistant import Assistant
from chatferry.channels.base import Channel, Surroundings
from chatferry.clock import Clock
from chatferry.config import AssistantSettings, ChannelSettings, ModelSettings, Settings
from chatferry.dispatch.base import Dispatcher
from chatferry.dispatch.inprocess import InProcess
from chatferry.engines.base import Engine, Listener, Prompt
from chatferry.engines.route import Route, Tally
from chatferry.engines.tokens import Gauge, Gauged
from chatferry.errors import ConfigError
from chatferry.functions import reach
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.vault import Vault
from chatferry.model import Finding, Usage
from chatferry.retry import Circuit
from chatferry.tools.base import Confirmed, Fixed, Guarded, Source

if TYPE_CHECKING:
    from chatferry.ledger.postgres import Postgres
    from chatferry.tools.mcp import Server

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

HEARSAY = 1.0
"""Seconds for which new work is left to the job that tells of it."""

LISTENERS = {"openai": "chatferry.engines.openai_voice:Transcription"}


def make_engine(name: str, settings: ModelSettings, http: aiohttp.ClientSession) -> Engine:
    """The client for one configured model."""
    engine: Engine = _load(ENGINES[settings.provider])(name, settings, http)
    return engine


def make_listener(name: str, settings: ModelSettings, http: aiohttp.ClientSession) -> Listener:
    """The client for one configured model that listens."""
    listener: Listener = _load(LISTENERS[settings.provider])(name, settings, http)
    return listener


def make_channels(
    settings: Settings,
    http: aiohttp.ClientSession,
    clock: Clock,
    database: Database | None = None,
    keys: Keys | None = None,
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

        jwt = settings.api.jwt
        tokens = _load("chatferry.channels.api_tokens:Tokens")(jwt, http, clock) if jwt is not None else None
        channels["api"] = Api(settings.api, frozenset(settings.assistants), keys, tokens)
    return channels


def make_servers(settings: Settings, clock: Clock) -> Mapping[str, Server]:
    """The tool servers that assistants ask for, by name."""
    asked: dict[str, set[str]] = {}
    times: dict[str, float] = {}
    for assistant in settings.assistants.values():
        for tool in assistant.tools:
            server, _, only = tool.removeprefix("mcp:").partition("/")
            if tool.startswith("mcp:"):
                asked.setdefault(server, set()).update({only} - {""})
                times[server] = min(times.get(server, assistant.tool_timeout), assistant.tool_timeout)
    if not asked:
        return {}
    from chatferry.tools.mcp import Server

    return {
        name: Server(name, settings.mcp[name], settings.source, clock, its, times[name]) for name, its in asked.items()
    }


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


def make_assistants(
    settings: Settings,
    engines: Mapping[str, Engine],
    servers: Mapping[str, Server],
    circuits: Mapping[str, Circuit],
    clock: Clock,
    tally: Tally,
) -> dict[str, Assistant]:
    gauges = {name: Gauge() for name in engines}

    def cost(model: str, usage: Usage) -> int:
        return price(settings.models[model].price, usage)

    def guess(model: str, prompt: Prompt, said: str) -> Usage:
        gauge = gauges[model]
        return Usage(gauge.fixed + gauge.prompt(prompt), gauge.text(said) if said else 0)

    def route(model: str, asker: AssistantSettings) -> Engine:
        order = (model, *settings.models[model].fallback)
        asked = [(engines[name], circuits[name]) for name in order]
        made: Engine = Route(asked, clock, random.random, tally, cost, guess)
        if asker.redact:
            from chatferry.engines.masked import masked

            made = masked(made, asker)
        return Gauged(made, gauges[model])

    def sight(model: str) -> list[bool]:
        return [settings.models[name].sees for name in (model, *settings.models[model].fallback)]

    return {
        name: Assistant(
            name,
            its,
            route(its.model, its),
            its.words,
            checker=route(its.checker, its) if its.checker else None,
            sources=tuple(_sources(settings, its, servers)),
            sees=any(sight(its.model)),
            blind=not all(sight(its.model)),
            gauge=gauges[its.model],
            summarizer=route(its.summary_model, its) if its.summary_model else None,
            made_of=_made_of(settings, its),
        )
        for name, its in settings.assistants.items()
    }


def _made_of(settings: Settings, assistant: AssistantSettings) -> str:
    """A hash of all that its answers depend on in the configuration; secrets are stars in it."""
    asked = [name for name in (assistant.model, assistant.checker) if name is not None]
    models = sorted({one for name in asked for one in (name, *settings.models[name].fallback)})
    told = [assistant.model_dump_json(exclude={"budget", "cache", "greeting", "session"})]
    told += [f"{name} {settings.models[name].model_dump_json(exclude={'price'})}" for name in models]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


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
            if isinstance(found, Finding):  # the start has complained of it (`look_for_tools`)
                raise ConfigError(found.detail)
            yield Fixed(Confirmed(found) if found.confirm or place in assistant.confirm else found)


def make_listeners(settings: Settings, http: aiohttp.ClientSession) -> dict[str, Listener]:
    """Who writes down what is spoken, by the model's name."""
    named = {assistant.voice for assistant in settings.assistants.values() if assistant.voice is not None}
    return {name: make_listener(name, settings.models[name], http) for name in named}


def make_dispatcher(
    settings: Settings, ledger: Ledger, database: Database, clock: Clock, *, alone: bool, here: bool
) -> Dispatcher:
    """alone: no other process answers from this database. here: conversations are handled in this process."""
    most = {name: its.concurrency for name, its in settings.channels.items() if its.concurrency}
    if settings.api is not None and settings.api.concurrency:
        most["api"] = settings.api.concurrency
    due = partial(ledger.due, late=0.0 if alone else HEARSAY)
    local = InProcess(due, clock, concurrency=settings.server.concurrency, channels=most)
    if alone:
        return local
    from chatferry.dispatch.pgqueuer import PgQueuer

    return PgQueuer(cast("Postgres", database).connect, local=local if here else None)


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)
