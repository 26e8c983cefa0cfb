"""How much of what made-up people write about themselves is found, and how often something else is taken for it."""

from __future__ import annotations

import random
import sys
from collections import Counter

import pytest

from chatferry.masking.finding import Finder
from chatferry.masking.masks import KINDS
from tests.masking.people import cases
from tests.masking.things import things

FINDER = Finder(KINDS, ("TW", "CN", "JP", "HK", "US", "GB"))
EACH = 250


def table(title: str, found: Counter[str], all_: Counter[str], capsys: pytest.CaptureFixture[str]) -> None:
    cells = [f"{name} {found[name] / all_[name]:.1%}" for name in all_]
    with capsys.disabled():
        sys.stdout.write(f"\n{title}: {found.total() / all_.total():.2%} of {all_.total()}\n  {', '.join(cells)}\n")


def test_99_of_100_valid_numbers_are_masked_whole(capsys: pytest.CaptureFixture[str]) -> None:
    masked, all_, precise = Counter[str](), Counter[str](), Counter[str]()
    for case in cases(random.Random(8), EACH):  # noqa: S311
        cell = f"{case.kind} {case.country}".strip()
        begin = case.text.index(case.value)
        found = FINDER.find(case.text)
        whole = any(start <= begin and begin + len(case.value) <= end for start, end, *_ in found)
        all_[cell] += 1
        masked[cell] += whole
        precise[cell] += whole and len(found) == 1 and found[0][2] == case.kind
    table("masked", masked, all_, capsys)
    table("masked as what they are, and nothing beside them", precise, all_, capsys)
    assert masked.total() >= 0.99 * all_.total()
    assert min(masked[cell] / all_[cell] for cell in all_) >= 0.95


def test_less_than_1_of_100_other_numbers_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    masked, all_ = Counter[str](), Counter[str]()
    for thing in things(random.Random(8), EACH):  # noqa: S311
        all_[thing.kind] += 1
        masked[thing.kind] += bool(FINDER.find(thing.text))
    table("false alarms", masked, all_, capsys)
    assert masked.total() < 0.01 * all_.total()
