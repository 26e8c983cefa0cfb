"""What no bot means to send is refused in the platform's own words, as what it may mean is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from chatferry.playground.app import Playground
from chatferry.playground.stage import script, simulators
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.model_weather import ModelProxy
from chatferry.simulator.scene import Scene
from chatferry.simulator.serving import serving

DEEP = b"[" * 100_000
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
LINE, SLACK, WECHAT = "/line/v2/bot", "/slack/api", "/wechat/cgi-bin"
PERSON = b'{"touser": "oAAAAAAAAAAAAAAAAAAAAAAAAAAA", "msgtype": '


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    scene = Scene()
    given: dict[str, dict[str, Any]] = {
        "line": {"token": "t"},
        "slack": {"bot_token": "t"},
        "wechat": {"verified": True},
    }
    its = simulators(given, scene)
    provider = ModelSimulator(converse=script)
    async with (
        serving(provider.app) as up,
        ModelProxy(scene, {"gpt": f"{up}/v1"}) as proxy,
        serving(Playground(scene, {**its.apps, "model": proxy})) as base,
    ):
        yield base
    left = [fact["path"] for fact in scene.all() if fact["kind"] == "exchange" and fact["seconds"] is None]
    assert left == []


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status", "told"),
    [
        (f"{LINE}/message/push", DEEP, JSON, 400, "message"),
        (f"{LINE}/channel/webhook/test", b'{"endpoint": [1]}', JSON, 400, "Invalid webhook URL"),
        (f"{SLACK}/chat.postMessage", DEEP, JSON, 200, "invalid_json"),
        (f"{SLACK}/chat.postMessage", b"channel=C1&text=\xff", FORM, 200, "invalid_form_data"),
        (f"{SLACK}/chat.postMessage", b"channel=C1&blocks=" + DEEP, FORM, 200, "invalid_arguments"),
        ("/slack/response/gone", DEEP, JSON, 404, "expired_url"),
        (f"{WECHAT}/message/custom/send", DEEP, JSON, 200, "47001"),
        (f"{WECHAT}/message/custom/send", PERSON + b"[1]}", JSON, 200, "40008"),
        ("/model/gpt/chat/completions", DEEP, JSON, 400, "could not parse"),
    ],
)
async def test_it_is_refused(
    url: str, path: str, body: bytes, content_type: str, status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": "Bearer t", "Content-Type": content_type}
    async with aiohttp.ClientSession() as http:
        if path.startswith(WECHAT):
            account = "appid=wx0123456789abcdef&secret=0123456789abcdef0123456789abcdef"
            async with http.get(f"{url}{WECHAT}/token?grant_type=client_credential&{account}") as given:
                path += f"?access_token={json.loads(await given.read())['access_token']}"
        async with http.post(url + path, data=body, headers=headers) as answer:
            assert (answer.status, told in await answer.text()) == (status, True)
    assert not caplog.records


@pytest.mark.parametrize("given", ["!!!", "/w==", "bm9jb2xvbg=="])
async def test_a_user_and_password_that_are_none(url: str, given: str) -> None:
    headers = {"Authorization": f"Basic {given}"}
    async with aiohttp.ClientSession() as http, http.post(f"{url}{SLACK}/oauth.v2.access", headers=headers) as answer:
        assert (await answer.json())["error"] == "invalid_client_id"
