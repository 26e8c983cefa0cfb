"""What `chatferry check` finds out about Slack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from chatferry.channels.slack_check import findings
from chatferry.channels.slack_scopes import SCOPES
from chatferry.config import SlackSettings
from chatferry.model import Finding
from chatferry.simulator.serving import serving
from chatferry.simulator.slack import SlackSimulator
from chatferry.simulator.slack_records import Fault

HOOK, INSTALL = "https://bot.example.com/hooks/slack", "https://bot.example.com/slack/install"


@pytest_asyncio.fixture(name="slack")
async def _slack() -> AsyncIterator[SlackSimulator]:
    async with SlackSimulator(scopes=list(SCOPES)) as slack, serving(slack) as slack.url:
        yield slack


async def found(
    slack: SlackSimulator, hook_url: str | None = HOOK, install_url: str | None = INSTALL, **said: Any
) -> dict[str, Finding]:
    """All findings, by subject."""
    told = {"token": slack.bot_token, "secret": slack.signing_secret, "api_base": f"{slack.url}/api", **said}
    async with aiohttp.ClientSession() as http:
        tried = findings(http, SlackSettings(**told), hook_url, install_url)
        return {finding.subject: finding async for finding in tried}


async def test_where_all_is_well_only_the_address_is_left_to_look_at(slack: SlackSimulator) -> None:
    told = await found(slack)
    assert [(finding.subject, finding.detail) for finding in told.values() if not finding.mend] == [
        ("token", "accepted for ferry in Simulated T0SIM"),
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
async def test_a_token_that_is_refused_is_a_fault_with_its_mend(slack: SlackSimulator, error: str, mend: str) -> None:
    slack.faults("auth.test", Fault(error=error))
    told = await found(slack)
    assert told["token"].detail == f"auth.test: {error}"
    assert not told["token"].ok
    assert mend in told["token"].mend
    assert "scopes" not in told


@pytest.mark.parametrize(
    ("token", "mend"),
    [("xoxp-1-2", "Bot User OAuth Token"), ("xapp-1-2", "`app_token`"), ("xoxe.xoxb-1-2", "token rotation")],
)
async def test_a_token_of_another_kind_is_told_by_its_looks(slack: SlackSimulator, token: str, mend: str) -> None:
    fault = (await found(slack, token=token))["token"]
    assert not fault.ok
    assert mend in fault.mend
    assert token not in str(fault)


async def test_each_scope_that_is_lacking_is_named_with_what_it_is_for(slack: SlackSimulator) -> None:
    slack.scopes = ["reactions:write", *sorted(set(SCOPES) - {"chat:write", "assistant:write"})]
    told = await found(slack)
    assert not told["scope chat:write"].ok
    assert SCOPES["chat:write"] in told["scope chat:write"].detail
    assert "chatferry slack manifest" in told["scope chat:write"].mend
    assert "Reinstall" in told["scope chat:write"].mend
    assert told["scope assistant:write"].ok
    assert told["scope assistant:write"].mend
    assert "scopes" not in told


async def test_socket_mode_is_tried_and_needs_no_address(slack: SlackSimulator) -> None:
    told = await found(slack, None, app_token=slack.app_token)
    assert told["app_token"] == Finding(True, "app_token", "accepted: events can come by Socket Mode")
    assert "request URL" not in told


@pytest.mark.parametrize("app_token", ["xapp-wrong", "xoxb-simulated"])
async def test_an_app_token_that_is_none_is_a_fault(slack: SlackSimulator, app_token: str) -> None:
    fault = (await found(slack, app_token=app_token))["app_token"]
    assert not fault.ok
    assert "connections:write" in fault.mend


async def test_without_an_address_and_without_socket_mode_nobody_may_be_calling(slack: SlackSimulator) -> None:
    told = (await found(slack, None))["request URL"]
    assert "SLACK_APP_TOKEN" in told.mend
    assert "CHATFERRY_PUBLIC_URL" in told.mend


async def test_an_app_for_several_workspaces_says_where_they_install_it(slack: SlackSimulator) -> None:
    told = await found(slack, token=None, client_id="1.2", client_secret="c")
    assert told["install"].detail == f"workspaces install us at {INSTALL}"
    assert "token" not in told
    both = (await found(slack, client_id="1.2", client_secret="c"))["token"]
    assert "leave one of the two out" in both.mend
    homeless = (await found(slack, None, None, token=None, client_id="1.2", client_secret="c"))["install"]
    assert not homeless.ok
    assert "CHATFERRY_PUBLIC_URL" in homeless.mend


@pytest.mark.parametrize("status", [429, 503])
async def test_a_slack_in_trouble_is_no_fault_of_the_token(slack: SlackSimulator, status: int) -> None:
    slack.faults("auth.test", Fault(status=status))
    told = await found(slack, app_token=slack.app_token)
    assert told["reach"].detail == f"auth.test: {status}"
    assert set(told) == {"reach"}


async def test_a_slack_that_cannot_be_reached_is_a_fault(slack: SlackSimulator) -> None:
    told = await found(slack, api_base="http://127.0.0.1:1")
    assert not told["reach"].ok
    assert "connect" in told["reach"].detail.lower()
    assert slack.bot_token not in str(told)


# What stands in Slack's place may say less


async def _scant(_: Request) -> Response:
    return JSONResponse({"ok": True, "user": "ferry", "team": "Tea Shop"})


async def _other(_: Request) -> Response:
    return PlainTextResponse("welcome to our proxy")


async def test_scopes_that_are_not_told_are_left_to_look_at(slack: SlackSimulator) -> None:
    async with serving(Starlette(routes=[Route("/auth.test", _scant, methods=["POST"])])) as base:
        told = await found(slack, api_base=base)
    assert told["token"].ok
    assert told["scopes"].ok
    assert "OAuth & Permissions" in told["scopes"].mend


async def test_an_answer_of_somebody_else_is_not_taken_for_slacks(slack: SlackSimulator) -> None:
    async with serving(Starlette(routes=[Route("/auth.test", _other, methods=["POST"])])) as base:
        told = await found(slack, api_base=base)
    assert told["reach"].detail == "auth.test: not the answer that is documented"
