"""A thin client for Slack's Web API: one call, and what its failure means.

The official SDK is not used on the way of an answer: it retries and waits by its own rules, and ours are in the core.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn, Protocol, TypeVar

import aiohttp
import msgspec

from chatferry.channels.download import capped, lies_at
from chatferry.errors import Ambiguous, Fault, Final, Gone, NoLeave, TooLarge, TryLater, Vanished

TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
DOWNLOAD_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5)

FORMS = ("conversations.", "users.", "auth.", "oauth.")
"""Methods that read no JSON: "Using the Slack Web API", "Which methods support JSON?"."""

RETRY_AFTER = 30.0
"""Seconds, where a refusal for haste does not say how long to wait."""
LONGEST_WAIT = 3600.0
"""Seconds that we let ourselves be told to wait."""

_SLACK = re.compile(r"(?:[a-z0-9-]+\.)*slack\.com")
"""Plain names: no user, no port, nothing in them that somebody else may read in another way."""
_ADDRESS = re.compile(r"\w+://[^\s'\"]*")

# What becomes of each error. What is in none of these is Final.
HASTE = {"ratelimited", "rate_limited"}
"""TryLater, when Slack says."""
PASSING = {"internal_error", "fatal_error", "request_timeout", "service_unavailable", "accesslimited"}
"""TryLater; Ambiguous where the call must not simply be made again, for it may have been carried out."""
GONE = {"not_in_channel", "channel_not_found", "is_archived", "account_inactive", "token_revoked"}
"""Gone: nobody is there to be answered, or we are not."""
VANISHED = {"message_not_found"}
"""Vanished: somebody deleted the message."""
MEND = {
    "not_in_channel": "invite the app into the channel: /invite @its-name",
    "channel_not_found": "the app is not in that private channel, or there is no such channel: /invite @its-name",
    "is_archived": "the channel is archived",
    "account_inactive": "the app was removed from the workspace, or its bot user deactivated: install it again",
    "token_revoked": "the token was taken back: install the app again",
    "invalid_auth": "the bot token is not one of Slack's: copy it again, from OAuth & Permissions",
    "not_authed": "no token was sent: set SLACK_BOT_TOKEN",
    "missing_scope": "add the scope and install the app again",
    "restricted_action": "an admin's settings do not let us post there",
}
"""What mends it, for `chatferry turns`."""


class Refused(Final):
    """Slack said no, by a code of its own."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


class Told(msgspec.Struct):
    """What every method answers; those that write a message tell its `ts`."""

    ok: bool = False
    error: str = ""
    needed: str | None = None
    """The scopes that are missing."""
    ts: str = ""


class Tokens(Protocol):
    """Who holds the bot tokens."""

    async def token(self, account: str) -> str:
        """The token of a workspace (`T1`) or of a workspace in an organisation (`E1+T1`). Raises Final."""
        ...


class OneToken:
    """The same token everywhere."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, account: str) -> str:
        return self._token


_Shape = TypeVar("_Shape", bound=Told)


class SlackApi:
    """Calls with an account's token. It goes to Slack's hosts only: redirects are not followed."""

    def __init__(self, tokens: Tokens, base: str, http: aiohttp.ClientSession) -> None:
        self._tokens = tokens
        self._base = base.rstrip("/")
        self._http = http

    async def call(
        self, method: str, account: str, shape: type[_Shape], *, once: bool = False, **fields: Any
    ) -> _Shape:
        """The answer, read as `shape`; fields that are None are not sent. Raises as the tables above say.

        once: the call must not simply be made again, so that one which may have been carried out is `Ambiguous`.
        """
        headers = {"Authorization": f"Bearer {await self._tokens.token(account)}"}
        fields = {name: value for name, value in fields.items() if value is not None}
        data: bytes | dict[str, str]
        if method.startswith(FORMS):
            data = {name: _plain(value) for name, value in fields.items()}
        else:
            data = msgspec.json.encode(fields)
            headers["Content-Type"] = "application/json; charset=utf-8"
        passing = Ambiguous if once else TryLater
        status, after, body = await self._post(f"{self._base}/{method}", data, headers, f"Slack {method}", passing)
        if status == 429:
            raise TryLater(f"Slack {method}: ratelimited", after=after)
        if status >= 500:
            raise passing(f"Slack {method}: {status}")
        try:
            told = msgspec.json.decode(body, type=shape)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise passing(f"Slack {method}: {status}, and not the answer that is documented") from error
        if not told.ok:
            _refuse(method, told, after, passing)
        return told

    async def respond(self, url: str, body: Any) -> None:
        """Answer at a `response_url`, which bears its own leave: five times in half an hour."""
        if not self.ours(url):
            raise NoLeave("Slack response_url: not an address of Slack's")
        headers = {"Content-Type": "application/json; charset=utf-8"}
        name = "Slack response_url"
        status, after, said = await self._post(url, msgspec.json.encode(body), headers, name, Ambiguous)
        if status == 429:
            raise TryLater(f"{name}: 429", after=after)
        if status in (404, 410):
            raise NoLeave(f"{name}: used up or expired")
        if status >= 500:
            raise Ambiguous(f"{name}: {status}")
        if status >= 300:
            code = _error(said)
            raise Refused(f"{name}: {status} {code}", code)

    async def content(self, url: str, account: str, media_type: str, limit: int) -> bytes:
        """The bytes of a file. Slack asks who has no leave to log in, by a redirect or a page."""
        if not self.ours(url):
            raise Final("this file does not lie with Slack")
        headers = {"Authorization": f"Bearer {await self._tokens.token(account)}"}
        try:
            async with self._http.get(url, headers=headers, timeout=DOWNLOAD_TIMEOUT, allow_redirects=False) as answer:
                if answer.status == 429:
                    raise TryLater("Slack file: 429", after=after_of(answer.headers.get("Retry-After", "")))
                if answer.status >= 500:
                    raise TryLater(f"Slack file: {answer.status}")
                if answer.status != 200 or (answer.content_type == "text/html" and media_type != "text/html"):
                    raise Final(f"Slack file: {answer.status}, and not the file; the app may lack the scope files:read")
                data = await capped(answer, limit)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TryLater(f"Slack file: {_named(error)}") from error
        if data is None:
            raise TooLarge(f"Slack file: more than {limit} bytes")
        return data

    def ours(self, url: str) -> bool:
        """Is this an address of Slack's, so that the token may go there?"""
        return lies_at(url, self._base, _SLACK, "https")

    async def _post(
        self,
        url: str,
        data: bytes | dict[str, str],
        headers: dict[str, str],
        name: str,
        passing: type[Ambiguous | TryLater],
    ) -> tuple[int, float, bytes]:
        """Status, Retry-After and body of any answer."""
        try:
            async with self._http.post(
                url, data=data, headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as answer:
                return answer.status, after_of(answer.headers.get("Retry-After", "")), await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:  # nothing was sent
            raise TryLater(f"{name}: {_named(error)}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise passing(f"{name}: {_named(error)}") from error


def _refuse(method: str, told: Told, after: float, passing: type[Fault]) -> NoReturn:
    """What a refusal means, by its code."""
    code = told.error or "unknown"
    needed = f" (needed: {told.needed})" if told.needed else ""
    mend = MEND.get(code, "")
    reason = f"Slack {method}: {code}{needed}" + (f"; {mend}" if mend else "")
    if code in HASTE:
        raise TryLater(reason, after=after)
    if code in PASSING:
        raise passing(reason)
    if code in GONE:
        raise Gone(reason)
    if code in VANISHED:
        raise Vanished(reason)
    raise Refused(reason, code)


def _error(body: bytes) -> str:
    """What a `response_url` says: an error as the methods do, or a few words."""
    try:
        return msgspec.json.decode(body, type=Told).error
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _ADDRESS.sub("…", body[:200].decode("utf-8", "replace")).strip()


def _plain(value: Any) -> str:
    """A field of a form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def after_of(header: str) -> float:
    """Seconds to wait, by a Retry-After."""
    return min(float(header), LONGEST_WAIT) if header.isascii() and header.isdigit() else RETRY_AFTER


def _named(error: Exception) -> str:
    """What broke, without the address: whoever reads that of a `response_url` may speak there."""
    return f"{type(error).__name__} {_ADDRESS.sub('…', str(error))}".strip()
