"""Every method that the gateway calls, called by Slack's own client: carried out, refused, limited, lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

import chatferry
from chatferry.simulator.serving import serving
from chatferry.simulator.slack import TEAM, SlackSimulator
from chatferry.simulator.slack_calls import METHODS
from chatferry.simulator.slack_people import encoded, signed
from tests.simulator.slack_world import modal

pytestmark = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated"),  # what the client's own library says about it
    pytest.mark.filterwarnings("ignore:The top-level `text` argument is missing"),  # so that Slack refuses it
]


@dataclass
class Place:
    """A workspace in which there is something to call about."""

    sim: SlackSimulator
    client: AsyncWebClient
    now: list[float]
    root: str = ""
    ts: str = ""
    """The bot's own message."""
    stream: str = ""
    trigger: str = ""

    @property
    def channel(self) -> str:
        return self.sim.channel("general")

    @property
    def reader(self) -> dict[str, Any]:
        return {"recipient_user_id": self.sim.user("ann"), "recipient_team_id": TEAM}

    @property
    def app(self) -> dict[str, str]:
        return {"client_id": self.sim.client_id, "client_secret": self.sim.client_secret}


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    now = [1_700_000_000.0]
    async with (
        SlackSimulator(clock=lambda: now[0]) as sim,
        serving(sim) as sim.url,
        aiohttp.ClientSession() as http,
    ):
        client = AsyncWebClient(sim.bot_token, base_url=f"{sim.url}/api/", session=http, retry_handlers=[])
        place = Place(sim, client, now)
        place.root = await sim.say("ann", "hello", channel="general")
        where: dict[str, Any] = {"channel": place.channel, "thread_ts": place.root}
        place.ts = (await client.chat_postMessage(**where, text="one"))["ts"]
        place.stream = (await client.chat_startStream(**where, **place.reader, markdown_text="a"))["ts"]
        place.trigger = await sim.shortcut("ann", "stop_answer", "general", place.ts)
        yield place


Calling = Callable[[Place], Awaitable[Any]]
DONE: dict[str, Calling] = {
    "auth.test": lambda at: at.client.auth_test(),
    "apps.connections.open": lambda at: at.client.apps_connections_open(app_token=at.sim.app_token),
    "chat.postMessage": lambda at: at.client.chat_postMessage(channel=at.channel, markdown_text="**hi**"),
    "chat.postEphemeral": lambda at: at.client.chat_postEphemeral(
        channel=at.channel, user=at.sim.user("ann"), text="psst", thread_ts=at.root
    ),
    "chat.update": lambda at: at.client.chat_update(channel=at.channel, ts=at.ts, text="two"),
    "chat.delete": lambda at: at.client.chat_delete(channel=at.channel, ts=at.ts),
    "chat.startStream": lambda at: at.client.chat_startStream(channel=at.channel, thread_ts=at.root, **at.reader),
    "chat.appendStream": lambda at: at.client.chat_appendStream(channel=at.channel, ts=at.stream, markdown_text="b"),
    "chat.stopStream": lambda at: at.client.chat_stopStream(channel=at.channel, ts=at.stream, markdown_text="c"),
    "conversations.replies": lambda at: at.client.conversations_replies(channel=at.channel, ts=at.root),
    "conversations.history": lambda at: at.client.conversations_history(channel=at.channel),
    "users.info": lambda at: at.client.users_info(user=at.sim.user("ann")),
    "views.open": lambda at: at.client.views_open(trigger_id=at.trigger, view=modal()),
    "agents.sessions.setStatus": lambda at: at.client.agents_sessions_setStatus(
        channel_id=at.channel, thread_ts=at.root, status="processing"
    ),
    "assistant.threads.setStatus": lambda at: at.client.assistant_threads_setStatus(
        channel_id=at.channel, thread_ts=at.root, status="thinks…"
    ),
    "oauth.v2.access": lambda at: at.client.oauth_v2_access(**at.app, code=at.sim.new_code()),
}


def test_these_are_the_methods_that_the_gateway_calls() -> None:
    written = "".join(path.read_text("utf-8") for path in Path(chatferry.__file__).parent.glob("channels/slack*.py"))
    families = "|".join({method.split(".")[0] for method in METHODS})
    called = set(re.findall(rf'["/]((?:{families})\.[a-z0-9]+(?:\.[a-z0-9]+)*(?:[A-Z]\w*)?)\b', written))
    assert called <= set(DONE)
    assert {"chat.postMessage", "oauth.v2.access"} <= called


async def refused(calling: Awaitable[Any]) -> SlackApiError:
    with pytest.raises(SlackApiError) as raised:
        await calling
    return raised.value


@pytest.mark.parametrize("method", DONE)
async def test_the_client_is_content_with_every_answer(place: Place, method: str) -> None:
    told = await DONE[method](place)
    assert told["ok"] is True
    assert place.sim.calls[-1].method == method
    shown = [fact for fact in place.sim.scene.all() if fact["kind"] == "exchange"][-1]
    assert (shown["path"], shown["status"], shown["reason"]) == (f"/api/{method}", 200, "")


@pytest.mark.parametrize("method", DONE)
async def test_the_client_is_told_to_wait(place: Place, method: str) -> None:
    place.sim.weather.change(api="429")
    error = await refused(DONE[method](place))
    assert (error.response["error"], error.response.status_code) == ("ratelimited", 429)
    assert error.response.headers["Retry-After"] == "1"
    place.sim.weather.change(api="500")
    error = await refused(DONE[method](place))
    assert (error.response["error"], error.response.status_code) == ("internal_error", 500)
    place.sim.weather.change(api="")
    assert (await DONE[method](place))["ok"]


@pytest.mark.parametrize("api", ["lost", "timeout"])
async def test_the_client_notices_when_an_answer_is_missing(place: Place, api: str) -> None:
    place.sim.weather.change(api=api)
    posted = len(place.sim.screen("general"))
    calling = asyncio.ensure_future(place.client.chat_postMessage(channel=place.channel, text="x"))
    if api == "timeout":
        before = len(place.sim.calls)
        await place.sim.until(lambda: len(place.sim.calls) > before)
        place.sim.weather.change(api="")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await calling
    assert len(place.sim.screen("general")) == posted + (api == "lost")


async def test_the_client_is_told_to_wait_where_a_minute_is_used_up(place: Place) -> None:
    for _ in range(19):  # and one that began the stream
        await DONE["chat.startStream"](place)
    place.now[0] += 20
    error = await refused(DONE["chat.startStream"](place))
    assert (error.response["error"], error.response.headers["Retry-After"]) == ("ratelimited", "40")


REFUSED: list[tuple[str, str, Calling]] = [
    ("auth.test", "invalid_auth", lambda at: at.client.auth_test(token="xoxb-wrong")),
    ("auth.test", "not_allowed_token_type", lambda at: at.client.auth_test(token=at.sim.app_token)),
    ("apps.connections.open", "invalid_auth", lambda at: at.client.apps_connections_open(app_token="xapp-wrong")),
    (
        "apps.connections.open",
        "not_allowed_token_type",
        lambda at: at.client.apps_connections_open(app_token=at.sim.bot_token),
    ),
    ("chat.postMessage", "channel_not_found", lambda at: at.client.chat_postMessage(channel="C0NONE", text="x")),
    ("chat.postMessage", "no_text", lambda at: at.client.chat_postMessage(channel=at.channel, text=" ")),
    (
        "chat.postMessage",
        "msg_too_long",
        lambda at: at.client.chat_postMessage(channel=at.channel, markdown_text="x" * 12_001),
    ),
    (
        "chat.postMessage",
        "markdown_text_conflict",
        lambda at: at.client.chat_postMessage(channel=at.channel, text="x", markdown_text="x"),
    ),
    (
        "chat.postMessage",
        "invalid_blocks",
        lambda at: at.client.chat_postMessage(channel=at.channel, text="x", blocks=[{"type": "surprise"}]),
    ),
    (
        "chat.postMessage",
        "msg_blocks_too_long",
        lambda at: at.client.chat_postMessage(channel=at.channel, text="x", blocks=[{"type": "divider"}] * 51),
    ),
    (
        "chat.postEphemeral",
        "user_not_in_channel",
        lambda at: at.client.chat_postEphemeral(channel=at.channel, user="U0NOBODY", text="x"),
    ),
    ("chat.update", "message_not_found", lambda at: at.client.chat_update(channel=at.channel, ts="1.2", text="x")),
    ("chat.update", "cant_update_message", lambda at: at.client.chat_update(channel=at.channel, ts=at.root, text="x")),
    ("chat.update", "msg_too_long", lambda at: at.client.chat_update(channel=at.channel, ts=at.ts, text="x" * 4001)),
    (
        "chat.update",
        "streaming_state_conflict",
        lambda at: at.client.chat_update(channel=at.channel, ts=at.stream, text="x"),
    ),
    ("chat.delete", "message_not_found", lambda at: at.client.chat_delete(channel=at.channel, ts="1.2")),
    ("chat.delete", "cant_delete_message", lambda at: at.client.chat_delete(channel=at.channel, ts=at.root)),
    (
        "chat.startStream",
        "missing_recipient_user_id",
        lambda at: at.client.chat_startStream(channel=at.channel, thread_ts=at.root),
    ),
    (
        "chat.startStream",
        "user_not_found",
        lambda at: at.client.chat_startStream(
            channel=at.channel, thread_ts=at.root, recipient_user_id="U0NOBODY", recipient_team_id=TEAM
        ),
    ),
    (
        "chat.appendStream",
        "message_not_in_streaming_state",
        lambda at: at.client.chat_appendStream(channel=at.channel, ts=at.ts, markdown_text="x"),
    ),
    (
        "chat.appendStream",
        "message_not_owned_by_app",
        lambda at: at.client.chat_appendStream(channel=at.channel, ts=at.root, markdown_text="x"),
    ),
    (
        "chat.appendStream",
        "msg_too_long",
        lambda at: at.client.chat_appendStream(channel=at.channel, ts=at.stream, markdown_text="x" * 12_001),
    ),
    (
        "chat.stopStream",
        "message_not_found",
        lambda at: at.client.chat_stopStream(channel=at.channel, ts="1.2"),
    ),
    (
        "chat.stopStream",
        "message_not_in_streaming_state",
        lambda at: at.client.chat_stopStream(channel=at.channel, ts=at.ts),
    ),
    (
        "conversations.replies",
        "thread_not_found",
        lambda at: at.client.conversations_replies(channel=at.channel, ts="1.2"),
    ),
    (
        "conversations.history",
        "channel_not_found",
        lambda at: at.client.conversations_history(channel="C0NONE"),
    ),
    (
        "conversations.history",
        "invalid_cursor",
        lambda at: at.client.conversations_history(channel=at.channel, cursor="99"),
    ),
    ("users.info", "user_not_found", lambda at: at.client.users_info(user="U0NOBODY")),
    (
        "views.open",
        "invalid_arguments",
        lambda at: at.client.views_open(trigger_id=at.trigger, view=modal("")),
    ),
    (
        "agents.sessions.setStatus",
        "invalid_status",
        lambda at: at.client.agents_sessions_setStatus(channel_id=at.channel, thread_ts=at.root, status="busy"),
    ),
    (
        "assistant.threads.setStatus",
        "channel_not_found",
        lambda at: at.client.assistant_threads_setStatus(channel_id="C0NONE", thread_ts=at.root, status="x"),
    ),
    ("oauth.v2.access", "invalid_code", lambda at: at.client.oauth_v2_access(**at.app, code="wrong")),
    (
        "oauth.v2.access",
        "bad_client_secret",
        lambda at: at.client.oauth_v2_access(client_id=at.sim.client_id, client_secret="wrong", code="x"),
    ),
    (
        "oauth.v2.access",
        "invalid_client_id",
        lambda at: at.client.oauth_v2_access(client_id="wrong", client_secret="wrong", code="x"),
    ),
    (
        "oauth.v2.access",
        "invalid_refresh_token",
        lambda at: at.client.oauth_v2_access(**at.app, grant_type="refresh_token", refresh_token="wrong"),
    ),
]


def test_every_method_has_a_refusal() -> None:
    assert {method for method, _, _ in REFUSED} == set(DONE)


@pytest.mark.parametrize(("method", "error", "calling"), REFUSED, ids=[f"{one[0]}-{one[1]}" for one in REFUSED])
async def test_the_client_is_refused_as_documented(place: Place, method: str, error: str, calling: Calling) -> None:
    told = await refused(calling(place))
    assert (told.response["error"], told.response.status_code) == (error, 200)
    assert place.sim.calls[-1].method == method


async def test_refusals_that_the_workspace_causes(place: Place) -> None:
    async def error(method: str) -> Any:
        return (await refused(DONE[method](place))).response["error"]

    await place.client.chat_stopStream(channel=place.channel, ts=place.stream)
    assert await error("chat.appendStream") == "message_not_in_streaming_state"
    place.stream = (await DONE["chat.startStream"](place))["ts"]
    await place.sim.stop_session("ann", "general", place.root)
    assert await error("chat.appendStream") == "stopped_by_user"
    place.now[0] += 3.5
    assert await error("views.open") == "expired_trigger_id"
    place.trigger = await place.sim.shortcut("ann", "stop_answer", "general", place.ts)
    await DONE["views.open"](place)
    assert await error("views.open") == "exchanged_trigger_id"
    place.trigger = "1.2.3"
    assert await error("views.open") == "invalid_trigger_id"
    place.sim.absent.add("general")
    assert await error("chat.postMessage") == "not_in_channel"
    place.sim.archived.add("general")
    assert await error("chat.startStream") == "is_archived"
    place.sim.scopes = ["commands"]
    assert await error("chat.update") == "missing_scope"
    await place.sim.tokens_revoked()
    assert await error("auth.test") == "token_revoked"
    await place.sim.app_uninstalled()
    assert await error("chat.postMessage") == "account_inactive"


async def test_a_token_that_rotates_ends(place: Place) -> None:
    place.sim.rotation = True
    token = (await DONE["oauth.v2.access"](place))["access_token"]
    assert (await place.client.auth_test(token=token))["ok"]
    place.now[0] += 43_200
    assert (await refused(place.client.auth_test(token=token))).response["error"] == "token_expired"


@pytest.mark.parametrize("age", [0, 301])
def test_slacks_own_verifier_refuses_what_is_forged_or_old(age: int) -> None:
    body, _ = encoded("slash_commands", {"command": "/ask", "text": "漢字 & more"})
    verifier = SignatureVerifier("secret")
    headers = signed("secret", body, verifier.clock.now() - age)
    assert verifier.is_valid_request(body, headers) == (age == 0)
    assert not verifier.is_valid_request(body + b"&text=x", headers)
    assert not verifier.is_valid_request(body, signed("other", body, verifier.clock.now()))
