"""Masks in the place of personal data, and the data in the place of the masks again.

A mask looks like `[PHONE_1]`. The same value has the same mask all over a prompt. In another spelling it has the same
number with a letter behind it, `[PHONE_1B]`, so that what comes back is what was there. Whoever types something that
looks like a mask gets a mask for it, and so cannot speak of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import regex

from chatferry.masking.finding import Finder, Found

_NAMES = {
    "phone": "PHONE",
    "email": "EMAIL",
    "card": "CARD",
    "national_id": "NATIONAL_ID",
    "iban": "IBAN",
    "url_credentials": "CREDENTIALS",
    "typed": "TYPED",
}
KINDS = tuple(name for name in _NAMES if name != "typed")
_NAME = "|".join(_NAMES.values()).replace("_", r"\\?_")
_NUMBER = "[1-9][0-9]{0,4}[B-Z]?"
_SPOKEN = "|".join(_NAMES.values()).replace("_", r"(?:\\?[_-]| )?")
_CORE = rf"(?:{_NAME})\\?_{_NUMBER}"
_LOOSE = rf"(?i:(?:{_SPOKEN})(?:\\?[_–-]|: ?| ?#| )?0{{0,3}}{_NUMBER})"
_MASK = regex.compile(
    rf"\[{_LOOSE}\]|\\\[{_LOOSE}\\\]|【{_LOOSE}】|［{_LOOSE}］|(?<![A-Za-z0-9_\]\[\\】［【］]){_CORE}(?![A-Za-z0-9_\[\]\\】［【］])"
)
"""Also as models write it: escaped for Markdown, in the brackets of Chinese and Japanese, in none; in brackets also in
small letters, with another sign or none before the number, and with noughts."""
_PARTS = regex.compile(rf"({'|'.join(_NAMES.values()).replace('_', '')})0*({_NUMBER})")
_WHOLE = {name.replace("_", ""): name for name in _NAMES.values()}
_SIGNS = frozenset("_[【［")
"""One of which is in every mask."""
_STARTS = frozenset("\\[【［" + "".join(name[0] for name in _NAMES.values()))
"""With which all masks begin."""


def _meant(written: str) -> str:
    """The mask as we write it."""
    parts = regex.sub("[^A-Za-z0-9]", "", written).upper()
    return _PARTS.sub(lambda part: f"[{_WHOLE[part[1]]}_{part[2]}]", parts)


class Masks:
    """The masks of one prompt, in the order in which their values came."""

    def __init__(self, finder: Finder, spared: frozenset[str] = frozenset()) -> None:
        """spared: values that need no mask, as `Finder.find` tells them."""
        self._finder = finder
        self._spared = spared
        self._values: dict[str, str] = {}
        self._masks: dict[tuple[str, str], str] = {}
        self._numbers: dict[tuple[str, str], tuple[str, int]] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._values)

    def mask(self, text: str, key: str = "") -> str:
        """The text without what the finder finds in it. `key`: the name of the field whose value it is."""
        found = list(self._finder.find(text, key))
        if not _SIGNS.isdisjoint(text):
            found = _with(found, [(*one.span(), "typed", one[0]) for one in _MASK.finditer(text)])
        if not found:
            return text
        pieces: list[str] = []
        done = 0
        for start, end, kind, value in found:
            if value not in self._spared:
                pieces += text[done:start], self._mask(kind, value, text[start:end])
                done = end
        return "".join((*pieces, text[done:]))

    def _mask(self, kind: str, value: str, written: str) -> str:
        if mask := self._masks.get((kind, written)):
            return mask
        name, spellings = self._numbers.get((kind, value), ("", 0))
        if not spellings or spellings == 26:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            name, spellings = f"{_NAMES[kind]}_{self._counts[kind]}", 0
        self._numbers[kind, value] = name, spellings + 1
        mask = f"[{name}{chr(65 + spellings) if spellings else ''}]"
        self._masks[kind, written] = mask
        self._values[mask] = written
        return mask

    def unmask(self, text: str) -> str:
        """The text with each mask of ours, however it is written, replaced by its value."""
        return _MASK.sub(lambda found: self.value(found[0]), text) if self._values else text

    def value(self, written: str) -> str:
        """What a mask stands for; one that is none of ours, for itself."""
        return self._values.get(_meant(written), written)


def _with(found: Sequence[Found], typed: Sequence[Found]) -> list[Found]:
    """Both in the order of the text, without what was found where a mask is typed."""
    both: list[Found] = []
    for one in sorted([*found, *typed]):
        while one[2] == "typed" and both and both[-1][1] > one[0]:
            both.pop()
        if not both or both[-1][1] <= one[0]:
            both.append(one)
    return both


class Unmasking:
    """A stream of text in which masks are replaced, also those that are cut between two pieces.

    What cannot become a mask any more is passed on at once.
    """

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._last = ""
        """The letter that was passed on last: a mask without brackets does not stand behind any."""
        self._held = ""

    def add(self, text: str) -> str:
        """What can be shown now."""
        if not self._held and _STARTS.isdisjoint(text):
            self._last = text[-1:] or self._last
            return text
        text = self._last + self._held + text
        pieces: list[str] = []
        done, cut = len(self._last), len(text)
        for found in _MASK.finditer(text, done, partial=True):
            if found.partial or (found.end() == len(text) and found[0][-1] not in "]】］"):
                cut = found.start()
                break
            pieces += text[done : found.start()], self._masks.value(found[0])
            done = found.end()
        self._last, self._held = text[max(0, cut - 1) : cut], text[cut:]
        return "".join((*pieces, text[done:cut]))

    def end(self, *, cut: bool) -> str:
        """The rest. cut: the answer was cut off, and half a mask at its end is worth nothing."""
        rest, self._held = self._held, ""
        whole = _MASK.fullmatch(rest)
        return self._masks.value(rest) if whole else "" if cut and len(rest) > 1 else rest
