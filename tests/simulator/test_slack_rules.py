"""The simulated Slack's Web API: what a message may be, how streams go, and how often who may call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from chatferry.simulator.slack import TEAM
from chatferry.simulator.slack_records import Fault
from chatferry.simulator.slack_rules import Budgets, Refused
from tests.simulator.slack_world import World, actions, opened, section


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


def markdown(text: str) -> dict[str, Any]:
    return {"type": "markdown", "text": text}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"text": " "}, "no_text"),
        ({"text": "a", "markdown_text": "b"}, "markdown_text_conflict"),
        ({"markdown_text": "b", "blocks": [section("a")]}, "markdown_text_conflict"),
        ({"markdown_text": "b" * 12_001}, "msg_too_long"),
        ({"blocks": [markdown("b" * 12_001)]}, "msg_blocks_too_long"),
        ({"blocks": [section("b")] * 51}, "msg_blocks_too_long"),
        ({"blocks": [section("b" * 2900)] * 5}, "msg_blocks_too_long"),
        ({"blocks": [section("b" * 3001)]}, "invalid_blocks"),
        ({"blocks": [section("")]}, "invalid_blocks"),
        ({"blocks": [markdown("")]}, "invalid_blocks"),
        ({"blocks": [actions("a", "a")]}, "invalid_blocks"),
        ({"blocks": [actions("v" * 2001)]}, "invalid_blocks"),
        ({"blocks": [actions()]}, "invalid_blocks"),
        ({"blocks": [{"type": "surprise"}]}, "invalid_blocks"),
        ({"blocks": {"type": "section"}}, "invalid_blocks_format"),
        ({"text": "a", "metadata": {"event_type": "x"}}, "invalid_metadata_format"),
        ({"text": "a", "blocks": [section("b" * 3000), actions("v" * 75)]}, ""),
        ({"markdown_text": "b" * 12_000}, ""),
    ],
)
async def test_a_message_beyond_the_limits_is_refused(world: World, fields: dict[str, Any], error: str) -> None:
    assert await world.error("chat.postMessage", channel=world.general, **fields) == error
    assert len(world.sim.screen("general")) == (not error)


async def test_a_form_says_the_same_as_json(world: World) -> None:
    form = {"token": world.sim.bot_token, "channel": world.general, "text": "a", "blocks": '[{"type": "divider"}]'}
    async with world.http.post(f"{world.sim.url}/api/chat.postMessage", data=form) as answer:
        assert (await answer.json())["message"]["blocks"] == [{"type": "divider"}]
    form["blocks"] = "[{"
    async with world.http.post(f"{world.sim.url}/api/chat.postMessage", data=form) as answer:
        assert (await answer.json())["error"] == "invalid_arguments"


async def test_a_long_post_is_cut_and_a_long_edit_refused(world: World) -> None:
    ts = (await world.call("chat.postMessage", channel=world.general, text="a" * 40_001))["ts"]
    post = world.sim.post("general", ts)
    assert len(post.text) == 40_000
    for more in ({}, {"blocks": [section("short")]}):
        told = await world.error("chat.update", channel=world.general, ts=ts, text="a" * 4001, **more)
        assert told == "msg_too_long"
    assert await world.error("chat.update", channel=world.general, ts=ts, text="a" * 4000) == ""
    assert await world.error("chat.update", channel=world.general, ts=ts, markdown_text="a" * 4001) == ""
    assert post.edits == 2


async def test_an_edit_keeps_what_it_does_not_speak_of(world: World) -> None:
    first = {"event_type": "a", "event_payload": {"n": 1}}
    where: dict[str, Any] = {"channel": world.general}
    told = await world.call("chat.postMessage", **where, text="a", blocks=[section("b")], metadata=first)
    where["ts"] = told["ts"]
    post = world.sim.post("general", told["ts"])
    second = {"event_type": "a", "event_payload": {"n": 2}}
    await world.call("chat.update", **where, metadata=second)
    assert (post.text, post.markdown, post.metadata) == ("a", "b", second)
    await world.call("chat.update", **where, blocks=[section("c")])
    assert (post.text, post.markdown, post.metadata) == ("a", "c", second)
    await world.call("chat.update", **where, text="d", metadata={})
    assert (post.markdown, post.blocks, post.metadata) == ("d", [], None)


async def test_only_what_the_bot_wrote_can_be_changed(world: World) -> None:
    root = await world.root()
    where: dict[str, Any] = {"channel": world.general, "ts": root}
    assert await world.error("chat.update", **where, text="x") == "cant_update_message"
    assert await world.error("chat.delete", **where) == "cant_delete_message"
    assert await world.error("chat.update", channel=world.general, ts="1.2", text="x") == "message_not_found"
    ts = (await world.call("chat.postMessage", channel=world.general, text="x"))["ts"]
    await world.sim.delete("ann", "general", ts)
    assert await world.error("chat.update", channel=world.general, ts=ts, text="y") == "message_not_found"


async def test_channels_must_be_there_and_open(world: World) -> None:
    assert await world.error("chat.postMessage", channel="C0NOWHERE", text="x") == "channel_not_found"
    world.sim.archived.add("general")
    assert await world.error("chat.postMessage", channel=world.general, text="x") == "is_archived"
    assert await world.error("chat.postMessage", channel=world.sim.user("ann"), text="x") == ""
    assert [post.text for post in world.sim.screen(world.sim.dm("ann"))] == ["x"]


async def test_a_whisper_is_seen_by_one_person(world: World) -> None:
    to: dict[str, Any] = {"channel": world.general, "user": world.sim.user("ann")}
    assert await world.error("chat.postEphemeral", **to, text="psst") == ""
    assert [post.text for post in world.sim.ephemeral("ann")] == ["psst"]
    assert world.sim.ephemeral("bob") == world.sim.screen("general") == []


async def test_a_stream_grows_until_it_is_stopped(world: World) -> None:
    root = await world.root()
    ts = (await world.stream(root, markdown_text="**a"))["ts"]
    where: dict[str, Any] = {"channel": world.general, "ts": ts}
    post = world.sim.post("general", ts)
    await world.call("chat.appendStream", **where, markdown_text="b**")
    assert (post.markdown, post.streaming, post.thread_ts) == ("**ab**", True, root)
    assert await world.error("chat.update", **where, text="x") == "streaming_state_conflict"
    assert await world.error("chat.appendStream", **where) == "markdown_text_or_chunks_required"
    chunks: list[dict[str, str]] = [{"type": "markdown_text", "text": "c"}]
    assert await world.error("chat.appendStream", **where, chunks=chunks) == "streaming_mode_mismatch"
    assert await world.error("chat.appendStream", **where, markdown_text="c" * 12_001) == "msg_too_long"
    metadata = {"event_type": "a", "event_payload": {}}
    await world.call("chat.stopStream", **where, markdown_text="c", metadata=metadata, blocks=[section("end")])
    assert (post.markdown, post.streaming, post.metadata) == ("**ab**c\nend", False, metadata)
    for method in ("chat.appendStream", "chat.stopStream"):
        assert await world.error(method, **where, markdown_text="d") == "message_not_in_streaming_state"
    assert await world.error("chat.update", **where, text="x") == ""
    assert post.markdown == "x"


async def test_a_stream_ends_after_five_minutes_whatever_it_carries(world: World) -> None:
    ts = (await world.stream(await world.root(), markdown_text="a"))["ts"]
    world.now[0] += 299
    assert await world.error("chat.appendStream", channel=world.general, ts=ts, markdown_text="b") == ""
    world.now[0] += 1
    told = await world.error("chat.appendStream", channel=world.general, ts=ts, markdown_text="c")
    assert told == "message_not_in_streaming_state"
    assert not world.sim.post("general", ts).streaming
    assert await world.error("chat.update", channel=world.general, ts=ts, text="abc") == ""


async def test_a_stream_needs_a_thread_a_reader_and_no_empty_text(world: World) -> None:
    root = await world.root()
    for missing in ("recipient_user_id", "recipient_team_id"):
        assert (await world.stream(root, **{missing: ""}))["error"] == f"missing_{missing}"
    assert (await world.stream(""))["error"] == "invalid_arguments"
    assert (await world.stream(root, markdown_text=""))["error"] == "no_text"
    assert await world.error("chat.startStream", channel=world.sim.dm("ann"), thread_ts=root) == ""
    world.sim.streams = False
    assert (await world.stream(root))["error"] == "unknown_method"


async def test_a_stream_that_its_reader_stopped_takes_no_more(world: World) -> None:
    root = await world.root()
    ts = (await world.stream(root, markdown_text="a"))["ts"]
    await world.call("agents.sessions.setStatus", channel_id=world.general, thread_ts=root, status="processing")
    await world.sim.stop_session("ann", "general", root)
    event = world.bot.events[-1]
    assert (event["type"], event["thread_ts"], event["streaming_message_ts"]) == ("agent_session_stopped", root, [ts])
    where: dict[str, Any] = {"channel": world.general, "ts": ts}
    assert await world.error("chat.appendStream", **where, markdown_text="b") == "stopped_by_user"
    assert await world.error("chat.stopStream", **where) == ""
    assert world.sim.session_statuses == {(world.general, root): "active"}


async def test_sessions_have_a_status_where_they_are_granted(world: World) -> None:
    root = await world.root()
    where: dict[str, Any] = {"channel_id": world.general, "thread_ts": root}
    assert await world.error("agents.sessions.setStatus", **where, status="busy") == "invalid_status"
    assert await world.error("agents.sessions.setStatus", channel_id=world.general, status="active") == (
        "thread_ts_required"
    )
    assert await world.error("assistant.threads.setStatus", **where, status="thinks…") == ""
    assert await world.error("assistant.threads.setTitle", **where, title="A talk") == ""
    prompts = [{"title": "One", "message": "one"}]
    assert await world.error("assistant.threads.setSuggestedPrompts", **where, prompts=prompts) == ""
    assert world.sim.statuses == {(world.general, root): "thinks…"}
    assert world.sim.titles == {(world.general, root): "A talk"}
    assert world.sim.prompts == {(world.general, root): prompts}
    await world.call("chat.postMessage", channel=world.general, thread_ts=root, text="done")
    assert world.sim.statuses == {}
    world.sim.sessions = False
    assert await world.error("assistant.threads.setStatus", **where, status="x") == "unknown_method"


async def test_markdown_blocks_can_be_unknown(world: World) -> None:
    world.sim.markdown = False
    told = await world.error("chat.postMessage", channel=world.general, text="a", blocks=[markdown("a")])
    assert told == "invalid_blocks"


async def test_a_thread_is_read_with_its_root_and_in_order(world: World) -> None:
    root = await world.root()
    replies = [await world.sim.say("bob", str(n), channel="general", thread=root) for n in range(3)]
    told = await world.call("conversations.replies", channel=world.general, ts=replies[1])
    assert [message["text"] for message in told["messages"]] == ["hello", "0", "1", "2"]
    assert (told["messages"][0]["reply_count"], told["has_more"]) == (3, False)
    told = await world.call("conversations.replies", channel=world.general, ts=root, oldest=replies[0])
    assert [message["text"] for message in told["messages"]] == ["1", "2"]
    await world.sim.delete("ann", "general", root)
    told = await world.call("conversations.replies", channel=world.general, ts=root)
    assert [message.get("subtype", "") for message in told["messages"]] == ["tombstone", "", "", ""]
    assert await world.error("conversations.replies", channel=world.general, ts="1.2") == "thread_not_found"
    told = await world.call("conversations.history", channel=world.general, limit=1)
    assert (told["messages"][0]["subtype"], told["response_metadata"]["next_cursor"]) == ("tombstone", "")


async def test_an_app_outside_the_marketplace_reads_little_and_seldom(world: World) -> None:
    root = await world.root()
    for number in range(20):
        await world.sim.say("bob", str(number), channel="general", thread=root)
    world.sim.marketplace_limits = True
    told = await world.call("conversations.replies", channel=world.general, ts=root, limit=200)
    assert (len(told["messages"]), told["has_more"]) == (15, True)
    assert await world.error("conversations.replies", channel=world.general, ts=root) == "ratelimited"
    assert world.headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    ("method", "times"),
    [("chat.startStream", 20), ("chat.update", 50), ("conversations.replies", 50), ("chat.appendStream", 100)],
)
def test_a_method_has_so_many_calls_in_any_minute_in_one_workspace(method: str, times: int) -> None:
    budgets = Budgets()

    def refused(at: float, team: str = TEAM) -> int:
        """Seconds to wait, or 0."""
        try:
            budgets.spend(team, method, "C1", at, marketplace=False)
        except Refused as refused:
            return refused.retry_after
        return 0

    assert [refused(second / 10) for second in range(times)] == [0] * times
    assert refused(30.5) == 30
    assert refused(30.5, "T2") == 0
    assert [refused(60.0), refused(60.0)] == [0, 1]


async def test_limits_are_kept_unless_they_are_off(world: World) -> None:
    for _ in range(20):
        assert await world.error("chat.stopStream") == "invalid_arguments"  # which counts as well
    assert await world.error("chat.stopStream") == "ratelimited"
    assert world.headers["Retry-After"] == "60"
    world.sim.limits = False
    assert await world.error("chat.stopStream") == "invalid_arguments"


async def test_a_channel_takes_one_post_a_second_and_short_bursts(world: World) -> None:
    said = [await world.error("chat.postMessage", channel=world.general, text="x") for _ in range(6)]
    assert said == [""] * 5 + ["ratelimited"]
    assert world.headers["Retry-After"] == "1"
    assert await world.error("chat.postMessage", channel=world.sim.channel("random"), text="x") == ""
    world.now[0] += 1
    said = [await world.error("chat.postMessage", channel=world.general, text="x") for _ in range(2)]
    assert said == ["", "ratelimited"]


async def test_faults_happen_once_each_in_their_order(world: World) -> None:
    gate = asyncio.Event()
    faults = [Fault(status=503), Fault(error="fatal_error"), Fault(lose=True), Fault(drop=True), Fault(delay=gate)]
    world.sim.faults("chat.postMessage", *faults)
    where: dict[str, Any] = {"channel": world.general}
    assert await world.error("chat.postMessage", answered=503, **where, text="a") == "internal_error"
    assert await world.error("chat.postMessage", **where, text="b") == "fatal_error"
    for text in ("c", "d"):
        with pytest.raises(aiohttp.ClientConnectionError):
            await world.call("chat.postMessage", **where, text=text)
    waiting = asyncio.ensure_future(world.call("chat.postMessage", **where, text="e"))
    await world.sim.until(lambda: len(world.sim.calls) == 5)
    assert [post.text for post in world.sim.screen("general")] == ["d"]
    gate.set()
    await waiting
    assert [post.text for post in world.sim.screen("general")] == ["d", "e"]
    assert [call.status for call in world.sim.calls] == [503, 200, 0, 0, 200]


async def test_waiting_for_something_ends_when_it_happens_or_never_will(world: World) -> None:
    waiting = asyncio.ensure_future(world.sim.until(lambda: world.sim.screen("general")))
    await world.root()
    await waiting
    with pytest.raises(TimeoutError):
        await world.sim.until(lambda: False, patience=0.01)


async def test_an_organisation_installs_for_all_its_workspaces(world: World) -> None:
    world.sim.enterprise = "E1"
    await world.sim.say("ann", "hi")
    [got] = world.bot.got
    assert (got["enterprise_id"], got["authorizations"][0]["is_enterprise_install"]) == ("E1", True)
    secret: dict[str, Any] = {"client_id": world.sim.client_id, "client_secret": world.sim.client_secret}
    told = await world.call("oauth.v2.access", **secret, code=world.sim.new_code())
    assert (told["team"], told["enterprise"]["id"], told["access_token"]) == (None, "E1", world.sim.bot_token)
    assert (await world.call("auth.test"))["team_id"] == TEAM
    assert (await world.call("auth.revoke"))["revoked"]
    assert await world.error("auth.test") == "token_revoked"


async def test_a_task_of_a_stream_is_a_card_that_changes_where_it_is(world: World) -> None:
    root = await world.root()
    task: dict[str, Any] = {"type": "task_update", "id": "1", "title": "Looking", "status": "in_progress"}
    text = {"type": "markdown_text", "text": "a"}
    ts = (await world.stream(root, chunks=[task, text]))["ts"]
    where: dict[str, Any] = {"channel": world.general, "ts": ts}
    post = world.sim.post("general", ts)
    assert post.tasks == [("Looking", "in_progress")]
    await world.call("chat.appendStream", **where, chunks=[task | {"id": "2"}, task | {"status": "complete"}])
    assert [status for _, status in post.tasks] == ["complete", "in_progress"]
    assert post.markdown == "a"
    for odd in ({"status": "over"}, {"title": "x" * 257}, {"id": None}):
        assert await world.error("chat.appendStream", **where, chunks=[task | odd]) == "invalid_chunks"
    await world.call("chat.stopStream", **where)
    await world.call("chat.update", **where, text="b", blocks=[])
    assert post.tasks == []
