"""The settings: one TOML file with the environment, or the environment alone, becomes frozen values.

Whoever holds a `Settings` from `load` can use it as it is: what is referred to exists, and nothing required is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from chatferry.config.api import ApiSettings, JwtSettings
from chatferry.config.assistant import AssistantSettings, SessionSettings
from chatferry.config.file import Draft, Key, read, set_it, suggest, variables
from chatferry.config.limits import BudgetSettings, CacheSettings, LimitSettings, MoneySettings, PriceSettings
from chatferry.config.people import EntranceSettings, PrivacySettings
from chatferry.config.rules import check, fill
from chatferry.config.tables import (
    ChannelSettings,
    CommandSettings,
    LineSettings,
    McpSettings,
    ModelSettings,
    PagesSettings,
    ReplySettings,
    RoomSettings,
    ServerSettings,
    Settings,
    SlackSettings,
    WeChatSettings,
)
from chatferry.config.watch import AlertSettings, TargetSettings, TelemetrySettings

__all__ = [
    "AlertSettings", "ApiSettings", "AssistantSettings", "BudgetSettings", "CacheSettings", "ChannelSettings",
    "CommandSettings", "EntranceSettings", "JwtSettings", "LimitSettings", "LineSettings", "McpSettings",
    "ModelSettings", "MoneySettings", "PagesSettings", "PriceSettings", "PrivacySettings", "ReplySettings",
    "RoomSettings", "ServerSettings", "SessionSettings", "Settings", "SlackSettings", "TargetSettings",
    "TelemetrySettings", "WeChatSettings", "assistants", "channels", "found", "load", "load_money", "load_server",
]  # fmt: skip

T = TypeVar("T", bound=BaseModel)


def load(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    amend: Callable[[Draft], None] | None = None,
) -> Settings:
    """Read the configuration: `path`, else `CHATFERRY_CONFIG`, else ./chatferry.toml, else the environment alone.

    `.env` beside the file (or here) is read with it; what the environment itself says wins. Neither is changed.
    `amend` may change what the file says before anything is made of it.
    Raises `ConfigError`, which tells every fault at once, with its place and what mends it, and shows no value.
    """
    draft = _drafted(path, environ, amend)
    check(draft)
    settings = _validated(draft)
    if settings is None or not draft.sound:
        raise draft.error()
    return settings


def load_server(path: Path | None = None, environ: Mapping[str, str] | None = None) -> ServerSettings:
    """Read [server] as `load` does, for who only looks at the database: nothing else has to be right, no secret set."""
    return _table(ServerSettings, "server", path, environ)


def load_money(path: Path | None = None) -> MoneySettings:
    """Read [money] likewise."""
    return _table(MoneySettings, "money", path)


def _table(kind: type[T], name: str, path: Path | None, environ: Mapping[str, str] | None = None) -> T:
    draft = _drafted(path, environ).only(name)
    try:
        settings = kind.model_validate(draft.tree.get(name, {}))
    except ValidationError as invalid:
        _complain(draft, invalid, (name,))
    if not draft.sound:
        raise draft.error()
    return settings


def assistants(path: Path | None = None) -> frozenset[str]:
    """The names of the assistants, for who needs no more of them: nothing else has to be right."""
    return frozenset(_drafted(path).tables("assistants"))


def channels(path: Path | None = None) -> Mapping[str, Mapping[str, Any]]:
    """The channels by name likewise, as they are written, without the API, which is none."""
    return _drafted(path).tables("channels")


def _drafted(
    path: Path | None, environ: Mapping[str, str] | None = None, amend: Callable[[Draft], None] | None = None
) -> Draft:
    environ = os.environ if environ is None else environ
    path = path or found(environ)
    draft = Draft(str(path), read(path)) if path else Draft("environment")
    known = variables(path.parent if path else Path(), environ)
    if amend is not None:
        amend(draft)
    draft.interpolate(known)
    fill(draft, known)
    return draft


def found(environ: Mapping[str, str]) -> Path | None:
    """The file that is read where none is named, if there is one."""
    if named := environ.get("CHATFERRY_CONFIG"):
        return Path(named)
    usual = Path("chatferry.toml")
    return usual if usual.exists() else None


def _validated(draft: Draft) -> Settings | None:
    """The settings, or None and the faults are pinned to the draft."""
    if "source" in draft.tree:
        draft.fault(("source",), "is not a setting")
    try:
        return Settings.model_validate(draft.tree | {"source": draft.source})
    except ValidationError as invalid:
        _complain(draft, invalid)
    return None


def _complain(draft: Draft, invalid: ValidationError, table: Key = ()) -> None:
    for error in invalid.errors(include_url=False, include_input=False):
        if error["type"] != "default_factory_not_called":  # follows from another fault
            _pin(draft, error, (*table, *error["loc"]))


_TYPES = [kind.model_fields["type"].default for kind in get_args(ChannelSettings)]
_PROBLEMS = {
    "extra_forbidden": "is not a setting",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "string_type": "must be text in quotes",
    "string_too_long": "is too long",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "union_tag_invalid": f"must be {', '.join(map(repr, _TYPES[:-1]))} or {_TYPES[-1]!r}",
}


def _pin(draft: Draft, error: ErrorDetails, key: Key) -> None:
    """Say in our words what pydantic found. Its own never show the value in the kinds that occur here."""
    if key[0] == "channels" and len(key) > 2:
        key = (*key[:2], *key[3:])  # pydantic names the type of the channel after its name
    kind, mend = error["type"], error.get("ctx", {}).get("mend", "")
    if kind == "union_tag_invalid":
        key = (*key, "type")
    problem = _PROBLEMS.get(kind, error["msg"].replace("Input should", "must"))
    if kind == "extra_forbidden":
        mend = suggest(str(key[-1]), _names(key[:-1]))
    elif kind == "literal_error":
        # Of what was given only what is a name of ours is shown.
        names = re.findall(r"'([^']+)'", error["ctx"]["expected"])
        near = suggest(str(draft.at(key)), names)
        mend = near if near.startswith("did you mean") else ""
    elif kind == "missing":
        origin = draft.origin(key)
        problem = "is not set" if origin else "is required"
        mend = set_it(origin) if origin else f"{key[-1]} = ... in {_header(key[:-1])}"
    draft.fault(key, problem, mend)


def _header(table: Key) -> str:
    """How a table is written: one of a list in double brackets."""
    name = ".".join(part for part in table if isinstance(part, str))
    return f"[[{name}]]" if isinstance(table[-1], int) else f"[{name}]"


def _names(table: Key) -> set[str]:
    """The settings of a table. The names that operators give, and the places in a list, lead no deeper."""
    kinds: list[type[BaseModel]] = [Settings]
    for part in table:
        inner = [inner for kind in kinds if (field := kind.model_fields.get(str(part))) for inner in _kinds(field)]
        kinds = inner or kinds
    return {name for kind in kinds for name in kind.model_fields} - {"source"}


def _kinds(annotation: Any) -> list[type[BaseModel]]:
    """Every table that a type speaks of."""
    annotation = getattr(annotation, "annotation", annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _kinds(part)]
