"""A text as the terms by which it is found. Pure, and the same for both databases, so that both find the same.

Words of letters and digits are terms: folded, without what English puts behind a word, and product codes both whole
and in their parts. Chinese and Japanese write no blanks: there each two neighbouring characters are a term, and a
character that means something by itself is one too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from chatferry.text.likeness import folded
from chatferry.words import SIMPLIFIED, TRADITIONAL

VERSION = 2
"""Goes up with every change of what a text's terms are: then all files are read anew."""

_LONGEST = 64
"""Characters of a term: what is longer is no word."""
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HIRAGANA = "\u3041-\u309f"
_KANA = f"{_HIRAGANA}\u30a1-\u30ff\u31f0-\u31ff"
_RUN = re.compile(
    rf"(?P<unspaced>[{_HAN}{_KANA}]+)"
    rf"|(?P<number>\d{{1,3}}(?:,\d{{3}})+(?![\d,])|\d+\.\d+(?![\d.]))"
    rf"|(?P<word>[^\W_{_HAN}{_KANA}]+(?:['’_./-][^\W_{_HAN}{_KANA}]+)*)"
)
# Nothing but a name may stand there: what goes on may be a question.
_NAMED = re.compile(
    r"(?:(?:\bmy name(?:['’]s| is)|\bi(?:['’]m| am) called) [^\W\d]+(?: [^\W\d]+)?"
    rf"|(?:我叫|叫我|我的名字[是叫]|我姓|敝姓)[{_HAN}]{{1,4}}"
    rf"|[私僕]の名前は[{_HAN}{_KANA}]{{1,8}}です"
    rf"|(?:[私僕]は)?[{_HAN}{_KANA}]{{1,8}}と(?:申し|言い|いい)ます)"
    r"\s*(?=[.!,。、\n]|$)"
)
"""Somebody tells what they are called."""
_JOINT = re.compile(r"[_./-]")
_IS_HAN = re.compile(f"[{_HAN}]")
_IS_HIRAGANA = re.compile(f"[{_HIRAGANA}]")
_VOWEL = re.compile("[aeiouy]")
# Only the characters of which neither side is written in the other script; a few hundred, which are the usual ones.
_ONE_SCRIPT = str.maketrans(TRADITIONAL, SIMPLIFIED)

_SINGLE = 0.25
"""What a single character tells, beside two of them."""
_INFLECTED = 0.25
"""What hiragana tell: they are mostly endings."""


class Unit(NamedTuple):
    """A part of a question that wants an answer: a word, or one character of those that are written without blanks."""

    by: tuple[str, ...]
    """Terms of which each says that a passage speaks of it."""
    hint: str
    """A term that says so less surely; or empty."""
    rarity: str
    """The term whose rarity tells how much the unit matters; empty: nobody knows."""
    share: float


class Wanted(NamedTuple):
    """What a question asks for."""

    weights: dict[str, float]
    """Terms to look for, with what each is worth beside its rarity."""
    units: tuple[Unit, ...]

    @property
    def idle(self) -> bool:
        """It asks for nothing: a greeting, thanks, a sign."""
        return sum(unit.share for unit in self.units) < 1.0


def terms(text: str) -> list[str]:
    """All terms of a text, as often as they are in it. A text is as long as a passage: what lies behind is not read."""
    return [term for term, _ in _terms(_plain(text))]


def wanted(question: str) -> Wanted:
    """What to look for. The words that questions are put with, and that ask for nothing, are left out."""
    return _wanted(question, "idle.txt")


def vague(question: str) -> bool:
    """It asks for no more than the price or the time of something that is named elsewhere: "what is the fee?"."""
    units = _wanted(question, "idle.txt", "vague.txt").units
    return sum(unit.share for unit in units) < 1.0 or (
        len(units) == 1 and _IS_HAN.fullmatch(units[0].by[0]) is not None
    )


def _wanted(question: str, *lists: str) -> Wanted:
    words, phrases = _listed(*lists)
    text = _plain(question)
    text = phrases.sub(" ", text if "?" in text else _NAMED.sub(" ", text))
    weights: dict[str, float] = {}
    for term, weight in _terms(text):
        if term not in words:
            weights[term] = max(weight, weights.get(term, 0.0))
    units = dict.fromkeys(unit for unit in _units(text) if unit.by[0] not in words)
    return Wanted(weights, tuple(units))


def matches(text: str, want: Wanted) -> list[tuple[int, int]]:
    """Where in a text what is wanted stands, from each beginning to its end."""
    places: list[tuple[int, int]] = []
    for run in _RUN.finditer(text):
        if run["unspaced"]:
            pairs = [_plain(run[0][place : place + 2]) for place in range(len(run[0]))]
            whole = min(2, len(run[0]))
            hits = [place for place, pair in enumerate(pairs) if pair in want.weights and len(pair) == whole]
            places += [(run.start() + place, min(run.start() + place + 2, run.end())) for place in hits]
        elif any(term in want.weights for term in terms(run[0])):
            places.append(run.span())
    return places


@cache
def _listed(*lists: str) -> tuple[frozenset[str], re.Pattern[str]]:
    """What is on these lists: words, and what is said where no blanks are written, the longest first."""
    lines = [line for name in lists for line in files(__package__).joinpath(name).read_text("utf-8").splitlines()]
    found = {one for line in lines if not line.startswith("#") for one in _plain(line).split()}
    words = frozenset(one for one in found if one.isascii())
    return words, re.compile("|".join(sorted(map(re.escape, found - words), key=len, reverse=True)))


def _plain(text: str) -> str:
    return folded(text).translate(_ONE_SCRIPT)


def _terms(text: str) -> Iterator[tuple[str, float]]:
    for run in _RUN.finditer(text):
        if run["unspaced"]:
            yield from _grams(run[0])
        elif run["number"]:
            yield run[0].replace(",", "")[:_LONGEST], 1.0
        else:
            parts = _parts(run[0])
            if len(parts) > 1:
                yield "".join(parts)[:_LONGEST], 1.0
            for part in parts:
                yield part, 1.0


def _grams(run: str) -> Iterator[tuple[str, float]]:
    for place, char in enumerate(run):
        if _IS_HAN.match(char):
            yield char, 1.0 if len(run) == 1 else _SINGLE
        if place:
            pair = run[place - 1] + char
            yield pair, _INFLECTED if _IS_HIRAGANA.search(pair) else 1.0


def _units(text: str) -> Iterator[Unit]:
    for run in _RUN.finditer(text):
        if run["unspaced"]:
            yield from _characters(run[0])
        elif run["number"]:
            number = run[0].replace(",", "")[:_LONGEST]
            yield Unit((number,), "", number, 1.0)
        else:
            for part in _parts(run[0]):
                yield Unit((part,), "", part, 1.0)


def _characters(run: str) -> Iterator[Unit]:
    """A character counts as spoken of where it stands beside the same neighbour: most of them do inside their word."""
    for place, char in enumerate(run):
        han = bool(_IS_HAN.match(char))
        pairs = tuple(run[at : at + 2] for at in (place - 1, place) if at >= 0 and at + 2 <= len(run))
        if pairs:
            hiragana = bool(_IS_HIRAGANA.match(char))
            yield Unit(pairs, char if han else "", char if han else "", _INFLECTED if hiragana else 1.0)
        elif han:
            yield Unit((char,), "", char, 1.0)


def _parts(word: str) -> list[str]:
    parts = _JOINT.split(word.replace("'", "").replace("’", ""))
    return [_stem(part[:_LONGEST]) for part in parts if part]


def _stem(word: str) -> str:
    """Without the endings that English puts behind a word: crude, but the same wherever the word stands."""
    if len(word) < 4 or not (word.isascii() and word.isalpha()):
        return word
    if word.endswith("ies"):
        word = f"{word[:-3]}y"
    elif word.endswith(("sses", "xes", "ches", "shes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and _VOWEL.search(stem) and not word.endswith("eed"):
            return stem[:-1] if stem[-1] == stem[-2] and stem[-1] not in "ls" else stem
    return word[:-1] if len(word) > 4 and word.endswith("e") and not word.endswith("ee") else word
