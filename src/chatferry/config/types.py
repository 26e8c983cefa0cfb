"""What settings are made of: times, addresses, secrets, names, and how they are checked.

A message made here never shows the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from chatferry.text.likeness import folded


def wrong(problem: str, mend: str = "") -> PydanticCustomError:
    return PydanticCustomError("wrong", "{problem}", {"problem": problem, "mend": mend})


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):  # no query: calls put their paths behind it
        raise wrong("must be an address that begins with http:// or https://")
    return value.rstrip("/")


def _sendable(secret: SecretStr) -> SecretStr:
    """Secrets travel in headers and addresses. What cannot is a slip: "your key here", a line break, a wide letter."""
    if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise wrong("must be of ASCII letters, digits and signs, without blanks" if secret else "must not be empty")
    return secret


def _header(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", secret.get_secret_value()):
        raise wrong("must be of ASCII letters, digits and signs, and blanks only between them")
    return secret


def at_least(
    length: int, mend: str = "`openssl rand -hex 32` makes a good one", *, why: str = ""
) -> Callable[[SecretStr], SecretStr]:
    """Checks that a secret cannot be guessed. why: it has to be so long."""

    def checked(secret: SecretStr) -> SecretStr:
        if len(secret) < length:
            raise wrong(f"must have {length} characters at least{why and f', {why}'}", mend)
        return secret

    return checked


def matching(pattern: str, problem: str, mend: str = "") -> Callable[[str], str]:
    """Checks that a text has this form."""

    def checked(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise wrong(problem, mend)
        return value

    return checked


a_region = matching("[A-Z]{2}", "must be the two letters of a country, such as 'TW'", "they are in ISO 3166")
a_command = matching(r"/[a-z0-9_-]{1,31}", "must be a slash and a name in small letters, like /ask")
a_path = matching(r"(/[A-Za-z0-9._~-]+)+", "must be a path like /hooks/line")
a_function = matching(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", "must name a function like module:function")


def a_tool(value: str) -> str:
    if not re.fullmatch(r"mcp:[A-Za-z0-9_-]+(/\S+)?|(?!mcp:)[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        module, _, function = value.rpartition(".")
        dotted = re.fullmatch(r"[A-Za-z_][\w.]*\.[A-Za-z_]\w*", value)
        mend = (
            f'did you mean "{module}:{function}"?' if dotted else 'say "shop.orders:order_status", say, or "mcp:stock"'
        )
        raise wrong(
            "must name a function like module:function, or a server of [mcp] like mcp:NAME or mcp:NAME/tool", mend
        )
    return value


def a_database(value: str) -> str:
    mend = "sqlite:///chatferry.db or postgresql://user:password@host/name"
    if not re.match(r"sqlite:///.|postgresql://.", value):
        raise wrong("names no database we know", mend)
    try:
        _ = urlsplit(value).port
    except ValueError:
        raise wrong("is no address; signs such as @ : / # in a password are written %40 %3A %2F %23", mend) from None
    return value


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float | None:
    """`5m` as seconds; None where it is no time."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?)\s*([smhd]?)", text.strip())
    return float(match[1]) * _UNITS[match[2]] if match else None


def _duration(value: object) -> object:
    """`"5m"` as seconds; a number is seconds already."""
    if isinstance(value, str) and (read := seconds(value)) is not None:
        return read
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong("must be a time such as 30s, 5m, 12h or 7d")
    return value


def a_day(value: float) -> float:
    if value < _UNITS["d"]:
        raise wrong("must be a day at least: for so long platforms deliver again")
    return value


Duration = Annotated[float, BeforeValidator(_duration), Field(gt=0)]
"""Seconds; mostly written with a unit."""
Url = Annotated[str, AfterValidator(_url)]
Secret = Annotated[SecretStr, AfterValidator(_sendable)]
Header = Annotated[SecretStr, AfterValidator(_header)]


def filled(value: str) -> str:
    if not folded(value):
        raise wrong("must not be empty")
    return value


def a_word(value: str) -> str:
    if len(value.split()) > 1:
        raise wrong("must be one word, as a question may follow it")
    return value


Filled = Annotated[str, AfterValidator(filled)]
Name = Annotated[str, Field(max_length=40), AfterValidator(filled)]
Names = tuple[Name, ...]


class Table(BaseModel):
    """A table of the file. Frozen; no setting that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)
