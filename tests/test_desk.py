"""What is for us and not for the model, and what is said to it: without a ledger or a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from chatferry.assistant import Assistant, Staff
from chatferry.channels.base import Capabilities
from chatferry.commands import Commands
from chatferry.config import AssistantSettings, CommandSettings, ReplySettings, SessionSettings
from chatferry.desk import Desk
from chatferry.errors import Final
from chatferry.ledger.database import open_database
from chatferry.ledger.recalling import Recalling
from chatferry.ledger.sessions import Gate
from chatferry.links import Links
from chatferry.model import File, Inbound, Kind, Message, Text, Turn, says
from chatferry.replies import Replies
from chatferry.testing import Board, LiveEngine, ManualClock
from chatferry.words import words
from tests.growing import world

EN, ZH = words("en"), words("zh-TW")
IMAGE = File("image", "ref")


def asks(text: str, *, kind: Kind = "message") -> Inbound:
    return Inbound(f"e {text}", "room", kind, says("user", text), sender="ann", ref="m1")


def assistant(name: str, session: SessionSettings | None = None) -> Assistant:
    settings = AssistantSettings(language="zh-TW" if name == "other" else "en", session=session)
    return Assistant(name, settings, LiveEngine(), settings.words)


def unread(clock: ManualClock) -> Recalling:
    """A ledger that nobody looks into here."""
    return Recalling(open_database("sqlite://"), clock)


class Scene:
    """A desk for one channel, whose assistant has these sessions."""

    def __init__(
        self,
        session: SessionSettings | None = None,
        replies: Sequence[ReplySettings] = (),
        *,
        batch: int = 1,
        base: str | None = "https://bot.example",
    ) -> None:
        clock = ManualClock()
        self.board = Board(clock, caps=Capabilities(batch=batch))
        self.home = assistant("home", session)
        self.staff = Staff({"home": self.home, "other": assistant("other")}, {"board": "home"})
        self.links = Links(b"key", 3600.0, base)
        self.desk = Desk(Commands(CommandSettings()), Replies(replies), self.staff, self.links, clock, unread(clock))

    def receive(self, event: Inbound) -> tuple[Inbound, Gate | None]:
        return self.desk.receive(self.board, event)

    def outside(self, event: Inbound) -> Inbound | None:
        gate = self.receive(event)[1]
        assert gate is not None
        return gate.outside

    async def answer(self, inbound: Inbound, finish: str = "") -> str:
        return await self.desk.answer(Turn(7, 1, "board", inbound, 0.0, finish=finish), self.home)

    def notice(self, inbound: Inbound, who: str = "home") -> str:
        return self.desk.notice(Turn(7, 1, "board", inbound, 0.0), self.staff[who])


def replace(event: Inbound, **changes: object) -> Inbound:
    return msgspec.structs.replace(event, **changes)


# ── when it comes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_question_is_left_as_it_is() -> None:
    assert Scene().receive(asks("hi")) == (asks("hi"), None)


@pytest.mark.parametrize(
    ("said", "name"), [("/stop", "stop"), ("/NEW", "clear"), (" /help ", "help"), ("/chatgpt", "start")]
)
def test_a_command_is_for_us(said: str, name: str) -> None:
    received, _ = Scene().receive(asks(said))
    assert received == replace(asks(said), kind="command", command=name)


def test_a_question_behind_the_start_is_asked_without_it() -> None:
    received, gate = Scene(SessionSettings()).receive(asks("/chatgpt Why?"))
    assert received == replace(asks("/chatgpt Why?"), command="start", message=says("user", "Why?"))
    assert gate is not None


@pytest.mark.parametrize(("said", "left"), [("/chatgpt", ()), ("/chatgpt what?", (Text("what?"),))])
def test_so_is_a_picture(said: str, left: tuple[Text, ...]) -> None:
    event = replace(asks(said), message=Message("user", (Text(said), IMAGE), author="ann"))
    received, _ = Scene().receive(event)
    assert (received.kind, received.command) == ("message", "start")
    assert received.message == Message("user", (*left, IMAGE), author="ann")


@pytest.mark.parametrize("kind", ["heard", "greeting", "collect", "push", "erase", "retract", "change", "stop"])
def test_what_is_no_question_is_no_command_either(kind: Kind) -> None:
    event = asks("/stop", kind=kind)
    assert Scene(SessionSettings()).receive(event) == (event, None)


def test_whoever_brings_the_whole_talk_has_neither_sessions_nor_commands() -> None:
    event = replace(asks("/stop"), context=())
    assert Scene(SessionSettings()).receive(event) == (event, None)


def test_a_message_without_words_is_a_question() -> None:
    event = replace(asks(""), message=Message("user", (IMAGE,)))
    assert Scene(replies=[ReplySettings(match=".*", by="regex", reply="x")]).receive(event) == (event, None)


def test_where_no_assistant_is_known_nothing_is_done() -> None:
    clock = ManualClock()
    desk = Desk(Commands(CommandSettings()), Replies(()), Staff({}, {}), Links(b"k", 1.0, None), clock, unread(clock))
    assert desk.receive(Board(ManualClock()), asks("/stop")) == (asks("/stop"), None)


def test_prepared_answers_need_no_session_and_come_behind_commands() -> None:
    rules = [ReplySettings(match="hours", reply="9 to 5"), ReplySettings(match="/help", reply="no"),
             ReplySettings(match="count", python="len:len")]  # fmt: skip
    scene = Scene(SessionSettings(), rules)
    assert scene.receive(asks("Hours")) == (
        replace(asks("Hours"), kind="command", command="reply", reply="9 to 5"), None,
    )  # fmt: skip
    assert scene.receive(asks("count"))[0].command == "python"
    assert scene.receive(asks("/help"))[0].command == "help"


def test_the_gate_says_how_long_silence_may_be_and_whether_there_is_an_outside() -> None:
    for session in (SessionSettings(ttl=60.0), SessionSettings(always=True, ttl=None), SessionSettings(ttl=None)):
        _, gate = Scene(session).receive(asks("hi"))
        assert gate == Gate(session.ttl, session.always, None)


def test_outside_may_be_nothing_a_text_or_another_assistant() -> None:
    event = asks("hi")
    assert Scene(SessionSettings()).outside(event) is None
    assert Scene(SessionSettings(outside="Closed.")).outside(event) == replace(
        event, kind="command", command="reply", reply="Closed."
    )
    other = Scene(SessionSettings(outside="other")).outside(event)
    assert other is not None
    assert (other.kind, other.assistant, other.message) == ("message", "other", event.message)


def test_whoever_waits_for_an_answer_gets_one_outside() -> None:
    outside = Scene(SessionSettings(), batch=0).outside(asks("hi"))
    assert outside is not None
    assert (outside.kind, outside.command) == ("command", "help")


# ── what is said to it ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "result", "said"),
    [
        ("start", "began", EN.session_began),
        ("start", "ongoing", EN.session_ongoing),
        ("start", "open", EN.session_open),
        ("stop", "stopped", EN.answer_stopped),
        ("stop", "nothing", EN.nothing_to_stop),
        ("clear", "began", EN.cleared),
    ],
)
async def test_a_command_is_answered_by_what_came_of_it(name: str, result: str, said: str) -> None:
    assert await Scene().answer(replace(asks("x"), kind="command", command=name), result) == said


async def test_the_history_is_a_link_where_people_can_reach_us() -> None:
    order = replace(asks("/history"), kind="command", command="history")
    scene = Scene()
    [address] = [word for word in (await scene.answer(order)).split() if word.startswith("https://")]
    assert scene.links.read("h", address.rpartition("/")[2], ManualClock().now()) == 7
    assert await Scene(base=None).answer(order) == EN.no_history


async def test_prepared_answers_are_said_and_functions_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "desk_functions.py").write_text(
        "def loud(text, conversation): return f'{text.upper()} in {conversation}'\n"
        "def quiet(text): return None\n"
        "def broken(text): raise ValueError('no')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    scene = Scene()
    order = replace(asks("hi"), kind="command", command="reply", reply="9 to 5")
    assert await scene.answer(order) == "9 to 5"

    def calls(name: str) -> Inbound:
        return replace(order, command="python", reply=f"desk_functions:{name}")

    assert await scene.answer(calls("loud")) == "HI in room"
    assert await scene.answer(calls("quiet")) == ""
    with pytest.raises(Final):
        await scene.answer(calls("broken"))


# ── what stands before an answer after silence ───────────────────────────────────────────────────────────────────


def test_nothing_stands_before_an_answer_where_nothing_ended() -> None:
    assert Scene(SessionSettings(always=True, ttl=300.0)).notice(asks("hi")) == ""


def test_after_a_pause_it_says_that_we_begin_anew() -> None:
    scene = Scene(SessionSettings(always=True, ttl=300.0))
    assert scene.notice(replace(asks("hi"), expired=True)) == EN.session_renewed.replace("{time}", "5 minutes")


@pytest.mark.parametrize("outside", ["Closed.", "other"])
def test_outside_it_says_in_the_words_of_who_was_spoken_to_how_to_begin_again(outside: str) -> None:
    scene = Scene(SessionSettings(outside=outside))
    event = scene.outside(asks("hi"))
    assert event is not None
    ended = EN.session_expired.replace("{time}", "5 minutes").replace("{start}", "/chatgpt")
    who = outside if outside == "other" else "home"
    assert scene.notice(replace(event, expired=True), who) == ended
    assert scene.notice(event, who) == ""


def test_where_sessions_are_gone_from_the_settings_it_says_nothing() -> None:
    assert Scene().notice(replace(asks("hi"), expired=True)) == ""


# ── with all the rest ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_overtakes_the_answer_that_is_made(tmp_path: Path) -> None:
    async with world(tmp_path) as world_, world_.process() as process:
        await process.accept(asks("hi"))
        talk = await world_.asked()
        talk.says("Well, ")
        await process.accept(asks("/help"))
        await world_.reads("/stop")
        talk.ends("hello.")
        await world_.ended(process, 2)
        assert [text[:5] for text in world_.screen] in (["Well,", EN.help[:5]], [EN.help[:5], "Well,"])


async def test_stop_ends_what_is_made_and_what_waits(tmp_path: Path) -> None:
    async with world(tmp_path) as world_, world_.process() as process:
        await process.accept(asks("one"))
        talk = await world_.asked()
        talk.says("Well, I think")
        await world_.reads("Well, I think")
        await process.accept(asks("two"))
        await process.accept(asks("/stop"))
        await world_.ended(process, 3)
        assert talk.closed.is_set()
        assert len(world_.engine.talks) == 1
        assert EN.answer_stopped in world_.screen
        await process.accept(asks("three"))
        (await world_.asked()).ends("Three.")
        await world_.reads("Three.")


async def test_an_answer_that_takes_later_questions_along_leaves_those_that_were_stopped(tmp_path: Path) -> None:
    async with world(tmp_path, busy="merge") as world_, world_.process() as process:
        await process.accept(asks("one"))
        first = await world_.asked()
        await process.accept(asks("two"))
        [stopped] = await process.accept(asks("three"))
        await process.accept(asks("four"))
        assert await process.ledger.halt(stopped.turn)
        first.ends("One.")
        second = await world_.asked()
        assert [message.text for message in second.prompt.messages if message.role == "user"][-1] == "two\n\nfour"
        second.ends("Two and four.")
        await world_.ended(process, 4)


async def test_a_file_beside_a_command_is_not_passed_over_in_silence() -> None:
    scene = Scene(replies=[ReplySettings(match="/map", reply="Here.")])
    for said, told in (("/help", EN.passed_over), ("/map", "Here.")):
        event, _ = scene.receive(replace(asks(said), message=Message("user", (Text(said), IMAGE))))
        assert (await scene.answer(event)).endswith(told)
    assert EN.passed_over not in await scene.answer(scene.receive(asks("/help"))[0])
