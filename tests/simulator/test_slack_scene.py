"""What there is to see of the simulated Slack: screens, the wire, clocks, budgets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatferry.simulator.slack import BOT
from chatferry.simulator.slack_people import typed
from chatferry.simulator.slack_scene import markdown, named, words
from chatferry.simulator.slack_views import filled
from tests.simulator.slack_world import Json, World, actions, modal, opened, section


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


def facts(world: World, kind: str) -> list[Json]:
    return [fact for fact in world.sim.scene.all() if fact["kind"] == kind]


def bubble(world: World, channel: str, message: str) -> Json:
    fact = world.sim.scene.get("bubble", f"slack/{channel}/{message}")
    assert fact is not None
    return fact


def fact(world: World, kind: str, *where: str) -> Json | None:
    return world.sim.scene.get(kind, "/".join(("slack", *where)))


# Screens.


async def test_people_and_the_bot_are_shown_where_they_write(world: World) -> None:
    alone, root = await world.sim.say("ann", "hello"), await world.sim.say("bob", "hi", channel="general")
    shown = bubble(world, world.sim.dm("ann"), alone)
    assert (shown["who"], shown["text"], shown["shape"], shown["thread"]) == ("ann", "hello", "text", "")
    assert shown["at"] == 1_700_000_000
    ts = (await world.call("chat.postMessage", channel=world.general, text="*yes*", thread_ts=root))["ts"]
    shown = bubble(world, world.general, ts)
    assert (shown["who"], shown["text"], shown["shape"], shown["thread"]) == ("", "**yes**", "markdown", root)
    assert (shown["via"], shown["growing"], shown["edits"]) == ("post", False, 0)


async def test_what_changes_or_goes_is_shown_again(world: World) -> None:
    root = await world.root()
    await world.sim.edit("ann", "general", root, "hello!")
    assert (bubble(world, world.general, root)["text"], bubble(world, world.general, root)["edits"]) == ("hello!", 1)
    await world.sim.delete("ann", "general", root)
    assert bubble(world, world.general, root)["deleted"]
    ts = (await world.call("chat.postMessage", channel=world.general, text="one"))["ts"]
    await world.call("chat.update", channel=world.general, ts=ts, text="two")
    assert (bubble(world, world.general, ts)["text"], bubble(world, world.general, ts)["edits"]) == ("two", 1)
    await world.call("chat.delete", channel=world.general, ts=ts)
    assert bubble(world, world.general, ts)["deleted"]


async def test_a_stream_grows_on_the_screen_until_it_ends(world: World) -> None:
    root = await world.root()
    ts = (await world.stream(root, markdown_text="**a"))["ts"]
    where: dict[str, Any] = {"channel": world.general, "ts": ts}
    await world.call("chat.appendStream", **where, markdown_text=f"b** <@{world.sim.user('bob')}>")
    shown = bubble(world, world.general, ts)
    assert (shown["text"], shown["growing"], shown["via"]) == ("**ab** @bob", True, "stream")
    await world.call("chat.stopStream", **where, blocks=[actions("again")])
    shown = bubble(world, world.general, ts)
    assert (shown["growing"], [button["value"] for button in shown["buttons"]]) == (False, ["again"])
    ts = (await world.stream(root, markdown_text="c"))["ts"]
    await world.sim.stop_session("ann", "general", root)
    assert not bubble(world, world.general, ts)["growing"]
    ts = (await world.stream(root, markdown_text="d"))["ts"]
    world.now[0] += 300
    assert [post.streaming for post in world.sim.thread("general", root)][-1] is False
    assert not bubble(world, world.general, ts)["growing"]


async def test_buttons_have_a_value_a_style_or_an_address(world: World) -> None:
    element = {"type": "button", "text": {"type": "plain_text", "text": "Stop"}, "action_id": "a", "value": "stop"}
    link = {"type": "button", "text": {"type": "plain_text", "text": "Read"}, "action_id": "b", "url": "https://x.test"}
    block = {"type": "actions", "elements": [element | {"style": "danger"}, link]}
    told = await world.call("chat.postMessage", channel=world.general, text="t", blocks=[section("s"), block])
    assert bubble(world, world.general, told["ts"])["buttons"] == (
        {"label": "Stop", "value": "stop", "style": "danger", "url": ""},
        {"label": "Read", "value": "", "style": "", "url": "https://x.test"},
    )


async def test_files_are_shown_one_by_one(world: World) -> None:
    ts = await world.sim.say("ann", "look", files={"a b.png": b"\x89PNG", "c.txt": b"data"})
    first = bubble(world, world.sim.dm("ann"), ts)
    assert (first["shape"], first["name"], first["text"]) == ("image", "a b.png", "look")
    assert world.sim.contents[first["file"]] == b"\x89PNG"
    [second] = [one for one in facts(world, "bubble") if one["message"].startswith(f"{ts}/")]
    assert (second["shape"], second["name"], world.sim.contents[second["file"]]) == ("file", "c.txt", b"data")
    [sent, _] = world.bot.events[0]["files"]
    bearer = {"Authorization": f"Bearer {world.sim.bot_token}"}
    async with world.http.get(sent["url_private_download"], headers=bearer) as answer:
        assert await answer.read() == b"\x89PNG"


async def test_a_whisper_says_who_sees_it_and_has_buttons_too(world: World) -> None:
    fields: dict[str, Any] = {"text": "psst", "blocks": [section("psst"), actions("yes")]}
    to = world.sim.user("ann")
    ts = (await world.call("chat.postEphemeral", channel=world.general, user=to, **fields))["message_ts"]
    assert bubble(world, world.general, ts)["only"] == "ann"
    await world.sim.click("ann", "general", ts, "yes")
    clicked = world.bot.got[-1]
    assert clicked["container"]["is_ephemeral"]
    assert "message" not in clicked
    with pytest.raises(LookupError, match="no message"):
        await world.sim.click("bob", "general", ts, "yes")
    async with world.http.post(clicked["response_url"], json={"delete_original": True}) as answer:
        assert answer.status == 200
    assert bubble(world, world.general, ts)["deleted"]


async def test_a_command_is_seen_by_all_once_its_answer_is(world: World) -> None:
    world.bot.answer = {"text": "wait"}
    await world.sim.command("ann", "/ask", "why?", channel="general")
    asked, waiting = facts(world, "bubble")
    assert (asked["text"], asked["shape"], asked["only"]) == ("/ask why?", "action", "ann")
    assert (waiting["text"], waiting["only"], waiting["via"]) == ("wait", "ann", "response")
    assert waiting["answers"] == asked["message"]
    told = {"text": "because", "response_type": "in_channel"}
    async with world.http.post(world.bot.got[0]["response_url"], json=told) as answer:
        assert answer.status == 200
    asked, _, answered = facts(world, "bubble")
    assert (asked["only"], answered["only"], answered["text"]) == ("", "", "because")
    wire = facts(world, "exchange")[-1]
    assert (wire["chat"], wire["message"], wire["status"]) == (world.general, answered["message"], 200)


NAMES = {"U0ANN": "ann"}


@pytest.mark.parametrize(
    ("mrkdwn", "expected"),
    [
        ("hi <@U0ANN> and <@U0BOT>", "hi @ann and @Ferry"),
        ("<https://x.test/a_b_c*|the *page*>", "[the *page*](https://x.test/a_b_c*)"),
        ("see <https://x.test?a=1&amp;b=2>", "see https://x.test?a=1&b=2"),
        ("*bold* _it_ ~gone~ 2 * 3 * 4", "**bold** _it_ ~~gone~~ 2 * 3 * 4"),
        ("*see <https://x.test|x>*", "**see [x](https://x.test)**"),
        ("a &lt;b&gt; &amp; `*c* &lt;`", "a <b> & `*c* <`"),
        ("&gt; quoted\n<#C0GENERAL|general> <!here>", "> quoted\n#general @here"),
        ("so: ```*x*\n&lt;y```end", "so: \n```\n*x*\n<y\n```\nend"),
        ("```one```", "```one```"),
    ],
)
def test_slacks_text_is_told_as_markdown(mrkdwn: str, expected: str) -> None:
    assert markdown(mrkdwn, NAMES) == expected


def test_words_and_markdown_have_the_names_of_those_who_are_called() -> None:
    assert words("<@U0ANN>: *no* <https://x.test|x> &lt;3", NAMES) == "@ann: *no* x (https://x.test) <3"
    assert (
        named("**a** <@U0ANN> `<@U0ANN>` <b> <https://x.test>", NAMES) == "**a** @ann `<@U0ANN>` <b> <https://x.test>"
    )


def test_what_is_typed_becomes_slacks_text() -> None:
    text = "@Ann @ferry @nobody 1 < 2 & see https://x.test/?a=1&b=2."
    assert typed(text, {"ann": "U0ANN", "Ferry": BOT}) == (
        f"<@U0ANN> <@{BOT}> @nobody 1 &lt; 2 &amp; see <https://x.test/?a=1&amp;b=2>."
    )


async def test_blocks_are_told_as_markdown(world: World) -> None:
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "Title"}},
        {"type": "divider"},
        {"type": "image", "image_url": "https://x.test/i.png", "alt_text": "i"},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "*a*"}, {"type": "plain_text", "text": "b"}]},
        section("*bold*") | {"fields": [{"type": "mrkdwn", "text": "f"}]},
        {"type": "markdown", "text": "**md**"},
    ]
    ts = (await world.call("chat.postMessage", channel=world.general, text="t", blocks=blocks))["ts"]
    assert bubble(world, world.general, ts)["text"].split("\n\n") == [
        "### Title",
        "---",
        "![i](https://x.test/i.png)",
        "**a** b",
        "**bold**\nf",
        "**md**",
    ]


# What else moves.


async def test_a_status_is_shown_until_a_message_comes_or_it_is_cleared(world: World) -> None:
    root = await world.root()
    where: dict[str, Any] = {"channel_id": world.general, "thread_ts": root}
    for clear in ("message", "stream", "status"):
        await world.call("assistant.threads.setStatus", **where, status="thinks…")
        told = fact(world, "typing", world.general, root)
        assert told is not None
        assert (told["text"], told["thread"], told["until"]) == ("thinks…", root, world.now[0] + 120)
        if clear == "message":
            await world.call("chat.postMessage", channel=world.general, thread_ts=root, text="done")
        elif clear == "stream":
            await world.stream(root, markdown_text="done")
        else:
            await world.call("assistant.threads.setStatus", **where, status="")
        assert fact(world, "typing", world.general, root) is None
    await world.call("agents.sessions.setStatus", **where, status="processing")
    session = fact(world, "session", world.general, root)
    assert session is not None
    assert session["status"] == "processing"


async def test_a_dialog_is_open_until_it_is_sent_or_dismissed(world: World) -> None:
    root = await world.root()
    for notify in (False, True):
        trigger = await world.sim.shortcut("ann", "stop_answer", "general", root)
        assert await world.error("views.open", trigger_id=trigger, view=modal() | {"notify_on_close": notify}) == ""
        dialog = fact(world, "dialog", "ann")
        assert dialog is not None
        assert (dialog["who"], dialog["view"]["callback_id"]) == ("ann", "stop")
        told = await world.sim.dismiss("ann")
        assert fact(world, "dialog", "ann") is None
        assert (told is not None) == notify == (world.bot.got[-1]["type"] == "view_closed")
    with pytest.raises(LookupError, match="ann has no dialog open"):
        await world.sim.dismiss("ann")
    with pytest.raises(LookupError, match="ann has no dialog open"):
        await world.sim.submit("ann")


def ask(block: str, element: Json) -> Json:
    label = {"type": "plain_text", "text": block}
    return {"type": "input", "block_id": block, "label": label, "element": {"action_id": f"{block}-it", **element}}


async def test_what_is_entered_in_a_dialog_is_sent_along(world: World) -> None:
    options = [{"text": {"type": "plain_text", "text": value}, "value": value} for value in ("red", "blue")]
    blocks = [
        ask("why", {"type": "plain_text_input"}),
        ask("colour", {"type": "static_select", "options": options}),
        ask("several", {"type": "checkboxes", "options": options, "initial_options": options[:1]}),
        ask("day", {"type": "datepicker"}),
        section("nothing to enter"),
    ]
    trigger = await world.sim.shortcut("ann", "stop_answer", "general", await world.root())
    assert await world.error("views.open", trigger_id=trigger, view=modal() | {"blocks": blocks}) == ""
    world.bot.answer = {"response_action": "errors", "errors": {"why": "too short"}}
    await world.sim.submit("ann", values={"why": "so", "colour-it": "blue", "day": "2026-01-02"})
    assert world.bot.got[-1]["view"]["state"]["values"] == {
        "why": {"why-it": {"type": "plain_text_input", "value": "so"}},
        "colour": {"colour-it": {"type": "static_select", "selected_option": options[1]}},
        "several": {"several-it": {"type": "checkboxes", "selected_options": options[:1]}},
        "day": {"day-it": {"type": "datepicker", "selected_date": "2026-01-02"}},
    }
    dialog = fact(world, "dialog", "ann")
    assert dialog is not None
    assert dialog["errors"] == {"why": "too short"}
    for values, fault in (({"nowhere": 1}, "no input nowhere"), ({"colour": "green"}, "no option 'green'")):
        with pytest.raises(LookupError, match=fault):
            await world.sim.submit("ann", values=values)
    world.bot.answer = {"response_action": "update", "view": modal("Really?")}
    await world.sim.submit("ann")
    dialog = fact(world, "dialog", "ann")
    assert dialog is not None
    assert dialog["view"]["blocks"][0]["text"]["text"] == "Really?"
    world.bot.answer, world.bot.statuses = None, [500, 200]
    await world.sim.submit("ann")
    assert fact(world, "dialog", "ann") is not None
    await world.sim.submit("ann")
    assert fact(world, "dialog", "ann") is None


def test_an_input_begins_with_what_the_view_says() -> None:
    option = {"text": {"type": "plain_text", "text": "A"}, "value": "a"}
    grouped = {"type": "static_select", "option_groups": [{"options": [option]}], "initial_option": option}
    blocks = [ask("a", grouped), ask("b", {"type": "plain_text_input", "initial_value": "x"})]
    state = filled({"blocks": blocks}, {})["state"]["values"]
    assert state["a"]["a-it"]["selected_option"] == option
    assert state["b"]["b-it"]["value"] == "x"
    chosen = filled({"blocks": [ask("c", {"type": "external_select"})]}, {"c": "far"})["state"]["values"]
    assert chosen["c"]["c-it"]["selected_option"]["value"] == "far"


def test_people_are_chosen_by_name_or_by_id() -> None:
    blocks = [ask("one", {"type": "users_select"}), ask("many", {"type": "multi_users_select"})]
    view = filled({"blocks": blocks}, {"one": "ann", "many": ["ann", "U2"]}, {"ann": "U1"})
    values = view["state"]["values"]
    assert values["one"]["one-it"]["selected_user"] == "U1"
    assert values["many"]["many-it"]["selected_users"] == ["U1", "U2"]


async def test_buttons_without_a_value_are_told_apart_by_their_labels(world: World) -> None:
    buttons = [
        {"type": "button", "text": {"type": "plain_text", "text": label}, "action_id": label} for label in ("Yes", "No")
    ]
    blocks = [{"type": "actions", "elements": buttons}]
    ts = (await world.call("chat.postMessage", channel=world.general, text="?", blocks=blocks))["ts"]
    await world.sim.click("ann", "general", ts, "", label="No")
    [clicked] = world.bot.got[-1]["actions"]
    assert clicked["action_id"] == "No"
    assert "value" not in clicked


# Clocks, budgets, the wire.


async def test_a_clock_runs_while_the_app_has_to_acknowledge(world: World) -> None:
    world.bot.statuses, world.sim.pauses = [500, 200], (0.0,)
    ts = await world.sim.say("ann", "hi", channel="general", mention=True)
    clock = fact(world, "clock", world.general, ts)
    assert clock is not None
    assert (clock["name"], clock["done"], clock["until"]) == ("ack", "answered", clock["began"] + 3)
    assert [(one["event"], one["outcome"]) for one in clock["tries"]] == [
        ("message", "http_error"),
        ("message", "answered"),
        ("app_mention", "answered"),
    ]
    world.bot.gate = asyncio.Event()
    editing = asyncio.ensure_future(world.sim.edit("ann", "general", ts, "hm"))
    await world.seen(lambda: (fact(world, "clock", world.general, ts) or {})["done"] == "")
    clock = fact(world, "clock", world.general, ts)
    assert clock is not None
    assert [(one["seconds"], one["outcome"]) for one in clock["tries"]] == [(None, "")]
    world.bot.gate.set()
    await editing


async def test_the_next_try_is_announced(world: World) -> None:
    world.bot.statuses, world.sim.pauses = [500], (60.0,)
    saying = asyncio.ensure_future(world.sim.say("ann", "hi"))
    await world.sim.until(lambda: world.sim.deliveries and world.sim.deliveries[0].attempts)
    [clock] = facts(world, "clock")
    assert (clock["done"], clock["next"]) == ("http_error", world.now[0] + 60)
    saying.cancel()


async def test_gauges_show_what_is_used_up(world: World) -> None:
    root = await world.root()
    for _ in range(2):
        ts = (await world.call("chat.postMessage", channel=world.general, text="a", thread_ts=root))["ts"]
    for _ in range(51):
        await world.call("chat.update", channel=world.general, ts=ts, text="b")
    posts, updates = facts(world, "gauge")
    assert (posts["name"], posts["chat"], posts["used"], posts["limit"]) == ("chat.postMessage", world.general, 2, 5)
    assert posts["until"] == world.now[0] + 2
    assert (updates["id"], updates["used"], updates["limit"]) == ("slack/chat.update", 50, 50)
    assert updates["until"] == world.now[0] + 60
    world.sim.limits = False
    await world.call("users.info", user=world.sim.user("ann"))
    assert len(facts(world, "gauge")) == 2


async def test_both_ways_of_the_wire_are_shown(world: World) -> None:
    world.bot.statuses, world.sim.pauses = [500, 200], (0.0,)
    ts = await world.sim.say("ann", "嗨", channel="general")
    first, second = facts(world, "exchange")
    assert (first["way"], first["method"], first["limit"], first["status"]) == ("hook", "POST", 3.0, 500)
    assert (first["reason"], first["message"], second["note"]) == ("http_error", ts, "retry 1: http_error")
    assert "嗨" in first["request"]
    assert second["headers"]["x-slack-retry-reason"] == "http_error"
    assert {"x-slack-signature", "x-slack-request-timestamp"} < set(second["headers"])
    await world.call("chat.update", channel=world.general, ts="1.2", text="x")
    told = facts(world, "exchange")[-1]
    assert (told["way"], told["path"], told["reason"], told["message"]) == (
        "call",
        "/api/chat.update",
        "message_not_found",
        "1.2",
    )
    assert told["headers"]["authorization"] == "Bearer xoxb…"
    assert json.loads(told["answer"])["error"] == "message_not_found"


@pytest.mark.parametrize(
    ("webhook", "error"), [("{}/nowhere", "dispatch_failed"), ("http://127.0.0.1:9/", "operation_timeout")]
)
async def test_a_command_that_the_app_does_not_take_is_told_to_who_used_it(
    world: World, webhook: str, error: str
) -> None:
    world.sim.webhook = webhook.format(world.sim.url)
    await world.sim.command("ann", "/ask", "why?", channel="general")
    failed = facts(world, "bubble")[-1]
    assert (failed["text"], failed["only"]) == (f'/ask failed with the error "{error}"', "ann")


async def test_forms_are_shown_as_what_they_say(world: World) -> None:
    await world.sim.command("ann", "/ask", "漢字", channel="general")
    command = json.loads(facts(world, "exchange")[-1]["request"])
    assert (command["text"], command["token"]) == ("漢字", "simu…")
    await world.sim.shortcut("ann", "stop_answer", "general", await world.root())
    shortcut = facts(world, "exchange")[-1]
    assert json.loads(shortcut["request"])["callback_id"] == "stop_answer"
    assert shortcut["chat"] == world.general
    form = {"token": world.sim.bot_token, "channel": world.general, "text": "a"}
    async with world.http.post(f"{world.sim.url}/api/chat.postMessage", data=form) as answer:
        ts = (await answer.json())["ts"]
    told = facts(world, "exchange")[-1]
    assert json.loads(told["request"]) == {"channel": world.general, "text": "a"}
    assert told["message"] == ts


async def test_envelopes_over_a_socket_are_shown_too(world: World) -> None:
    told = await world.call("apps.connections.open", token=world.sim.app_token)
    async with world.http.ws_connect(told["url"]) as socket:
        assert (await socket.receive_json())["type"] == "hello"
        saying = asyncio.ensure_future(world.sim.say("ann", "嗨"))
        frame = await socket.receive_json()
        await socket.send_json({"envelope_id": frame["envelope_id"]})
        ts = await saying
    shown = facts(world, "exchange")[-1]
    assert (shown["method"], shown["path"], shown["status"], shown["message"]) == ("WS", "/events_api", 200, ts)
    assert "嗨" in shown["request"]
    assert json.loads(shown["answer"]) == {"envelope_id": frame["envelope_id"]}
