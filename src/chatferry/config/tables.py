"""The tables of the configuration: what can be set, what it means, what it is where nothing is said.

`config.load` makes them, and sees to it that what they refer to exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from chatferry.config.api import LARGEST_BODY, ApiSettings
from chatferry.config.assistant import AssistantSettings
from chatferry.config.limits import LimitSettings, MoneySettings, PriceSettings
from chatferry.config.people import EntranceSettings, PrivacySettings
from chatferry.config.types import (
    Duration,
    Filled,
    Header,
    Names,
    Secret,
    Table,
    Url,
    a_command,
    a_database,
    a_day,
    a_function,
    a_path,
    at_least,
    filled,
    wrong,
)
from chatferry.config.watch import AlertSettings, TelemetrySettings

_BASES = {"openai": "https://api.openai.com/v1", "gemini": "https://generativelanguage.googleapis.com/v1beta"}


def _sees(told: Mapping[str, Any]) -> bool:
    return told.get("provider") in ("gemini", "demo") or told.get("base_url") == _BASES["openai"]


class ServerSettings(Table):
    host: str = "0.0.0.0"  # noqa: S104 - a webhook has to be reachable, and containers know no better address
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: Url | None = None
    """Where platforms and people reach us from outside."""
    database: Annotated[str, AfterValidator(a_database)] = Field(default="sqlite:///chatferry.db", repr=False)
    drain: float = Field(default=25.0, ge=0)
    """Seconds that running answers have to end in when we are told to stop."""
    concurrency: int = Field(default=2000, ge=1)
    """Turns in flight at once."""
    body_limit: int = Field(default=262144, ge=1024)
    """Bytes of what a platform sends, and of a WebSocket's message before we know whose it is."""
    keep: Annotated[Duration, AfterValidator(a_day)] | None = None
    """How long turns and messages are kept after they were closed. None: for ever."""
    secret: Annotated[Secret, AfterValidator(at_least(16))] | None = None
    """What is given to us to keep, such as the tokens of workspaces that install us, is encrypted with this."""
    metrics_token: Annotated[Secret, AfterValidator(at_least(16))] | None = None
    """Whoever reads /metrics has to bring it. None: whoever gets there may."""
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
    """Seconds without any byte from the provider after which we give up; five times as long where bytes say nothing."""
    sees: bool = Field(default_factory=lambda told: _sees(told), validate_default=True)
    """It takes pictures. Where nothing is said: Gemini and the demo do, and what OpenAI itself serves."""
    price: PriceSettings | None = None
    """None: it costs nothing that counts."""
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


class LineSettings(EntranceSettings):
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
    path: Annotated[str, AfterValidator(a_path)] | None = None
    """Where LINE's webhook comes in. `load` puts `/hooks/NAME` where nothing is said."""
    url_token: Secret | None = None
    """Expected in the webhook's address, in front of the signature."""


class RoomSettings(Table):
    assistant: str


Room = Annotated[RoomSettings, BeforeValidator(lambda its: {"assistant": its} if isinstance(its, str) else its)]
"""`C0123 = "translator"` says as much as `C0123 = { assistant = "translator" }`."""


class SlackSettings(EntranceSettings):
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
    rooms: dict[str, Room] = Field(default_factory=dict)
    """Which assistant answers in a Slack channel, by its id, where it is not the usual one."""
    dm: Literal["thread", "chat"] = "thread"
    """In direct messages, each question begins a thread of its own, or all of it is one talk."""
    threads: Literal["mention", "all"] = "mention"
    """In a thread in which we take part: answer who mentions us, or everybody."""
    bots: bool = False
    """Answer other bots too, in a thread only where they mention us."""
    stream: Literal["auto", "edit"] = "auto"
    """auto: Slack's own streams where Slack grants them; edit: always a message that is edited."""
    command: Annotated[str, AfterValidator(a_command)] = "/ask"
    """The slash command."""
    replies: Literal["ephemeral", "public"] = "ephemeral"
    """Who sees the answer to the slash command."""
    concurrency: int | None = Field(default=None, ge=1)
    """Conversations of this channel that are answered at once, in a process. None: as many as there is room for."""
    api_base: Url = "https://slack.com/api"
    path: Annotated[str, AfterValidator(a_path)] | None = None
    """Where events, commands and clicks come in. `load` puts `/hooks/NAME` where nothing is said."""
    url_token: Secret | None = None
    """Expected in the address, in front of the signature."""


class WeChatSettings(EntranceSettings):
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
    menu: dict[str, str] = Field(default_factory=dict)
    """What a tap on the account's menu says, by its key: a command or a question."""
    concurrency: int | None = Field(default=None, ge=1)
    """Conversations of this channel that are answered at once, in a process. None: as many as there is room for."""
    api_base: Url = "https://api.weixin.qq.com"
    path: Annotated[str, AfterValidator(a_path)] | None = None
    """Where WeChat's calls come in. `load` puts `/hooks/NAME` where nothing is said."""
    url_token: Secret | None = None
    """Expected in the address, in front of the signature."""

    @field_validator("hold")
    @classmethod
    def _leaves_time_to_answer(cls, hold: float, info: ValidationInfo) -> float:
        limit = info.data.get("limit", hold + 1.0)
        if hold >= limit:
            raise wrong(f"must be less than limit ({limit:g}), for an answer to arrive in time")
        return hold


ChannelSettings = LineSettings | SlackSettings | WeChatSettings


class CommandSettings(Table):
    """What people write to the gateway itself; none: there is no such command. Small and large letters are one."""

    stop: Names = ("/stop",)
    clear: Names = ("/clear", "/new")
    history: Names = ("/history",)
    privacy: Names = ("/privacy",)
    """Where there is a table [privacy]."""
    help: Names = ("/help",)
    memory: Names = ("/memory",)
    forget: Names = ("/memory clear",)


class ReplySettings(Table):
    """A message that is answered without the model: by a text, or by a function of the operator's own."""

    match: Annotated[str, Field(max_length=1000), AfterValidator(filled)]
    by: Literal["exact", "prefix", "regex"] = "exact"
    """How it is compared with what was said; small and large, wide and narrow letters are one."""
    reply: Filled | None = None
    python: Annotated[str, AfterValidator(a_function)] | None = None
    """`module:function`, in a file beside the configuration or installed: called with the text, and with the
    `conversation`'s address if it has a parameter of this name; returns what is said, or None for nothing."""
    channels: tuple[str, ...] = ()
    """Only on these; none: on all."""


class PagesSettings(Table):
    ttl: Annotated[Duration, Field(le=3650 * 86400.0)] = 7 * 86400.0
    """How long a link to a page opens it."""


class McpSettings(Table):
    """A server of the Model Context Protocol: a program that we start, or an address."""

    command: tuple[Filled, ...] = ()
    """The program and its arguments, started in the configuration's folder; it talks by its input and output."""
    env: dict[str, SecretStr] = Field(default_factory=dict)
    """Variables that the program gets beside PATH, HOME and the like: none of ours reach it by themselves."""
    url: Url | None = None
    """Where it is reached by HTTP (streamable)."""
    headers: dict[str, Header] = Field(default_factory=dict)
    """Sent with each request, such as `Authorization`."""


class Settings(Table):
    server: ServerSettings = ServerSettings()
    models: dict[str, ModelSettings]
    assistants: dict[str, AssistantSettings]
    channels: dict[str, Annotated[ChannelSettings, Field(discriminator="type")]] = Field(default_factory=dict)
    api: ApiSettings | None = None
    commands: CommandSettings = CommandSettings()
    limits: LimitSettings = LimitSettings()
    money: MoneySettings = MoneySettings()
    replies: tuple[ReplySettings, ...] = ()
    """Asked in this order, before the assistant; the first that fits answers."""
    pages: PagesSettings = PagesSettings()
    privacy: PrivacySettings | None = None
    """None: there is no such page, and no such command."""
    mcp: dict[str, McpSettings] = Field(default_factory=dict)
    alerts: tuple[AlertSettings, ...] = ()
    telemetry: TelemetrySettings = TelemetrySettings()
    source: str
    """Where they come from, for messages: the file's path, or `environment`."""

    @property
    def api_limit(self) -> int:
        """Bytes of a request to the API."""
        if self.api is not None and self.api.body_limit is not None:
            return self.api.body_limit
        files = max(assistant.file_limit for assistant in self.assistants.values())
        return min(files * 4 // 3 + self.server.body_limit, LARGEST_BODY)

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
