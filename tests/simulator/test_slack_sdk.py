"""The simulated Slack, judged by Slack's own Python client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.oauth import AuthorizeUrlGenerator
from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator.serving import serving
from chatferry.simulator.slack import APP, BOT, BOT_ID, TEAM, SlackSimulator
from chatferry.simulator.slack_people import signed
from chatferry.simulator.slack_records import Fault


class Bot:
    """A webhook that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, dict[str, str]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.got.append((await request.body(), dict(request.headers)))
        await Response()(scope, receive, send)


@pytest.fixture
async def sim() -> AsyncIterator[SlackSimulator]:
    async with SlackSimulator() as sim, serving(sim) as url:
        sim.url = url
        yield sim


@pytest.fixture
async def client(sim: SlackSimulator) -> AsyncIterator[AsyncWebClient]:
    async with aiohttp.ClientSession() as http:
        yield AsyncWebClient(sim.bot_token, base_url=f"{sim.url}/api/", session=http)


async def refusal(calling: Any) -> str:
    with pytest.raises(SlackApiError) as raised:
        await calling
    return str(raised.value.response["error"])


def test_a_signature_is_the_one_that_slack_documents() -> None:
    body = (
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        "&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    assert signed("8f742231b10e8888abcd99yyyzzz85a5", body.encode(), 1531420618.9) == {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }


async def test_what_is_delivered_passes_slacks_own_verifier(sim: SlackSimulator) -> None:
    bot = Bot()
    async with serving(bot) as sim.webhook:
        await sim.say("ann", "漢字 🍎")
        await sim.command("ann", "/ask", "漢字 🍎 & more")
        ts = await sim.say("ann", "hi")
        await sim.shortcut("ann", "stop_answer", sim.dm("ann"), ts)
    assert len(bot.got) == 4
    for body, headers in bot.got:
        assert SignatureVerifier(sim.signing_secret).is_valid_request(body, headers)


async def test_the_client_finds_out_who_it_is(sim: SlackSimulator, client: AsyncWebClient) -> None:
    told = await client.auth_test()
    assert (told["team_id"], told["user_id"], told["bot_id"]) == (TEAM, BOT, BOT_ID)
    assert "chat:write" in told.headers["x-oauth-scopes"].split(",")
    assert (await client.users_info(user=sim.user("ann")))["user"]["profile"]["display_name"] == "ann"


async def test_the_client_posts_edits_and_deletes(sim: SlackSimulator, client: AsyncWebClient) -> None:
    channel = sim.channel("general")
    root = await sim.say("ann", "hello", channel="general")
    metadata = {"event_type": "answer", "event_payload": {"key": "k1"}}
    posted = await client.chat_postMessage(channel=channel, text="one", thread_ts=root, metadata=metadata)
    ts = posted["ts"]
    await client.chat_update(channel=channel, ts=ts, text="two", blocks=[{"type": "markdown", "text": "**two**"}])
    [_, post] = sim.thread(channel, root)
    assert (post.markdown, post.edits, post.metadata) == ("**two**", 1, metadata)
    found = await client.conversations_replies(channel=channel, ts=root, include_all_metadata=True)
    assert [message.get("metadata") for message in found["messages"]] == [None, metadata]
    await client.chat_delete(channel=channel, ts=ts)
    assert [post.text for post in sim.thread(channel, root)] == ["hello"]
    assert sim.post(channel, ts).deleted
    assert await refusal(client.chat_delete(channel=channel, ts=ts)) == "message_not_found"


async def test_the_clients_pages_are_whole(sim: SlackSimulator, client: AsyncWebClient) -> None:
    channel = sim.channel("general")
    root = await sim.say("ann", "0", channel="general")
    for number in range(1, 7):
        await sim.say("bob", str(number), channel="general", thread=root)
    pages = await client.conversations_replies(channel=channel, ts=root, limit=3)
    assert [[message["text"] for message in page["messages"]] async for page in pages] == [
        ["0", "1", "2"],
        ["3", "4", "5"],
        ["6"],
    ]


async def test_the_clients_own_stream_helper_works(sim: SlackSimulator, client: AsyncWebClient) -> None:
    channel = sim.channel("general")
    root = await sim.say("ann", "hello", channel="general")
    stream = await client.chat_stream(
        buffer_size=4, channel=channel, thread_ts=root, recipient_team_id=TEAM, recipient_user_id=sim.user("ann")
    )
    for piece in ("**Hel", "lo** ", "wo", "rl"):
        await stream.append(markdown_text=piece)
    [_, post] = sim.thread(channel, root)
    assert (post.markdown, post.streaming) == ("**Hello** worl", True)
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "end"}}]
    await stream.stop(markdown_text="d", blocks=blocks)
    assert (post.markdown, post.streaming) == ("**Hello** world\nend", False)


async def test_a_stream_that_is_only_stopped_says_it_all_at_once(sim: SlackSimulator, client: AsyncWebClient) -> None:
    root = await sim.say("ann", "hello")
    stream = await client.chat_stream(channel=sim.dm("ann"), thread_ts=root)
    await stream.append(markdown_text="short")
    await stream.stop()
    assert sim.thread(sim.dm("ann"), root)[-1].markdown == "short"


async def test_the_client_understands_refusals(sim: SlackSimulator, client: AsyncWebClient) -> None:
    sim.faults("auth.test", Fault(status=429, retry_after=7), Fault(error="fatal_error"), Fault(status=500))
    with pytest.raises(SlackApiError) as raised:
        await client.auth_test()
    assert (raised.value.response.status_code, raised.value.response.headers["Retry-After"]) == (429, "7")
    assert raised.value.response["error"] == "ratelimited"
    assert await refusal(client.auth_test()) == "fatal_error"
    assert await refusal(client.auth_test()) == "internal_error"
    assert [call.status for call in sim.calls] == [429, 200, 500]


async def test_the_client_opens_a_dialog_once(sim: SlackSimulator, client: AsyncWebClient) -> None:
    ts = await sim.say("ann", "hi")
    trigger = await sim.shortcut("ann", "stop_answer", sim.dm("ann"), ts)
    view = {
        "type": "modal",
        "callback_id": "stop_answer",
        "private_metadata": json.dumps({"ts": ts}),
        "title": {"type": "plain_text", "text": "Stop?"},
        "submit": {"type": "plain_text", "text": "Stop"},
        "blocks": [{"type": "section", "text": {"type": "plain_text", "text": "Sure?"}}],
    }
    await client.views_open(trigger_id=trigger, view=view)
    assert sim.views[sim.user("ann")]["callback_id"] == "stop_answer"
    assert await refusal(client.views_open(trigger_id=trigger, view=view)) == "exchanged_trigger_id"


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")  # what the client's own library says about it
async def test_the_client_is_installed_and_its_token_changes(sim: SlackSimulator, client: AsyncWebClient) -> None:
    sim.rotation = True
    page = AuthorizeUrlGenerator(
        client_id=sim.client_id, scopes=["chat:write"], authorization_url=f"{sim.url}/oauth/v2/authorize"
    ).generate("state-1", team="T2")
    async with aiohttp.ClientSession() as http, http.get(page, allow_redirects=False) as answer:
        back = answer.headers["Location"]
    code = back.partition("code=")[2].partition("&")[0]
    assert back.endswith("&state=state-1")
    secret = {"client_id": sim.client_id, "client_secret": sim.client_secret}
    told = await client.oauth_v2_access(**secret, code=code)
    assert (told["team"]["id"], told["expires_in"]) == ("T2", 43200)
    assert await refusal(client.oauth_v2_access(**secret, code=code)) == "invalid_code"
    fresh = await client.oauth_v2_access(**secret, grant_type="refresh_token", refresh_token=told["refresh_token"])
    for token in (told["access_token"], fresh["access_token"]):
        assert (await client.auth_test(token=token))["team_id"] == "T2"


class Listener:
    """Slack's own client for Socket Mode, which acknowledges what it gets."""

    def __init__(self, sim: SlackSimulator, web: AsyncWebClient) -> None:
        self.got: list[SocketModeRequest] = []
        self.heard = asyncio.Event()
        self.acknowledges = True
        self.answer: dict[str, Any] | None = None
        self.client = SocketModeClient(app_token=sim.app_token, web_client=web)
        self.client.socket_mode_request_listeners.append(self._take)

    async def _take(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        self.got.append(request)
        self.heard.set()
        if self.acknowledges:
            answer = SocketModeResponse(envelope_id=request.envelope_id, payload=self.answer)
            await client.send_socket_mode_response(answer)


@pytest.fixture
async def listener(sim: SlackSimulator, client: AsyncWebClient) -> AsyncIterator[Listener]:
    listener = Listener(sim, client)
    await listener.client.connect()  # type: ignore[no-untyped-call]  # Slack's SDK is not all typed
    yield listener
    await listener.client.close()  # type: ignore[no-untyped-call]  # Slack's SDK is not all typed


async def test_events_come_over_a_socket(sim: SlackSimulator, listener: Listener) -> None:
    await sim.say("ann", "hello")
    [request] = listener.got
    assert (request.type, request.retry_attempt) == ("events_api", 0)
    assert request.payload["event"]["text"] == "hello"
    assert request.payload["api_app_id"] == APP
    listener.answer = {"text": "answered"}
    assert await sim.command("ann", "/ask", "hm?") == {"text": "answered"}
    assert [post.text for post in sim.ephemeral("ann")] == ["answered"]
    assert sim.deliveries[0].statuses == [200]
    shown = [fact for fact in sim.scene.all() if fact["kind"] == "exchange"]
    assert [(one["path"], one["status"]) for one in shown[-2:]] == [("/events_api", 200), ("/slash_commands", 200)]
    assert request.envelope_id in shown[-2]["answer"]


async def test_the_client_moves_to_a_new_socket_when_asked(sim: SlackSimulator, listener: Listener) -> None:
    await sim.refresh_socket()
    await sim.until(lambda: sim.sockets.connected)
    await sim.say("ann", "hello")
    assert [request.payload["event"]["text"] for request in listener.got] == ["hello"]
    assert [call.method for call in sim.calls] == ["apps.connections.open"] * 2


async def test_what_is_not_acknowledged_comes_again(sim: SlackSimulator, listener: Listener) -> None:
    listener.acknowledges = False
    saying = asyncio.ensure_future(sim.say("ann", "hello"))
    await listener.heard.wait()
    listener.acknowledges = True
    await sim.sockets.cut()
    await saying
    assert [request.retry_attempt for request in listener.got] == [0, 1]
    assert listener.got[1].retry_reason == "connection_failed"
    assert len({request.payload["event_id"] for request in listener.got}) == 1


async def test_a_ticket_opens_one_socket(sim: SlackSimulator, client: AsyncWebClient) -> None:
    assert await refusal(client.apps_connections_open(app_token=sim.bot_token)) == "not_allowed_token_type"
    url = (await client.apps_connections_open(app_token=sim.app_token))["url"]
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(url) as socket:
            assert (await socket.receive_json())["type"] == "hello"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(url)
