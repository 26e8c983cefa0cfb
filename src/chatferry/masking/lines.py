"""Hides what looks like personal data in a line of the log: by patterns alone, too much rather than too little.

Here a line must cost microseconds and nothing has to come back, so nobody is asked whether a number exists.
"""

from __future__ import annotations

import re

from chatferry.masking.widths import plain

_ADDRESSES = re.compile(
    r"(?<![\w%+'À-ɏ-])[\w%+'À-ɏ-][\w.%+'À-ɏ-]{0,63}+@(?:[a-z0-9\u00a1-\uffff-]{1,63}+\.)+[a-z\u00a1-\uffff]{2,24}"
    r"|(?<=://)[^\s/@:\"]{1,64}+:[^\s/@\"]{1,256}+(?=@)",
    re.IGNORECASE | re.ASCII,
)
"""Of e-mail; and the user and the password in others."""
_SECRETS = re.compile(
    r"(?:token|secret|password|passwd|pwd|api_?key|signature|[?&](?:key|sig|auth|code))['\"]?="
    r"['\"]?([^\s&#\"'<>\\,;]{4,512})"
    r"|\b(?:bearer|basic) +([\w.~+/=-]{16,})"
    r"|(?<![\w-])((?:cf_|sk-|xox[a-z]-|xapp-|gh[a-z]_)[\w-]{12,}|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?)",
    re.IGNORECASE | re.ASCII,
)
"""Whoever gave them out: ours, those of providers and platforms, and what is called a secret where it stands."""
_MARKS = ("=", "earer ", "asic ", "cf_", "sk-", "xox", "xapp-", "gh", "eyJ")
"""One of which is in all of these: most lines have none, and a pattern costs more than a look."""
_NUMBERS = re.compile(
    # Not within a word or a fraction, but right behind a line break as JSON writes it. A number that stands for itself
    # in JSON is one of ours: how many, how long, which turn.
    r"(?:(?<![\w-])(?<!\d\.)|(?<=\\[nrt]))(?<!\": )(?<!turn=)(?<!tokens=)(?<!bytes=)(?:"
    r"[+(]{0,2}\d(?:(?!(?<=\d\d\d\d)-\d\d-)[ ()-]{0,2}\d){7,18}X?"  # eight digits or more, and no day
    r"|\(?\d{3,4}\)?[. ]{1,2}\d{3}[.-]\d{3,4}|0\d\.\d{3,4}\.\d{4}"  # telephones with dots
    r"|[A-Z]{1,2}[ -]?\d\d(?:"
    r"\d{4} ?(?:\([0-9A]\)|\d{0,3}[0-9A-D])|[A-D]\d{7}"  # ids of Taiwan, Hong Kong and Britain
    r"| \d\d \d\d ?[A-D]|(?:[ -]?[A-Z0-9]{4}){3,7}(?:[ -]?[A-Z0-9]{1,3})?)"  # the latter with blanks; IBAN
    r"|[A-Z][A-D]\d{8}"
    r")(?!\w|\.\d)",
    re.IGNORECASE | re.ASCII,
)


def hide(line: str) -> str:
    """The line with `***` for everything that may be somebody's."""
    if "@" in line or "＠" in line:
        line = _hidden(_ADDRESSES, line)
    if any(mark in line for mark in _MARKS):
        line = _hidden(_SECRETS, line)
    return _hidden(_NUMBERS, line)


def _hidden(pattern: re.Pattern[str], line: str) -> str:
    pieces: list[str] = []
    done = 0
    for found in pattern.finditer(plain(line)):
        start, end = found.span(found.lastindex or 0)
        pieces += line[done:start], "***"
        done = end
    return "".join((*pieces, line[done:]))
