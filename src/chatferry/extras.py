"""What the configuration asks for beyond the base install, and whether it is there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import NamedTuple

from chatferry.config import Settings, WeChatSettings
from chatferry.config.tables import SlackSettings
from chatferry.errors import ConfigError
from chatferry.model import Finding

_MODULES = {
    "jwt": ("joserfc",),
    "mcp": ("mcp",),
    "media": ("av", "pillow_heif"),
    "ocr": ("onnxruntime", "rapidocr"),
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "postgres": ("asyncpg", "greenlet", "pgqueuer"),
    "privacy": ("phonenumbers", "stdnum"),
    "slack": ("cryptography",),
    "wechat": ("cryptography",),
}
"""What each extra brings, as far as we import it ourselves."""
_PLAIN = {"email", "url_credentials"}
"""What is found without a library."""

Find = Callable[[str], object]


class Missing(NamedTuple):
    """An extra that is not installed, and the setting that asks for it."""

    extra: str
    place: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def finding(self) -> Finding:
        detail = f"needs what is not installed: {', '.join(self.modules)}"
        return Finding(False, ".".join(self.place), detail, f"pip install 'chatferry[{self.extra}]'")


def missing(settings: Settings, find: Find) -> Iterator[Missing]:
    """What is asked for and not there. `find`: looks for a module."""
    for extra, place in _asked(settings):
        if lacking := tuple(module for module in _MODULES[extra] if not _there(module, find)):
            yield Missing(extra, place, lacking)


def advised(settings: Settings, find: Find) -> Iterator[Finding]:
    """What works without it, but less well: people are told kindly what is not understood, and less is kept."""
    if lacking := tuple(module for module in _MODULES["media"] if not _there(module, find)):
        channels, assistants = settings.channels.values(), settings.assistants.values()
        heard = any(isinstance(its, WeChatSettings) for its in channels) and any(its.voice for its in assistants)
        seen = any(isinstance(its, SlackSettings) for its in channels)
        told = ["voice messages of WeChat (AMR)"] * heard + ["pictures of iPhones on Slack (HEIC)"] * seen
        if told:
            detail = f"{' and '.join(told)} are not understood without {', '.join(lacking)}"
            yield Finding(True, "media", detail, "pip install 'chatferry[media]'")
    if lacking := tuple(module for module in _MODULES["wechat"] if not _there(module, find)):
        for name, channel in settings.channels.items():
            if isinstance(channel, WeChatSettings) and channel.app_secret and not channel.aes_key:
                detail = (
                    f"the access token, and whether the account may send, are not kept without {', '.join(lacking)}"
                )
                yield Finding(True, f"channels.{name}.app_secret", detail, "pip install 'chatferry[wechat]'")


def require(settings: Settings, find: Find = find_spec) -> None:
    """Raises ConfigError that names everything that is not there."""
    lines = [
        f"{settings.source}  {told.subject}: {told.detail}\n    mend: {told.mend}"
        for told in [one.finding for one in missing(settings, find)]
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def _asked(settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each extra that is needed, with the setting that needs it."""
    if settings.server.file is None:
        yield "postgres", ("server", "database")
    for name, assistant in settings.assistants.items():
        if any(tool.startswith("mcp:") for tool in assistant.tools):
            yield "mcp", ("assistants", name, "tools")
        if assistant.ocr:
            yield "ocr", ("assistants", name, "ocr")
        if set(assistant.redact) - _PLAIN:
            yield "privacy", ("assistants", name, "redact")
    for name, channel in settings.channels.items():
        if isinstance(channel, SlackSettings) and channel.client_id:
            yield "slack", ("channels", name, "client_id")
        if isinstance(channel, WeChatSettings) and channel.aes_key:
            yield "wechat", ("channels", name, "aes_key")
    if settings.api is not None and settings.api.jwt is not None:
        yield "jwt", ("api", "jwt")
    if settings.telemetry.otlp is not None:
        yield "otel", ("telemetry", "otlp")


def _there(module: str, find: Find) -> bool:
    with contextlib.suppress(ModuleNotFoundError):  # of a package that it is in
        return find(module) is not None
    return False
