"""What `chatferry check` finds out about Slack, against a Slack that answers two methods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chatferry.channels.slack_check import findings
from chatferry.channels.slack_scopes import SCOPES
from chatferry.config import SlackSettings
from chatferry.model import Finding
from chatferry.simulator.serving import serving

BOT, APP = "xoxb-111-222-abcdef", "xapp-1-A1-222-abcdef"
HOOK, INSTALL = "https://bot.example.com/hooks/slack", "https://bot.example.com/slack/install"


class Slack:
    """Knows who we are. What it says to a token can be changed."""

    def __init__(self) -> None:
        self.url = ""
        self.scopes: str | None = ",".join(SCOPES)
        self.error = {"auth.test": "", "apps.connections.open": ""}
        self.broken = False
        self.app = Starlette(routes=[Route("/api/{method}", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        method = request.path_params["method"]
        if self.broken:
            return Response("<html>maintenance</html>", 503)
        right = {"auth.test": BOT, "apps.connections.open": APP}[method]
        error = self.error[method] or ("" if request.headers["authorization"] == f"Bearer {right}" else "invalid_auth")
        if error:
            return JSONResponse({"ok": False, "error": error})
        headers = {"x-oauth-scopes": self.scopes} if self.scopes is not None else {}
        return JSONResponse({"ok": True, "team": "Tea Shop", "user": "ferry", "more": 1}, 200, headers)


@pytest_asyncio.fixture(name="slack")
async def _slack() -> AsyncIterator[Slack]:
    slack = Slack()
    async with serving(slack.app) as url:
        slack.url = f"{url}/api"
        yield slack


async def found(
    slack: Slack, hook_url: str | None = HOOK, install_url: str | None = INSTALL, **said: Any
) -> dict[str, Finding]:
    """All findings, by subject."""
    settings = SlackSettings(**{"token": BOT, "secret": "s", "api_base": slack.url, **said})
    async with aiohttp.ClientSession() as http:
        return {finding.subject: finding async for finding in findings(http, settings, hook_url, install_url)}


async def test_where_all_is_well_only_the_address_is_left_to_look_at(slack: Slack) -> None:
    told = await found(slack)
    assert [(finding.subject, finding.detail) for finding in told.values() if not finding.mend] == [
        ("token", "accepted for ferry in Tea Shop"),
        ("scopes", "all that are needed are granted"),
    ]
    assert set(told) == {"token", "scopes", "request URL"}
    assert told["request URL"].ok
    assert HOOK in told["request URL"].detail
    assert "Verified" in told["request URL"].mend


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        ("invalid_auth", "Bot User OAuth Token"),
        ("account_inactive", "install the app again"),
        ("token_revoked", "install the app again"),
        ("token_expired", "token rotation"),
        ("org_login_required", "look `org_login_required` up"),
    ],
)
async def test_a_token_that_is_refused_is_a_fault_with_its_mend(slack: Slack, error: str, mend: str) -> None:
    slack.error["auth.test"] = error
    told = await found(slack)
    assert told["token"].detail == f"auth.test: {error}"
    assert not told["token"].ok
    assert mend in told["token"].mend
    assert "scopes" not in told


@pytest.mark.parametrize(
    ("token", "mend"),
    [("xoxp-1-2", "Bot User OAuth Token"), ("xapp-1-2", "`app_token`"), ("xoxe.xoxb-1-2", "token rotation")],
)
async def test_a_token_of_another_kind_is_told_by_its_looks(slack: Slack, token: str, mend: str) -> None:
    fault = (await found(slack, token=token))["token"]
    assert not fault.ok
    assert mend in fault.mend
    assert token not in str(fault)


async def test_each_scope_that_is_lacking_is_named_with_what_it_is_for(slack: Slack) -> None:
    slack.scopes = ", ".join(set(SCOPES) - {"chat:write", "assistant:write"}) + ",reactions:write"
    told = await found(slack)
    assert not told["scope chat:write"].ok
    assert SCOPES["chat:write"] in told["scope chat:write"].detail
    assert "chatferry slack manifest" in told["scope chat:write"].mend
    assert "Reinstall" in told["scope chat:write"].mend
    assert told["scope assistant:write"].ok
    assert told["scope assistant:write"].mend
    assert "scopes" not in told


async def test_a_slack_that_does_not_name_the_scopes_leaves_them_to_look_at(slack: Slack) -> None:
    slack.scopes = None
    told = await found(slack)
    assert told["scopes"].ok
    assert "OAuth & Permissions" in told["scopes"].mend


async def test_socket_mode_is_tried_and_needs_no_address(slack: Slack) -> None:
    told = await found(slack, None, app_token=APP)
    assert told["app_token"] == Finding(True, "app_token", "accepted: events can come by Socket Mode")
    assert "request URL" not in told


@pytest.mark.parametrize("app_token", ["xapp-wrong", BOT])
async def test_an_app_token_that_is_none_is_a_fault(slack: Slack, app_token: str) -> None:
    fault = (await found(slack, app_token=app_token))["app_token"]
    assert not fault.ok
    assert "connections:write" in fault.mend


async def test_without_an_address_and_without_socket_mode_nobody_may_be_calling(slack: Slack) -> None:
    told = (await found(slack, None))["request URL"]
    assert "SLACK_APP_TOKEN" in told.mend
    assert "CHATFERRY_PUBLIC_URL" in told.mend


async def test_an_app_for_several_workspaces_says_where_they_install_it(slack: Slack) -> None:
    told = await found(slack, token=None, client_id="1.2", client_secret="c")
    assert told["install"].detail == f"workspaces install us at {INSTALL}"
    assert "token" not in told
    homeless = (await found(slack, None, None, token=None, client_id="1.2", client_secret="c"))["install"]
    assert not homeless.ok
    assert "CHATFERRY_PUBLIC_URL" in homeless.mend


async def test_a_slack_that_cannot_be_reached_is_told_once(slack: Slack) -> None:
    slack.broken = True
    told = await found(slack, app_token=APP)
    assert told["reach"].detail == "auth.test: 503, and not the answer that is documented"
    assert set(told) == {"reach"}
    nobody = await found(slack, api_base="http://127.0.0.1:1")
    assert not nobody["reach"].ok
    assert BOT not in str(nobody)
