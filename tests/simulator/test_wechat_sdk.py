"""The simulated WeChat, judged by wechatpy: a client of its API, and bots that are written with it.

wechatpy knows neither `stable_token` nor typing: these go through its general `post`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from wechatpy import WeChatClient, create_reply, parse_message  # type: ignore[import-untyped]  # it brings no types
from wechatpy.crypto import WeChatCrypto  # type: ignore[import-untyped]
from wechatpy.exceptions import (  # type: ignore[import-untyped]
    APILimitedException,
    InvalidAppIdException,
    InvalidSignatureException,
    WeChatClientException,
)
from wechatpy.replies import ImageReply  # type: ignore[import-untyped]
from wechatpy.utils import check_signature  # type: ignore[import-untyped]

from chatferry.simulator.serving import serving
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.simulator.wechat_records import Fault
from tests.simulator.wechat_world import ANN, SEND, STABLE, TOKEN, World, small_world

Mode = Literal["plain", "compatible", "encrypted"]


class Client(WeChatClient):  # type: ignore[misc]  # it has no types
    """wechatpy's, which has the address that tokens come from written into it."""

    def fetch_access_token(self) -> Any:
        known = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        return self._fetch_access_token(f"{self.API_BASE_URL}token", known)


class StableClient(Client):
    """The same with the token that the gateway uses."""

    def fetch_access_token(self) -> Any:
        known = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        told = self.post("stable_token", data=known, params={"access_token": ""})
        self.session.set(self.access_token_key, told["access_token"], told["expires_in"])
        return told


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with small_world() as world:
        world.sim.gap = 0.0  # a bot that fails fails at once
        yield world


@pytest.fixture(params=[Client, StableClient])
def client(request: pytest.FixtureRequest, world: World) -> Iterator[Any]:
    client = request.param(world.sim.app_id, world.sim.app_secret, timeout=5)
    client.API_BASE_URL = f"{world.url}/cgi-bin/"
    yield client
    client._http.close()


async def run(call: Callable[..., Any], *given: Any, **more: Any) -> Any:
    """wechatpy blocks, so it gets a thread."""
    return await asyncio.to_thread(call, *given, **more)


async def refusal(call: Callable[..., Any], *given: Any, **more: Any) -> int:
    """The errcode."""
    with pytest.raises(WeChatClientException) as raised:
        await run(call, *given, **more)
    return int(raised.value.errcode)


def typing(client: Any) -> Any:
    return client.post("message/custom/typing", data={"touser": ANN, "command": "Typing"})


# The API.


async def test_a_message_reaches_the_person(world: World, client: Any) -> None:
    await world.sim.say("ann", "hi")
    assert (await run(client.message.send_text, ANN, "漢字 🍎"))["errcode"] == 0
    assert (await run(client.message.send_articles, ANN, [{"title": "t", "description": "d", "url": "u"}]))[
        "errcode"
    ] == 0
    assert world.screen() == [("custom", "漢字 🍎"), ("custom", "")]
    assert [call.path for call in world.sim.calls].count(SEND) == 2


async def test_typing_is_seen(world: World, client: Any) -> None:
    await world.sim.say("ann", "hi")
    assert (await run(typing, client))["errcode"] == 0
    assert world.sim.typing("ann")
    assert await refusal(typing, client) == 45081


async def test_what_people_send_can_be_downloaded(world: World, client: Any) -> None:
    delivery = await world.sim.image("ann", b"\xff\xd8\xff picture")
    answer = await run(client.media.download, delivery.fields["MediaId"])
    assert answer.content == b"\xff\xd8\xff picture"
    assert await refusal(client.media.download, "nothing") == 40007


async def test_a_token_that_is_not_good_any_more_is_renewed(world: World, client: Any) -> None:
    await world.sim.say("ann", "hi")
    await run(client.message.send_text, ANN, "one")
    world.sim.tokens.revoke()
    await run(client.message.send_text, ANN, "two")
    assert [text for _, text in world.screen()] == ["one", "two"]
    path = STABLE if isinstance(client, StableClient) else TOKEN
    assert [(call.path, call.errcode) for call in world.sim.calls] == [
        (path, 0), (SEND, 0), (SEND, 40001), (path, 0), (SEND, 0),
    ]  # fmt: skip
    client.auto_retry = False
    world.sim.tokens.revoke()
    assert await refusal(client.message.send_text, ANN, "three") == 40001


async def test_what_is_refused_says_why(world: World, client: Any) -> None:
    send = client.message.send_text
    assert await refusal(send, ANN, "x") == 45015
    assert await refusal(send, "nobody", "x") == 40003
    await world.sim.say("ann", "hi")
    for _ in range(5):
        await run(send, ANN, "x")
    assert await refusal(send, ANN, "x") == 45047
    world.sim.verified = False
    assert [await refusal(send, ANN, "x"), await refusal(typing, client)] == [48001, 48001]
    assert await refusal(client.media.download, "x") == 48001


async def test_limits_and_troubles_are_what_the_client_takes_them_for(world: World, client: Any) -> None:
    await world.sim.say("ann", "hi")
    world.sim.weather.change(used_up=True)
    with pytest.raises(APILimitedException):
        await run(client.message.send_text, ANN, "x")
    world.sim.weather.change(used_up=False, api="429")
    assert await refusal(client.message.send_text, ANN, "x") == 45011
    world.sim.weather.change(api="500")
    assert await refusal(client.message.send_text, ANN, "x") == -1
    world.sim.weather.change(api="")
    world.sim.fail(SEND, Fault(errcode=42001))
    await run(client.message.send_text, ANN, "y")
    assert world.screen() == [("custom", "y")]


async def test_a_wrong_secret_gets_no_token(world: World, client: Any) -> None:
    client.secret = "wrong"
    assert await refusal(client.message.send_text, ANN, "x") == 40125


# Bots.


class Shop:
    """A bot as wechatpy's own examples write it."""

    def __init__(self, sim: WeChatSimulator, answer: Callable[[Any], Any]) -> None:
        self._token = sim.token
        self._crypto = WeChatCrypto(sim.token, sim.aes_key, sim.app_id)
        self._answer = answer
        self.got: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        query = request.query_params
        check_signature(self._token, query["signature"], query["timestamp"], query["nonce"])
        body = (await request.body()).decode()
        if request.method == "GET":
            answer = query["echostr"]
        elif query.get("encrypt_type") == "aes":
            signed = query["msg_signature"], query["timestamp"], query["nonce"]
            clear = self._crypto.decrypt_message(body, *signed)
            answer = self._crypto.encrypt_message(self._said(clear), query["nonce"], query["timestamp"])
        else:
            answer = self._said(body)
        await Response(answer)(scope, receive, send)

    def _said(self, body: str | bytes) -> str:
        message = parse_message(body)
        self.got.append(message)
        return str(create_reply(self._answer(message), message).render())


@pytest.mark.parametrize("mode", ["plain", "compatible", "encrypted"])
async def test_a_bot_is_called_and_what_it_answers_is_seen(world: World, mode: Mode) -> None:
    sim = world.sim
    sim.mode = mode
    # wechatpy itself writes no section that ends as this one would.
    shop = Shop(sim, lambda message: f"You said: {message.content}".replace("]]>", ""))
    async with serving(shop) as sim.webhook:
        assert await sim.check()
        for words in ("漢字 🍎 ]]> <b>", "x" * 1500):
            delivery = await sim.say("ann", words)
            assert delivery.reason == ""
    assert [(one.source, one.target, one.type) for one in shop.got] == [(ANN, sim.account, "text")] * 2
    assert str(shop.got[1].id) == delivery.id
    assert shop.got[0].content == "漢字 🍎 ]]> <b>"
    assert world.screen() == [("passive", "You said: 漢字 🍎  <b>"), ("passive", "You said: " + "x" * 1500)]
    shown = [fact for fact in sim.scene.all() if fact["kind"] == "bubble"]
    assert [fact["who"] for fact in shown] == ["ann", "", "ann", ""]


@pytest.mark.parametrize("mode", ["plain", "compatible", "encrypted"])
async def test_all_that_people_do_is_read_as_what_it_is(world: World, mode: Mode) -> None:
    sim = world.sim
    sim.mode = mode
    shop = Shop(sim, lambda message: ImageReply(image="m1") if mode == "plain" else "ok")
    async with serving(shop) as sim.webhook:
        await sim.image("ann")
        await sim.voice("ann", recognition="你好")
        await sim.video("ann", kind="shortvideo")
        await sim.location("ann", 25.03, 121.56, "台北")
        await sim.link("ann", "Title", "https://a.example/", "About")
        await sim.subscribe("ann")
        await sim.subscribe("ann", "7")
        await sim.click("ann", "NEW")
        await sim.scan("ann", "7")
        await sim.unsubscribe("ann")
    assert [delivery.reason for delivery in sim.deliveries] == [""] * 10
    image, voice, video, place, link, joined, came, clicked, scanned, left = shop.got
    assert [image.type, voice.type, video.type] == ["image", "voice", "shortvideo"]
    assert (image.media_id in sim.media, voice.recognition, voice.format) == (True, "你好", "amr")
    assert (place.label, float(place.location_x), link.url) == ("台北", 25.03, "https://a.example/")
    assert [joined.event, came.event, came.scene_id] == ["subscribe", "subscribe_scan", "7"]
    assert [clicked.event, clicked.key, scanned.event, scanned.scene_id] == ["click", "NEW", "scan", "7"]
    assert left.event == "unsubscribe"
    assert {one.kind for one in sim.chats[ANN]} == {"image" if mode == "plain" else "text"}


async def test_an_empty_reply_is_an_answer(world: World) -> None:
    sim = world.sim
    async with serving(Shop(sim, lambda message: "")) as sim.webhook:
        assert (await sim.say("ann", "hi")).reason == ""
    assert world.screen() == []


async def test_what_is_forged_does_not_pass_wechatpy(world: World) -> None:
    sim = world.sim
    sim.mode = "encrypted"
    await sim.say("ann", "hi")
    [got] = world.bot.got
    body, signed = got.body.decode(), (got.query["msg_signature"], got.query["timestamp"], got.query["nonce"])
    assert "hi" in WeChatCrypto(sim.token, sim.aes_key, sim.app_id).decrypt_message(body, *signed)
    with pytest.raises(InvalidSignatureException):
        WeChatCrypto("another", sim.aes_key, sim.app_id).decrypt_message(body, *signed)
    with pytest.raises(InvalidAppIdException):
        WeChatCrypto(sim.token, sim.aes_key, "wxanother").decrypt_message(body, *signed)
    with pytest.raises(InvalidSignatureException):
        check_signature("another", got.query["signature"], got.query["timestamp"], got.query["nonce"])
