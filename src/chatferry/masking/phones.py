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
_MOST = 7
"""Groups in which one number is written."""


def phones(text: str, key: str, begin: int, stop: int, regions: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    for run in _RUN.finditer(text, begin, stop):
        groups = [(run.start() + group.start(), run.start() + group.end()) for group in _GROUP.finditer(run[0])]
        first = 0
        while first < len(groups):
            took = 0
            for last in range(min(len(groups), first + _MOST), first, -1):
                if found := _number(text, key, groups, first, last, run.start(), regions):
                    yield found
                    took = last - first
                    break
            first += took or 1


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
    if not 7 <= (count := sum(b - a for a, b in groups[first:last])) <= 16:
        return None
    digits = "".join([text[a:b] for a, b in groups[first:last]])
    if "+" not in text[max(0, start - 3) : start] and not _possible(digits, count, regions):
        return None
    if (first and " " not in text[groups[first - 1][1] : start]) or (
        last < len(groups) and " " not in text[end : groups[last][0]]
    ):
        return None
    opening = re.search(r"(?:\+ ?)?\(?\+?$", text[begin if not first else groups[first - 1][1] : start])
    start -= len(opening[0]) if opening else 0
    written = text[start:end]
    if written.startswith("(") and ")" not in written:
        start, written = start + 1, written[1:]
    whole = first == 0 and last == len(groups)
    if not _likely(written, digits, [b - a for a, b in groups[first:last]]):
        return None
    number, sure = _valid(written, digits, count, regions, whole=whole)
    if not number or not _stands(text, start, end):
        return None
    label = labels.before(text, start, key)
    if label == "other" or ((not sure or count == 8) and labels.amount(text, start, end)):
        return None
    sure = sure and (whole or " " not in written or "+" in written)  # some groups of many may be anything
    if not sure and not (
        label in ("phone", "id")
        or (behind := labels.after(text, end)) == "phone"
        or text.strip() == written
        or (behind is None and written == number[2:] and not _CJK.search(text))  # ten digits, as Americans write them
    ):
        return None
    if _DAY.fullmatch(written) and label != "phone":
        return None
    return start, end, number


def _possible(digits: str, count: int, regions: Sequence[str]) -> bool:
    """Is there any country where it is worth to be looked up?"""
    return digits.startswith("00") or any(
        _fits(region, digits, count) or _coded(region, digits, count) for region in regions
    )


def _likely(written: str, digits: str, sizes: Sequence[int]) -> bool:
    """Is it written as people write telephone numbers?"""
    if "." in written and (written.count(".") < 2 or _QUAD.fullmatch(written) or len(digits) < 10):
        return False  # a fraction, an address of a network, a version
    if "+" not in written and any(size < 2 for size in sizes[1:]):
        return False
    return not _YEARS.fullmatch(written)


def _valid(written: str, digits: str, count: int, regions: Sequence[str], *, whole: bool) -> tuple[str, bool]:
    """The number as all the world dials it, or nothing; and whether it can hardly be anything else."""
    if "+" in written:
        return _exists(f"+{digits}", None), True
    if digits.startswith("00"):
        return _exists(f"+{digits[2:]}", None), True
    grouped = len(_GROUP.findall(written)) > 1
    for region in regions:
        if not _fits(region, digits, count):
            continue
        if number := _exists(digits, region):
            if region in ("US", "CA"):
                sure = whole and bool(re.fullmatch(r"(?:1[ .-]?)?\(?\d{3}\)?[ .-]{1,2}\d{3}[ .-]\d{4}", written))
            elif region == "HK":
                sure = whole and bool(re.fullmatch(r"\d{4} \d{4}|(?!\d{3}0-\d{3}0)\d{4}-\d{4}", written))  # no range
            else:
                sure = digits[0] == "0" or (region == "CN" and count == 11)
                sure = sure and not re.match(r"\d\d\.", written)  # a version begins like that
            return number, sure
    for region in regions:
        if _coded(region, digits, count) and (number := _exists(f"+{digits}", None)):
            return number, whole and (grouped or count > 12 or len(_code(region)) == 3)
    return "", False


def _fits(region: str, digits: str, count: int) -> bool:
    """Worth to be looked up: what this leaves out, `phonenumbers` would refuse at fifty times the cost."""
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


def _coded(region: str, digits: str, count: int) -> bool:
    """Does it begin with the country's code, without the `+`? America's is too short to tell anything."""
    code = _code(region)
    return len(code) > 1 and count >= len(code) + 8 and digits.startswith(code)


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
