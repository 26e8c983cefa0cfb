"""An answer that grows where messages can be changed, when the platform fails or this process dies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatferry.errors import Ambiguous, Final, Gone, TryLater
from tests.growing import SHORT, WORDS, World, about, asks, rewords, world

LONG = "This is the first try, and it is long."


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as one:
        yield one


@pytest.fixture
async def short(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, caps=SHORT) as one:
        yield one


async def grown(one: World, words: str, *shown: str) -> None:
    """A process that dies while an answer grows."""
    async with one.process() as process:
        await process.accept(asks("e1"))
        (await one.asked()).says(words)
        await one.shows(*shown or [words])


# ── the platform fails ───────────────────────────────────────────────────────────────────────────────────────────


async def test_what_cannot_begin_now_begins_later(talk: World) -> None:
    talk.board.fails("begin", TryLater("busy", after=7.0), TryLater("busy"))
    before = talk.clock.now()
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        await talk.shows(WORDS.answering)
        model.ends("Here.")
        [turn] = await talk.ended(process)
    assert talk.calls("begin")[1].at >= before + 7.0
    assert (turn.state, turn.attempts) == ("done", 1)
    assert talk.screen == ["Here."]


async def test_what_never_began_is_sent(talk: World) -> None:
    talk.board.fails("begin", *[TryLater("busy")] * 99)
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        await talk.until(lambda: len(talk.calls("begin")) == 2)
        model.ends("Here.")
        await talk.ended(process)
    assert talk.screen == ["Here."]
    assert len(talk.calls("send")) == 1


@pytest.mark.parametrize("got_through", [True, False])
async def test_a_message_that_may_have_begun_is_looked_for_before_anything_else_is_sent(
    talk: World, got_through: bool
) -> None:
    talk.board.fails("begin", Ambiguous("broken connection"), after=got_through)
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        await talk.until(lambda: talk.calls("begin"))
        model.ends("Here.")
        await talk.ended(process)
    assert talk.screen == ["Here."]
    assert len(talk.calls("begin") + talk.calls("send")) == (1 if got_through else 2)


@pytest.mark.parametrize(("fault", "state"), [(Gone("left"), "gone"), (Final("not_in_channel"), "failed")])
async def test_where_nothing_can_be_sent_the_model_is_not_asked_on(talk: World, fault: Final, state: str) -> None:
    talk.board.fails("begin", fault)
    talk.board.waits = 3600.0  # for its first words
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        model.says("He")
        [turn] = await talk.ended(process)
        assert (turn.state, turn.error) == (state, str(fault))
        assert model.closed.is_set()
        assert talk.screen == []
        assert await process.ledger.reopen(turn.id)
        (await talk.asked()).ends("Here.")
        await talk.ended(process)
    assert talk.screen == ["Here."]


async def test_an_edit_that_fails_for_now_is_made_later(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        await talk.shows(WORDS.answering)
        talk.board.fails("edit", TryLater("busy", after=9.0))
        before = talk.clock.now()
        model.says("He")
        await talk.shows("He")
        assert talk.clock.now() >= before + 9.0
        talk.board.fails("edit", TryLater("busy"), TryLater("busy"))
        model.ends("re.")
        [turn] = await talk.ended(process)
    assert (turn.state, turn.attempts, turn.error) == ("done", 3, "")
    assert talk.screen == ["Here."]
    assert len(talk.engine.talks) == 1


@pytest.mark.parametrize("removable", [True, False])
async def test_an_answer_whose_message_cannot_be_edited_any_more_is_sent(talk: World, removable: bool) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        model.says("He")
        await talk.shows("He")
        talk.board.posts["p1"].growing = False
        talk.board.fails("edit", Final("edit_window_closed"))
        if not removable:
            talk.board.fails("remove", Final("cant_delete_message"))
        model.ends("re.")
        [turn] = await talk.ended(process)
    assert turn.state == "done"
    assert talk.screen == (["Here."] if removable else ["He", "Here."])
    assert len(talk.calls("send")) == 1


async def test_an_answer_of_which_one_message_cannot_be_edited_any_more_keeps_its_order(short: World) -> None:
    await grown(short, f"{LONG} It goes on.", LONG, "It goes on.")
    short.board.waits = None  # nothing is edited before the end
    short.board.fails("edit", Final("edit_window_closed"))
    async with short.process() as process:
        (await short.asked()).ends("This is the second try, and it is long. It goes on.")
        [turn] = await short.ended(process)
    assert turn.state == "done"
    assert short.screen == ["This is the second try, and it is long.", "It goes on."]


async def test_a_message_that_is_removed_when_the_answer_is_whole_is_not_sent_again(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        model.says("Here")
        await talk.shows("Here")
        talk.board.room = False
        del talk.board.posts["p1"]
        model.ends(" it is.")
        [turn] = await talk.ended(process)
        assert (turn.state, turn.error) == ("done", "the message is not there any more")
        assert talk.screen == []
        assert await talk.said(process) == ["hi", "Here it is."]


async def test_somebody_who_leaves_while_the_answer_grows_is_gone(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        await talk.shows(WORDS.answering)
        talk.board.posts.clear()
        talk.board.fails("edit", Gone("left"))
        model.says("Here")
        [turn] = await talk.ended(process)
    assert turn.state == "gone"
    assert model.closed.is_set()


# ── this process dies ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("got_through", [False, True])
async def test_after_a_crash_while_it_began_there_is_one_message(talk: World, got_through: bool) -> None:
    talk.board.hangs("begin", after=got_through)
    async with talk.process() as process:
        await process.accept(asks("e1"))
        await talk.until(talk.board.hanging.is_set)
        await talk.asked()
    assert len(talk.screen) == got_through
    async with talk.process() as process:
        model = await talk.asked()
        await talk.shows(WORDS.answering)
        model.ends("Here.")
        await talk.ended(process)
    assert talk.screen == ["Here."]
    assert len(talk.calls("find")) == 1


async def test_after_a_crash_nothing_is_shown_until_it_is_known_what_began(talk: World) -> None:
    talk.board.hangs("begin", after=True)
    async with talk.process() as process:
        await process.accept(asks("e1"))
        await talk.until(talk.board.hanging.is_set)
        await talk.asked()
    talk.board.fails("find", TryLater("busy"), TryLater("busy"))
    async with talk.process() as process:
        (await talk.asked()).ends("Here.")
        await talk.ended(process)
    assert talk.screen == ["Here."]
    assert len(talk.calls("begin")) == 1
    assert not talk.calls("send")


async def test_after_a_crash_the_same_message_grows_on_with_the_new_answer(talk: World) -> None:
    await grown(talk, "The first try")
    async with talk.process() as process:
        model = await talk.asked()
        model.says("The second")
        await talk.shows("The second")
        model.ends(" try.")
        await talk.ended(process)
        assert await talk.said(process) == ["hi", "The second try."]
    assert talk.screen == ["The second try."]
    assert len(talk.calls("begin")) == 1


async def test_a_message_that_the_second_answer_does_not_need_is_removed(short: World) -> None:
    await grown(
        short,
        "This is the first try, and it is long. It goes on.",
        "This is the first try, and it is long.",
        "It goes on.",
    )
    async with short.process() as process:
        (await short.asked()).ends("Short.")
        await short.ended(process)
    assert short.screen == ["Short."]


async def test_after_a_crash_the_second_answer_may_be_longer(short: World) -> None:
    await grown(short, "Short.")
    async with short.process() as process:
        (await short.asked()).ends("This is the second try, and it is long. It goes on.")
        await short.ended(process)
    assert short.screen == ["This is the second try, and it is long.", "It goes on."]


@pytest.mark.parametrize("carried_out", [False, True])
async def test_after_a_crash_at_the_last_edit_the_stored_answer_is_shown(talk: World, carried_out: bool) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        model.says("He")
        await talk.shows("He")
        talk.board.hangs("edit", after=carried_out)
        model.ends("re.")
        await talk.until(talk.board.hanging.is_set)
    async with talk.process() as process:
        await talk.ended(process)
        assert await talk.said(process) == ["hi", "Here."]
    assert talk.screen == ["Here."]
    assert len(talk.engine.talks) == 1


@pytest.mark.parametrize("carried_out", [False, True])
async def test_after_a_crash_while_what_is_not_needed_is_removed_it_is_removed(short: World, carried_out: bool) -> None:
    await grown(
        short,
        "This is the first try, and it is long. It goes on.",
        "This is the first try, and it is long.",
        "It goes on.",
    )
    short.board.hangs("remove", after=carried_out)
    async with short.process() as process:
        (await short.asked()).ends("Short.")
        await short.until(short.board.hanging.is_set)
    async with short.process() as process:
        await short.ended(process)
    assert short.screen == ["Short."]


async def test_after_a_crash_a_stopped_answer_is_not_made_anew(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        (await talk.asked()).says("Here")
        await talk.shows("Here")
        # Nobody is told, as if the process had died that moment.
        await process.ledger.accept("board", [about("stop")])
    async with talk.process() as process:
        [turn] = await talk.ended(process)
    assert (turn.state, turn.finish) == ("done", "stopped")
    assert talk.screen[0].endswith(WORDS.stopped)
    assert len(talk.engine.talks) == 1


async def test_a_question_that_is_taken_back_before_we_know_whether_its_answer_began_leaves_nothing(
    talk: World,
) -> None:
    talk.board.hangs("begin", after=True)
    async with talk.process() as process:
        await process.accept(asks("e1"))
        await talk.until(talk.board.hanging.is_set)
        await process.accept(about("retract", "m-e1"))
    assert talk.screen == [WORDS.answering]
    async with talk.process() as process:
        [turn] = await talk.ended(process)
    assert turn.state == "withdrawn"
    assert talk.screen == []


async def test_a_question_that_is_taken_back_while_its_answer_is_being_finished_takes_it_along(short: World) -> None:
    async with short.process() as process:
        await process.accept(asks("e1"))
        model = await short.asked()
        model.says("Here it is, ")
        await short.shows("Here it is, ")
        short.board.fails("edit", *[TryLater("busy")] * 3)
        model.ends("and it takes two messages to say it all.")
        await short.until(lambda: len(short.calls("edit")) == 1)
        await process.accept(about("retract", "m-e1"))
        [turn] = await short.ended(process)
        assert turn.state == "withdrawn"
        assert short.screen == []
        assert await short.said(process) == []


async def test_a_question_that_is_changed_while_it_is_not_known_whether_its_answer_began_has_one_answer(
    talk: World,
) -> None:
    talk.board.hangs("begin", after=True)
    async with talk.process() as process:
        await process.accept(asks("e1", "How old is Rom?"))
        await talk.until(talk.board.hanging.is_set)
    async with talk.process() as process:
        await process.accept(rewords("e1", "How old is Rome?"))
        await talk.until(
            lambda: talk.engine.talks and talk.engine.talks[-1].prompt.messages[-1].text == "How old is Rome?"
        )
        talk.engine.talks[-1].ends("Old.")
        await talk.ended(process)
    assert talk.screen == ["Old."]
    assert len(talk.calls("begin")) == 1
