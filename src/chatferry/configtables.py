"""The tables of the configuration: what can be set, what it means, what it is where nothing is said.

`config.load` makes them, and sees to it that what they refer to exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from chatferry.configlimits import LimitSettings
from chatferry.likeness import folded
from chatferry.words import LANGUAGES, MODEL, Language, Words, language_of, words, words_of

_BASES = {"openai": "https://api.openai.com/v1", "gemini": "https://generativelanguage.googleapis.com/v1beta"}


def _wrong(problem: str, mend: str = "") -> PydanticCustomError:
    return PydanticCustomError("wrong", "{problem}", {"problem": problem, "mend": mend})


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):  # no query: calls put their paths behind it
        raise _wrong("must be an address that begins with http:// or https://")
    return value.rstrip("/")


def _sendable(secret: SecretStr) -> SecretStr:
    """Secrets travel in headers and addresses. What cannot is a slip: "your key here", a line break, a wide letter."""
    if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise _wrong("must be of ASCII letters, digits and signs, without blanks" if secret else "must not be empty")
    return secret


def _long(secret: SecretStr) -> SecretStr:
    if len(secret) < 16:
        raise _wrong("must have 16 characters at least", "`openssl rand -hex 32` makes a good one")
    return secret


def _command(value: str) -> str:
    if not re.fullmatch(r"/[a-z0-9_-]{1,31}", value):
        raise _wrong("must be a slash and a name in small letters, like /ask")
    return value


def _path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise _wrong("must be a path like /hooks/line")
    return value


def _function(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        raise _wrong("must name a function like module:function")
    return value


def _database(value: str) -> str:
    mend = "sqlite:///chatferry.db or postgresql://user:password@host/name"
    if not re.match(r"sqlite:///.|postgresql://.", value):
        raise _wrong("names no database we know", mend)
    try:
        _ = urlsplit(value).port
    except ValueError:
        raise _wrong("is no address; signs such as @ : / # in a password are written %40 %3A %2F %23", mend) from None
    return value


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _duration(value: object) -> object:
    """`"5m"` as seconds; a number is seconds already."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?)\s*([smhd]?)", value.strip()) if isinstance(value, str) else None
    if match:
        return float(match[1]) * _UNITS[match[2]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong("must be a time such as 30s, 5m, 12h or 7d")
    return value


def _a_day(value: float) -> float:
    if value < _UNITS["d"]:
        raise _wrong("must be a day at least: for so long platforms deliver again")
    return value


Duration = Annotated[float, BeforeValidator(_duration), Field(gt=0)]
"""Seconds; mostly written with a unit."""
Url = Annotated[str, AfterValidator(_url)]
Secret = Annotated[SecretStr, AfterValidator(_sendable)]


def _filled(value: str) -> str:
    if not folded(value):
        raise _wrong("must not be empty")
    return value


def _word(value: str) -> str:
    if len(value.split()) > 1:
        raise _wrong("must be one word, as a question may follow it")
    return value


Filled = Annotated[str, AfterValidator(_filled)]
Name = Annotated[str, Field(max_length=40), AfterValidator(_filled)]
Names = tuple[Name, ...]


class Table(BaseModel):
    """A table of the file. Frozen; no setting that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class ServerSettings(Table):
    host: str = "0.0.0.0"  # noqa: S104 - a webhook has to be reachable, and containers know no better address
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: Url | None = None
    """Where platforms and people reach us from outside."""
    database: Annotated[str, AfterValidator(_database)] = Field(default="sqlite:///chatferry.db", repr=False)
    drain: float = Field(default=25.0, ge=0)
    """Seconds that running answers have to end in when we are told to stop."""
    concurrency: int = Field(default=2000, ge=1)
    """Turns in flight at once."""
    body_limit: int = Field(default=262144, ge=1024)
    """Bytes that a request may have."""
    keep: Annotated[Duration, AfterValidator(_a_day)] | None = None
    """How long turns and messages are kept after they were closed. None: for ever."""
    secret: Annotated[Secret, AfterValidator(_long)] | None = None
    """What is given to us to keep, such as the tokens of workspaces that install us, is encrypted with this."""
    log: Literal["auto", "json", "console"] = "auto"
    """auto: for people on a terminal, JSON elsewhere."""

    @property
    def file(self) -> Path | None:
        """The file of the database; None where it is a server."""
        return Path(self.database.removeprefix("sqlite:///")) if self.database.startswith("sqlite:") else None


class ModelSettings(Table):
    # In this order, as a default that looks at other fields is not made once one before it has a fault.
    provider: Literal["openai", "gemini", "demo"]
    """openai: also everything else that speaks OpenAI's chat completions, by `base_url`."""
    base_url: Url = Field(default_factory=lambda told: _BASES.get(told.get("provider", ""), ""), repr=False)
    api_key: Secret | None = Field(default=None, validate_default=True)
    model: str = Field(default="", validate_default=True)
    """The provider's name of it."""
    max_tokens: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(lambda given: given or None)] = 1000
    """Length limit of an answer. None, written 0 in TOML: the provider's own."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    timeout: float = Field(default=60.0, gt=0)
    """Seconds without any byte from the provider after which we give up."""
    fallback: tuple[str, ...] = ()
    """Models that are asked in its place, in this order, while it cannot answer."""
    pace: float = Field(default=0.02, ge=0)
    """Seconds per token (demo only)."""

    @field_validator("api_key")
    @classmethod
    def _has_its_key(cls, api_key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """A local server needs none, so an OpenAI model without one must say where it is."""
        told = info.data
        if api_key is None and (told.get("provider") == "gemini" or told.get("base_url") == _BASES["openai"]):
            raise PydanticCustomError("missing", "is required")
        return api_key

    @field_validator("model")
    @classmethod
    def _is_named(cls, model: str, info: ValidationInfo) -> str:
        if not model and info.data.get("provider") in _BASES:
            raise PydanticCustomError("missing", "is required")
        return model


class SessionSettings(Table):
    start: Annotated[Name, AfterValidator(_word)] = "/chatgpt"
    """What begins a session; a question may follow it at once."""
    always: bool = False
    """Everything is for the assistant; the commands only begin anew."""
    ttl: Duration | None = Field(default_factory=lambda told: None if told.get("always") else 300.0)
    """Silence that ends a session. None: it lasts until somebody ends it."""
    outside: Filled = "ignore"
    """What becomes of messages outside a session: `ignore`, another assistant by its name, or else this is said."""


def _language(value: str) -> str:
    """A language of ours, or a file: then it is read now, so that whoever has the settings has the words."""
    if value in ("auto", *LANGUAGES):
        return value
    if not value.endswith(".toml"):
        raise _wrong(f"must be {', '.join(map(repr, LANGUAGES))}, 'auto' or a .toml file")
    try:
        words_of(Path(value))
    except ValueError as fault:
        raise _wrong(f"is a file that cannot be used: it {fault}", f"translate {MODEL}") from None
    return value


def _spoken(language: str) -> Words:
    if language.endswith(".toml"):
        return words_of(Path(language))
    return words("en" if language == "auto" else language)


class AssistantSettings(Table):
    model: str = "default"
    language: Annotated[str, AfterValidator(_language)] = "auto"
    """What our own sentences are written in: one of ours, or the file of another. auto: that of `instructions`."""
    instructions: str = Field(default_factory=lambda told: _spoken(told.get("language", "auto")).instructions)
    context_tokens: int = Field(default=4000, ge=100)
    """Tokens of what was said before that go into a prompt."""
    busy: Literal["queue", "merge", "interrupt"] = "queue"
    """What a message does that comes while another is being answered."""
    greeting: str | None = None
    """Said to whoever meets us. None: the sentence of the language; empty: nothing."""
    session: SessionSettings | None = None
    """The assistant answers in sessions. None: it answers everything."""

    @property
    def tongue(self) -> Language:
        """The language of our own sentences; where it is none of ours, the one that we take it for."""
        told = self.instructions if self.language == "auto" else _spoken(self.language).greeting
        return next((ours for ours in LANGUAGES if ours == self.language), language_of(told))

    @property
    def words(self) -> Words:
        """Our own sentences."""
        return words(self.tongue) if self.language == "auto" else _spoken(self.language)


class LineSettings(Table):
    type: Literal["line"] = "line"
    secret: Secret
    token: Secret
    assistant: str = "default"
    limits: LimitSettings = LimitSettings()
    """Over the usual ones of [limits]."""
    groups: Literal["mention", "all", "off"] = "mention"
    """In groups, answer whoever mentions us, everybody, or nobody."""
    waiting: Literal["loading", "message", "none"] = "loading"
    """loading: LINE's dots; message: spend the free reply on "please wait"."""
    late: Literal["push", "button", "auto"] = "auto"
    """An answer that misses the free reply is pushed (quota) or fetched by a button; auto: push while quota lasts."""
    concurrency: int | None = Field(default=None, ge=1)
    """Conversations of this channel that are answered at once, in a process. None: as many as there is room for."""
    api_base: Url = "https://api.line.me"
    data_api_base: Url = "https://api-data.line.me"
    path: Annotated[str, AfterValidator(_path)] | None = None
    """Where LINE's webhook comes in. `load` puts `/hooks/NAME` where nothing is said."""
    url_token: Secret | None = None
    """Expected in the webhook's address, in front of the signature."""


class RoomSettings(Table):
    assistant: str


Room = Annotated[RoomSettings, BeforeValidator(lambda its: {"assistant": its} if isinstance(its, str) else its)]
"""`C0123 = "translator"` says as much as `C0123 = { assistant = "translator" }`."""


class SlackSettings(Table):
    type: Literal["slack"] = "slack"
    secret: Secret | None = None
    """The signing secret; needed unless everything comes by Socket Mode."""
    token: Secret | None = None
    """The bot token (xoxb-); needed unless workspaces install us."""
    app_token: Secret | None = None
    """The app-level token (xapp-): events come by Socket Mode, and no public address is needed."""
    client_id: str = ""
    client_secret: Secret | None = None
    """With `client_id`: any workspace may install us, at `/NAME/install`."""
    assistant: str = "default"
    limits: LimitSettings = LimitSettings()
    """Over the usual ones of [limits]."""
    rooms: dict[str, Room] = {}
    """Which assistant answers in a Slack channel, by its id, where it is not the usual one."""
    dm: Literal["thread", "chat"] = "thread"
    """In direct messages, each question begins a thread of its own, or all of it is one talk."""
    threads: Literal["mention", "all"] = "mention"
    """In a thread in which we take part: answer who mentions us, or everybody."""
    bots: bool = False
    """Answer other bots too, in a thread only where they mention us."""
    stream: Literal["auto", "edit"] = "auto"
    """auto: Slack's own streams where Slack grants them; edit: always a message that is edited."""
    command: Annotated[str, AfterValidator(_command)] = "/ask"
    """The slash command."""
    replies: Literal["ephemeral", "public"] = "ephemeral"
    """Who sees the answer to the slash command."""
    concurrency: int | None = Field(default=None, ge=1)
    """Conversations of this channel that are answered at once, in a process. None: as many as there is room for."""
    api_base: Url = "https://slack.com/api"
    path: Annotated[str, AfterValidator(_path)] | None = None
    """Where events, commands and clicks come in. `load` puts `/hooks/NAME` where nothing is said."""
    url_token: Secret | None = None
    """Expected in the address, in front of the signature."""


class WeChatSettings(Table):
    type: Literal["wechat"] = "wechat"
    token: Secret
    """Of the account's server configuration; signs what comes."""
    app_id: str = ""
    app_secret: Secret | None = None
    """With `app_id`: for WeChat's API; without them we only answer in the response."""
    aes_key: Secret | None = None
    """The EncodingAESKey, for the compatible and the safe mode."""
    mode: Literal["auto", "passive", "service"] = "auto"
    """passive: answer in the response, for accounts that may not send; service: by customer-service messages;
    auto: find out."""
    assistant: str = "default"
    limits: LimitSettings = LimitSettings()
    """Over the usual ones of [limits]."""
    limit: float = Field(default=5.0, gt=0)
    """Seconds after which WeChat hangs up and calls again."""
    hold: float = Field(default=4.5, gt=0, validate_default=True)
    """Seconds that a call stays open for its answer."""
    menu: dict[str, str] = {}
    """What a tap on the account's menu says, by its key: a command or a question."""
    concurrency: int | None = Field(default=None, ge=1)
    """Conversations of this channel that are answered at once, in a process. None: as many as there is room for."""
    api_base: Url = "https://api.weixin.qq.com"
    path: Annotated[str, AfterValidator(_path)] | None = None
    """Where WeChat's calls come in. `load` puts `/hooks/NAME` where nothing is said."""
    url_token: Secret | None = None
    """Expected in the address, in front of the signature."""

    @field_validator("hold")
    @classmethod
    def _leaves_time_to_answer(cls, hold: float, info: ValidationInfo) -> float:
        limit = info.data.get("limit", hold + 1.0)
        if hold >= limit:
            raise _wrong(f"must be less than limit ({limit:g}), for an answer to arrive in time")
        return hold


ChannelSettings = LineSettings | SlackSettings | WeChatSettings


class CommandSettings(Table):
    """What people write to the gateway itself; none: there is no such command. Small and large letters are one."""

    stop: Names = ("/stop",)
    clear: Names = ("/clear", "/new")
    history: Names = ("/history",)
    help: Names = ("/help",)


class ReplySettings(Table):
    """A message that is answered without the model: by a text, or by a function of the operator's own."""

    match: Annotated[str, Field(max_length=1000), AfterValidator(_filled)]
    by: Literal["exact", "prefix", "regex"] = "exact"
    """How it is compared with what was said; small and large, wide and narrow letters are one."""
    reply: Filled | None = None
    python: Annotated[str, AfterValidator(_function)] | None = None
    """`module:function`, in a file beside the configuration or installed: called with the text, and with the
    `conversation`'s address if it has a parameter of this name; returns what is said, or None for nothing."""
    channels: tuple[str, ...] = ()
    """Only on these; none: on all."""


class PagesSettings(Table):
    ttl: Annotated[Duration, Field(le=3650 * 86400.0)] = 7 * 86400.0
    """How long a link to a page opens it."""


class ApiSettings(Table):
    keys: tuple[Secret, ...] = Field(min_length=1)
    """Each of them opens the API."""
    rate: int | None = Field(default=None, ge=1)
    """Requests per minute and key. None: what [limits] says of a user."""
    concurrency: int | None = Field(default=None, ge=1)
    """Conversations of the API that are answered at once, in a process. None: as many as there is room for."""


class Settings(Table):
    server: ServerSettings = ServerSettings()
    models: dict[str, ModelSettings]
    assistants: dict[str, AssistantSettings]
    channels: dict[str, Annotated[ChannelSettings, Field(discriminator="type")]] = {}
    api: ApiSettings | None = None
    commands: CommandSettings = CommandSettings()
    limits: LimitSettings = LimitSettings()
    replies: tuple[ReplySettings, ...] = ()
    """Asked in this order, before the assistant; the first that fits answers."""
    pages: PagesSettings = PagesSettings()
    source: str
    """Where they come from, for messages: the file's path, or `environment`."""

    def secrets(self) -> set[str]:
        """What must not be shown. Without those that are so short that they are parts of common words."""
        bases = (model.base_url for model in self.models.values())
        passwords = {urlsplit(url).password or "" for url in (self.server.database, *bases)}
        return {secret for secret in {*_secrets(self), *passwords} if len(secret) >= 8}


def _secrets(node: Any) -> Iterator[str]:
    if isinstance(node, SecretStr):
        yield node.get_secret_value()
    elif isinstance(node, tuple):
        for child in node:
            yield from _secrets(child)
    elif isinstance(node, BaseModel | dict):
        yield from _secrets(tuple(vars(node).values() if isinstance(node, BaseModel) else node.values()))
