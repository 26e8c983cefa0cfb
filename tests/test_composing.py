"""Several answers in one message: nothing is too long, and what is not in it can be reached from it."""

from __future__ import annotations

import re
from itertools import groupby

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatferry.channels.base import Capabilities
from chatferry.delivering.composing import compose
from chatferry.model import Piece, says
from chatferry.text.cutting import Measure, closed, length
from chatferry.text.plain import RULE
from chatferry.words import LANGUAGES, Language, words

WORDS = words("en")
WECHAT = Capabilities(limit=2048, measure="utf8", pages=True)


def link(turn: int) -> str:
    return f"https://bot.example/a/{turn:038d}"


def pieces(*answers: tuple[int, str]) -> list[Piece]:
    return [Piece(id, turn, says("assistant", text)) for id, (turn, text) in enumerate(answers, 1)]


def reached(said: str, turn: int) -> bool:
    return link(turn) in said


def flat(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_answers_that_fit_stand_as_they_are_in_their_order() -> None:
    said, ids = compose(pieces((1, "one"), (1, "more"), (2, "two")), 0, WECHAT, WORDS, link)
    assert (said, ids) == ("one\n\nmore\n\n———\n\ntwo", (1, 2, 3))


def test_earlier_answers_say_that_they_are_earlier() -> None:
    said, _ = compose(pieces((1, "one"), (2, "two")), 0, WECHAT, WORDS, link, asked=2)
    assert said == f"{WORDS.earlier}\n\none\n\n———\n\ntwo"


def test_what_nobody_asked_for_answers_no_earlier_question() -> None:
    told = [msgspec.structs.replace(piece, kind="push") for piece in pieces((1, "Your parcel is here."))]
    said, _ = compose([*told, *pieces((2, "Four."))], 0, WECHAT, WORDS, link, asked=2)
    assert said == "Your parcel is here.\n\n———\n\nFour."


def test_what_is_not_ready_is_told_by_its_link_alone() -> None:
    said, ids = compose([], 7, WECHAT, WORDS, link)
    assert (said, ids) == (WORDS.ready_later.replace("{link}", link(7)), ())


def test_nothing_is_nothing() -> None:
    assert compose([], 0, WECHAT, WORDS, link) == ("", ())


def test_a_long_answer_goes_out_as_far_as_it_fits_and_its_link_tells_the_rest() -> None:
    answer = "Word. " * 1000
    said, ids = compose(pieces((1, answer)), 0, WECHAT, WORDS, link)
    assert ids == (1,)
    assert said.endswith(WORDS.rest_here.replace("{link}", link(1)))
    assert 1900 < length(said, "utf8") <= 2048


def test_a_long_earlier_answer_leaves_room_for_the_link_of_the_next_one_and_of_the_one_to_come() -> None:
    said, ids = compose(pieces((1, "a " * 2000), (2, "b " * 2000)), 3, WECHAT, WORDS, link)
    assert ids == (1, 2)
    assert all(reached(said, turn) for turn in (1, 2, 3))


def test_a_short_answer_is_whole_behind_a_long_earlier_one() -> None:
    said, ids = compose(pieces((1, "long " * 500), (2, "short " * 30)), 0, WECHAT, WORDS, link, asked=2)
    assert ids == (1, 2)
    assert said.endswith(f"———\n\n{('short ' * 30).rstrip()}")
    assert reached(said, 1)
    assert not reached(said, 2)


def test_the_code_that_is_cut_is_closed_before_the_link() -> None:
    caps = Capabilities(limit=500, markdown=True, pages=True)
    said, _ = compose(pieces((1, "See:\n```py\n" + "x = 1\n" * 200 + "```")), 0, caps, WORDS, link)
    assert said.count("```") == 2
    assert "```\n\n" + WORDS.rest_here.split("\n")[0] in said


def test_white_space_at_the_end_is_no_reason_for_a_link_nor_for_a_long_message() -> None:
    caps = Capabilities(limit=300, pages=True)
    said, _ = compose(pieces((1, "word" + " " * 1000), (2, "two")), 0, caps, WORDS, link)
    assert said == "word\n\n———\n\ntwo"


@pytest.mark.parametrize("language", LANGUAGES)
def test_however_many_wait_some_go_out_and_the_others_wait_for_the_next(language: Language) -> None:
    """The links of many answers can be more than a message holds."""
    spoken = words(language)
    many = pieces(*[(turn, "字" * 2000) for turn in range(1, 21)])
    left, rounds = many, 0
    while left:
        said, ids = compose(left, 99, WECHAT, spoken, lambda turn: link(turn) + "x" * 60, asked=99)
        assert ids, "or they would wait for ever"
        assert ids == tuple(piece.id for piece in left[: len(ids)])
        assert length(said, "utf8") <= WECHAT.limit
        left, rounds = left[len(ids) :], rounds + 1
    assert rounds < 10


fragments = st.one_of(
    st.sampled_from([*"ab .!\n&<", "\n\n", "\n```py\n", "\n```\n", " " * 90, "word " * 30]),
    st.sampled_from(["漢字", "。", "👨\u200d👩\u200d👧", "🇯🇵", "𠮷"]),
)
texts = st.lists(fragments, max_size=60).map("".join)
answers = st.lists(st.tuples(st.integers(1, 6), st.lists(texts.filter(str.strip), min_size=1, max_size=3)), max_size=10)


@given(
    answers,
    st.sampled_from([0, 90]),
    st.sampled_from(["chars", "utf16", "utf8", "escaped"]),
    st.integers(350, 1500),
    st.sampled_from([0, 3]),
    st.sampled_from(LANGUAGES),
)
@example([(1, ["x" * 100 + " " * 500])], 0, "chars", 350, 0, "en")
@example(
    [(1, ["word " * 70]), (2, ["word " * 30 + "a"]), (1, ["aword " + "word " * 29 + "a"])], 0, "chars", 768, 3, "en"
)
@example([(turn, ["word " * 200]) for turn in range(1, 7)], 90, "utf8", 400, 0, "zh-TW")
def test_a_message_holds_what_it_says_it_holds(
    given_: list[tuple[int, list[str]]], pending: int, measure: Measure, limit: int, asked: int, language: Language
) -> None:
    spoken = words(language)
    caps = Capabilities(limit=limit, measure=measure, markdown=True, pages=True)
    all_ = pieces(*[(turn, text) for turn, its in given_ for text in its])
    said, ids = compose(all_, pending, caps, spoken, link, asked=asked)
    assert length(said, measure) <= limit
    said.encode()
    assert ids == tuple(piece.id for piece in all_[: len(ids)]), "in their order, none is passed over"
    assert bool(ids) == bool(all_)
    # Each answer is looked for in its own part: it may well be like a piece of its neighbour.
    parts = iter(flat(said).split(RULE))
    for turn, of in groupby(all_, key=lambda piece: piece.turn):
        group = list(of)
        if group[0].id in ids:
            assert group[-1].id in ids, "an answer goes out whole or by its link"
            part, whole = next(parts), flat("".join(closed(piece.message.text) for piece in group))
            assert part.endswith(whole) or reached(part, turn)
    assert "".join(parts) == (flat(spoken.ready_later.replace("{link}", link(pending))) if pending else "")
    for address in re.finditer("https://", said):
        before = said[: address.start()]
        assert closed(before) == before, "no link is in a block of code"


def test_where_nobody_can_reach_our_pages_whole_pieces_go_out_and_the_others_wait() -> None:
    caps = Capabilities(limit=30, pages=True)
    waiting = pieces((1, "a" * 30), (1, "b" * 10), (1, "c" * 10), (2, "d" * 30))
    rounds = []
    while waiting:
        said, ids = compose(waiting, 7, caps, WORDS, None, asked=2)
        rounds.append(said)
        waiting = waiting[len(ids) :]
    assert rounds == ["a" * 30, f"{'b' * 10}\n\n{'c' * 10}", "d" * 30]
    assert compose(pieces((1, "one"), (2, "two")), 0, caps, WORDS, None) == ("one\n\n———\n\ntwo", (1, 2))
    assert compose([], 7, caps, WORDS, None) == ("", ())
