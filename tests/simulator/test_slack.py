"""The simulated Slack: what people do there, and what the app hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chatferry.simulator.slack import APP, BOT, BOT_ID, TEAM
from tests.simulator.slack_world import World, actions, modal, opened, section


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


# What is delivered.


async def test_a_direct_message_comes_in_an_envelope(world: World) -> None:
    ts = await world.sim.say("ann", "hello")
    [got] = world.bot.got
    assert (got["type"], got["team_id"], got["api_app_id"]) == ("event_callback", TEAM, APP)
    assert got["event_id"].startswith("Ev")
    assert got["event_time"] == 1_700_000_000
    [granted] = got["authorizations"]
    assert (granted["team_id"], granted["user_id"], granted["is_bot"]) == (TEAM, BOT, True)
    event = got["event"]
    assert (event["user"], event["channel"]) == (world.sim.user("ann"), world.sim.dm("ann"))
    assert (event["channel_type"], event["ts"], event["text"]) == ("im", ts, "hello")


@pytest.mark.parametrize("mention_first", [False, True])
async def test_a_mention_in_a_channel_makes_two_events(world: World, mention_first: bool) -> None:
    world.sim.mention_first = mention_first
    ts = await world.sim.say("ann", "hi", channel="general", mention=True)
    kinds = [event["type"] for event in world.bot.events]
    assert kinds == (["app_mention", "message"] if mention_first else ["message", "app_mention"])
    assert len({got["event_id"] for got in world.bot.got}) == 2
    assert {(event["ts"], event["text"]) for event in world.bot.events} == {(ts, f"<@{BOT}> hi")}
    assert ["channel_type" in event for event in world.bot.events] == [kind == "message" for kind in kinds]


async def test_replies_edits_and_deletions_are_told(world: World) -> None:
    root = await world.root()
    reply = await world.sim.say("bob", "one", channel="general", thread=root)
    await world.sim.edit("bob", "general", reply, "two")
    await world.sim.delete("bob", "general", reply)
    _, said, edited, gone = world.bot.events
    assert (said["thread_ts"], said["parent_user_id"]) == (root, world.sim.user("ann"))
    assert (edited["subtype"], edited["message"]["text"], edited["previous_message"]["text"]) == (
        "message_changed",
        "two",
        "one",
    )
    assert (gone["subtype"], gone["deleted_ts"], gone["hidden"]) == ("message_deleted", reply, True)
    assert [post.text for post in world.sim.thread("general", root)] == ["hello"]


async def test_nothing_is_heard_where_the_bot_is_not(world: World) -> None:
    world.sim.absent.add("general")
    await world.sim.say("ann", "hi", channel="general", mention=True)
    assert world.bot.got == []
    assert await world.error("chat.postMessage", channel=world.general, text="x") == "not_in_channel"


async def test_other_bots_and_several_people_are_told_apart(world: World) -> None:
    world.sim.bots.add("robot")
    await world.sim.say("robot", "beep", channel=world.sim.group("friends"))
    [event] = world.bot.events
    assert (event["channel_type"], event["bot_id"][0]) == ("mpim", "B")
    assert event["bot_id"] != BOT_ID


async def test_an_event_is_tried_four_times(world: World) -> None:
    world.bot.statuses = [500, 500, 302, 500]
    await world.sim.say("ann", "hi")
    assert world.bot.retries == [("", ""), ("1", "http_error"), ("2", "http_error"), ("3", "http_error")]
    assert len({got["event_id"] for got in world.bot.got}) == 1
    [delivery] = world.sim.deliveries
    assert delivery.statuses == [500, 500, 302, 500]


async def test_no_retry_is_heard_and_success_ends_it(world: World) -> None:
    world.bot.statuses, world.bot.headers = [500], {"x-slack-no-retry": "1"}
    await world.sim.say("ann", "hi")
    world.bot.statuses, world.bot.headers = [500, 200], {}
    await world.sim.say("ann", "hi")
    assert [delivery.statuses for delivery in world.sim.deliveries] == [[500], [500, 200]]
    await world.sim.deliver_again(world.sim.deliveries[0])
    assert world.bot.retries[-1] == ("1", "http_timeout")
    assert world.bot.got[-1] == world.bot.got[0]


async def test_a_slow_or_missing_webhook_is_named(world: World) -> None:
    world.sim.patience, world.bot.gate = 0.05, asyncio.Event()
    await world.sim.say("ann", "hi")
    assert [attempt.reason for attempt in world.sim.deliveries[0].attempts] == ["http_timeout"] * 4
    world.bot.gate.set()
    world.sim.webhook = "http://127.0.0.1:9/"
    await world.sim.say("ann", "hi")
    assert [attempt.reason for attempt in world.sim.deliveries[1].attempts] == ["connection_failed"] * 4


async def test_what_the_bot_does_comes_back_if_wanted(world: World) -> None:
    world.sim.echo = True
    ts = (await world.call("chat.postMessage", channel=world.general, text="one"))["ts"]
    await world.sim.until(lambda: world.sim.deliveries[0].attempts)
    await world.call("chat.update", channel=world.general, ts=ts, text="two")
    await world.call("chat.delete", channel=world.general, ts=ts)
    await world.sim.until(lambda: sum(len(delivery.attempts) for delivery in world.sim.deliveries) == 3)
    assert {event.get("subtype", "") for event in world.bot.events} == {"", "message_changed", "message_deleted"}
    assert (world.bot.events[0]["bot_id"], world.bot.events[0]["user"]) == (BOT_ID, BOT)


# Commands and dialogs.


async def test_a_command_is_answered_and_answered_later_five_times(world: World) -> None:
    world.bot.answer = {"response_type": "ephemeral", "text": "wait"}
    assert await world.sim.command("ann", "/ask", "why?", channel="general") == world.bot.answer
    [form] = world.bot.got
    assert (form["command"], form["text"], form["user_id"]) == ("/ask", "why?", world.sim.user("ann"))
    told = [{"text": "a", "replace_original": True}, {"text": "b"}, {"text": "c", "response_type": "in_channel"}]
    for number, body in enumerate([*told, {"text": "d", "replace_original": True}, {"text": ""}, {"text": "e"}]):
        async with world.http.post(form["response_url"], json=body) as answer:
            assert answer.status == {4: 400, 5: 404}.get(number, 200)
    assert [post.text for post in world.sim.ephemeral("ann")] == ["wait", "a", "b"]
    assert [post.text for post in world.sim.screen("general")] == ["d"]


async def test_a_response_url_lives_half_an_hour(world: World) -> None:
    await world.sim.command("ann", "/ask")
    world.now[0] += 1801
    async with world.http.post(world.bot.got[0]["response_url"], json={"text": "late"}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (404, "expired_url")


async def test_a_trigger_opens_one_dialog_within_three_seconds(world: World) -> None:
    root = await world.root()
    old = await world.sim.shortcut("ann", "stop_answer", "general", root)
    shortcut = world.bot.got[-1]
    assert (shortcut["type"], shortcut["callback_id"], shortcut["message"]["ts"]) == (
        "message_action",
        "stop_answer",
        root,
    )
    world.now[0] += 4
    trigger = await world.sim.shortcut("ann", "stop_answer", "general", root)
    assert await world.error("views.open", trigger_id=old, view=modal()) == "expired_trigger_id"
    assert await world.error("views.open", trigger_id=trigger, view=modal("")) == "invalid_arguments"
    assert await world.error("views.open", trigger_id=trigger, view=modal()) == ""
    assert await world.error("views.open", trigger_id=trigger, view=modal()) == "exchanged_trigger_id"
    await world.sim.submit("ann")
    sent = world.bot.got[-1]
    assert (sent["type"], sent["view"]["private_metadata"], sent["user"]["id"]) == (
        "view_submission",
        "p",
        world.sim.user("ann"),
    )
    assert world.sim.views == {}


async def test_a_button_can_be_clicked_while_it_is_there(world: World) -> None:
    root = await world.root()
    blocks = [section("growing"), actions("stop", "other")]
    ts = (await world.call("chat.postMessage", channel=world.general, text="t", blocks=blocks, thread_ts=root))["ts"]
    assert world.sim.post("general", ts).buttons == [("stop", "stop"), ("other", "other")]
    await world.sim.click("bob", "general", ts, "stop")
    clicked = world.bot.got[-1]
    assert (clicked["type"], clicked["actions"][0]["value"]) == ("block_actions", "stop")
    assert clicked["container"] == {
        "type": "message",
        "message_ts": ts,
        "channel_id": world.general,
        "is_ephemeral": False,
        "thread_ts": root,
    }
    await world.call("chat.update", channel=world.general, ts=ts, text="done")
    with pytest.raises(LookupError, match="done"):
        await world.sim.click("bob", "general", ts, "stop")


# Who may call.


async def test_tokens_are_told_apart(world: World) -> None:
    assert await world.error("auth.test", token="") == "not_authed"
    assert await world.error("auth.test", token="xoxb-wrong") == "invalid_auth"
    assert await world.error("auth.test", token=world.sim.app_token) == "not_allowed_token_type"
    assert await world.error("chat.unheardOf") == "unknown_method"
    await world.sim.tokens_revoked()
    assert await world.error("auth.test") == "token_revoked"
    await world.sim.app_uninstalled()
    assert await world.error("auth.test") == "account_inactive"
    assert [event["type"] for event in world.bot.events] == ["tokens_revoked", "app_uninstalled"]


async def test_scopes_are_shown_and_needed(world: World) -> None:
    world.sim.scopes = ["chat:write"]
    told = await world.call("users.info", user=world.sim.user("ann"))
    assert (told["error"], told["needed"], world.headers["x-oauth-scopes"]) == (
        "missing_scope",
        "users:read",
        "chat:write",
    )


async def test_workspaces_do_not_see_each_other(world: World) -> None:
    world.sim.workspaces["T2"] = "xoxb-2"
    await world.sim.say("ann", "hi", channel="general", team="T2")
    [got] = world.bot.got
    there = got["event"]["channel"]
    assert (got["team_id"], got["authorizations"][0]["team_id"]) == ("T2", "T2")
    assert there != world.general
    assert await world.error("chat.postMessage", channel=there, text="x") == "channel_not_found"
    assert await world.error("chat.postMessage", channel=there, text="x", token="xoxb-2") == ""


async def test_people_have_names_and_rights(world: World) -> None:
    world.sim.admins, world.sim.display_names = {"ann"}, {"ann": "Ann Lee"}
    told = (await world.call("users.info", user=world.sim.user("ann")))["user"]
    assert (told["profile"]["display_name"], told["is_admin"], told["is_owner"]) == ("Ann Lee", True, False)
    assert await world.error("users.info", user="U0NOBODY") == "user_not_found"


async def test_files_are_for_those_with_a_token(world: World) -> None:
    await world.sim.say("ann", "look", files={"a.txt": b"data"})
    [event] = world.bot.events
    [file] = event["files"]
    assert (event["subtype"], file["mimetype"], file["size"]) == ("file_share", "text/plain", 4)
    async with world.http.get(file["url_private_download"]) as answer:
        assert answer.content_type == "text/html"
    bearer = {"Authorization": f"Bearer {world.sim.bot_token}"}
    async with world.http.get(file["url_private_download"], headers=bearer) as answer:
        assert await answer.read() == b"data"
