"""Several workspaces, one app: they install us by OAuth, and we keep what lets us speak there.

Facts: "Installing with OAuth" and "Using token rotation" at docs.slack.dev.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import msgspec
import structlog

from chatferry.channels.base import Page, Surroundings, Vault, Visit
from chatferry.channels.slack_pages import Link, page, redirect
from chatferry.channels.slack_post import Said, post
from chatferry.channels.slack_scopes import SCOPES
from chatferry.errors import ConfigError, Fault, Final, TryLater, Unavailable

if TYPE_CHECKING:
    from chatferry.config import SlackSettings

log = structlog.get_logger(__name__)

CONSENT_SECONDS = 600
"""How long somebody may think about Slack's question whether to install us."""
EARLY_SECONDS = 600.0
"""How long before its end a token is renewed. They live for twelve hours."""
BELIEF_SECONDS = 60.0
"""How long what was read is believed: another process may have been told to install, renew or forget it."""
_OURS = {"invalid_client_id", "bad_client_secret", "bad_redirect_uri", "invalid_auth"}
"""Refusals that the operator has to mend."""


class Installation(msgspec.Struct, frozen=True):
    """What a workspace, or a whole organisation, gave us."""

    token: str
    team: str = ""
    """Empty where the organisation installed us."""
    team_name: str = ""
    enterprise: str = ""
    bot_user_id: str = ""
    app: str = ""
    scopes: tuple[str, ...] = ()
    refresh_token: str = ""
    expires_at: float = 0.0
    """Unix seconds; 0: never."""
    installed_at: float = 0.0

    def __repr__(self) -> str:
        return f"Installation({self.team or self.enterprise})"  # no secret, wherever it may be printed


class _Named(msgspec.Struct):
    id: str = ""
    name: str | None = None


class _Access(Said):
    """What oauth.v2.access answers to a code, and to a refresh token."""

    access_token: str = ""
    refresh_token: str | None = None
    expires_in: float | None = None
    scope: str | None = None
    bot_user_id: str | None = None
    app_id: str | None = None
    team: _Named | None = None
    enterprise: _Named | None = None
    is_enterprise_install: bool | None = None


class _Held(NamedTuple):
    installation: Installation
    until: float
    """When it is looked up again."""


class Installations:
    """Tokens by account, and the two pages through which they come. `visit` never raises."""

    def __init__(self, name: str, settings: SlackSettings, around: Surroundings) -> None:
        self.pages = (f"/{name}/install", f"/{name}/oauth")
        self._name = name
        self._client_id = settings.client_id
        self._client_secret = settings.client_secret.get_secret_value() if settings.client_secret else ""
        self._api_base = settings.api_base
        self._http = around.http
        self._clock = around.clock
        self._given = around.vault
        self._public_url = around.public_url
        self._held: dict[str, _Held] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    # ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────

    async def token(self, account: str) -> str:
        """What to speak with in `T1`, or in `E1+T1`. Raises `Final` where nobody installed us, or `TryLater`."""
        return (await self.of(account)).token

    async def of(self, account: str) -> Installation:
        """The workspace's installation, else its organisation's. Raises as `token` does."""
        if not account:
            raise Final("of which workspace? with several, write T0123456789/C0123456789")
        enterprise, _, team = account.rpartition("+")
        with _faults():
            for owner in filter(None, (team, enterprise)):
                if found := await self._find(owner):
                    return found
        raise Final(f"nobody in {account} has installed us: {self.pages[0]} does it")

    async def drop(self, account: str, *, said_at: float | None = None) -> None:
        """Forget what was given before `said_at` (Unix seconds; None: whenever), as Slack or a workspace told us.

        Such news may come late, when we have long been installed again. Raises `TryLater`, or `Final`.
        """
        owner = account.partition("+")[0]  # of an account of two, the organisation is who installed us
        with _faults():
            async with self._lock(owner):
                if said_at is not None and (kept := await self._read(owner)) and kept.installed_at > said_at:
                    return
                self._held.pop(owner, None)
                await self._vault.drop(_key(owner))
        log.info("uninstalled", channel=self._name, account=account)

    async def _find(self, owner: str) -> Installation | None:
        held = self._held.get(owner)
        if held and self._clock.now() < held.until:
            return held.installation
        async with self._lock(owner):
            held, now = self._held.get(owner), self._clock.now()
            if held and now < held.until:
                return held.installation
            found = await self._read(owner)
            if found is None:
                self._held.pop(owner, None)
                return None
            if held and _newer(held.installation, found):
                await self._keep(owner, held.installation)  # it was renewed, and could not be kept then
                found = held.installation
            if found.expires_at and found.expires_at - now < EARLY_SECONDS:
                found = await self._renewed(owner, found)
            self._held[owner] = _Held(found, now + BELIEF_SECONDS)
            return found

    async def _renewed(self, owner: str, old: Installation) -> Installation:
        """A refresh token works once, so what it brought is held even while it cannot be kept."""
        try:
            said = await self._access({"grant_type": "refresh_token", "refresh_token": old.refresh_token})
        except Fault as fault:
            kept = await self._read(owner)
            if kept and kept != old:  # another process was quicker
                return kept
            if self._clock.now() + BELIEF_SECONDS < old.expires_at:
                log.warning("a token was not renewed; it is good for a while", channel=self._name, error=str(fault))
                return old
            raise
        new = msgspec.structs.replace(
            old,
            token=said.access_token,
            refresh_token=said.refresh_token or old.refresh_token,
            expires_at=self._clock.now() + said.expires_in if said.expires_in else 0.0,
        )
        try:
            await self._keep(owner, new)
        except Unavailable as fault:
            log.error("a renewed token cannot be kept yet", channel=self._name, error=str(fault))
        return new

    async def _read(self, owner: str) -> Installation | None:
        kept = await self._vault.get(_key(owner))
        return msgspec.json.decode(kept, type=Installation) if kept else None

    async def _keep(self, owner: str, installation: Installation) -> None:
        await self._vault.put(_key(owner), msgspec.json.encode(installation))

    @property
    def _vault(self) -> Vault:
        if self._given is None:
            mend = "CHATFERRY_SECRET=... in .env or the environment; `openssl rand -hex 32` makes a good one"
            raise ConfigError(f"server.secret: is required to keep the tokens of workspaces\n  mend: {mend}")
        return self._given

    def _lock(self, owner: str) -> asyncio.Lock:
        return self._locks.setdefault(owner, asyncio.Lock())

    async def _access(self, form: dict[str, str]) -> _Access:
        """oauth.v2.access with our own credentials. Raises `Final` with Slack's word for a refusal, or `TryLater`."""
        ours = aiohttp.encode_basic_auth(self._client_id, self._client_secret)
        said = await post(self._http, f"{self._api_base}/oauth.v2.access", ours, form, _Access)
        if said.ok and said.access_token:
            return said
        raise _Refused(said.error or "no bot token was given")

    # ── pages ────────────────────────────────────────────────────────────────────────────────────────────────

    async def visit(self, visit: Visit) -> Page:
        """Answer a GET on one of `pages`."""
        try:
            return await (self.callback(visit) if visit.path == self.pages[1] else self.install_page(visit))
        except ConfigError as fault:
            log.error("cannot be installed", channel=self._name, error=str(fault))
            text = "Whoever runs this service has to finish setting it up. Its log says what is missing."
            return page("Not ready yet", text, status=500)
        except (TryLater, Unavailable) as fault:
            log.warning("could not be installed", channel=self._name, error=str(fault))
            text = "Something did not answer in time. Nothing was installed; please try again in a minute."
            return page("Please try again", text, self._again(), status=503, headers={"Retry-After": "60"})

    async def install_page(self, visit: Visit) -> Page:
        """Send the browser to Slack's question, with a state that only this browser can bring back, and not late."""
        await self._vault.get(_key(""))  # what is lacking should show before somebody has agreed
        nonce = secrets.token_urlsafe(32)
        until = str(int(visit.at) + CONSENT_SECONDS)
        query = {
            "client_id": self._client_id,
            "scope": ",".join(sorted(SCOPES)),
            "redirect_uri": self._redirect_uri(),
            "state": f"{until}.{self._seal(until, nonce)}",
        }
        to = urljoin(self._api_base, f"/oauth/v2/authorize?{urlencode(query)}")
        return redirect(to, {"Set-Cookie": self._cookie(nonce, CONSENT_SECONDS)})

    async def callback(self, visit: Visit) -> Page:
        """Take what Slack's question brought."""
        until, _, seal = visit.query.get("state", "").partition(".")
        right = self._seal(until, visit.cookies.get(self._cookie_name, ""))
        ours = hmac.compare_digest(seal.encode("utf-8", "replace"), right.encode())
        if not ours or int(until) < visit.at:  # what we sealed is a number
            text = "This page belongs to an installation that was begun elsewhere, or too long ago."
            return page("Please start again", text, self._again(), status=400)
        used = {"Set-Cookie": self._cookie("", 0)}
        if refusal := visit.query.get("error"):
            log.info("not installed", channel=self._name, error=refusal[:80])
            text = "Slack tells us that this was declined. Nothing was installed, and nothing is kept."
            return page("Not installed", text, self._again(), headers=used)
        try:
            code = visit.query.get("code", "")
            said = await self._access({"code": code, "redirect_uri": self._redirect_uri()})
        except _Refused as refused:
            if refused.error in _OURS:
                mend = f"compare client_id and client_secret, and the redirect URL {self._redirect_uri()}, with the app"
                raise ConfigError(f"channels.{self._name}: Slack says {refused.error}\n  mend: {mend}") from None
            log.warning("not installed", channel=self._name, error=refused.error)
            text = "Slack did not accept this installation. It may have been used already, or been too slow."
            return page("Please start again", text, self._again(), status=400, headers=used)
        installation = _installation(said, self._clock.now())
        owner = installation.team or installation.enterprise
        if not owner:
            raise TryLater("Slack oauth.v2.access: names no workspace")
        async with self._lock(owner):
            await self._keep(owner, installation)
            self._held[owner] = _Held(installation, self._clock.now() + BELIEF_SECONDS)
        log.info("installed", channel=self._name, account=owner)
        text = "Write to it directly, or invite it to a channel and mention it there."
        return page(f"Installed in {installation.team_name or owner}", text, self._hello(installation), headers=used)

    def _again(self) -> Link:
        return Link("Install again", f"{self._public_url or ''}{self.pages[0]}")

    def _hello(self, installation: Installation) -> Link:
        """Slack's own way to open the talk with an app: "Deep linking into Slack"."""
        query = urlencode({"app": installation.app, "team": installation.team} if installation.team else {})
        return Link("Say hello", urljoin(self._api_base, f"/app_redirect?{query}" if query else "/"))

    def _redirect_uri(self) -> str:
        if not self._public_url:
            mend = "CHATFERRY_PUBLIC_URL=https://... in .env or the environment"
            raise ConfigError(f"server.public_url: is required for workspaces to install us\n  mend: {mend}")
        return f"{self._public_url}{self.pages[1]}"

    def _seal(self, until: str, nonce: str) -> str:
        key = hmac.digest(self._client_secret.encode(), b"chatferry install", "sha256")
        return hmac.digest(key, f"{until}.{nonce}".encode("utf-8", "replace"), "sha256").hex()

    @property
    def _cookie_name(self) -> str:
        return f"{self._name}-install"

    def _cookie(self, value: str, seconds: int) -> str:
        public = urlsplit(self._public_url or "")
        secure = "; Secure" if public.scheme == "https" else ""
        path = f"{public.path}/{self._name}"
        return f"{self._cookie_name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _newer(one: Installation, other: Installation) -> bool:
    """Is it the same installation, renewed?"""
    return one.installed_at == other.installed_at and one.expires_at > other.expires_at


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """What the vault raises, as callers of a platform know it."""
    try:
        yield
    except Unavailable as fault:
        raise TryLater(str(fault)) from fault
    except ConfigError as fault:
        raise Final(str(fault)) from fault


class _Refused(Final):
    """Slack's `error`, as it is."""

    def __init__(self, error: str) -> None:
        super().__init__(f"Slack oauth.v2.access: {error}")
        self.error = error


def _key(owner: str) -> str:
    return f"installation/{owner}"


def _installation(said: _Access, now: float) -> Installation:
    team, enterprise = said.team or _Named(), said.enterprise or _Named()
    whole = bool(said.is_enterprise_install)
    return Installation(
        token=said.access_token,
        team="" if whole else team.id,
        team_name=(enterprise if whole else team).name or "",
        enterprise=enterprise.id,
        bot_user_id=said.bot_user_id or "",
        app=said.app_id or "",
        scopes=tuple(filter(None, (said.scope or "").split(","))),
        refresh_token=said.refresh_token or "",
        expires_at=now + said.expires_in if said.expires_in else 0.0,
        installed_at=now,
    )
