"""The simulated Slack, played over HTTP, also where it is behind a prefix."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from chatferry.simulator.serving import serving
from chatferry.simulator.slack import BOT, SlackSimulator
from tests.simulator.slack_world import World, actions, modal, opened
from tests.watching import until


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


async def act(world: World, name: str, /, *, answered: int = 200, wait: bool = True, **given: Any) -> Any:
    url = f"{world.sim.url}/_sim/{name}" + ("" if wait else "?wait=no")
    async with world.http.post(url, json=given) as answer:
        assert answer.status == answered, await answer.text()
        return await answer.json()


async def look(world: World, name: str) -> Any:
    async with world.http.get(f"{world.sim.url}/_sim/{name}") as answer:
        assert answer.status == 200
        return await answer.json()


async def test_people_talk(world: World) -> None:
    ts = await act(world, "say", who="Mei", text="1 < 2, @ferry", channel="general", typed=True)
    assert world.bot.events[0]["text"] == f"1 &lt; 2, <@{BOT}>"
    assert [event["type"] for event in world.bot.events] == ["message", "app_mention"]
    reply = await act(world, "say", who="Ken", text="hm", channel="general", thread=ts, mention=True)
    await act(world, "edit", who="Ken", channel="general", ts=reply, text="a & b", typed=True)
    await act(world, "delete", who="Ken", channel="general", ts=reply)
    [room] = (await look(world, "state"))["rooms"].values()
    assert [(post["text"], post["edits"], post["deleted"]) for post in room["posts"]] == [
        (f"1 &lt; 2, <@{BOT}>", 0, False),
        ("a &amp; b", 1, True),
    ]
    bubbles = [fact["text"] for fact in await look(world, "scene") if fact["kind"] == "bubble"]
    assert bubbles == ["1 < 2, @Ferry", "a & b"]


async def test_people_send_files(world: World) -> None:
    picture = b"\x89PNG\r\n"
    await act(world, "say", who="Mei", text="", files={"我.png": base64.b64encode(picture).decode()})
    [file] = world.bot.events[0]["files"]
    async with world.http.get(f"{world.sim.url}/_sim/file/{file['id']}") as answer:
        assert (await answer.read(), answer.content_type) == (picture, "image/png")
    async with world.http.get(f"{world.sim.url}/_sim/file/F0") as answer:
        assert answer.status == 404


async def test_people_click_and_use_dialogs(world: World) -> None:
    told = await world.call("chat.postMessage", channel=world.general, text="t", blocks=[actions("stop")])
    where = {"who": "Mei", "channel": world.general, "ts": told["ts"]}
    assert (await act(world, "click", **where, value="stop"))["attempts"][0]["status"] == 200
    for close in ("submit", "dismiss"):
        trigger = await act(world, "shortcut", **where, callback_id="stop_answer")
        await world.call("views.open", trigger_id=trigger, view=modal())
        assert list((await look(world, "state"))["views"]) == ["Mei"]
        await act(world, close, who="Mei")
        assert (await look(world, "state"))["views"] == {}
    world.bot.answer = {"text": "wait"}
    assert await act(world, "command", who="Mei", name="/ask", text="why?") == {"text": "wait"}
    world.bot.answer = None
    root = await act(world, "say", who="Mei", text="hi")
    await act(world, "stop_session", who="Mei", channel=None, thread=root)
    assert world.bot.got[-1]["event"]["type"] == "agent_session_stopped"
    state = await look(world, "state")
    assert [post["text"] for post in state["ephemeral"]["Mei"]] == ["wait"]
    assert [call["method"] for call in state["calls"]] == ["chat.postMessage", "views.open", "views.open"]


async def test_what_goes_wrong_can_be_planned(world: World) -> None:
    await act(world, "fail", method="auth.test", status=429, retry_after=3, times=2)
    for _ in range(2):
        assert await world.error("auth.test") == "ratelimited"
        assert world.headers["Retry-After"] == "3"
    assert await world.error("auth.test") == ""
    await act(world, "webhook", url="http://127.0.0.1:9/")
    await act(world, "say", who="Mei", text="hi")
    assert world.sim.deliveries[-1].attempts[-1].reason == "connection_failed"
    await act(world, "app_uninstalled")
    assert await world.error("auth.test") == "account_inactive"


async def test_who_does_not_wait_is_answered_at_once(world: World) -> None:
    world.bot.gate = asyncio.Event()
    assert await act(world, "say", who="Mei", text="hi", answered=202, wait=False) == {}
    await world.sim.until(lambda: world.sim.deliveries)
    world.bot.gate.set()
    await world.sim.until(lambda: world.sim.deliveries[0].attempts)


@pytest.mark.parametrize(
    ("name", "given", "status", "says"),
    [
        ("fly", {}, 404, "no such act"),
        ("say", {"who": "Mei"}, 400, "text"),
        ("say", {"who": "Mei", "text": 1}, 400, "str"),
        ("say", {"who": "Mei", "text": "x", "loud": True}, 400, "loud"),
        ("say", {"who": "Mei", "text": "x", "files": {"a": "no base64!"}}, 400, "base64"),
        ("edit", {"who": "Mei", "channel": "general", "ts": "1.2", "text": "x"}, 400, "no message 1.2 in general"),
        ("click", {"who": "Mei", "channel": "general", "ts": "1.2", "value": "x"}, 400, "no message"),
        ("dismiss", {"who": "Mei"}, 400, "no dialog open"),
        ("submit", {"who": "Mei", "values": [1]}, 400, "object"),
        ("fail", {"method": "auth.test", "status": "bad"}, 400, "int"),
        ("weather", {"snow": True}, 400, "no such weather: snow"),
    ],
)
async def test_a_bad_argument_is_named(world: World, name: str, given: Any, status: int, says: str) -> None:
    assert says in (await act(world, name, answered=status, **given))["error"]


async def test_what_somebody_else_wrote_cannot_be_edited(world: World) -> None:
    ts = await act(world, "say", who="Mei", text="mine")
    told = await act(world, "edit", answered=400, who="Ken", channel=world.sim.dm("Mei"), ts=ts, text="x")
    assert told["error"] == f"Ken did not write {ts}"


async def test_addresses_lead_through_a_prefix(world: World) -> None:
    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"].startswith("/slack/")
        await sim({**scope, "path": scope["path"].removeprefix("/slack")}, receive, send)

    async with SlackSimulator(webhook=world.sim.webhook) as sim, serving(behind) as base:
        sim.url = f"{base}/slack"
        bearer = {"Authorization": f"Bearer {sim.bot_token}"}
        await sim.command("ann", "/ask")
        async with world.http.post(world.bot.got[-1]["response_url"], json={"text": "late"}) as answer:
            assert answer.status == 200
        await sim.say("ann", "look", files={"a.txt": b"data"})
        async with world.http.get(world.bot.got[-1]["event"]["files"][0]["url_private"], headers=bearer) as answer:
            assert await answer.read() == b"data"
        app = {"Authorization": f"Bearer {sim.app_token}"}
        async with world.http.post(f"{sim.url}/api/apps.connections.open", headers=app) as answer:
            url = (await answer.json())["url"]
        assert url.startswith(sim.url.replace("http://", "ws://"))
        async with world.http.ws_connect(url) as socket:
            assert (await socket.receive_json())["type"] == "hello"


async def test_what_fails_after_nobody_waits_any_more_is_told_by_the_scene(world: World) -> None:
    await world.sim.say("Mei", "hi")
    world.bot.answer = {"response_action": "update"}  # to what?
    world.sim.open_view(world.sim.user("Mei"), modal())
    assert await act(world, "submit", who="Mei", wait=False, answered=202) == {}
    fault = await until(world.sim.scene, "fault", lambda _: True)
    assert (fault["id"], fault["platform"], fault["why"]) == ("slack/submit", "slack", "'view'")
