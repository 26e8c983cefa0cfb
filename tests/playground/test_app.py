"""The playground's server: who may read and steer it, in which language, and how it tells what happens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yarl
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from chatferry.errors import ConfigError
from chatferry.playground.app import Playground, chosen
from chatferry.playground.stage import bound, simulators
from chatferry.simulator.scene import Bubble, Exchange, Scene
from chatferry.simulator.serving import listening, serving


async def platform(scope: Scope, receive: Receive, send: Send) -> None:
    """Says which path it was called by."""
    await PlainTextResponse(Request(scope).url.path)(scope, receive, send)


class World:
    def __init__(self) -> None:
        self.scene = Scene()
        self.kills: list[float] = []
        self.starts = 0
        self.url = ""

    async def kill(self, down: float = 0.0) -> bool:
        self.kills.append(down)
        return True

    def start(self) -> None:
        self.starts += 1

    async def get(self, path: str, **headers: str) -> tuple[int, str, Any]:
        url = yarl.URL(f"{self.url}{path}", encoded=True)
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers

    async def post(self, path: str, body: bytes = b"{}", **headers: str) -> tuple[int, str]:
        given = {"Content-Type": "application/json", **headers}
        url = yarl.URL(f"{self.url}{path}", encoded=True)
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=given) as answer:
            return answer.status, await answer.text()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with serving(Playground(made.scene, {"line": platform}, made)) as made.url:
        yield made


async def test_what_begins_with_a_platform_is_the_platforms(world: World) -> None:
    assert (await world.get("/line/v2/bot/info"))[:2] == (200, "/v2/bot/info")
    assert (await world.get("/line/_sim/state"))[:2] == (200, "/_sim/state")
    assert (await world.get("/other/v2/bot/info"))[0] == 404


async def test_another_sites_name_leads_nowhere(world: World) -> None:
    """DNS rebinding: a page of evil.example that has become 127.0.0.1 must not read what is said here."""
    for path in ("/", "/scene", "/line/_sim/state"):
        assert (await world.get(path, Host="evil.example"))[0] == 421
    for odd in ("[", "[::1", "@", ":80"):
        assert (await world.get("/", Host=odd))[0] == 421
    assert (await world.get("/line/v2/bot/info", Host="host.docker.internal"))[0] == 200
    port = world.url.rpartition(":")[2]
    assert (await world.get("/", Host=f"localhost:{port}"))[0] == 200


async def test_another_page_cannot_steer(world: World) -> None:
    assert (await world.post("/gateway/kill", Origin="https://evil.example"))[0] == 403
    assert (await world.post("/line/_sim/say", Origin="null"))[0] == 403
    assert (await world.post("/gateway/kill", b"{}", **{"Content-Type": "text/plain"}))[0] == 415
    assert (await world.post("/gateway/kill", Origin="http://["))[0] == 403
    assert world.kills == []
    assert (await world.post("/gateway/kill", b'{"down": 2}', Origin=world.url))[0] == 200
    assert world.kills == [2.0]


@pytest.mark.parametrize("platform", ["line", "wechat", "slack"])
@pytest.mark.parametrize("way", ["%09_sim/", "_%0Asim/", "%0D_sim%2F", "/_sim/", "./_sim/", "%2F_sim/"])
async def test_no_other_way_of_writing_it_leads_past_the_guard(platform: str, way: str) -> None:
    """What the guard takes for a call of a bot, the simulator must take for one too."""
    world = World()
    its = simulators({platform: {}}, world.scene)
    async with serving(Playground(world.scene, its.apps)) as world.url:
        assert '"calls": ' in (await world.get(f"/{platform}/_sim/state"))[1]
        assert '"calls": ' not in (await world.get(f"/{platform}/{way}state", Host="evil.example"))[1]


@pytest.mark.parametrize(("platform", "act"), [("wechat", "revoke"), ("slack", "app_uninstalled"), ("line", "quota")])
async def test_an_image_on_anybodys_page_does_nothing(platform: str, act: str) -> None:
    world = World()
    its = simulators({platform: {}}, world.scene)
    async with serving(Playground(world.scene, its.apps)) as world.url:
        assert (await world.get(f"/{platform}/_sim/{act}"))[0] == 405


async def test_a_model_that_needs_no_key_is_nobody_elses(world: World) -> None:
    async with serving(Playground(world.scene, {"model": platform}, private=["model"])) as world.url:
        assert (await world.get("/model/x", Host="evil.example"))[0] == 421
        assert (await world.post("/model/x", Origin="https://evil.example"))[0] == 403
        assert (await world.post("/model/x"))[:2] == (200, "/x")


@pytest.mark.parametrize(
    ("port", "host", "told"), [(None, "nosuch.invalid", "--host: cannot"), (0, "nosuch.invalid", "--port: cannot")]
)
def test_where_nobody_can_listen(port: int | None, host: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bound(port, 8765, host)


def test_a_port_that_was_asked_for_is_that_one_or_none() -> None:
    with listening() as sock:
        taken = sock.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{taken}: "):
            bound(taken, 8765)
        with bound(None, taken) as other:
            assert other.getsockname()[1] != taken


_NO_SECONDS = [
    *(b'{"down": %s}' % what for what in (b'"soon"', b"null", b"{}", b"NaN", b"Infinity", b"1e999", b"9" * 400)),
    *(b"[]", b"nothing", b"[" * 100_000, b'{"other": ' + b"[" * 100_000),
]


@pytest.mark.parametrize("body", _NO_SECONDS)
async def test_a_kill_that_is_no_number_of_seconds(world: World, body: bytes) -> None:
    assert (await world.post("/gateway/kill", body))[0] == 400
    assert world.kills == []


@pytest.mark.parametrize(("asked", "down"), [(b'{"down": 1e9}', 60.0), (b'{"down": -1}', 0.0), (b"{}", 0.0)])
async def test_a_gateway_stays_away_for_a_minute_at_most(world: World, asked: bytes, down: float) -> None:
    await world.post("/gateway/kill", asked)
    assert world.kills == [down]


async def test_a_gateway_that_ended_by_itself_is_started_again(world: World) -> None:
    assert (await world.post("/gateway/start"))[0] == 200
    assert world.starts == 1


async def test_without_a_gateway_there_is_none_to_kill() -> None:
    world = World()
    async with serving(Playground(world.scene, {})) as world.url:
        assert (await world.post("/gateway/kill"))[0] == 404
        assert (await world.post("/gateway/start"))[0] == 404


async def test_more_than_a_picture_is_too_much(world: World) -> None:
    """Also where its size is not said before."""
    its = simulators({"line": {}}, world.scene)
    assert its.line is not None

    async def much() -> AsyncIterator[bytes]:
        for _ in range(25):
            yield b"x" * 1024 * 1024

    async with its.line, serving(Playground(world.scene, its.apps, world)) as url, aiohttp.ClientSession() as http:
        for path in ("/line/v2/bot/message/push", "/line/_sim/say", "/gateway/kill"):
            headers = {"Content-Type": "application/json"}
            async with http.post(f"{url}{path}", data=much(), headers=headers) as answer:
                assert answer.status == 413
                assert "the body is larger than 25165824 bytes" in await answer.text()


async def test_sockets_lead_to_slack_only(world: World) -> None:
    async with aiohttp.ClientSession() as http:
        for path in ("/scene", "/line/link", "/"):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await http.ws_connect(f"{world.url}{path}")


async def test_the_page_is_in_the_language_of_the_browser_and_loads_nothing_from_elsewhere(world: World) -> None:
    status, page, headers = await world.get("/", **{"Accept-Language": "zh-TW,zh;q=0.9,en;q=0.8"})
    assert status == 200
    assert '<html lang="zh-TW"' in page
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "https://" not in page.replace("https://github.com", "")
    assert "Set-Cookie" not in headers
    _, page, headers = await world.get("/?lang=ja", **{"Accept-Language": "zh-TW"})
    assert '<html lang="ja"' in page
    assert headers["Set-Cookie"].startswith("lang=ja;")
    assert '<html lang="ja"' in (await world.get("/", Cookie="lang=ja"))[1]
    assert '<html lang="en"' in (await world.get("/?lang=<script>"))[1]


@pytest.mark.parametrize(
    ("wish", "language"),
    [
        ("", "en"),
        ("*", "en"),
        ("fr, de;q=0.9", "en"),
        ("fr, ja;q=0.5", "ja"),
        ("en;q=0.1, zh-Hant-HK;q=0.9", "zh-TW"),
        ("zh-CN", "zh-CN"),
        ("zh", "zh-CN"),
        ("EN-gb", "en"),
        ("ja;q=x", "ja"),
        ("ja;q=1.2.3", "ja"),
    ],
)
def test_whoever_speaks_several_languages_gets_the_best_of_ours(wish: str, language: str) -> None:
    assert chosen(wish) == language


async def test_files_are_asked_for_again_and_not_sent_again(world: World) -> None:
    status, _, headers = await world.get("/play/store.js")
    assert (status, headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert (await world.get("/play/store.js", **{"If-None-Match": headers["ETag"]}))[0] == 304
    for name in ("nothing.js", "..%2Fapp.py", "__init__.py"):
        assert (await world.get(f"/play/{name}"))[0] == 404


async def test_whoever_follows_gets_all_and_then_what_changes(world: World) -> None:
    world.scene.show(Bubble("line", "C1", "m1", "Mei", "hello"))
    async with aiohttp.ClientSession() as http, http.get(f"{world.url}/scene") as stream:
        assert stream.content_type == "text/event-stream"
        name, facts = await event(stream)
        assert name == "all"
        assert [(fact["kind"], fact["id"], fact["text"]) for fact in facts] == [("bubble", "line/C1/m1", "hello")]
        world.scene.show(Bubble("line", "C1", "m1", "Mei", "hello again"))
        world.scene.put("gauge", "line/push_quota", used=1)
        world.scene.drop("gauge", "line/push_quota")
        name, facts = await event(stream)
        assert name == "some"
        assert [fact.get("text") for fact in facts] == ["hello again", None]
        assert facts[1] == {"kind": "gauge", "id": "line/push_quota", "dropped": True}


async def test_what_opens_doors_is_masked(world: World) -> None:
    exchange = world.scene.begin(
        Exchange("line", "call", "POST", "/x", 1.0, b'{"access_token": "abcdefgh", "text": "token"}')
    )
    world.scene.end(exchange, 0.1, 200, answer=b"grant_type=x&client_secret=0123456789&name=ann")
    [fact] = world.scene.all()
    assert fact["request"] == '{"access_token": "abcd\u2026", "text": "token"}'
    assert fact["answer"] == "grant_type=x&client_secret=0123\u2026&name=ann"


async def test_a_scene_that_is_closed_has_no_followers(world: World) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{world.url}/scene") as stream:
        assert await event(stream) == ("all", [])
        world.scene.put("gauge", "line/push_quota", used=1)
        world.scene.close()
        assert (await event(stream))[0] == "some"
        assert await stream.content.read() == b""


async def test_of_long_bodies_only_what_is_shown_is_kept(world: World) -> None:
    picture, talk = b"\x89PNG\0" + bytes(5_000_000), b'{"token": "abcdefgh", "said": "' + b"x" * 5_000_000
    exchange = world.scene.begin(Exchange("model", "call", "POST", "/x", 1.0, talk))
    world.scene.end(exchange, 0.1, 200, answer=picture)
    [fact] = world.scene.all()
    assert fact["request"].startswith('{"token": "abcd\u2026", "said": "xxx')
    assert fact["request"].endswith("x\u2026")
    assert len(fact["request"]) < 8010
    assert fact["answer"] == "(5,000,005 bytes)"
    assert len(exchange.request) < 40_000


async def event(stream: aiohttp.ClientResponse) -> tuple[str, list[dict[str, Any]]]:
    lines = []
    while line := (await stream.content.readline()).decode().rstrip("\n"):
        lines.append(line)
    return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))
