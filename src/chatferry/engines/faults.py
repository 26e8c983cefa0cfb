"""What a provider's refusal means: status, headers and body in, `TryLater` or `Refused` out. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from chatferry.errors import Fault, Final, TryLater

_PASSING = {408, 409, 425, 429}
_WORDS = {
    429: re.compile(r"rate.?limit|too.?many|exhausted|throttl", re.IGNORECASE),
    503: re.compile(r"overload|unavailable|server.?error|internal|time.?out|deadline|capacity|aborted", re.IGNORECASE),
}
_BROKE = re.compile(r"insufficient_quota|billing|insufficient_credits", re.IGNORECASE)


class Refused(Final):
    """The provider said no. `status`, `word` (its code) and `param` say to what."""

    def __init__(self, reason: str, *, status: int, word: str = "", param: str = "", message: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.word = word
        self.param = param
        self.message = message


class NoTools(Refused):
    """The model, or the server as it was started, takes no tools."""


class Unreached(TryLater):
    """No whole answer came: no connection, a broken one, or silence."""


class Strange(TryLater):
    """Something else than a model answers there: for now, as where a provider is being mended, or always."""


class Said(msgspec.Struct, frozen=True):
    """What we understand of an error body. Every provider builds it a little differently."""

    message: str = ""
    word: str = ""
    """Its code or type, where that is a word."""
    status: int = 0
    param: str = ""
    after: float | None = None


def said(error: object) -> Said:
    """Read a decoded error body, or the `error` object of one. Never raises."""
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, dict) and isinstance(error.get("error"), dict | str):
        error = error["error"]
    if isinstance(error, str):
        return Said(message=error)
    if not isinstance(error, dict):
        return Said()
    code, words = error.get("code"), (error.get("code"), error.get("status"), error.get("type"))
    return Said(
        message=next((text for key in ("message", "detail", "error") if isinstance(text := error.get(key), str)), ""),
        word=next((word for word in words if isinstance(word, str) and word and not word.isdigit()), ""),
        status=int(code) if isinstance(code, int | str) and re.fullmatch(r"[45]\d\d", str(code)) else 0,
        param=param if isinstance(param := error.get("param"), str) else "",
        after=_retry_delay(error.get("details")),
    )


def read(body: bytes) -> object:
    """Decode an error body; text and HTML count as nothing said."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def fault(name: str, status: int, error: Said, *, after: float | None = None, secret: str = "") -> Fault:
    """The fault that an error answer, or an error in mid-stream (`status` 0), stands for."""
    status = status or error.status or next((code for code, words in _WORDS.items() if words.search(error.word)), 400)
    # Providers quote what they dislike, and that may be what a person wrote.
    message = re.sub(r"(['\"`]).{32,}\1", r"\1…\1", error.message, flags=re.DOTALL)
    told = " ".join(scrub(f"{error.word}: {message}".strip(": "), secret).split())
    reason = f"{name}: {status} {told[:200]}".rstrip()
    # An empty purse is told as 429 too, but no waiting fills it.
    if (status in _PASSING or status >= 500) and not _BROKE.search(error.word):
        return TryLater(reason, after=error.after if after is None else after)
    return Refused(reason, status=status, word=error.word, param=error.param, message=error.message)


_NO_TOOLS = re.compile(
    # What is wrong with one of them (`tools[0]`) says nothing about all.
    r"(?:not support|unsupported|unrecogni[sz]ed|unknown|unexpected|not permitted)\W(?:[^.]{0,60}\W)?tools?\b(?!\[)"
    r"|\b(?:tools?|tool.?call(?:s|ing)|tool.?choice|function.?calling)\b(?!\[)[^.]{0,60}"
    r"(?:not (?:support|enabled|allowed|permitted)|unsupported|requires? .{0,20}--)",
    re.IGNORECASE,
)


def of_tools(fault: Fault) -> Fault:
    """The fault of a request that had tools: as `NoTools`, where it says that there may be none."""
    told = str(fault) + (f" {fault.message}" if isinstance(fault, Refused) else "")
    if not _NO_TOOLS.search(told):
        return fault
    status = fault.status if isinstance(fault, Refused) else 500
    return NoTools(f"{fault} (tools are not taken)", status=status, message=told)


def scrub(text: str, secret: str) -> str:
    """Take the key out of `text`, whole or as providers quote it: its beginning, then stars or dots."""
    if len(secret) >= 16:
        return re.sub(re.escape(secret[:4]) + r"[^\s'\"]*", "***", text)
    return text.replace(secret, "***") if secret else text


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that `headers` ask us to wait, if they do: in milliseconds, in seconds, or until a date."""
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(header, "").strip()
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value) * unit
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now) if value else None
    except ValueError:
        return None


def _retry_delay(details: Any) -> float | None:
    """Google's RetryInfo: `{"retryDelay": "34.07s"}`."""
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and re.fullmatch(r"\d+(\.\d+)?s", delay):
            return float(delay[:-1])
    return None


def mend(fault: Fault) -> str:
    """What the operator can do about it."""
    match fault:
        case Unreached():
            return "Check base_url, and that this machine can reach it (proxy, firewall, is the server up?)."
        case Strange():
            return "Check base_url: a web page is there and not the API, whose address often ends with /v1."
        case TryLater():
            return "The provider is busy or this key's rate limit is reached: wait, then check again."
        case NoTools():
            return (
                "Use a model that can call functions, start its server so that it may (vLLM: --enable-auto-tool-choice "
                "and --tool-call-parser; llama.cpp: --jinja), or leave `tools` out of its assistants."
            )
        case Refused() if _BROKE.search(fault.word):
            return "The account has no credit or quota left: add some at the provider, or use another model."
        case Refused() if fault.status in (401, 403) or "API key" in fault.message:
            return "Check api_key: is it complete, of this provider, and allowed to use this model?"
        case Refused(status=404):
            return "Check model (does the provider know this name?) and base_url (does it end where its manual says?)."
        case Refused(status=400 | 422):
            return "Check model, max_tokens and temperature: the provider does not take one of them."
    return "Check base_url: what answers there does not speak this provider's protocol."
