"""`chatferry check` for Slack: what an operator gets wrong, found by calling Slack, with the step that mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from pydantic import SecretStr

from chatferry.channels.slack_scopes import SCOPES
from chatferry.model import Finding

if TYPE_CHECKING:
    from chatferry.config import SlackSettings

TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
CONSOLE = "https://api.slack.com/apps"
SPARE = frozenset({"assistant:write", "files:read"})
"""Scopes without which people are still answered."""

_COPY = f"copy the Bot User OAuth Token (xoxb-...) from OAuth & Permissions at {CONSOLE}"
_AGAIN = f"install the app again: Install App at {CONSOLE}; the token is a new one then"
_ROTATES = (
    "token rotation is on in this app and cannot be switched off: make it anew by `chatferry slack manifest`, "
    "or set `client_id` and install it by our own page, which renews its tokens"
)
_WRONG_KIND = {
    "xoxp-": ("a user's token, which would answer in the name of a person", _COPY),
    "xapp-": ("an app-level token, which cannot answer", f"that is `app_token`; for `token` {_COPY}"),
    "xoxe": ("a token that ends after twelve hours", _ROTATES),
}
_MENDS = {
    "not_authed": _COPY,
    "invalid_auth": f"{_COPY}; where Allowed IP ranges are set, ours must be among them",
    "not_allowed_token_type": _COPY,
    "account_inactive": _AGAIN,
    "token_revoked": _AGAIN,
    "token_expired": _ROTATES,
}
_SOCKET = (
    f"at {CONSOLE} switch Socket Mode on, and under Basic Information, App-Level Tokens, "
    "make one (xapp-...) with connections:write"
)


class _Told(msgspec.Struct):
    """What `auth.test` and `apps.connections.open` answer, and what every error looks like."""

    ok: bool = False
    error: str = ""
    team: str = ""
    user: str = ""


class _Unreached(Exception):
    """No answer of Slack's came back."""


async def findings(
    http: aiohttp.ClientSession, settings: SlackSettings, hook_url: str | None, install_url: str | None
) -> AsyncIterator[Finding]:
    """One finding for each thing that was tried. Nothing is posted, and no connection is opened.

    hook_url, install_url: where Slack is to call us, and where workspaces may install us, if our address is known.
    """
    try:
        if settings.token and settings.client_id:
            detail = "not used beside `client_id`, with which each workspace gives a token of its own"
            yield Finding(True, "token", detail, "leave one of the two out")
        elif settings.token:
            async for finding in _token(http, settings.api_base, settings.token):
                yield finding
        if settings.app_token:
            yield await _socket(http, settings.api_base, settings.app_token)
    except _Unreached as error:
        yield Finding(False, "reach", str(error), "check the network, and `api_base` if it is set; then try again")
    if settings.client_id:
        yield _installing(install_url)
    if not settings.app_token:
        yield _hook(hook_url)


async def _token(http: aiohttp.ClientSession, base: str, token: SecretStr) -> AsyncIterator[Finding]:
    for prefix, (kind, mend) in _WRONG_KIND.items():
        if token.get_secret_value().startswith(prefix):
            yield Finding(False, "token", f"is {kind}", mend)
            return
    told, scopes = await _call(http, base, "auth.test", token)
    if not told.ok:
        mend = _MENDS.get(told.error, f"look `{told.error}` up at https://docs.slack.dev/reference/methods/auth.test")
        yield Finding(False, "token", f"auth.test: {told.error}", mend)
        return
    yield Finding(True, "token", f"accepted for {told.user} in {told.team}")
    for finding in _scopes(scopes):
        yield finding


def _scopes(granted: Collection[str] | None) -> list[Finding]:
    if granted is None:
        return [
            Finding(True, "scopes", "Slack did not say which are granted", "look under OAuth & Permissions, Scopes")
        ]
    mend = f"under App Manifest at {CONSOLE} paste what `chatferry slack manifest` prints; then Install App, Reinstall"
    lacking = [
        Finding(scope in SPARE, f"scope {scope}", f"not granted; it is there to {purpose}", mend)
        for scope, purpose in SCOPES.items()
        if scope not in granted
    ]
    return lacking or [Finding(True, "scopes", "all that are needed are granted")]


async def _socket(http: aiohttp.ClientSession, base: str, token: SecretStr) -> Finding:
    if token.get_secret_value().startswith(("xoxb-", "xoxp-")):
        return Finding(False, "app_token", "is a token of another kind", _SOCKET)
    told, _ = await _call(http, base, "apps.connections.open", token)
    if not told.ok:
        return Finding(False, "app_token", f"apps.connections.open: {told.error}", _SOCKET)
    return Finding(True, "app_token", "accepted: events can come by Socket Mode")


def _installing(install_url: str | None) -> Finding:
    if install_url is None:
        mend = 'CHATFERRY_PUBLIC_URL=https://..., or public_url = "https://..." in [server]'
        return Finding(False, "install", "without our public address no workspace can install us", mend)
    return Finding(True, "install", f"workspaces install us at {install_url}")


def _hook(hook_url: str | None) -> Finding:
    """Slack has no call that tries the address, so this is for the operator to look at."""
    if hook_url is None:
        mend = "set CHATFERRY_PUBLIC_URL=https://..., or SLACK_APP_TOKEN, as Socket Mode needs no address"
        return Finding(True, "request URL", "not known, so Slack may be calling another one, or nobody", mend)
    mend = (
        f"see at {CONSOLE}: Event Subscriptions, Interactivity and the slash command must have this address, the first "
        "as Verified; if it is not, `secret` must be the Signing Secret of Basic Information"
    )
    return Finding(True, "request URL", f"{hook_url}; whether Slack reaches it, only Slack can tell", mend)


async def _call(
    http: aiohttp.ClientSession, base: str, method: str, token: SecretStr
) -> tuple[_Told, frozenset[str] | None]:
    """The answer, and the scopes of the token, which Slack names in a header. Raises `_Unreached`."""
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
    try:
        async with http.post(f"{base}/{method}", headers=headers, timeout=TIMEOUT, allow_redirects=False) as answer:
            body, scopes, status = await answer.read(), answer.headers.get("x-oauth-scopes"), answer.status
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _Unreached(f"{method}: {type(error).__name__} {error}".strip()) from error
    if status != 200:  # Slack refuses with 200; this is haste, or troubles of its own, or somebody in between
        raise _Unreached(f"{method}: {status}")
    try:
        told = msgspec.json.decode(body, type=_Told)
    except (msgspec.MsgspecError, UnicodeError):
        raise _Unreached(f"{method}: not the answer that is documented") from None
    granted = None if scopes is None else frozenset(scope.strip() for scope in scopes.split(","))
    return told, granted
