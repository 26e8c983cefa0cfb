"""Watching an answer grow."""

from __future__ import annotations

import asyncio
import gc

from chatferry.engines.base import Delta, Restart
from chatferry.feed import CUT, Doing, Feed, Outcome, Tail
from chatferry.model import says

END = Outcome(says("assistant", "one two"), "stop")


async def watched(tail: Tail) -> list[Delta | Restart | Doing | Outcome]:
    return [event async for event in tail.follow()]


async def test_a_watcher_gets_each_word_as_it_comes_and_the_end_last() -> None:
    tail = Tail()
    follow = tail.follow()
    for word in ("one ", "two"):
        tail.add(word)
        assert await anext(follow) == Delta(word)
    tail.end(END)
    assert [event async for event in follow] == [END]


async def test_whoever_waits_is_woken_by_the_first_word() -> None:
    tail = Tail()
    first = asyncio.ensure_future(anext(tail.follow()))
    await asyncio.sleep(0)
    assert not first.done()
    tail.add("one")
    assert await first == Delta("one")


async def test_a_late_watcher_gets_it_from_the_first_word_on() -> None:
    tail = Tail()
    tail.add("one ")
    tail.add("two")
    tail.end(END)
    assert await watched(tail) == [Delta("one two"), END]


async def test_a_slow_watcher_gets_larger_deltas_and_misses_nothing() -> None:
    tail = Tail()
    follow = tail.follow()
    tail.add("a")
    assert await anext(follow) == Delta("a")
    for word in "bcd":
        tail.add(word)
    assert await anext(follow) == Delta("bcd")


async def test_two_watchers_do_not_take_each_others_words() -> None:
    tail = Tail()
    both = [asyncio.ensure_future(watched(tail)) for _ in range(2)]
    for word in "abc":
        tail.add(word)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    tail.end(END)
    for events in await asyncio.gather(*both):
        assert "".join(event.text for event in events if isinstance(event, Delta)) == "abc"
        assert events[-1] is END


async def test_an_answer_that_begins_anew_voids_what_was_read_of_it() -> None:
    tail = Tail()
    follow = tail.follow()
    tail.add("wrong")
    assert await anext(follow) == Delta("wrong")
    tail.restart()
    tail.add("right")
    assert [await anext(follow), await anext(follow)] == [Restart(), Delta("right")]
    assert tail.text == "right"


async def test_a_watcher_that_had_read_nothing_never_sees_the_void_words() -> None:
    tail = Tail()
    tail.add("wrong")
    tail.restart()
    tail.add("right")
    tail.end(END)
    deltas = [event for event in await watched(tail) if isinstance(event, Delta)]
    assert deltas == [Delta("right")]


async def test_a_restart_of_nothing_tells_nobody() -> None:
    tail = Tail()
    follow = tail.follow()
    tail.restart()
    tail.add("one")
    assert await anext(follow) == Delta("one")


async def test_worker_and_watcher_find_the_same_tail_and_it_goes_with_its_last_holder() -> None:
    feed = Feed()
    tail = feed.tail(1)
    tail.add("one")
    assert feed.tail(1) is tail
    assert feed.tail(2) is not tail
    del tail
    gc.collect()
    assert feed.tail(1).text == ""


async def test_a_turn_that_is_done_again_gets_a_new_tail() -> None:
    feed = Feed()
    first = feed.tail(1)
    first.end(END)
    assert first.ended
    assert not feed.tail(1).ended


async def test_a_process_that_ends_tells_whoever_watches_now_or_later() -> None:
    feed = Feed()
    watching, finished = feed.tail(1), feed.tail(2)
    finished.end(END)
    feed.close()
    assert await watched(watching) == [Outcome(None, CUT)]
    assert await watched(finished) == [END]
    assert await watched(feed.tail(3)) == [Outcome(None, CUT)]
