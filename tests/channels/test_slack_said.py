"""Of what is said on Slack, what is said to us, and what comes of second thoughts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from chatferry.model import File, Inbound, Message, Text
from tests.channels.slack_payloads import (
    ANN,
    APP,
    BOB,
    BOT,
    DIRECT,
    ROOM,
    ROOT,
    TEAM,
    TS,
    about,
    changed,
    channel,
    deleted,
    delivered,
    direct,
    envelope,
    mention,
    message,
    posted,
    taken,
)
from tests.contracts import channel as contract

ME = f"<@{BOT}>"


# Who is asked.


def test_a_direct_message_brings_everything_that_is_needed_to_answer() -> None:
    assert taken(direct("hello")) == [
        Inbound(
            event=f"{TEAM}/{DIRECT}/{TS}",
            conversation=f"{TEAM}/{DIRECT}/{TS}",
            message=Message("user", (Text("hello"),)),
            sender=ANN,
            ref=TS,
            at=1_700_000_050.0002,
        )
    ]


@dataclass
class Case:
    event: dict[str, Any]
    kinds: tuple[str, ...] = ()
    place: str = ""
    options: dict[str, Any] | None = None


@pytest.mark.parametrize(
    "case",
    [
        Case(direct("hi", thread_ts=ROOT), ("message",), f"{TEAM}/{DIRECT}/{ROOT}"),
        Case(direct("hi"), ("message",), f"{TEAM}/{DIRECT}", {"dm": "chat"}),
        Case(direct("hi", thread_ts=ROOT), ("message",), f"{TEAM}/{DIRECT}/{ROOT}", {"dm": "chat"}),
        Case(message("hi")),
        Case(message("hi"), options={"threads": "all"}),
        Case(message(f"hi {ME}"), ("message",), f"{TEAM}/{ROOM}/{TS}"),
        Case(message(f"<@{BOT}|ferry> hi"), ("message",), f"{TEAM}/{ROOM}/{TS}"),
        Case(message(f"hi <@{BOB}>")),
        Case(mention(f"{ME} hi"), ("message",), f"{TEAM}/{ROOM}/{TS}"),
        Case(mention(f"{ME} hi", thread_ts=ROOT), ("message",), f"{TEAM}/{ROOM}/{ROOT}"),
        Case(message("hi", channel="G0001", channel_type="mpim")),
        Case(message(f"{ME} hi", channel="G0001", channel_type="mpim"), ("message",), f"{TEAM}/G0001/{TS}"),
        Case(message("hi", thread_ts=ROOT), ("heard",), f"{TEAM}/{ROOM}/{ROOT}"),
        Case(message("hi", thread_ts=ROOT), ("message",), f"{TEAM}/{ROOM}/{ROOT}", {"threads": "all"}),
        Case(message("", thread_ts=ROOT), options={"threads": "all"}),
        Case(message(f"{ME} hi", subtype="thread_broadcast", thread_ts=ROOT), ("message",), f"{TEAM}/{ROOM}/{ROOT}"),
        Case(direct("waves", subtype="me_message"), ("message",), f"{TEAM}/{DIRECT}/{TS}"),
        Case(mention(ME), ("greeting",), f"{TEAM}/{ROOM}/{TS}"),
        Case(mention(ME, thread_ts=ROOT), ("message",), f"{TEAM}/{ROOM}/{ROOT}"),
    ],
)
def test_of_what_is_said_we_take_what_is_said_to_us(case: Case) -> None:
    heard = taken(case.event, **(case.options or {}))
    assert tuple(inbound.kind for inbound in heard) == case.kinds
    assert [inbound.conversation for inbound in heard] == [case.place] * len(heard)


def test_what_is_said_to_others_counts_only_where_we_take_part() -> None:
    for threads in ("mention", "all"):
        [other] = taken(message("hi", thread_ts=ROOT), threads=threads)
        [ours] = taken(message(f"{ME} hi", thread_ts=ROOT), threads=threads)
        assert (other.joined, ours.joined, other.earlier, ours.earlier) == (True, False, True, True)


def test_only_a_reply_has_something_before_it() -> None:
    events = (mention(f"{ME} hi"), direct("hi"), direct("hi", thread_ts=TS), direct("hi", thread_ts=ROOT))
    assert [taken(event)[0].earlier for event in events] == [False, False, False, True]


def test_a_mention_without_words_means_the_thread_or_is_a_greeting() -> None:
    [thread], [alone] = taken(mention(ME, thread_ts=ROOT)), taken(mention(f" {ME} "))
    assert thread.message == Message("user", (Text(""),), author=ANN)
    assert (alone.message, alone.event) == (None, f"{TEAM}/{ROOM}/{TS}")


def test_one_message_told_twice_is_one_event() -> None:
    first, second = envelope(message(f"{ME} hi")), envelope(mention(f"{ME} hi"), event_id="Ev0002")
    assert channel().take(delivered(first)) == channel().take(delivered(second))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{ME} what is  this?", "what is  this?"),
        (f"what is {ME} this?", "what is this?"),
        (f"tell me, {ME}!", "tell me,!"),
        (f"tell me\n{ME} more", "tell me\nmore"),
        (f"{ME}{ME} hi <@{BOB}> &amp; <https://a.b|c>", f"hi <@{BOB}> &amp; <https://a.b|c>"),
        (f"<@{BOT}X> {ME}", f"<@{BOT}X>"),
    ],
)
def test_the_mention_of_us_goes_and_everything_else_stays(text: str, left: str) -> None:
    [inbound] = taken(mention(text))
    assert inbound.message is not None
    assert inbound.message.text == left


def test_who_does_not_know_its_own_name_leaves_mentions_to_slack() -> None:
    nameless = {"authorizations": [{"team_id": TEAM, "user_id": ANN, "is_bot": False}]}

    def kinds(event: dict[str, Any], me: dict[str, str] | None = None) -> list[str]:
        return [one.kind for one in channel(me).take(delivered(envelope(event, **nameless))).events]

    called = message(f"{ME} hi", thread_ts=ROOT)
    assert kinds(called) == []
    assert kinds(called, {TEAM: BOT}) == ["message"]
    assert kinds(message("hi", thread_ts=ROOT)) == ["heard"]
    assert kinds(mention(f"{ME} hi")) == ["message"]


@pytest.mark.parametrize(
    "event",
    [
        posted("an answer", channel=DIRECT, channel_type="im"),
        direct("an answer", user=BOT),
        direct("an answer", app_id=APP),
        direct("an answer", bot_id="B1", bot_profile={"app_id": APP}),
        mention(f"{ME} I am", user=BOT),
    ],
)
def test_we_never_answer_ourselves(event: dict[str, Any]) -> None:
    assert taken(event) == taken(event, bots=True) == []


def test_other_bots_are_answered_only_where_it_is_asked_for() -> None:
    events = (
        direct("beep", bot_id="B9", app_id="A9", user="U9"),
        direct("beep", subtype="bot_message", bot_id="B9", user=None),
    )
    assert [taken(event) for event in events] == [[], []]
    assert [taken(event, bots=True)[0].sender for event in events] == ["U9", "B9"]
    assert taken(direct("You were mentioned", user="USLACKBOT")) == []


def test_a_room_has_its_own_assistant() -> None:
    rooms = {ROOM: {"assistant": "translator"}}
    [room] = taken(mention(f"{ME} hi"), rooms=rooms)
    [elsewhere] = taken(direct("hi"), rooms=rooms)
    assert (room.assistant, elsewhere.assistant) == ("translator", "")


def test_files_stay_with_slack_and_foreign_addresses_are_not_kept() -> None:
    url = "https://files.slack.com/files-pri/T0001-F1"
    files = [
        {"name": "a.png", "mimetype": "image/png", "size": 9, "url_private_download": f"{url}/download/a.png"},
        {"name": "b.pdf", "mimetype": "application/pdf", "mode": "hosted", "url_private": f"{url}/b.pdf"},
        {"name": "c.m4a", "mimetype": "audio/mp4", "is_external": True, "url_private": "https://10.0.0.1/c.m4a"},
        {"id": "F4", "mode": "tombstone"},
    ]
    [inbound] = taken(mention(ME, subtype="file_share", files=files))
    assert inbound.kind == "message"
    assert inbound.message is not None
    assert inbound.message.parts == (
        File("image", f"{TEAM} {url}/download/a.png", "a.png", "image/png", 9),
        File("file", f"{TEAM} {url}/b.pdf", "b.pdf", "application/pdf"),
        File("audio", "", "c.m4a", "audio/mp4"),
    )


def test_the_account_is_the_installation() -> None:
    ours = {"enterprise_id": "E1", "team_id": "T2", "user_id": BOT, "is_bot": True, "is_enterprise_install": False}

    def account(**more: Any) -> str:
        [inbound] = channel().take(delivered(envelope(direct("hi"), authorizations=[ours | more]))).events
        return inbound.conversation.split("/")[0]

    assert account() == "T2"
    assert account(is_enterprise_install=True) == "E1+T2"
    assert account(is_enterprise_install=True, team_id=None) == f"E1+{TEAM}"
    [wide] = channel().take(
        delivered(envelope(direct("hi"), authorizations=[ours | {"is_enterprise_install": True}]))
    ).events  # fmt: skip
    assert wide.event == f"T2/{DIRECT}/{TS}"


# Second thoughts.


def test_who_edits_a_question_changes_it() -> None:
    [change] = taken(changed(message(f"{ME} hi", thread_ts=ROOT), text=f"{ME} hello"))
    assert (change.kind, change.ref, change.event) == ("change", TS, "Ev0001")
    assert change.conversation == f"{TEAM}/{ROOM}/{ROOT}"
    assert change.message == Message("user", (Text("hello"),), author=ANN)


@pytest.mark.parametrize(
    "event",
    [
        changed(direct("see https://a.b"), attachments=[{"from_url": "https://a.b"}]),
        changed(posted("Writing…"), text="Writing… it"),
        changed(direct("beep", bot_id="B9"), text="boop"),
        changed(direct("hi"), text="a title", subtype="assistant_app_thread"),
        about("message_changed", message("hi")),
        about("message_deleted", message("hi"), deleted_ts=TS),
    ],
)
def test_changes_that_nobody_meant_are_passed_over(event: dict[str, Any]) -> None:
    assert taken(event) == []


def test_who_deletes_a_question_takes_it_back() -> None:
    question = message(f"{ME} hi")
    stone = {"subtype": "tombstone", "text": "This message was deleted.", "user": "USLACKBOT", "thread_ts": TS}
    answered = changed(question | {"thread_ts": TS}, **stone)
    for event in (deleted(question), answered):
        [retract] = taken(event)
        assert (retract.kind, retract.ref, retract.sender) == ("retract", TS, ANN)
        assert retract.conversation == f"{TEAM}/{ROOM}/{TS}"


def test_who_deletes_an_answer_stops_it() -> None:
    [stop] = taken(deleted(posted("Writing…", thread_ts=ROOT)))
    assert (stop.kind, stop.ref, stop.conversation) == ("stop", TS, f"{TEAM}/{ROOM}/{ROOT}")


def test_in_a_chat_without_threads_second_thoughts_are_about_the_chat() -> None:
    events = (deleted(direct("hi")), changed(direct("hi"), text="ho"), deleted(direct("hi", thread_ts=TS)))
    assert {taken(event, dm="chat")[0].conversation for event in events} == {f"{TEAM}/{DIRECT}"}


def test_slacks_own_stop_button_ends_the_thread() -> None:
    stopped = {"type": "agent_session_stopped", "channel": DIRECT, "thread_ts": ROOT, "user": ANN}
    [stop] = taken(stopped | {"streaming_message_ts": [TS], "event_ts": "1700000099.000100"})
    assert (stop.kind, stop.ref, stop.conversation, stop.sender) == ("stop", "", f"{TEAM}/{DIRECT}/{ROOT}", ANN)


def test_whoever_opens_a_talk_with_us_is_greeted_once() -> None:
    thread = {"user_id": ANN, "context": {}, "channel_id": DIRECT, "thread_ts": ROOT}
    [greeting] = taken({"type": "assistant_thread_started", "assistant_thread": thread, "event_ts": TS})
    assert (greeting.kind, greeting.sender) == ("greeting", ANN)
    assert greeting.conversation == f"{TEAM}/{DIRECT}/{ROOT}"
    assert greeting.event == f"{TEAM}/{DIRECT}/{ROOT}/greeting"


def test_an_event_without_id_has_the_same_one_when_it_comes_again() -> None:
    for event in (deleted(message("hi")), changed(message("hi"), text="ho")):
        contract.take_is_pure(channel(), delivered(envelope(event, event_id=None)))
