"""What was said in a conversation, a page at a time, and found again. No page costs more the longer people talk."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from itertools import groupby
from typing import NamedTuple

from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Said, Section
from chatferry.web.showing import pictures, told
from chatferry.words import Words

PAGE = 25
"""Exchanges on a page."""
SCAN = 2000
"""Messages that one search looks through."""
_BATCH = 200
_LINES = 4
"""Messages that an exchange has at most; seldom more than two."""
_PART = re.compile(r".{200}[^\x00-\x7f]{0,200}|.+", re.DOTALL)
"""So much of a text at a time, up to a letter that nothing before it changes if there is one."""


class Exchange(NamedTuple):
    """A question and its answer; either may be missing."""

    turn: int
    at: float
    question: str
    answer: str
    """Markdown."""
    pictures: tuple[int, ...] = ()
    """In the question."""


class Chapter(NamedTuple):
    """What was said in a session, or between two, as far as it is on this page; newest first."""

    session: Section | None
    exchanges: list[Exchange]


class Past(NamedTuple):
    """One page."""

    chapters: list[Chapter]
    before: int | None
    """What is older begins before this turn; None: there is nothing older."""


async def past(ledger: Ledger, conversation: str, before: int | None, query: str, words: Words) -> Past:
    """The latest exchanges before turn `before`; only those in which all words of `query` occur, if there are any.

    A search that has looked through `SCAN` messages stops, and goes on from `Past.before`. Raises Unavailable.
    """
    terms = searchable(query).split()
    found: list[Exchange] = []
    scanned = 0
    while True:
        limit = _BATCH if terms else PAGE * 2 + _LINES
        lines = await ledger.said(conversation, before, limit)
        scanned += len(lines)
        exchanges = [_exchange(turn, list(its), words) for turn, its in groupby(lines, lambda line: line.turn)]
        if len(lines) == limit and len(exchanges) > 1:
            exchanges.pop()  # perhaps the rest of it did not fit
        # In a thread, for much is looked through.
        fitting = await asyncio.to_thread(_fitting, exchanges, terms) if terms else exchanges
        for exchange in exchanges:
            if len(found) == PAGE:
                return await _chapters(ledger, conversation, found, before)
            before = exchange.turn
            if exchange in fitting:
                found.append(exchange)
        if len(lines) < limit:
            return await _chapters(ledger, conversation, found, None)
        if scanned >= SCAN:
            return await _chapters(ledger, conversation, found, before)


def searchable(text: str) -> str:
    """The whole text as a search compares it: small and large, wide and narrow letters are one."""
    if text.isascii():
        return text.casefold()
    # Sorting accents takes the square of their number, and anybody may have written many.
    return "".join(unicodedata.normalize("NFKC", part) for part in _PART.findall(text)).casefold()


def _fitting(exchanges: list[Exchange], terms: list[str]) -> list[Exchange]:
    """Those in which all the terms occur."""
    texts = [searchable(f"{exchange.question}\n{exchange.answer}") for exchange in exchanges]
    return [exchange for exchange, text in zip(exchanges, texts, strict=True) if all(term in text for term in terms)]


def _exchange(turn: int, lines: list[Said], words: Words) -> Exchange:
    lines = lines[::-1]  # they came newest first
    question = "\n\n".join(told(line.message, words) for line in lines if line.role == "user")
    answer = "\n\n".join(told(line.message, words) for line in lines if line.role == "assistant")
    shown = tuple(id for line in lines if line.role == "user" for id in pictures(line.message))
    return Exchange(turn, lines[0].at, question, answer, shown)


async def _chapters(ledger: Ledger, conversation: str, found: list[Exchange], before: int | None) -> Past:
    if not found:
        return Past([], before)
    sections = await ledger.sections(conversation, found[-1].turn, found[0].turn)
    chapters: list[Chapter] = []
    for exchange in found:
        session = next((section for section in sections if section.turn <= exchange.turn), None)
        if not chapters or chapters[-1].session != session:
            chapters.append(Chapter(session, []))
        chapters[-1].exchanges.append(exchange)
    return Past(chapters, before)
