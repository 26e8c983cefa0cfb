"""Answers that somebody removed, stopped or cannot remove: nothing comes back, and nothing that was said is lost."""

from __future__ import annotations

from pathlib import Path

from chatferry.errors import Final, TryLater
from tests.growing import SHORT, WORDS, about, asks, world


async def test_who_removed_a_growing_answer_does_not_get_the_rest_of_it(tmp_path: Path) -> None:
    async with world(tmp_path, caps=SHORT) as one, one.process() as process:
        await process.accept(asks("e1"))
        model = await one.asked()
        model.says("This is")
        await one.shows("This is")
        del one.board.posts["p1"]
        model.says(" not wanted, by nobody at all, and it is long enough for two.")
        await one.ended(process)
        assert one.screen == []


async def test_a_message_too_many_that_cannot_be_removed_does_not_fail_the_answer(tmp_path: Path) -> None:
    async with world(tmp_path, caps=SHORT) as one, one.process() as process:
        await process.accept(asks("e1"))
        model = await one.asked()
        model.says("This is the first try, and it is long. It goes on.")
        await one.until(lambda: len(one.screen) == 2)
        model.restarts()
        one.board.posts["p2"].growing = False  # for all that we can do
        one.board.fails("remove", Final("cant_delete_message"))
        model.ends("Short.")
        [turn] = await one.ended(process)
        assert one.screen[0] == "Short."
        assert (turn.state, turn.error) == ("done", "cant_delete_message")


async def test_what_was_shown_stays_said_where_the_stop_outlives_the_process(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        async with one.process() as process:
            await process.accept(asks("e1"))
            (await one.asked()).says("Here")
            await one.shows("Here")
            await process.ledger.accept("board", [about("stop")])
        async with one.process() as process:
            [turn] = await one.ended(process)
        assert one.screen == [f"Here…{WORDS.stopped}"]
        assert turn.answer is not None
        assert turn.answer.text == "Here"


async def test_an_answer_that_waits_to_be_sent_and_is_deleted_stays_away(tmp_path: Path) -> None:
    async with world(tmp_path) as one, one.process() as process:
        await process.accept(asks("e1"))
        model = await one.asked()
        model.says("Here")
        await one.shows("Here")
        one.board.posts["p1"].growing = False  # for now
        one.board.fails("edit", TryLater("busy", after=4000.0))
        model.ends(" it is")
        [turn] = await one.ended(process)
        assert turn.state == "parked"
        await process.accept(about("erase", "p1"))
        await one.ended(process, 2)
        assert one.screen == []


async def test_who_removes_an_answer_that_waits_to_be_sent_gets_the_next_one_whole(tmp_path: Path) -> None:
    async with world(tmp_path, caps=SHORT) as one, one.process() as process:
        await process.accept(asks("e1"))
        model = await one.asked()
        model.says("Here")
        await one.shows("Here")
        one.board.posts["p1"].growing = False  # for now
        one.board.fails("edit", TryLater("busy", after=4000.0))
        model.ends(" it is, and it is long enough for two of them.")
        [turn] = await one.ended(process)
        assert turn.state == "parked"
        del one.board.posts["p1"]
        await process.accept(asks("e2"))
        model = await one.asked()
        await one.shows(WORDS.answering)
        model.ends("This is the next one, and it is long. It goes on.")
        first, second = await one.ended(process, 2)
        assert one.screen == ["This is the next one, and it is long.", "It goes on."]
        assert (first.state, second.state, second.error) == ("done", "done", "")
