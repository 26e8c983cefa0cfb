"""Cut a long text into messages that a platform takes, without hurting what it says."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal, NamedTuple

Measure = Literal["chars", "utf16", "utf8", "escaped"]
"""`escaped`: characters, `&`, `<` and `>` as the entities that Slack wants (5, 4 and 4)."""

MIN_LIMIT = 5
"""The widest character in the widest measure: below this a text could not be cut at all."""

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
# Greedy, so that each of these finds the last place there is.
_SENTENCE = re.compile(r""".*(?:[.!?…][)\]"'”’]*(?=\s)|[。！？．…][」』）】”’]*)""", re.DOTALL)
_SPACE = re.compile(r".*(?=\s)", re.DOTALL)
# White space at a cut goes, but the indentation of the next line is part of what it says.
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)+")
_BLANK = re.compile(r"(?:[^\S\n]*\n)+|\s+")

_UNSHOWN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document may hold, not even escaped ("2.2 Characters"), and some databases and apps may not."""

_CLUSTER_REACH = 64
"""How far a cut moves back to keep a grapheme cluster whole; a longer one (Zalgo text) is cut."""


def clean(text: str) -> str:
    """Without the characters that no screen shows and not everybody takes: control characters, halves of others."""
    return _UNSHOWN.sub("", text)


def length(text: str, measure: Measure) -> int:
    """How long the platform will find this text."""
    if measure == "chars":
        return len(text)
    if measure == "escaped":
        return len(text) + 4 * text.count("&") + 3 * (text.count("<") + text.count(">"))
    if measure == "utf16":
        return len(text.encode("utf-16-le", "surrogatepass")) // 2
    return len(text.encode("utf-8", "surrogatepass"))


def split(text: str, limit: int, measure: Measure = "chars") -> list[str]:
    """Pieces of at most `limit`, in order; nothing but white space at the cuts is lost.

    A piece ends at a paragraph, a line, a sentence or a space, whichever of these first has a place in the
    second half of the piece, and else between two characters as a reader knows them. A block of code that has to be
    cut is closed, and opened again in its language. White space alone has no pieces. Time is linear in the text.
    """
    return [cut.piece for cut in _cuts(text, limit, measure) if cut.piece.strip()]


class Cut(NamedTuple):
    """A piece, and how the text goes on behind it."""

    piece: str
    rest: int
    """Where in the text what follows begins."""
    head: str
    """What opens the block of code again that the cut is in."""


def first(text: str, limit: int, measure: Measure = "chars") -> Cut | None:
    """The first piece of a text that is too long for one; None where it fits."""
    if length(text, measure) <= limit:
        return None
    cut = next(_cuts(text, limit, measure))
    return cut if cut.rest < len(text) else None


def _cuts(text: str, limit: int, measure: Measure) -> Iterator[Cut]:
    if limit < MIN_LIMIT:
        raise ValueError(f"a limit of {limit} is less than one character may need ({MIN_LIMIT})")
    if length(text, measure) <= limit:
        yield Cut(text, len(text), "")
        return
    fences = [fence for fence in _fences(text) if length(fence.head + fence.tail, measure) * 8 <= limit]
    reserve = max((length(fence.tail, measure) for fence in fences), default=0)
    start, head = 0, ""
    while start < len(text):
        room = limit - length(head, measure)
        if len(text) - start <= room and length(text[start:], measure) <= room:
            yield Cut(head + text[start:], len(text), "")
            return
        end = _reach(text, start, room - reserve, measure)
        cut = _cut(text, start, end, fences)
        fence = _around(fences, cut)
        if fence is None:
            piece = head + text[start:cut].rstrip()
            start, head = _past(_BLANK, text, cut), ""
        else:
            piece = head + text[start : min(cut, fence.close)] + fence.tail
            start, head = _past(_BLANK_LINES, text, cut), fence.head
            if start >= fence.close:  # nothing is left in the block: opening it again would show an empty one
                start, head = _past(_BLANK, text, fence.end), ""
        yield Cut(piece, start, head)


def closed(text: str) -> str:
    """The text with what it has open ended, a block of code or a table, so that something else may follow."""
    fences = _fences(text)
    if fences and fences[-1].close >= len(text):
        return f"{text}{fences[-1].tail}\n"
    line = text[text.rfind("\n") + 1 :]
    return f"{text}\n\n" if line.lstrip().startswith("|") else text


def wide(char: str) -> bool:
    """Does it take two columns? Chinese, Japanese and Korean letters and punctuation do."""
    return unicodedata.east_asian_width(char) in "WF"


class _Fence(NamedTuple):
    """A block of code, by places in the text."""

    start: int
    """Where its opening line begins."""
    body: int
    """Where its code begins."""
    close: int
    """The line break before its closing line."""
    end: int
    """Where its closing line ends."""
    head: str
    """What opens it again after a cut."""
    tail: str
    """What closes it at a cut."""


def _fences(text: str) -> list[_Fence]:
    """The fenced blocks, by CommonMark's rules but for the indentation: models indent blocks in lists at will."""
    found: list[_Fence] = []
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        _, marker, info = line.groups()
        if opened is None:
            if not (marker[0] == "`" and "`" in info):
                opened = line
        elif marker.startswith(opened[2]) and not info.strip():
            found.append(_fence(opened, line.start() - 1, line.end()))
            opened = None
    if opened is not None:
        found.append(_fence(opened, len(text), len(text)))
    return found


def _fence(opened: re.Match[str], close: int, end: int) -> _Fence:
    indent, marker, info = opened.groups()
    body = opened.end() + 1
    return _Fence(opened.start(), body, max(close, body), end, f"{indent}{marker}{info}\n", f"\n{indent}{marker}")


def _around(fences: list[_Fence], place: int) -> _Fence | None:
    """The block that a cut at `place` would cut."""
    at = bisect_left(fences, place, key=lambda fence: fence.start) - 1
    return fences[at] if at >= 0 and place < fences[at].end else None


def _reach(text: str, start: int, room: int, measure: Measure) -> int:
    """The last place up to which the text from `start` fits into `room`."""
    window = text[start : start + room]
    if length(window, measure) <= room:
        return start + len(window)
    widths = accumulate(length(char, measure) for char in window)
    return start + bisect_right(list(widths), room)


def _cut(text: str, start: int, end: int, fences: list[_Fence]) -> int:
    """The best place in the second half of `text[start:end]`."""
    half = start + (end - start) // 2
    fence = _around(fences, end)
    if fence and fence.start > half:
        return fence.start  # a block that moves on whole is better than one that is cut
    cut = _soft(text, half + 1, end, code=fence is not None) or end
    for back in range(_CLUSTER_REACH):
        if cut - back <= half:
            break
        if not _joined(text, start, cut - back):
            cut -= back
            break
    fence = _around(fences, cut)
    if fence and cut <= fence.body:  # inside its opening line
        return fence.start if fence.start > start else end
    return cut


def _soft(text: str, low: int, high: int, *, code: bool) -> int | None:
    """The last place from `low` to `high` at which a reader would pause."""
    for end_of in ("\n\n", "\n"):
        at = text.rfind(end_of, low, high + len(end_of))
        if at >= 0:
            return at
    for last in (_SPACE,) if code else (_SENTENCE, _SPACE):
        match = last.match(text, low, high + (last is _SPACE))
        if match:
            return match.end()
    return None


def _past(blank: re.Pattern[str], text: str, place: int) -> int:
    match = blank.match(text, place)
    return match.end() if match else place


def _joined(text: str, start: int, place: int) -> bool:
    """Would a cut at `place` part what a reader sees as one character? The common cases of Unicode's UAX 29."""
    if not start < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if before < "\u0300" and after < "\u0300":
        return before == "\r" and after == "\n"
    if _flag(before) and _flag(after):
        first = place
        while first > start and _flag(text[first - 1]):
            first -= 1
        return (place - first) % 2 == 1
    return (
        before == "\u200d"  # zero width joiner: family and profession emoji
        or after == "\u200d"
        or unicodedata.category(after) in ("Mn", "Mc", "Me")  # accents, vowel signs, variation selectors
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= after <= "\U000e007f"  # tags: the flags of England, Scotland and Wales
        or "\u1160" <= after <= "\u11ff"  # Hangul that is written in letters
    )


def _flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
