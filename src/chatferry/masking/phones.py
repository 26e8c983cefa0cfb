"""Telephone numbers: `phonenumbers` says whether one exists, and how it is written and what stands beside it decides.

Nearly every number of eight to ten digits is a valid telephone number somewhere, so its word alone is not enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from chatferry.masking import labels

_RUN = re.compile(r"(?a)(?:\+ ?)?\(?\+?\d(?:[ .()\-]{0,3}\d)*")
_GROUP = re.compile(r"(?a)\d+")
_QUAD = re.compile(r"(?a)\d{1,4}\.\d{1,5}\.\d{1,5}\.\d{1,5}")
_DAY = re.compile(r"(?a)(?:19|20)\d\d[-. ]?(?:0[1-9]|1[0-2])[-. ]?(?:0[1-9]|[12]\d|3[01])")
_YEARS = re.compile(r"(?a)(?:19|20)\d\d[- ](?:19|20)\d\d")
_CJK = re.compile("[\u3040-\u9fff]")
_SINGLE = re.compile(r"(?a)(?<!\d)(?<!^)(?<!^\()\d(?!\d)")
_LISTED = re.compile(r"(?a)[1-9]\d?[.)] ")
_MOST = 7
"""Groups in which one number is written."""


def phones(text: str, key: str, begin: int, stop: int, regions: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    for run in _RUN.finditer(text, begin, stop):
        groups = [(run.start() + group.start(), run.start() + group.end()) for group in _GROUP.finditer(run[0])]
        first = 0
        while first < len(groups):
            took = 0
            for last in _lasts(text, groups, first):
                if found := _number(text, key, groups, first, last, run.start(), regions):
                    yield found
                    took = last - first
                    break
            first += took or 1


def _lasts(text: str, groups: Sequence[tuple[int, int]], first: int) -> Sequence[int]:
    """Where a number that begins there may end, by the digits that it has then: the longest first."""
    abroad = _abroad(text, groups[first][0])
    lasts: list[int] = []
    count = 0
    for last in range(first, min(len(groups), first + _MOST)):
        size = groups[last][1] - groups[last][0]
        count += size
        if count > 16 or (size < 2 and last > first and not abroad):
            break
        if count >= 7:
            lasts.insert(0, last + 1)
    return lasts


def _abroad(text: str, start: int) -> bool:
    return "+" in text[max(0, start - 3) : start]


def _number(
    text: str,
    key: str,
    groups: Sequence[tuple[int, int]],
    first: int,
    last: int,
    begin: int,
    regions: Sequence[str],
) -> tuple[int, int, str] | None:
    """The number that the groups `first` to `last` are, if they are one."""
    start, end = groups[first][0], groups[last - 1][1]
    digits = "".join([text[a:b] for a, b in groups[first:last]])
    if not _abroad(text, start) and not _possible(digits, regions):
        return None
    if first and not _apart(text, *groups[first - 1], start):
        return None
    if last < len(groups) and not re.match(r"\(|.* ", text[end : groups[last][0]]):
        return None
    opening = re.search(r"(?:\+ ?)?\(?\+?$", text[begin if not first else groups[first - 1][1] : start])
    start -= len(opening[0]) if opening else 0
    while True:
        if text[start] == "(" and ")" not in text[start:end]:
            start += 1
        if found := _judged(text, key, start, end, digits, regions):
            return start, end, found
        if text[start] != "+":
            return None
        start += 2 if text[start + 1] == " " else 1  # `Bob+0912345678`: it joins two things


def _apart(text: str, before: int, end: int, start: int) -> bool:
    """May a number begin behind these digits? Behind a blank, or behind the number in a list."""
    between = text[end:start]
    return " " in between or (between == ")" and end - before < 3 and text[before] != "0")


def _judged(text: str, key: str, start: int, end: int, digits: str, regions: Sequence[str]) -> str:
    """The number as all the world dials it, if it is one. Only what is believed to be one is looked up."""
    written = text[start:end]
    if not _likely(written, digits) or not _stands(text, start, end):
        return ""
    label = labels.before(text, start, key)
    if label == "other" or (_DAY.fullmatch(written) and label != "phone"):
        return ""
    alone = "+" in written or " " not in written or not labels.beside(text, start, end)
    behind = labels.after(text, end)
    named = label in ("phone", "id") or behind == "phone" or text.strip() == written
    for dialled, region, sure in _readings(written, digits, regions, alone=alone):
        if (not sure or len(digits) == 8) and labels.amount(text, start, end):
            continue
        # Americans write ten digits in a row; beside Chinese and Japanese they are something else.
        plain = region in ("US", "CA") and behind is None and written.isdigit() and len(written) == 10
        if (sure or named or (plain and not _CJK.search(text, max(0, start - labels.NEAR), end + labels.NEAR))) and (
            number := _exists(dialled, region)
        ):
            return number
    return ""


def _possible(digits: str, regions: Sequence[str]) -> bool:
    """Is there any country where it is worth to be looked up?"""
    return digits.startswith(("00", *_codes(regions))) or any(_fits(region, digits) for region in regions)


def _likely(written: str, digits: str) -> bool:
    """Is it written as people write telephone numbers?"""
    if "." in written and (written.count(".") < 2 or _QUAD.fullmatch(written) or len(digits) < 10):
        return False  # a fraction, an address of a network, a version
    if "+" not in written and _SINGLE.search(written):
        return False
    return not _YEARS.fullmatch(written) and not _LISTED.match(written)


def _readings(
    written: str, digits: str, regions: Sequence[str], *, alone: bool
) -> Iterator[tuple[str, str | None, bool]]:
    """What it may be: what to dial, from where, and whether it can hardly be anything else.

    alone: no other digits stand beside it that may belong to it.
    """
    count = len(digits)
    if "+" in written:
        yield f"+{digits}", None, True
        return
    if digits.startswith("00"):
        yield f"+{digits[2:]}", None, alone
        return
    for region in regions:
        if _fits(region, digits):
            if region in ("US", "CA"):
                sure = bool(re.fullmatch(r"(?:1[ .-]?)?\(?\d{3}\)?[ .-]{1,2}\d{3}[ .-]\d{4}", written))
            elif region == "HK":
                sure = bool(re.fullmatch(r"\d{4} \d{4}|(?!\d{3}0-\d{3}0)\d{4}-\d{4}", written))  # no range
            else:
                sure = digits[0] == "0" or (region == "CN" and count == 11)
                sure = sure and not re.match(r"\d\d\.", written)  # a version begins like that
            yield digits, region, sure and alone
    grouped = len(_GROUP.findall(written)) > 1
    for region in regions:
        if _coded(region, digits):
            yield f"+{digits}", None, alone and (grouped or count > 12 or len(_code(region)) == 3)


def _fits(region: str, digits: str) -> bool:
    """Worth to be looked up: what this leaves out, `phonenumbers` would refuse at fifty times the cost."""
    count = len(digits)
    match region:
        case "TW":
            return digits[0] == "0" and count in (9, 10)
        case "JP" | "GB":
            return digits[0] == "0" and count in (10, 11)
        case "CN":
            return (digits[0] == "1" and digits[1] > "2" and count == 11) or (digits[0] == "0" and 10 <= count <= 12)
        case "HK":
            return count == 8 and digits[0] > "1"
        case "US" | "CA":
            return (count == 10 and digits[0] > "1") or (count == 11 and digits[0] == "1" and digits[1] > "1")
    return count <= 12


def _coded(region: str, digits: str) -> bool:
    """Does it begin with the country's code, without the `+`? America's is too short to tell anything."""
    code = _code(region)
    return len(code) > 1 and len(digits) >= len(code) + 8 and digits.startswith(code)


@lru_cache
def _codes(regions: Sequence[str]) -> Sequence[str]:
    return tuple([code for code in map(_code, regions) if len(code) > 1])


def _exists(digits: str, region: str | None) -> str:
    import phonenumbers

    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return ""
    valid = phonenumbers.is_valid_number(number)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if valid else ""


@lru_cache
def _code(region: str) -> str:
    import phonenumbers

    return str(phonenumbers.country_code_for_region(region))


def _stands(text: str, start: int, end: int) -> bool:
    """Does it stand for itself? Only a label may stand right at it: `TEL0912...`, `wa.me/886912...`."""
    if not labels.closes(text, end):
        return False
    return labels.opens(text, start) or (not text[start - 1].isdigit() and labels.before(text, start) == "phone")
