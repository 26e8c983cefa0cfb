"""An answer that grows where messages can be changed: what people see of it, from the first word to the last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from math import inf
from pathlib import Path

import pytest

from chatferry.channels.base import STOP, Capabilities, Hook
from chatferry.errors import Final, TryLater
from chatferry.testing import Board, ManualClock
from tests.contracts import channel as contract
from tests.growing import SHORT, WORDS, World, about, asks, rewords, world

STOPPED = f"…{WORDS.stopped}"


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as one:
        yield one


@pytest.fixture
async def short(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, caps=SHORT) as one:
        yield one


async def test_a_board_keeps_the_promises_of_a_channel() -> None:
    board = Board(ManualClock())
    for body in (b"[]", b"{", b"\xff", b'[{"event": 1}]', b'[{"event": "e", "conversation": "c", "new": 1}]'):
        contract.take_raises_only_rejected(board, Hook(body, {}))
    contract.take_is_pure(board, Hook(b'[{"event": "e", "conversation": "c"}]', {}))
    await contract.sends_no_more_than_its_batch(board, "room")
    await contract.gives_a_receipt_for_each_message(board, "room", "key")


# ── how it begins ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_placeholder_is_there_at_once_and_becomes_the_answer(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1", "What is it?"))
        model = await talk.asked()
        await talk.shows(WORDS.answering)
        [post] = talk.board.posts.values()
        assert [button.data for button in post.message.buttons] == [STOP]
        model.says("It is")
        await talk.shows("It is")
        assert [button.data for button in post.message.buttons] == [STOP]
        model.ends(" a ferry.")
        [turn] = await talk.ended(process)
        assert (turn.state, turn.error) == ("done", "")
        assert talk.screen == ["It is a ferry."]
        assert post.message.buttons == ()
        assert await talk.said(process) == ["What is it?", "It is a ferry."]
    assert len(talk.calls("begin")) == 1
    assert not talk.calls("send")


async def test_words_that_come_in_time_need_no_placeholder(talk: World) -> None:
    talk.board.waits = 5.0
    async with talk.process() as process:
        await process.accept(asks("e1"))
        (await talk.asked()).says("Hello")
        await talk.shows("Hello")
    assert [call.text for call in talk.board.calls] == ["Hello"]


async def test_the_placeholder_comes_when_patience_ends(talk: World) -> None:
    talk.board.waits = 5.0
    before = talk.clock.now()
    async with talk.process() as process:
        await process.accept(asks("e1"))
        await talk.asked()
        await talk.shows(WORDS.answering)
    [call] = talk.calls("begin")
    assert call.at >= before + 5.0


@pytest.mark.parametrize("waits", [5.0, inf, None])
async def test_an_answer_that_is_whole_before_patience_ends_is_sent_as_it_is(talk: World, waits: float | None) -> None:
    talk.board.waits = waits
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        model.fails(TryLater("busy")) if waits == inf else model.ends("Whole.")
        await talk.ended(process)
    assert talk.screen == [WORDS.sorry_busy if waits == inf else "Whole."]
    assert not talk.calls("begin") or waits == 5.0


async def test_where_an_answer_cannot_be_shown_before_it_is_whole_it_is_not(talk: World) -> None:
    talk.board.waits = None
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        model.says("Half")
        await talk.passes(10.0)
        assert not talk.board.calls
        model.ends(" and half.")
        await talk.ended(process)
    assert talk.screen == ["Half and half."]


async def test_a_model_that_fails_leaves_one_kind_sentence(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        model.says("Well")
        await talk.shows("Well")
        model.fails(Final("model: 400"))
        [turn] = await talk.ended(process)
    assert (turn.state, turn.error) == ("failed", "model: 400")
    assert talk.screen == [WORDS.sorry_failed]


# ── how it goes on ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_edits_keep_the_pace_of_the_platform(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        for number in range(40):
            model.says(f"{number} ")
            await talk.passes(0.3)
        model.ends("end")
        await talk.ended(process)
    times = [call.at for call in talk.board.calls if call.method == "begin" or not call.last]
    assert len(times) <= 1 + times[-1] - times[0]
    assert len(times) > 9
    assert min(later - earlier for earlier, later in pairwise(times)) >= 1.0
    assert talk.screen == [f"{' '.join(map(str, range(40)))} end"]


async def test_what_there_is_no_room_for_is_shown_later(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        await talk.shows(WORDS.answering)
        talk.board.room = False
        model.says("Patience")
        await talk.until(lambda: len(talk.calls("edit")) == 3)
        assert talk.screen == [WORDS.answering]
        talk.board.room = True
        await talk.shows("Patience")
        talk.board.room = False
        model.ends(" wins.")
        await talk.ended(process)
    assert talk.screen == ["Patience wins."]


async def test_an_answer_that_outgrows_a_message_goes_on_in_the_next(short: World) -> None:
    async with short.process() as process:
        await process.accept(asks("e1"))
        model = await short.asked()
        for word in ("First comes this long sentence.", " Then another one", " of that kind.", " And a third,"):
            model.says(word)
            await short.reads(word.strip())
        first, second, third = short.board.posts.values()
        assert [post.growing for post in (first, second, third)] == [False, False, True]
        assert [len(post.message.buttons) for post in (first, second, third)] == [0, 0, 1]
        model.ends(" the end.")
        await short.ended(process)
    assert short.screen == [
        "First comes this long sentence.",
        "Then another one of that kind.",
        "And a third, the end.",
    ]
    full = [call.post for call in short.calls("edit") if call.last]
    assert sorted(full) == ["p1", "p2", "p3"], "each is made final once"


async def test_several_messages_at_once_are_each_made_final_once(short: World) -> None:
    async with short.process() as process:
        await process.accept(asks("e1"))
        model = await short.asked()
        model.says("\n\n".join(letter * 30 for letter in "abcd"))
        await short.until(lambda: len(short.screen) == 4)
        model.ends()
        await short.ended(process)
    assert short.screen == [letter * 30 for letter in "abcd"]
    assert [call.post for call in short.calls("edit") if call.last] == ["p1", "p2", "p3", "p4"]


async def test_a_block_of_code_that_outgrows_a_message_is_opened_again_in_the_next(tmp_path: Path) -> None:
    caps = Capabilities(limit=100, markdown=True, unprompted="always", edits=1.0)
    async with world(tmp_path, caps=caps) as one, one.process() as process:
        await process.accept(asks("e1"))
        model = await one.asked()
        for number in range(12):
            model.says(f"{'```py' if number == 0 else ''}\nprint({number}, 'something')")
            await one.reads(f"({number},")
        model.ends("\n```\nThat's it.")
        await one.ended(process)
        assert len(one.screen) > 3
        *blocks, rest = one.screen
        assert all(block.startswith("```py\nprint(") and block.endswith("\n```") for block in blocks)
        assert rest.endswith("That's it.")
        assert "".join(one.screen).count("print(") == 12


async def test_blank_lines_at_the_end_of_a_full_message_do_not_make_it_too_long(short: World) -> None:
    async with short.process() as process:
        await process.accept(asks("e1"))
        model = await short.asked()
        model.says("x" * 39)
        await short.shows("x" * 39)
        model.says("\n\n\n")
        await short.passes(5.0)
        model.ends("More.")
        [turn] = await short.ended(process)
    assert (turn.state, turn.error) == ("done", "")
    assert short.screen == ["x" * 39, "More."]
    assert all(len(call.text) <= 40 for call in short.board.calls)


async def test_an_answer_that_begins_anew_takes_the_same_messages(short: World) -> None:
    async with short.process() as process:
        await process.accept(asks("e1"))
        model = await short.asked()
        model.says("This is the first try, and it is long. It goes on.")
        await short.until(lambda: len(short.screen) == 2)
        model.restarts()
        await short.until(lambda: short.screen[0] == WORDS.answering)
        model.says("Another")
        await short.until(lambda: short.screen[0] == "Another")
        model.ends(" try.")
        await short.ended(process)
    assert short.screen == ["Another try."]
    assert len(short.calls("begin")) == 2


async def test_an_answer_that_begins_anew_with_the_same_words_is_whole(short: World) -> None:
    words = "This is the first try, and it is long. It goes on."
    async with short.process() as process:
        await process.accept(asks("e1"))
        model = await short.asked()
        model.says(words)
        await short.until(lambda: len(short.screen) == 2)
        whole = short.screen
        model.restarts()
        await short.until(lambda: short.screen[0] == WORDS.answering)
        model.says("This")
        await short.until(lambda: short.screen[0] == "This")
        model.ends(words.removeprefix("This"))
        await short.ended(process)
    assert short.screen == whole


# ── how it is ended ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ref", ["", "p1"])
async def test_a_stopped_answer_says_so_and_what_it_said_stands(talk: World, ref: str) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1", "Tell me all."))
        model = await talk.asked()
        model.says("All of")
        await talk.shows("All of")
        await process.accept(about("stop", ref))
        [turn] = await talk.ended(process)
        assert (turn.state, turn.finish) == ("done", "stopped")
        assert talk.screen == [f"All of{STOPPED}"]
        assert await talk.said(process) == ["Tell me all.", "All of"]
        assert model.closed.is_set()


async def test_an_answer_that_is_stopped_before_its_first_word_says_only_that(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1", "Tell me all."))
        await talk.asked()
        await talk.shows(WORDS.answering)
        await process.accept(about("stop"))
        await talk.ended(process)
        assert talk.screen == [STOPPED]
        assert await talk.said(process) == ["Tell me all."]


async def test_the_last_words_before_a_stop_are_shown_whenever_they_came(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        await talk.shows(WORDS.answering)
        talk.board.hangs("edit")
        model.says("One")
        await talk.until(talk.board.hanging.is_set)
    async with talk.process() as process:
        again = await talk.asked()
        again.says("One, two")
        await talk.shows("One, two")
        talk.board.room = False
        again.says(", three")
        await talk.until(lambda: talk.board.calls[-1].text == "One, two, three")
        await process.accept(about("stop"))
        await talk.ended(process)
        assert talk.screen == [f"One, two, three{STOPPED}"]
        assert await talk.said(process) == ["hi", "One, two, three"]


async def test_an_answer_that_somebody_removed_while_it_grew_is_not_made_any_more(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1"))
        model = await talk.asked()
        model.says("This is")
        await talk.shows("This is")
        del talk.board.posts["p1"]
        model.says(" not wanted")
        [turn] = await talk.ended(process)
        assert (turn.state, turn.finish, turn.error) == ("done", "stopped", "the message is not there any more")
        assert model.closed.is_set()
        assert talk.screen == []


async def test_a_new_message_interrupts_where_the_assistant_is_told_to(tmp_path: Path) -> None:
    async with world(tmp_path, busy="interrupt") as one, one.process() as process:
        await process.accept(asks("e1", "One?"))
        first = await one.asked()
        first.says("One is")
        await one.shows("One is")
        await process.accept(asks("e2", "No: two?"))
        second = await one.asked()
        assert first.closed.is_set()
        assert [said.text for said in second.prompt.messages] == ["One?", "One is", "No: two?"]
        second.ends("Two.")
        await one.ended(process, 2)
        assert one.screen == [f"One is{STOPPED}", "Two."]


async def test_messages_that_come_while_an_answer_grows_are_answered_together(tmp_path: Path) -> None:
    async with world(tmp_path, busy="merge") as one, one.process() as process:
        await process.accept(asks("e1", "One?"))
        first = await one.asked()
        first.says("One.")
        await one.shows("One.")
        await process.accept(asks("e2", "Two?"), asks("e3", "Three?"))
        first.ends()
        second = await one.asked()
        assert second.prompt.messages[-1].text == "Two?\n\nThree?"
        second.ends("Both.")
        await one.ended(process, 3)
        assert one.screen == ["One.", "Both."]


# ── the question changes ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_that_is_changed_is_asked_anew_and_answered_in_the_same_message(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1", "How old is Rom?"))
        first = await talk.asked()
        first.says("Rom is")
        await talk.shows("Rom is")
        await process.accept(rewords("e1", "How old is Rome?"))
        second = await talk.asked()
        assert first.closed.is_set()
        assert [said.text for said in second.prompt.messages] == ["How old is Rome?"]
        second.ends("Old.")
        await talk.ended(process)
        assert talk.screen == ["Old."]
        assert await talk.said(process) == ["How old is Rome?", "Old."]
    assert len(talk.calls("begin")) == 1


async def test_a_question_that_is_taken_back_takes_its_growing_answer_along(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1", "A secret?"))
        model = await talk.asked()
        model.says("A secret")
        await talk.shows("A secret")
        await process.accept(about("retract", "m-e1"))
        [turn] = await talk.ended(process)
        assert turn.state == "withdrawn"
        assert model.closed.is_set()
        assert talk.screen == []
        assert await talk.said(process) == []
    assert len(talk.engine.talks) == 1


# ── taking an answer off the platform ────────────────────────────────────────────────────────────────────────────


async def test_whoever_asked_may_have_the_answer_removed(short: World) -> None:
    async with short.process() as process:
        await process.accept(asks("e1", "What?"))
        (await short.asked()).ends("A long answer that takes more. Two messages.")
        await short.ended(process)
        assert len(short.screen) == 2
        await process.accept(about("erase", "p2"))
        [_, turn] = await short.ended(process, 2)
        assert (turn.state, turn.error) == ("done", "")
        assert short.screen == []
        assert await short.said(process) == ["What?"]


async def test_others_may_not_but_for_admins(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1", "What?"))
        (await talk.asked()).ends("That.")
        await talk.ended(process)
        await process.accept(about("erase", "p1", who="bob"))
        [_, turn] = await talk.ended(process, 2)
        assert turn.error.startswith("refused")
        assert talk.screen == ["That."]
        talk.board.admins.add("eve")
        await process.accept(about("erase", "p1", who="eve"))
        await talk.ended(process, 3)
        assert talk.screen == []


async def test_an_answer_that_is_to_be_removed_while_it_grows_ends_there(talk: World) -> None:
    async with talk.process() as process:
        await process.accept(asks("e1", "What?"))
        model = await talk.asked()
        model.says("That is")
        await talk.shows("That is")
        await process.accept(about("erase", "p1"))
        await talk.ended(process, 2)
        assert model.closed.is_set()
        assert talk.screen == []
        assert await talk.said(process) == ["What?"]
