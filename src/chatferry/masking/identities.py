"""Numbers that a state, a bank or a card scheme gave out, by their check digits.

`python-stdnum` judges wherever it knows the number; it knows neither Taiwan's, Hong Kong's nor Britain's cards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from chatferry.masking import labels

_RUN = re.compile(r"(?a)\d(?:[ -]?\d){11,}")
_ISSUERS = (
    (re.compile(r"(?a)4"), (13, 16, 19)),  # Visa
    (re.compile(r"(?a)5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"(?a)3[47]"), (15,)),  # American Express
    (re.compile(r"(?a)35(?:2[89]|[3-8])"), (16, 17, 18, 19)),  # JCB
    (re.compile(r"(?a)62|81[0-7]"), (16, 17, 18, 19)),  # UnionPay
    (re.compile(r"(?a)6011|64[4-9]|65"), (16, 17, 18, 19)),  # Discover
    (re.compile(r"(?a)30[0-5]|3095|3[689]"), (14, 16, 19)),  # Diners Club
    (re.compile(r"(?a)5018|5020|5038|5893|6304|6759|676[1-3]"), (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
)
_GROUPS = re.compile(
    r"(?a)\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{1,3})?|\d{4}([ -])\d{6}\2\d{4,5}|\d{6}[ -]\d{10,13}"
)

_PARCEL = re.compile(r"(?a)9[2-5]\d{20}")
"""The US Postal Service's 22 digits, in which a card is easily found."""

_IBAN = re.compile(r"(?a)[A-Z]{2}\d\d(?:[ -]?[A-Z0-9]{1,4}){3,8}", re.IGNORECASE)

_LETTERS = {letter: 10 + place for place, letter in enumerate("ABCDEFGHJKLMNPQRSTUVXYWZIO")}
"""Taiwan's numbers of letters: in the order in which counties were named."""


def cards(text: str, key: str, begin: int, stop: int) -> Iterator[tuple[int, int, str]]:
    for run in _RUN.finditer(text, begin, stop):
        groups = [(run.start() + group.start(), run.start() + group.end()) for group in re.finditer(r"\S+", run[0])]
        first = 0 if not _PARCEL.fullmatch(run[0].replace(" ", "")) else len(groups)
        while first < len(groups):  # beside a card may stand a year, an amount, or another card
            start = groups[first][0]
            ends = [end for _, end in groups[first : first + 5]] if groups[first][1] - start > 3 else []
            last = next((last for last in range(len(ends), 0, -1) if _card(text, start, ends[last - 1], key)), 0)
            if last:
                yield start, ends[last - 1], re.sub(r"\D", "", text[start : ends[last - 1]])
            first += last or 1


def _card(text: str, start: int, end: int, key: str) -> bool:
    written = text[start:end]
    if not _GROUPS.fullmatch(written):
        return False
    from stdnum import luhn

    digits = re.sub(r"\D", "", written)
    return (
        any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _ISSUERS)
        and luhn.is_valid(digits)
        and _believed(text, start, end, key)
    )


def ibans(text: str, key: str, begin: int, stop: int) -> Iterator[tuple[int, int, str]]:
    from stdnum import iban

    while found := _IBAN.search(text, begin, stop):
        start, end = found.span()
        begin = start + 1
        while end - start >= 15:
            compact = re.sub("[ -]", "", text[start:end]).upper()
            if labels.free(text, start, end) and iban.is_valid(compact):
                yield start, end, compact
                begin = end
                break
            end -= 1  # what follows it may be a word


def _believed(text: str, start: int, end: int, key: str) -> bool:
    """It has a good check digit; is it said beside it that it is something else?"""
    return labels.free(text, start, end) and labels.before(text, start, key) != "other"


# ── National numbers, by country: a pattern, and what judges it ──────────────────────────────────────────────────────


def taiwan(number: str) -> bool:
    """The national id, and the numbers of residents from abroad, old (two letters) and new."""
    first = _LETTERS[number[0]]
    second = _LETTERS[number[1]] % 10 if number[1].isalpha() else int(number[1])
    digits = (first // 10, first % 10, second, *map(int, number[2:]))
    return (
        sum(digit * weight for digit, weight in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10 == 0
    )


def hong_kong(number: str) -> bool:
    """The identity card. One letter counts as two of which the first is a blank, which counts 36."""
    letters = [36] * (9 - len(number)) + [int(letter, 36) for letter in number]
    return sum(value * weight for value, weight in zip(letters, (9, 8, 7, 6, 5, 4, 3, 2, 1), strict=True)) % 11 == 0


def china(number: str) -> bool:
    """The identity card, by check digit and day of birth: `ric.validate` stumbles over places that it knows half."""
    from stdnum.cn import ric
    from stdnum.exceptions import ValidationError

    try:
        ric.get_birth_date(number)
    except ValidationError:
        return False
    return number[0] in "12345689" and number[-1] == ric.calc_check_digit(number)


def japan(number: str) -> bool:
    from stdnum.jp import in_

    return in_.is_valid(number)


def america(number: str) -> bool:
    from stdnum.us import itin, ssn

    return ssn.is_valid(number) or itin.is_valid(number)


def health(number: str) -> bool:
    """The NHS number."""
    from stdnum.gb import nhs

    return nhs.is_valid(number)


def insurance(number: str) -> bool:
    """The National Insurance number, which has no check digit."""
    return number[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


_Rule = tuple[re.Pattern[str], re.Pattern[str] | None, Callable[[str], bool]]
"""A pattern, the spelling in which it is only believed where its name stands beside it, and the judge."""


def _pattern(number: str) -> re.Pattern[str]:
    """That number, from where something may begin to where it may end."""
    return re.compile(rf"(?a)(?:(?<![A-Z\d])|(?<=ID)|(?<=NO)|(?<=SSN)|(?<=\\[NRT])){number}(?![A-Z\d])", re.IGNORECASE)


_NATIONAL: dict[str, list[_Rule]] = {
    "TW": [(_pattern(r"[A-Z][ -]?[1289A-D]\d{8}"), None, taiwan)],
    "HK": [(_pattern(r"[A-Z]{1,2}\d{6} ?(?:\([\dA]\)|[\dA])"), None, hong_kong)],
    "CN": [(_pattern(r"\d{6}([ -]?)\d{8}\1\d{3}[\dX]"), None, china)],
    "JP": [(_pattern(r"(?<!\+)\d{4}([ -]?)\d{4}\1\d{4}"), None, japan)],
    "US": [(_pattern(r"\d{3}([ -]?)\d\d\1\d{4}"), re.compile(r"(?a)\d{9}"), america)],
    "GB": [
        (_pattern(r"\d{3}([ -]?)\d{3}\1\d{4}"), re.compile(r"(?a)\d{10}"), health),
        (_pattern(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]"), None, insurance),
    ],
}
_KANA = re.compile(r"[\u3041-\u30fa]")
_ABROAD = re.compile(r"(?a)\+\d{1,3}[ -]$")
_TIME = re.compile(r"(?a)(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d")


def national(text: str, key: str, begin: int, stop: int, regions: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    for region in regions:
        for pattern, vague, judge in _NATIONAL.get(region, ()):
            place = begin
            while found := pattern.search(text, place, stop):
                start, end = found.span()
                place = start + 1  # another may begin in what is none, as in `ID A123456789`
                compact = re.sub("[ ()-]", "", found[0]).upper()
                if _within(text, found) or not labels.free(text, start, end) or not judge(compact):
                    continue
                label = labels.before(text, start, key)
                if vague is not None and vague.fullmatch(found[0]):
                    sure = label == "id" or labels.after(text, end) == "id"
                else:
                    sure = label != "other" and not (label is None and labels.after(text, end) == "other")
                    sure = sure and (label == "id" or region != "JP" or _japanese(text, start, compact))
                if sure:
                    yield start, end, compact
                    place = end


def _japanese(text: str, start: int, number: str) -> bool:
    """May these twelve digits, of which nothing is said, be My Number? Parcels have such numbers too, and times."""
    around = bool(_KANA.search(text, max(0, start - labels.NEAR), start + labels.NEAR))
    return not _TIME.fullmatch(number) and (around or len(text.strip()) <= len("1234-5678-9012"))


def _within(text: str, found: re.Match[str]) -> bool:
    """Are its groups a part of more of them, as in a card's number, or behind the code of a country?"""
    start, end = found.span()
    if _ABROAD.search(text, max(0, start - 5), start):
        return True
    return bool(found.re.groups) and found[1] == " " and labels.beside(text, start, end)
