"""The pages through which workspaces install us, against a simulated Slack."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from chatferry.channels.slack_install import CONSENT_SECONDS
from chatferry.channels.slack_scopes import SCOPES
from chatferry.config import load
from chatferry.errors import Final
from chatferry.simulator.serving import serving
from chatferry.simulator.slack import APP, BOT, TEAM
from chatferry.simulator.slack_records import Fault
from tests.channels.slack_installing import ACCESS, PUBLIC, Browser, World, opened, run
from tests.stack import gateway_on


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


async def test_the_first_page_sends_the_browser_to_slacks_question(world: World) -> None:
    page = await Browser(world.installations(), world.clock).begin()
    assert page.status == 302
    where = urlsplit(page.headers["Location"])
    assert f"{where.scheme}://{where.netloc}{where.path}" == f"{world.url}/oauth/v2/authorize"
    asked = parse_qs(where.query)
    assert asked["client_id"] == [world.sim.client_id]
    assert asked["redirect_uri"] == [f"{PUBLIC}/slack/oauth"]
    assert set(asked["scope"][0].split(",")) == set(SCOPES)
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("public", "path", "secure"),
    [(PUBLIC, "/slack", True), ("http://localhost:8080", "/slack", False), (f"{PUBLIC}/a/b", "/a/b/slack", True)],
)
async def test_the_cookie_goes_nowhere_else(world: World, public: str, path: str, secure: bool) -> None:
    world.public_url = public
    page = await Browser(world.installations(), world.clock).begin()
    (cookie,) = SimpleCookie(page.headers["Set-Cookie"]).values()
    assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == (path, "Lax", True)
    assert bool(cookie["secure"]) is secure
    assert int(cookie["max-age"]) == CONSENT_SECONDS


async def test_a_workspace_that_agrees_gives_us_its_token(world: World) -> None:
    installations = world.installations()
    world.sim.workspaces["T5"] = "xoxb-of-t5"
    with capture_logs() as logs:
        page = await world.install(installations, "T5")
    assert page.status == 200
    assert "Installed in Simulated T5" in page.body
    assert f'href="{world.url}/app_redirect?app={APP}&amp;team=T5"' in page.body
    assert "Max-Age=0" in page.headers["Set-Cookie"]
    assert await installations.token("T5") == "xoxb-of-t5"
    assert "xoxb" not in f"{logs} {page} {await installations.of('T5')!r}"
    after_a_restart = await world.installations().of("T5")
    assert (after_a_restart.token, after_a_restart.team_name) == ("xoxb-of-t5", "Simulated T5")
    assert after_a_restart.bot_user_id.startswith(BOT[0])
    assert set(after_a_restart.scopes) == set(world.sim.scopes)


async def test_a_workspace_with_an_evil_name_changes_nothing_on_the_page(world: World) -> None:
    page = await world.install(world.installations(), '"><script>alert(1)</script>')
    assert page.status == 200
    assert "&lt;script&gt;" in page.body
    assert "<script" not in page.body
    assert '""' not in page.body


async def test_a_page_runs_nothing_loads_nothing_and_is_kept_nowhere(world: World) -> None:
    page = await world.install(world.installations())
    (style,) = re.findall(r"<style>(.*)</style>", page.body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = page.headers["Content-Security-Policy"]
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"


async def test_what_another_browser_began_is_not_taken(world: World) -> None:
    browser = Browser(world.installations(), world.clock)
    await browser.begin()
    later = int(world.clock.now()) + 9 * CONSENT_SECONDS
    states = ["", ".", "1.2", "x.y\udcffé", f"{later}.{browser.state.partition('.')[2]}"]
    cookies = [{}, {"slack-install": ""}, {"slack-install": "another browser's"}]
    wrong = [replace(browser, state=state) for state in states]
    for stranger in [*wrong, *(replace(browser, cookies=cookie) for cookie in cookies)]:
        page = await stranger.end(code=world.sim.new_code())
        assert page.status == 400, stranger
        assert f'href="{PUBLIC}/slack/install"' in page.body
    assert world.exchanges == 0


async def test_who_thinks_for_too_long_begins_again(world: World) -> None:
    browser = Browser(world.installations(), world.clock)
    await browser.begin()
    world.clock.advance(CONSENT_SECONDS + 1)
    assert (await browser.end(code=world.sim.new_code())).status == 400
    assert world.exchanges == 0
    assert (await world.install(browser.installations)).status == 200


async def test_another_apps_state_is_not_ours(world: World) -> None:
    browser = Browser(world.installations(client_secret=SecretStr("another")), world.clock)
    await browser.begin()
    browser.installations = world.installations()
    assert (await browser.end(code=world.sim.new_code())).status == 400


async def test_whoever_declines_is_told_kindly(world: World) -> None:
    browser = Browser(world.installations(), world.clock)
    await browser.begin()
    page = await browser.end(error="access_denied", code=world.sim.new_code())
    assert page.status == 200
    assert "Not installed" in page.body
    assert world.exchanges == 0


async def test_a_code_works_once(world: World) -> None:
    browser = Browser(world.installations(), world.clock)
    await browser.begin()
    code = world.sim.new_code()
    assert [(await browser.end(code=code)).status for _ in range(2)] == [200, 400]
    assert (await browser.end()).status == 400


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"client_secret": SecretStr("of-another-app")}, "bad_client_secret"),
        ({"client_id": "9.9"}, "invalid_client_id"),
    ],
)
async def test_what_the_operator_has_to_mend_is_in_the_log_and_not_on_the_page(
    world: World, wrong: dict[str, Any], said: str
) -> None:
    with capture_logs() as logs:
        page = await world.install(world.installations(**wrong))
    assert page.status == 500
    assert said not in page.body
    (line,) = logs
    assert f"{said}\n  mend: compare client_id and client_secret" in line["error"]
    assert "of-another-app" not in line["error"]


async def test_without_a_public_address_the_first_page_says_that_it_is_not_ready(world: World) -> None:
    world.public_url = None
    with capture_logs() as logs:
        page = await Browser(world.installations(), world.clock).begin()
    assert page.status == 500
    assert "server.public_url" in logs[0]["error"]


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=429, retry_after=3), Fault(drop=True)])
async def test_a_slack_that_fails_leaves_nothing_installed(world: World, fault: Fault) -> None:
    installations = world.installations()
    world.sim.faults(ACCESS, fault)
    page = await world.install(installations)
    assert page.status == 503
    assert "Retry-After" in page.headers
    with pytest.raises(Final, match="nobody in T0SIM has installed us: /slack/install does it"):
        await installations.token(TEAM)


async def test_a_database_that_fails_is_noticed_before_anybody_agrees(world: World) -> None:
    await run(world.database, "DROP TABLE vault")
    assert (await Browser(world.installations(), world.clock).begin()).status == 503


async def test_whatever_slack_answers_the_browser_gets_a_page(world: World) -> None:
    token = b'{"ok": true, "access_token": "xoxb-1"'
    bodies = {
        b"<html>": 503,
        b"[]": 503,
        b"{}": 400,
        b'{"ok": true, "team": {"id": "T1"}}': 400,
        token + b"}": 503,
        token + b', "team": null, "enterprise": {"id": "", "name": null}}': 503,
        token + b', "team": {"id": "T1"}, "scope": null, "refresh_token": null, "expires_in": null}': 200,
        token + b', "team": {"id": "T1"}, "more": "' + b"x" * 70_000 + b'"}': 503,
    }
    answers = list(bodies)

    async def answer(request: Request) -> Response:
        return Response(answers.pop(0))

    async with serving(Starlette(routes=[Route("/api/oauth.v2.access", answer, methods=["POST"])])) as url:
        installations = world.installations(api_base=f"{url}/api")
        for body, status in bodies.items():
            page = await world.install(installations)
            assert page.status == status, body[:100]
            assert "<!doctype html>" in page.body


async def test_the_gateway_serves_the_pages(world: World, tmp_path: Path) -> None:
    """A browser's way: our page, Slack's question, our page again. The simulated owner always agrees."""
    settings = load(
        environ={
            "PORT": "0",
            "CHATFERRY_DATABASE": f"sqlite:///{tmp_path}/y.db",
            "CHATFERRY_PUBLIC_URL": PUBLIC,
            "CHATFERRY_SECRET": "a-secret-of-the-operator",
            "OPENAI_API_KEY": "nobody-asks-it",
            "SLACK_SIGNING_SECRET": world.sim.signing_secret,
            "SLACK_CLIENT_ID": world.sim.client_id,
            "SLACK_CLIENT_SECRET": world.sim.client_secret,
            "SLACK_API_BASE": f"{world.url}/api",
        }
    )
    jar = aiohttp.DummyCookieJar()
    async with gateway_on(settings, world.clock) as (_, url, _), aiohttp.ClientSession(cookie_jar=jar) as http:
        async with http.get(f"{url}/slack/install", allow_redirects=False) as ours:
            cookies = {name: cookie.value for name, cookie in ours.cookies.items()}
        async with http.get(ours.headers["Location"], allow_redirects=False) as theirs:
            back = theirs.headers["Location"].replace(PUBLIC, url)
        async with http.get(back, cookies=cookies) as page:
            assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
            assert "Installed in Simulated T0SIM" in await page.text()
        async with http.get(back) as page:
            assert page.status == 400
