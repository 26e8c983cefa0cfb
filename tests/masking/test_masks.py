"""Masks: the same for the same, nobody else's, and gone again when somebody reads."""

from __future__ import annotations

import random
import sys
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatferry.masking.finding import Finder
from chatferry.masking.masks import KINDS, Masks, Unmasking
from tests.masking.people import cases

FINDER = Finder(KINDS, ("TW", "CN", "JP", "HK", "US", "GB"))
SAMPLES = [case.value for case in cases(random.Random(1), 2)]  # noqa: S311
BITS = [
    "[PHONE_1]",
    "PHONE_1",
    "[phone_1",
    "\\[PHONE\\_1\\]",
    "【EMAIL_2】",
    "[TYPED_1]",
    "[PHONE-1]",
    "[NATIONAL ID 01]",
    "[",
    "]",
    "\\",
    "_1",
    "1",
    "PHONE_",
    " ",
    "打",
    "A",
]
texts = st.lists(st.one_of(st.sampled_from(SAMPLES), st.sampled_from(BITS), st.text(max_size=8))).map("".join)


def masks() -> Masks:
    return Masks(FINDER)


def streamed(table: Masks, pieces: list[str], *, cut: bool = False) -> list[str]:
    stream = Unmasking(table)
    return [*map(stream.add, pieces), stream.end(cut=cut)]


@given(texts, st.data())
@example("PHONE_10912345678", None)
@example("[PHONE_1] 0912345678 [[PHONE_1]]", None)
@example("\\0912345678\\]PHONE_1", None)
def test_what_was_masked_comes_back_however_it_is_cut(text: str, data: st.DataObject | None) -> None:
    table = masks()
    masked = table.mask(text)
    assert table.unmask(masked) == text
    cuts = data.draw(st.lists(st.integers(0, len(masked)))) if data else range(len(masked))
    places = sorted({0, *cuts, len(masked)})
    pieces = [masked[a:b] for a, b in pairwise(places)]
    assert "".join(streamed(table, pieces)) == text


def test_the_same_value_has_the_same_mask_and_another_spelling_a_letter_behind_it() -> None:
    table = masks()
    said = [table.mask(text) for text in ("打0912-345-678", "+886 912 345 678?", "0912-345-678", "手機0922333444")]
    assert said == ["打[PHONE_1]", "[PHONE_1B]?", "[PHONE_1]", "手機[PHONE_2]"]
    assert table.unmask("[PHONE_1B] or [PHONE_1], not [PHONE_3]") == "+886 912 345 678 or 0912-345-678, not [PHONE_3]"


def test_a_mask_that_is_typed_is_none_of_ours() -> None:
    table = masks()
    assert table.mask("[PHONE_1] is 0912345678, phone [phone_1]") == "[TYPED_1] is [PHONE_1], phone [TYPED_2]"
    assert table.unmask("[TYPED_1] [PHONE_1]") == "[PHONE_1] 0912345678"


@pytest.mark.parametrize(
    "written",
    [
        *(
            "[phone_1]",
            "[Phone 1]",
            "\\[PHONE\\_1\\]",
            "[PHONE\\_1]",
            "【PHONE_1】",
            "PHONE_1",
            "[PHONE-1]",
            "[PHONE1]",
        ),
        *("[PHONE_01]", "[phone–1]", "[PHONE: 1]", "[Phone #1]", "[PHONE_001]", "【phone1】", "\\[PHONE-1\\]"),
    ],
)
def test_a_mask_counts_also_as_models_write_it(written: str) -> None:
    table = masks()
    table.mask("0912345678")
    assert table.unmask(f"({written}).") == "(0912345678)."
    assert "".join(streamed(table, list(f"({written})."))) == "(0912345678)."


@pytest.mark.parametrize("written", ["[NATIONAL ID 1]", "[NATIONAL-ID-1]", "[nationalid1]", "[National_ID 01]"])
def test_also_one_with_a_name_of_two_words(written: str) -> None:
    table = masks()
    table.mask("A123456789")
    assert "".join(streamed(table, list(written))) == table.unmask(written) == "A123456789"


@pytest.mark.parametrize(
    "written", ["[PHONE_2]", "[PHONE_10]", "PHONE1", "phone_1", "[PHONE_1.5]", "[PHONE_1, 2]", "[PHONE_0]"]
)
def test_what_may_mean_anything_else_stays(written: str) -> None:
    table = masks()
    table.mask("0912345678")
    assert "".join(streamed(table, list(written))) == table.unmask(written) == written


def test_nothing_waits_that_cannot_be_a_mask_and_half_a_mask_is_never_shown() -> None:
    table = masks()
    table.mask("0912345678")
    assert streamed(table, ["Call [", "me] at [PHO", "NE_", "1] now P", "."]) == [
        "Call ", "[me] at ", "", "0912345678 now ", "P.", "",
    ]  # fmt: skip
    assert streamed(table, ["at [PHONE_"], cut=True) == ["at ", ""]
    assert streamed(table, ["array["]) == ["array", "["]


def test_texts_made_to_take_long_do_not() -> None:
    began = time.process_time()
    for text in (
        "a." * 8000,
        "1 " * 8000,
        "1.1-" * 4000,
        "+(" * 8000,
        "a@" * 8000,
        "x@" + "a." * 8000,
        "[PHONE_" * 2500,
    ):
        masks().mask(text)
    for text in (
        "0912345678 " * 1500,
        "call 2125550123 " * 1000,
        "http://a?token=" * 1200,
        "GB82" * 4000,
        "電話" * 8000,
    ):
        masks().mask(text)
    assert time.process_time() - began < 5.0


def test_a_prompt_of_4000_tokens_costs_milliseconds(capsys: pytest.CaptureFixture[str]) -> None:
    said = (
        "您好，我上週在你們網站買了一雙鞋，尺寸好像不太合，想問一下能不能換大一號，運費大概多少錢？訂單20241103123456。"
    )
    personal = [case.text for case in cases(random.Random(2), 1)]  # noqa: S311
    prompt = [f"{said}{said}{said}{text}" for text in personal]
    began = time.process_time()
    for _ in range(5):
        table = masks()
        for text in prompt:
            table.mask(text)
    masking = (time.process_time() - began) / 5 * 4500 / sum(map(len, prompt))
    stream, pieces = Unmasking(table), [said[place : place + 3] for place in range(0, len(said), 3)] * 100
    began = time.process_time()
    for piece in pieces:
        stream.add(piece)
    token = (time.process_time() - began) / len(pieces)
    with capsys.disabled():
        sys.stdout.write(
            f"\nmasking 4,500 characters: {masking * 1e3:.1f} ms; a piece of an answer: {token * 1e6:.2f} µs\n"
        )
    assert masking < 0.1
    assert token < 0.0001
