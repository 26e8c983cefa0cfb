"""Finds personal data in a text, whatever the width of its letters and whatever stands right beside it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from chatferry.masking import identities
from chatferry.masking.phones import phones
from chatferry.masking.widths import plain

Found = tuple[int, int, str, str]
"""Where it begins and ends, its kind, and what is equal for all spellings of it."""

_Finder = Callable[[str, str, int, int], Iterator[tuple[int, int, str]]]
"""Looks into a text, whose name is the second, from here to there: where each value is, and its usual spelling."""

_DIGITS = re.compile(r"(?a)\d(?:[ .()-]{0,3}\d){5,}")
"""What all numbers have that are found; there is little of it in most texts, and the rest needs no look."""
_AROUND = 36
"""Characters around it in which all else of the number is."""
_MAILBOX = r"(?<![A-Za-z0-9À-ɏ])[A-Za-z0-9À-ɏ_%+][A-Za-z0-9À-ɏ._%+'-]{0,63}+@"
_LATIN, _OTHER = "[A-Za-z0-9][A-Za-z0-9-]{0,62}+", r"(?:(?![\x00-\x7f])[\w・-]){1,63}+"
"""Parts of the name of a host, in one script each: Chinese may also stand right behind an address."""
_EMAIL = re.compile(
    rf"{_MAILBOX}(?:(?:(?:{_LATIN}|{_OTHER})\.)+(?:台[灣湾]|中[国國]|香港|澳[門门]|公司|网络|網絡|网址|网店|商[城店标]"
    r"|在线|集团|中文网|我爱你|みんな|コム|ストア|セール|クラウド|ファッション|한국|닷컴|닷넷|[\u0370-\u1fff]{2,63})"
    rf"|(?:(?:{_LATIN}|{_OTHER})\.)+(?:xn--[a-z0-9-]+|[A-Za-z]{{2,24}}))"
)
_LOGIN = re.compile(r"(?<=://)[^\s/@:?#\"'<>\\\[\]]{1,128}:[^\s/@?#\"'<>\\\[\]]{1,256}(?=@)")
_KEYED = re.compile(
    r"(?<=[?&])(?:[a-z_-]{0,20}(?:token|password|passwd|pwd|secret|signature|api_?key)|sig|key|auth|code)="
    r"([^\s&#\"'<>\\\[\]]{4,512})",
    re.IGNORECASE,
)


class Finder:
    """Finds the kinds of data that it is told to, as they look in the countries that it is told.

    Raises ModuleNotFoundError where a library for it is missing.
    """

    def __init__(self, kinds: Sequence[str], regions: Sequence[str]) -> None:
        self._kinds = frozenset(kinds)
        finders: dict[str, _Finder] = {
            "iban": identities.ibans,
            "national_id": partial(identities.national, regions=tuple(regions)),
            "card": identities.cards,
            "phone": partial(phones, regions=tuple(regions)),
        }
        self._finders = {kind: finder for kind, finder in finders.items() if kind in self._kinds}
        self.unknown = ""
        """One of the regions that is none, as far as that is known."""
        if "phone" in self._kinds:
            import phonenumbers  # now, not while a person waits

            self.unknown = next((region for region in regions if region not in phonenumbers.SUPPORTED_REGIONS), "")
        if self._kinds & {"card", "national_id", "iban"}:
            import stdnum.iban
            import stdnum.luhn  # noqa: F401

    def find(self, text: str, key: str = "") -> Sequence[Found]:
        """All that there is, in the order of the text. `key`: the name of the field of which this is the value."""
        text = plain(text)
        found: list[Found] = []
        for start, end, kind, value in self._all(text, key):
            place = bisect_left(found, (start, end))
            before, after = found[place - 1 : place] if place else [], found[place : place + 1]
            if start < end and not (before and before[0][1] > start) and not (after and after[0][0] < end):
                found.insert(place, (start, end, kind, value))
        return found

    def _all(self, text: str, key: str) -> Iterator[Found]:
        """What is surer comes first: what overlaps it is not believed."""
        if "url_credentials" in self._kinds and "://" in text:
            for login in _LOGIN.finditer(text):
                yield *login.span(), "url_credentials", login[0]
            for keyed in _KEYED.finditer(text):
                if "://" in text[max(0, keyed.start() - 2000) : keyed.start()].rsplit(maxsplit=1)[-1]:
                    yield *keyed.span(1), "url_credentials", keyed[1]
        if "email" in self._kinds and "@" in text:
            for email in _EMAIL.finditer(text):
                yield *email.span(), "email", email[0].lower()
        places = list(_places(text))
        for kind, finder in self._finders.items():
            for begin, end in places:
                for start, stop, value in finder(text, key, begin, end):
                    yield start, stop, kind, value


def _places(text: str) -> Iterator[tuple[int, int]]:
    """Where numbers are, with what may belong to them."""
    begin = end = 0
    for found in _DIGITS.finditer(text):
        if found.start() - _AROUND > end:
            if end:
                yield begin, end
            begin = max(0, found.start() - _AROUND)
        end = found.end() + _AROUND
    if end:
        yield begin, end
