"""What people do on Slack besides talking: slash commands, shortcuts, buttons and dialogs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.channels import slack_hooks
from chatferry.channels.base import STOP, Taken
from chatferry.channels.slack_events import Dialog, Hint, Rules
from chatferry.errors import Rejected
from chatferry.model import Grant, Inbound, Message, Text
from tests.channels.slack_payloads import (
    ANN,
    APP,
    BOT,
    DIRECT,
    NOW,
    RESPONSE_URL,
    ROOM,
    ROOT,
    TEAM,
    TS,
    WORDS,
    channel,
    clicked,
    command,
    direct,
    form,
    inner,
    message,
    posted,
    shortcut,
    submitted,
    tap,
)
from tests.channels.test_line_take import JsonValue
from tests.contracts import channel as contract

ME = {TEAM: BOT}
ANSWER = posted("an answer", thread_ts=ROOT)
ADDRESS = f"{TEAM}/{ROOM}/{ROOT}"


def after(payload: dict[str, Any], me: dict[str, str] | None = None, **options: Any) -> Taken:
    return channel(me, **options).take(clicked(payload))


# Slash commands.


def test_a_slash_command_brings_leave_to_answer_and_is_told_to_wait() -> None:
    taken = channel().take(form(command(text=" why is the sky blue? ")))
    assert taken.events == (
        Inbound(
            event="command/111.222.abc",
            conversation=f"{TEAM}/{ROOM}/ask/{ANN}",
            message=Message("user", (Text("why is the sky blue?"),)),
            sender=ANN,
            grant=Grant(RESPONSE_URL, NOW + 29 * 60, uses=5),
            at=NOW,
        ),
    )
    assert (taken.status, taken.media_type) == (200, "application/json")
    assert json.loads(taken.body) == {"response_type": "ephemeral", "text": WORDS.waiting}


def test_an_answer_for_everybody_is_announced_to_everybody() -> None:
    taken = channel(replies="public", rooms={ROOM: {"assistant": "translator"}}).take(form(command()))
    assert json.loads(taken.body)["response_type"] == "in_channel"
    assert taken.events[0].assistant == "translator"
    assert (taken.events[0].confidant, channel().take(form(command())).events[0].confidant) == ("", ANN)


def test_a_command_without_a_question_is_told_what_it_is_for() -> None:
    taken = channel(replies="public").take(form(command(text=" ", command="/frag")))
    told = json.loads(taken.body)
    assert (taken.events, told["response_type"]) == ((), "ephemeral")
    assert told["text"] == WORDS.usage.replace("{command}", "/frag")


def test_a_command_from_a_whole_organisation_is_of_its_installation() -> None:
    [wide] = channel().take(form(command(is_enterprise_install="true", enterprise_id="E1"))).events
    assert wide.conversation == f"E1+{TEAM}/{ROOM}/ask/{ANN}"


@pytest.mark.parametrize(
    "url", ["", "http://hooks.slack.com/x", "https://", "file:///etc/passwd", "http://[", "http://localhost.evil.com/"]
)
def test_where_we_shall_answer_must_be_safe_to_call(url: str) -> None:
    with pytest.raises(Rejected, match="400 the response_url"):
        channel().take(form(command(response_url=url)))
    assert channel().take(form(command(response_url="http://127.0.0.1:8/answer"))).events


def test_a_command_of_nobody_is_refused() -> None:
    for field in ("team_id", "channel_id", "user_id"):
        with pytest.raises(Rejected, match="400"):
            channel().take(form(command(**{field: ""})))


# Shortcuts.


@pytest.mark.parametrize("callback", ["stop_answer", "abort_openai_api"])
@pytest.mark.parametrize(
    ("answer", "options", "address"),
    [
        (ANSWER, {}, ADDRESS),
        (posted("top"), {}, f"{TEAM}/{ROOM}/{TS}"),
        (posted("top", channel=DIRECT), {"dm": "chat"}, f"{TEAM}/{DIRECT}"),
        (posted("reply", channel=DIRECT, thread_ts=ROOT), {"dm": "chat"}, f"{TEAM}/{DIRECT}/{ROOT}"),
    ],
)
def test_to_stop_an_answer_from_its_menu_asks_first(
    callback: str, answer: dict[str, Any], options: dict[str, Any], address: str
) -> None:
    taken = after(shortcut(callback, answer), ME, **options)
    assert taken == Taken(aside=Dialog(TEAM, "111.222.abc", address, TS))


def test_to_delete_an_answer_from_its_menu_is_asked_for_by_somebody() -> None:
    [erase] = after(shortcut("delete_answer", ANSWER), ME).events
    assert erase == Inbound("action/111.222.abc", ADDRESS, "erase", sender=ANN, ref=TS, at=NOW)


@pytest.mark.parametrize("callback", ["stop_answer", "delete_answer"])
def test_what_is_not_our_answer_is_left_alone(callback: str) -> None:
    for other in (message("mine", thread_ts=ROOT), message("beep", user="U9", bot_id="B9", thread_ts=ROOT)):
        hint = Hint(TEAM, ROOM, ANN, WORDS.not_mine, ROOT)
        assert after(shortcut(callback, other), ME) == Taken(aside=hint)
        assert after(shortcut(callback, other, api_app_id=APP)) == Taken(aside=hint)


def test_an_answer_is_known_by_its_app_or_by_its_author() -> None:
    by_app, by_author = posted("x", user="U9"), posted("x", app_id=None, bot_profile=None)
    assert after(shortcut("delete_answer", by_app, api_app_id=APP)).events
    assert after(shortcut("delete_answer", by_author), ME).events
    # A shortcut does not name the app: until we have asked who we are, any bot's message may be ours.
    assert after(shortcut("delete_answer", by_author)).events
    assert after(shortcut("delete_answer", message("x"))).aside is not None


# Buttons and dialogs.


@pytest.mark.parametrize(
    ("answer", "options", "address"),
    [
        (ANSWER, {}, ADDRESS),
        (posted("top"), {}, f"{TEAM}/{ROOM}/{TS}"),
        (posted("top", channel=DIRECT), {"dm": "chat"}, f"{TEAM}/{DIRECT}"),
    ],
)
def test_the_stop_button_stops_the_message_it_is_under(
    answer: dict[str, Any], options: dict[str, Any], address: str
) -> None:
    [stop] = after(tap(STOP, answer), **options).events
    assert stop == Inbound("action/111.222.abc", address, "stop", sender=ANN, ref=TS, at=NOW)


def test_the_yes_of_the_dialog_stops_the_message_it_was_opened_for() -> None:
    taken = after(submitted("stop_answer", json.dumps({"address": ADDRESS, "ts": TS})))
    assert taken == Taken((Inbound("view/V0001", ADDRESS, "stop", sender=ANN, ref=TS, at=NOW),))


@pytest.mark.parametrize("address", ["T9/C1/1.1", "T9", "", f"{TEAM}9/C1", f"E1+{TEAM}/C1"])
def test_a_dialog_reaches_into_no_other_workspace(address: str) -> None:
    with pytest.raises(Rejected, match="400 the dialog is about another workspace"):
        after(submitted("stop_answer", json.dumps({"address": address, "ts": TS})))


def test_in_an_organisation_a_dialog_may_be_answered_from_another_workspace() -> None:
    meant = json.dumps({"address": f"E1+T9/{ROOM}/{ROOT}", "ts": TS})
    wide = submitted("stop_answer", meant, enterprise={"id": "E1"}, is_enterprise_install=True)
    assert after(wide).events[0].conversation == f"E1+T9/{ROOM}/{ROOT}"


@pytest.mark.parametrize("metadata", ["", "{", "[]", "{}", '{"address":5}', json.dumps({"address": ADDRESS, "ts": ""})])
def test_a_dialog_that_does_not_say_what_it_is_about_is_refused(metadata: str) -> None:
    with pytest.raises(Rejected, match="400"):
        after(submitted("stop_answer", metadata))


@pytest.mark.parametrize(
    "payload",
    [
        shortcut("ask_message", ANSWER),
        tap("another", ANSWER),
        tap(STOP, ANSWER, channel=None, container=None, message=None),
        submitted("another", "not ours"),
        {"type": "shortcut", "callback_id": "stop_answer", "user": 5},
        {"type": "view_closed", "view": []},
        {"type": "block_suggestion"},
        shortcut("stop_answer", ANSWER, team=None, user={"id": ANN}),
    ],
)
def test_what_we_did_not_offer_is_passed_over(payload: dict[str, Any]) -> None:
    assert after(payload, ME) == Taken()


# Anything at all.


@given(
    st.sampled_from(["message_action", "block_actions", "view_submission"]),
    st.sampled_from(["stop_answer", "delete_answer", None]),
    st.dictionaries(
        st.sampled_from([*shortcut("", ANSWER), "container", "actions", "view", "api_app_id"]),
        JsonValue | st.sampled_from([inner(ANSWER), {"id": "x"}, [{"value": STOP}], {"callback_id": "stop_answer"}]),
    ),
)
def test_no_click_whatever_its_fields_makes_take_raise_anything_else(
    kind: str, callback: str | None, fields: dict[str, Any]
) -> None:
    payload = shortcut("", ANSWER) | tap(STOP, ANSWER) | {"callback_id": callback} | fields | {"type": kind}
    contract.take_raises_only_rejected(channel(), clicked(payload))


@given(st.dictionaries(st.sampled_from([*command(), "payload", "enterprise_id"]), st.text(max_size=20)))
def test_no_form_whatever_its_fields_makes_take_raise_anything_else(fields: dict[str, str]) -> None:
    contract.take_raises_only_rejected(channel(), form(command() | fields))


def test_commands_and_clicks_are_read_the_same_way_twice() -> None:
    for trigger in ("111.222.abc", ""):
        contract.take_is_pure(channel(), form(command(trigger_id=trigger)))
        for payload in (shortcut("delete_answer", ANSWER), tap(STOP, ANSWER)):
            contract.take_is_pure(channel(), clicked(payload | {"trigger_id": trigger}))
    view = {"callback_id": "stop_answer", "private_metadata": json.dumps({"address": ADDRESS, "ts": TS})}
    contract.take_is_pure(channel(), clicked(submitted("", "", view=view)))


def test_by_socket_mode_the_same_things_come_without_a_signature() -> None:
    def read(kind: slack_hooks.Kind, payload: Any) -> Taken:
        return slack_hooks.read(kind, json.dumps(payload).encode(), Rules(), WORDS, ME, at=NOW)

    assert read("slash_commands", command()) == channel().take(form(command()))
    assert read("interactive", tap(STOP, ANSWER)) == after(tap(STOP, ANSWER))
    with pytest.raises(Rejected, match="400"):
        read("events_api", [direct("hi")])
